"""What the records give to a fleet and take from it: rows by their global keys.

A global key is (UUID of a store, id there).  Memories of others have a row of `boards` (its id is
below 0) as their `source` and the id there as their `source_key`, so `memories_source` is the index
from global keys to memories.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from nimad.model import Memory
from nimad.store import rows, stamps
from nimad.store.identity import Identity
from nimad.store.records import Records
from nimad.store.transaction import SHARED, Transaction

Key = tuple[str, int]
"""A global key."""


class SharedMemory(NamedTuple):
    """A memory under its global key; `stamp` is that of a document, else 0."""

    key: Key
    memory: Memory
    stamp: int = 0


class SharedRelation(NamedTuple):
    """A relation between two memories of one namespace."""

    key: Key
    origin: Key
    target: Key
    relation: str
    weight: float | None


class SharedGoal(NamedTuple):
    """The state of a goal: `goal` holds the columns of `goals` but for ids; `by` reached it."""

    key: Key
    goal: dict[str, Any]
    by: Key | None
    stamp: int


class Departure(NamedTuple):
    """A memory that is gone; `purge`: without a trace."""

    key: Key
    purge: bool


GOAL = ("priority", "since", "due", "state", "closed")
_OWN = "(m.source IS NULL OR m.source > 0)"
_HERE = "m.namespace = (SELECT id FROM names WHERE name = :namespace)"


def _global_key(table: str) -> str:
    """SQL for the board (0: here) and the number there of a row of `memories` or `forgotten`."""
    number = f"iif({table}.source < 0, {table}.source_key, {table}.id)"
    return f"min(ifnull({table}.source, 0), 0), {number}"


class Shared:
    """One namespace of a store, as a fleet sees it: what changed in it, in order.

    Each method gives up to `limit` rows above a number (of ids, or of `seq`), with that number.
    """

    def __init__(self, records: Records, identity: Identity, namespace: str) -> None:
        self._records, self._identity, self._namespace = records, identity, namespace
        boards = records.rows("SELECT id, store FROM boards")
        self._stores: dict[int, str] = dict(boards)

    def _ask(self, sql: str, after: int, limit: int, **more: Any) -> list[tuple[Any, ...]]:
        given = {"namespace": self._namespace, "after": after, "limit": limit, **more}
        return self._records.rows(sql, given)

    def _key(self, board: int, number: int) -> Key:
        return (self._identity.store_of(number) if board >= 0 else self._stores[board], number)

    def memories(self, after: int, limit: int, boot: str) -> list[tuple[int, SharedMemory]]:
        """This board's own; none that waits for the clock of this `boot` to be set, or after it."""
        sql = f"{rows.SELECT} WHERE m.id > :after AND {_HERE} AND {_OWN} AND m.id < ifnull((SELECT"
        sql += (
            " min(memory) FROM unset_clock WHERE boot = :boot), 1 << 62) ORDER BY m.id LIMIT :limit"
        )
        found = self._records.memories_of(self._ask(sql, after, limit, boot=boot))
        timed = self._records.rows_in(
            "SELECT memory, time FROM stamps WHERE memory IN", [m.id for m in found if m.key]
        )
        times: dict[int, int] = dict(timed)
        return [(m.id, SharedMemory(self._key(0, m.id), m, times.get(m.id, 0))) for m in found]

    def relations(self, after: int, limit: int, below: int) -> list[tuple[int, SharedRelation]]:
        """Own relations between memories of the namespace; none from the first on that needs an own
        memory above `below`, which others cannot have yet."""
        early = "SELECT min(x.id) FROM relations x JOIN memories m ON m.id IN (x.origin, x.target)"
        early += " WHERE (x.origin > :below OR x.target > :below) AND m.id > :below"
        early += f" AND {_OWN} AND {_HERE}"
        sql = (
            f"SELECT r.id, {_global_key('m')}, {_global_key('t')}, n.name, r.weight"
            " FROM relations r JOIN memories m ON m.id = r.origin JOIN memories t"
            " ON t.id = r.target AND t.namespace = m.namespace JOIN names n ON n.id = r.relation"
            f" WHERE r.id > :after AND r.id < ifnull(({early}), 1 << 62) AND {_HERE}"
            " AND (r.source IS NULL OR r.source > 0) ORDER BY r.id LIMIT :limit"
        )
        return [
            (n, SharedRelation((self._identity.store, n), self._key(a, b), self._key(c, d), *rest))
            for n, a, b, c, d, *rest in self._ask(sql, after, limit, below=below)
        ]

    def goals(self, after: int, limit: int, below: int) -> list[tuple[int, SharedGoal]]:
        """Goals that were made or closed here; `below` as for relations."""
        columns = ", ".join(f"g.{name}" for name in GOAL)
        early = (
            "SELECT min(x.seq) FROM stamps x JOIN goals y ON y.memory = x.memory JOIN memories m"
        )
        early += (
            f" ON m.id IN (y.memory, y.by) WHERE x.mine AND m.id > :below AND {_OWN} AND {_HERE}"
        )
        sql = (
            f"SELECT s.seq, s.time, {_global_key('m')}, {_global_key('b')}, {columns}"
            " FROM stamps s JOIN goals g ON g.memory = s.memory JOIN memories m ON m.id = g.memory"
            " LEFT JOIN memories b ON b.id = g.by AND b.namespace = m.namespace"
            f" WHERE s.seq > :after AND s.seq < ifnull(({early}), 1 << 62) AND s.mine AND {_HERE}"
            " ORDER BY s.seq LIMIT :limit"
        )
        found = []
        for seq, time, board, number, by_board, by, *values in self._ask(
            sql, after, limit, below=below
        ):
            reached = None if by is None else self._key(by_board, by)
            goal = dict(zip(GOAL, values, strict=True))
            found.append((seq, SharedGoal(self._key(board, number), goal, reached, time)))
        return found

    def departures(self, after: int, limit: int) -> list[tuple[int, Departure]]:
        """What was forgotten here."""
        sql = "SELECT m.seq, m.board, m.number, m.purge FROM departed m WHERE m.seq > :after"
        sql += f" AND m.mine AND {_HERE} ORDER BY m.seq LIMIT :limit"
        return [
            (seq, Departure(self._key(board, number), bool(purge)))
            for seq, board, number, purge in self._ask(sql, after, limit)
        ]


def read_shared(known: Any) -> list[str]:
    """The namespaces of `meta.shared`."""
    found: list[str] = json.loads(known) if known else []
    return found


def set_shared(tx: Transaction, namespaces: Iterable[str]) -> None:
    """Note which namespaces are shared: what leaves one is told from now on.  One that is not
    shared any more stays noted, for it may be shared again."""
    known = tx.rows("SELECT value FROM meta WHERE key = ?", (SHARED,))
    before = set(read_shared(known[0][0])) if known else set()
    if not before >= (wanted := set(namespaces)):
        tx.set_meta(SHARED, json.dumps(sorted(before | wanted), ensure_ascii=False))
        stamps.share(tx)


def note_purge(tx: Transaction, ids: Sequence[int]) -> None:
    """Memories that have just been forgotten, or were before, are purged: the fleet is to know."""
    sql = (
        "SELECT d.seq, d.namespace, d.board, d.number FROM departed d JOIN forgotten f ON"
        f" (d.board, d.number) = ({_global_key('f')})"
        " WHERE NOT d.purge AND f.id IN (SELECT value FROM json_each(?)) ORDER BY 1"
    )
    for seq, *key in tx.rows(sql, (json.dumps(list(ids)),)):
        tx.execute("DELETE FROM departed WHERE seq = ?", (seq,))
        tx.execute(
            "INSERT INTO departed (namespace, board, number, purge) VALUES (?, ?, ?, 1)", key
        )


class Taken:
    """What an open transaction takes from a fleet into one namespace."""

    def __init__(
        self, tx: Transaction, identity: Identity, namespace: str, names: dict[str, str]
    ) -> None:
        self._tx, self._identity, self._names = tx, identity, names
        self._space = tx.name_id(namespace)
        self._boards: dict[str, int] = {}

    def board(self, key: Key) -> int:
        """The row of the store of a key, made when it is new; 0 for this board."""
        store, number = key
        if self._identity.is_own(store, number):
            return 0
        if store not in self._boards:
            tx = self._tx
            name = f"{self._names.get(store, 'board')}@{store[:8]}"
            if not tx.execute("UPDATE boards SET name = ? WHERE store = ?", (name, store)):
                sql = "INSERT INTO boards (id, store, name)"
                sql += " SELECT min(0, ifnull(min(id), 0)) - 1, ?, ? FROM boards"
                tx.execute(sql, (store, name))
            found = tx.rows("SELECT id FROM boards WHERE store = ?", (store,))
            self._boards[store] = int(found[0][0])
        return self._boards[store]

    def memory(self, key: Key) -> int | None:
        """The id here of a memory of the namespace; None where there is none."""
        board = self.board(key)
        same = "id = ?1 AND ?2 = 0 AND ifnull(source, 1) > 0"
        if board:
            same = "source_key = ?1 AND source = ?2"
        sql = f"SELECT id FROM memories WHERE {same} AND namespace = ?3"
        found = self._tx.rows(sql, (key[1], board, self._space))
        return int(found[0][0]) if found else None

    def forgotten(self, key: Key) -> list[int]:
        """The id here of a memory of the namespace that is gone and may have left traces."""
        sql = (
            "SELECT f.id FROM forgotten f JOIN departed d ON d.board = ?1 AND d.number = ?2"
            " AND d.namespace = ?3 WHERE iif(?1 = 0, f.id = ?2 AND ifnull(f.source, 1) > 0,"
            " f.source = ?1 AND f.source_key = ?2)"
        )
        return [n for (n,) in self._tx.rows(sql, (self.board(key), key[1], self._space))]

    def is_new(self, key: Key) -> bool:
        """Whether a memory of another board is neither here nor gone."""
        board = self.board(key)
        if not board:
            return False
        sql = "SELECT 1 FROM departed WHERE board = ?1 AND number = ?2 UNION ALL"
        sql += " SELECT 1 FROM memories WHERE source = ?1 AND source_key = ?2"
        return not self._tx.rows(sql, (board, key[1]))

    def key_of(self, number: int) -> Key:
        """The global key of a memory that is here."""
        sql = f"SELECT {_global_key('m')} FROM memories m WHERE id = ?"
        ((board, there),) = self._tx.rows(sql, (number,))
        if not board:
            return self._identity.store_of(there), there
        ((store,),) = self._tx.rows("SELECT store FROM boards WHERE id = ?", (board,))
        return store, there

    def depart(self, key: Key, purge: bool, mine: bool) -> None:
        """Note that a memory is gone, whether it was here or not."""
        self._tx.execute(
            "INSERT INTO departed (namespace, board, number, purge, mine) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (board, number) DO UPDATE SET purge = max(purge, excluded.purge)"
            " WHERE namespace = excluded.namespace",
            (self._space, self.board(key), key[1], purge, mine),
        )

    def has_relation(self, origin: int, target: int, relation: str) -> bool:
        """Whether two memories are connected so, whichever board said it."""
        sql = "SELECT 1 FROM relations WHERE (origin, target, relation) = (?, ?, ?)"
        return bool(self._tx.rows(sql, (origin, target, self._tx.name_id(relation))))


def set_cursor(tx: Transaction, namespace: str, writer: str, kind: str, seq: int) -> None:
    """A stream of the hub was read up to a number."""
    sql = "INSERT OR REPLACE INTO cursors (namespace, writer, kind, seq) VALUES (?, ?, ?, ?)"
    tx.execute(sql, (namespace, writer, kind, seq))
