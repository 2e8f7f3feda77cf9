"""A fleet's changes go out of the store and come in; docs/fleet.md tells what is guaranteed.

The daemon opens no network connection: nimad-sync asks it for what changed (`changes`) and gives it
what others changed (`take_...`).  What the hub says is input like any other: it reaches shared
namespaces only, never a memory under a key of this board, and no more than the quota.

Crash prose: what comes in and the cursor that says so are one transaction.  Tombstones are noted
first, then their memories are forgotten, then the cursor moves; a crash between leaves the cursor,
and the same tombstones come again.  What goes out is noted nowhere here: the hub keeps how far it
came, in the transaction that stored it.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from dataclasses import field
from typing import Any

from nimad.core.store import MemoryStore
from nimad.core.validate import check_memory
from nimad.dataclass import dataclass
from nimad.errors import FleetQuota, NotShared, UsageError
from nimad.model import TURN_ROLES, Memory, Relation
from nimad.store import fleet, forgotten, keyed, stamps
from nimad.store.bounded import size_of
from nimad.store.fleet import Departure, Shared, SharedGoal, SharedMemory, SharedRelation, Taken
from nimad.store.identity import Identity, identity
from nimad.store.transaction import SHARED, Transaction

PUSH, PULL = ("both", "push"), ("both", "pull")
"""Directions in which a namespace gives, and takes."""
OVERHEAD = 500
"""What a memory takes in the records beside its texts [bytes]."""
_TEXTS = ("text", "extra", "affect", "who", "tags", "summary")
_KEPT = f"""
SELECT count(*), ifnull(sum({" + ".join(map(size_of, _TEXTS))} + ?), 0)
  + (SELECT ifnull(sum({size_of("name")}), 0) FROM names)
  + (SELECT ifnull(sum({size_of("name")}), 0) FROM turns) FROM memories WHERE source < 0
"""
"""How many memories are of others, and what they take, with all names that there are [bytes]."""


@dataclass(frozen=True)
class Origin:
    """Where what comes in was read: the stream of one board on the hub, up to a number of it.

    Attributes:
        upto: how far the stream will have been read then.
        names: UUIDs of boards → their names.
    """

    namespace: str
    writer: str
    upto: int
    names: dict[str, str] = field(default_factory=dict)


@dataclass
class Taking:
    """What became of a batch: rows that came in, that were known or need nothing, and the global
    keys of those that were refused, each with the reason."""

    added: int = 0
    known: int = 0
    refused: list[tuple[str, int, str]] = field(default_factory=list)


class Fleet:
    """One store's side of a fleet.

    Attributes:
        heard: what nimad-sync told last (see `status`), and when on the monotonic clock.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store, self._records = store, store.records
        self._kept: tuple[int, int] | None = None
        self.heard: tuple[float, dict[str, Any]] | None = None

    @property
    def identity(self) -> Identity:
        """Who this store is; decided at the first call."""
        return identity(self._records)

    @property
    def directions(self) -> dict[str, str]:
        """Shared namespaces → direction, as configured; what leaves them is noted from now on."""
        found: dict[str, str] = dict(self._store.config["sync.namespaces"] or {})
        if found:
            known = self._records.meta(SHARED)
            if known is None or not set(found) <= set(fleet.read_shared(known)):
                with self._records.write() as tx:
                    fleet.set_shared(tx, found)
        return found

    def _check(self, namespace: str, directions: Sequence[str]) -> None:
        if self.directions.get(namespace) not in directions:
            raise NotShared(namespace=repr(namespace), direction=directions[1])

    def cursors(self) -> list[tuple[str, str, str, int]]:
        """How far each stream was read: (namespace, writer, kind, number)."""
        found = self._records.rows("SELECT namespace, writer, kind, seq FROM cursors")
        return [(str(n), str(w), str(k), int(s)) for n, w, k, s in found]

    def mark(self) -> int:
        """Another number when there may be something to give: of a digest, as it tells a bound user
        nothing else."""
        sql = "SELECT ifnull(max(seq), 0) FROM"
        heads = [self._records.value(f"{sql} {table}") for table in ("stamps", "departed")]
        return zlib.crc32(f"{self.identity.store} {self._records.head()} {heads}".encode())

    # --- going out ------------------------------------------------------------------------------

    def shared(self, namespace: str, now: int = 0) -> Shared:
        """What there is to give of a namespace; `now` is the hub's time [epoch milliseconds].

        Raises NotShared.
        """
        self._check(namespace, PUSH)
        self._store.clock.agree(now)
        self._store.clock.catch_up()
        if now:
            with self._records.write() as tx:
                stamps.cut_down(tx, now)
        return Shared(self._records, self.identity, namespace)

    # --- coming in ------------------------------------------------------------------------------

    def _begin(self, tx: Transaction, origin: Origin) -> Taken:
        return Taken(tx, self.identity, origin.namespace, origin.names)

    def _admit(self, origin: Origin, count: int, size: int) -> None:
        """Raise NotShared, UsageError for a stream that is this board's own, FleetQuota."""
        self._check(origin.namespace, PULL)
        if origin.writer in {store for store, _ in self.identity.parts}:
            raise UsageError(detail="a board does not read its own stream")
        for fresh in (False, True):
            if self._kept is None or fresh:
                memories, kept = self._records.rows(_KEPT, (OVERHEAD,))[0]
                sql = "SELECT count(*) FROM departed WHERE NOT mine"
                self._kept = (memories + self._records.value(sql), kept)
            rows, kept = self._kept[0] + count, self._kept[1] + size
            most = self._store.config["sync.max_memories"], self._store.config["sync.max_mb"]
            if rows <= most[0] and kept <= most[1] << 20:
                return
        raise FleetQuota(memories=most[0], mb=most[1])

    def _count(self, rows: int, size: int) -> None:
        if self._kept is not None:
            self._kept = (self._kept[0] + rows, self._kept[1] + size)

    def take_memories(self, origin: Origin, given: Sequence[SharedMemory]) -> Taking:
        """Store what is neither here nor gone; of two documents with a key the later one stays."""
        taking = Taking()
        sound: list[SharedMemory] = []
        for each in given:
            try:
                each.memory.namespace = origin.namespace
                check_memory(each.memory)
                sound.append(each)
            except UsageError as error:
                taking.refused.append((*each.key, error.message))
        size = sum(len(repr(each.memory)) for each in sound)
        self._admit(origin, len(sound), size)
        removed: list[int] = []

        def add(tx: Transaction) -> Sequence[Memory]:
            taken = self._begin(tx, origin)
            plain: dict[int, list[SharedMemory]] = {}
            kept: list[SharedMemory] = []
            for each in {one.key: one for one in sound}.values():
                board = taken.board(each.key)
                if not taken.is_new(each.key):
                    continue
                each.memory.source = ("", each.key[1])
                if each.memory.key is None:
                    plain.setdefault(board, []).append(each)
                elif self._wins(tx, taken, each, removed):
                    tx.add_memories([each.memory], board=board)
                    kept.append(each)
            for board, some in plain.items():
                tx.add_memories([each.memory for each in some], board=board)
                kept += some
            for each in kept:
                memory = each.memory
                if memory.key is not None:
                    stamps.learn(tx, memory.id, min(each.stamp, stamps.LATEST))
                in_turn = memory.turn is not None and memory.layer in TURN_ROLES
                if memory.affect is not None and in_turn:
                    tx.keep_affect(memory.id, memory.affect)
            self._move_cursor(tx, origin, "memories")
            taking.added, taking.known = len(kept), len(sound) - len(kept)
            return [each.memory for each in kept]

        self._store.writer.store([each.memory for each in sound], add, removed)
        self._count(taking.added, size)
        return taking

    def _wins(self, tx: Transaction, taken: Taken, each: SharedMemory, removed: list[int]) -> bool:
        """Whether a document takes the place of the one with its key; the other is forgotten."""
        name = (each.memory.namespace, each.memory.key or "")
        found = keyed.documents(tx, [name]) if each.memory.key is not None else {}
        if not found:
            return True
        old = found[name][0]
        if (each.stamp, *each.key) < (stamps.stamp_of(tx, old), *taken.key_of(old)):
            taken.depart(each.key, purge=False, mine=True)
            return False
        forgotten.remember(tx, [old])
        tx.delete_memories([old])
        removed.append(old)
        return True

    def take_relations(self, origin: Origin, given: Sequence[SharedRelation]) -> Taking:
        """Connect memories that are here."""
        self._admit(origin, 0, len(given) * OVERHEAD)
        taking = Taking()
        with self._records.write() as tx:
            taken = self._begin(tx, origin)
            for each in given:
                origin_id, target = taken.memory(each.origin), taken.memory(each.target)
                if (
                    origin_id is None
                    or target is None
                    or taken.has_relation(origin_id, target, each.relation)
                ):
                    taking.known += 1
                    continue
                made = Relation(origin_id, target, each.relation, each.weight)
                tx.add_relations([(made, each.key[1], None)], taken.board(each.key) or None)
                taking.added += 1
            self._move_cursor(tx, origin, "relations")
        self._count(0, taking.added * OVERHEAD)
        self._store.on_change()
        return taking

    def take_goals(self, origin: Origin, given: Sequence[SharedGoal]) -> Taking:
        """Let the later state of each goal count."""
        self._admit(origin, 0, 0)
        taking = Taking()
        with self._records.write() as tx:
            taken = self._begin(tx, origin)
            for each in given:
                memory = taken.memory(each.key)
                if memory is None or not 0 < each.stamp <= stamps.LATEST:
                    taking.known += 1
                    continue
                columns = ", ".join(fleet.GOAL)
                known = tx.rows(f"SELECT {columns} FROM goals WHERE memory = ?", (memory,))
                values = tuple(each.goal[name] for name in fleet.GOAL)
                mine = (stamps.stamp_of(tx, memory), *map(repr, known[0])) if known else (-1,)
                if (each.stamp, *map(repr, values)) <= mine:
                    taking.known += 1
                    continue
                by = taken.memory(each.by) if each.by else None
                sql = f"INSERT OR REPLACE INTO goals (memory, by, {columns})"
                tx.execute(f"{sql} VALUES (?, ?, ?, ?, ?, ?, ?)", (memory, by, *values))
                stamps.learn(tx, memory, each.stamp)
                taking.added += 1
            self._move_cursor(tx, origin, "goals")
        return taking

    def take_departures(self, origin: Origin, given: Sequence[Departure]) -> Taking:
        """Forget what others have forgotten, and purge what they have purged."""
        self._admit(origin, len(given), 0)
        taking = Taking()
        doomed: dict[bool, list[int]] = {False: [], True: []}
        with self._records.write() as tx:
            taken = self._begin(tx, origin)
            for each in given:
                number = taken.memory(each.key)
                if number is not None or taken.board(each.key):
                    taken.depart(each.key, each.purge, mine=False)
                ids = [number] if number is not None else []
                ids += taken.forgotten(each.key) if each.purge else []
                doomed[each.purge] += ids
                taking.added += bool(ids)
                taking.known += not ids
        for purge, ids in doomed.items():
            if ids:
                self._store.forget(ids, purge=purge)
        with self._records.write() as tx:
            self._move_cursor(tx, origin, "tombstones")
        self._count(len(given), 0)
        return taking

    def _move_cursor(self, tx: Transaction, origin: Origin, kind: str) -> None:
        fleet.set_cursor(tx, origin.namespace, origin.writer, kind, origin.upto)

    def forget_cursors(self, epoch: str) -> None:
        """Read every stream anew when the hub is another one than before, or was restored."""
        if self._records.meta("hub_epoch") != epoch:
            with self._records.write() as tx:
                tx.execute("DELETE FROM cursors")
                tx.set_meta("hub_epoch", epoch)

    def status(self) -> dict[str, Any]:
        """What `nimactl status` shows: empty where nothing is shared."""
        shared = self._store.config["sync.namespaces"]
        if not shared:
            return {}
        told: dict[str, Any] = {
            "namespaces": dict(shared),
            "store": self.identity.store,
            "state": "silent",
        }
        if self.heard is not None:
            told |= {**self.heard[1], "heard_seconds": round(time.monotonic() - self.heard[0], 1)}
        return told
