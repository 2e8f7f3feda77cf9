"""The semantic index as a projection: the vectors of all memories, and the embedder of both.

It owns the pair that serves (an index and the embedder that made its vectors), the embedder that is
wanted, the ids of memories that wait for a vector, and the encoding of everything anew when the
wanted embedder is another one (see reencoding.py).  How vectors become segments: segments.py.

What a start puts right:

| a crash left | what is done |
|---|---|
| vectors that only RAM held | encoded again before anything is served: 2 * BULK_ROWS at most |
| a segment file that no row names | removed: its rows are still in `hot` or behind a cursor |
| an index half made anew | goes on when the same embedder is still wanted, else removed |
| a listed segment, damaged or missing | set aside; its memories are encoded again when idle |
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nimad.config import Config
from nimad.core import embedders, segments
from nimad.core.health import Health
from nimad.core.left_vectors import LeftVectors
from nimad.core.projection import Ended, Problem, Projection, Waiters
from nimad.core.reencoding import Reencoding
from nimad.core.unwritten import BULK, UnwrittenVectors
from nimad.disk.durable import remove_strays, set_aside, size_of
from nimad.embed.base import Embedder, signature
from nimad.errors import Degraded, DiskFailed, DiskFull, NimadError
from nimad.index.blocks import BlockIndex, Damage
from nimad.index.quantise import Vectors
from nimad.store import staged_segments
from nimad.store.forgotten import PurgeNote
from nimad.store.records import Records
from nimad.store.transaction import Transaction

log = logging.getLogger(__name__)

REPAIR_ROWS = 1000
"""Memories without a vector that are encoded in one step [rows]."""
BULK_ROWS = 4096
"""Vectors in memory from which on a bulk is sealed, before its client is told: 1 MB.  Of a quick
embedder the records never hold those that came in bulk, and a start encodes them again [rows]."""
BULK_SECONDS = 5.0
"""Time after a bulk for which more is expected [seconds]."""
HELD = 32
"""Segments from which on they are merged as in idle time, although a bulk comes: of so many a
question takes 3 ms longer [segments]."""
WAITING_BYTES = 16 << 20
"""Size of the vectors in memory from which on a bulk waits for other maintenance to end [bytes]."""
FIX = "nimactl rebuild blocks"
LATER = f"nothing: it happens in idle time (or now: {FIX})"
LIVING = "FROM tombstones AS t WHERE EXISTS (SELECT 1 FROM memories WHERE id = t.id)"
"""Tombstones of memories: damage, for the memory needs a vector."""

Rows = NDArray[np.float32]
Ids = NDArray[np.int64]
Encoded: TypeAlias = tuple[Embedder, Rows | None]


class SemanticIndex(Projection):
    """Vectors of one state directory; also what `remember` and queries ask."""

    name = "blocks"

    def __init__(
        self,
        state: Path,
        config: Config,
        records: Records,
        health: Health,
        lock: threading.RLock,
        waiters: Waiters,
    ) -> None:
        """`lock` is held by everything here that seals, merges or rebuilds; `waiters` wait for it.

        Raises EmbedderMissing, TableDamaged: in a store that has no vectors yet.
        """
        self._state, self._config = state, config
        self._records, self._health, self._lock = records, health, lock
        self._waiters = waiters
        self.give_way: Callable[[], object] = lambda: None
        self._damaged: list[Damage] = []
        self.unencoded_ids: list[int] = []
        self._left = LeftVectors(records)
        self._unwritten = UnwrittenVectors()
        self._bulk_until = -math.inf
        self.uncertain = False
        """Whether a transaction may have raised and yet been committed, because the disk failed."""
        self.reencoding: Reencoding | None = None
        self.wanted_embedder = embedders.wanted(config, records, health)
        embedder, self.due = embedders.serving(self.wanted_embedder, config, records)
        self.serving = (BlockIndex(state / "blocks", embedder.dims), embedder)
        """The index that serves now and the embedder that made its vectors: one pair, read once."""

    @property
    def index(self) -> BlockIndex:
        """The index that serves now."""
        return self.serving[0]

    @property
    def embedder(self) -> Embedder:
        """The embedder that made the vectors in `index`."""
        return self.serving[1]

    # --- start ----------------------------------------------------------------------------------

    def open(self) -> None:
        """Map the listed segments, load the hot vectors, lay the tombstones."""
        records, (index, embedder) = self._records, self.serving
        if records.meta("embedder") != signature(embedder):  # kept until the rebuild replaces them
            why = "the vectors are of another embedder, and are being made anew"
            self._health.fail(self.name, why)
            index.open([])
            return
        self._note_damage(index.open(records.segment_names()))
        wanted = signature(self.wanted_embedder) if self.due else ""
        others = staged_segments.names(records, wanted) != staged_segments.names(records)
        living = records.ids_of(f"SELECT id {LIVING}")
        with contextlib.suppress(DiskFull, DiskFailed):  # the next start does it
            if others or len(living):
                with records.write() as tx:  # an index for a third embedder is given up
                    staged_segments.forget_others(tx, wanted)
                    tx.execute(f"DELETE {LIVING}")
            remove_strays(self.strays())
        with records.as_far_as_readable() as unread:
            index.append(*segments.from_hot(records.hot(), embedder.dims))
        if unread:
            self._health.fail(self.name, f"the newest vectors are missing: {unread[0].message}")
        gone = records.tombstones()  # setdiff1d would load numpy.ma, at each start
        index.remove(np.setdiff1d(gone, living) if len(living) else gone)
        if self._damaged:
            with contextlib.suppress(NimadError, OSError):  # a full disk: `follow` does it later
                self._retire_damaged()

    def complete(self, every: Ids) -> None:
        """The end of a start: look for memories without a vector, and for vectors without a memory.
        `every`: int64[n], ascending, the ids of all memories."""
        if self._records.meta("embedder") != signature(self.embedder):
            return
        missing = self.missing_vectors(every, mend=True)
        self._left.leave(missing if self.embedder.quick and len(missing) <= 2 * BULK_ROWS else [])
        if not self.due:
            self.unencoded_ids = missing

    def settle(self) -> None:
        """Encode what the start left, if nobody did yet."""
        self._left.make(self.embedder, self.add, self._encoded)

    def _encoded(self, done: set[int]) -> None:
        self.unencoded_ids = [i for i in self.unencoded_ids if i not in done]

    def missing_vectors(self, every: Ids | None = None, *, mend: bool = False) -> list[int]:
        """Ids without a vector: not in the index, and not waiting behind a source's cursor.  With
        `mend`, vectors without a memory are taken out: a bit flipped in their tombstone.

        `every`: the ids of all memories, where they are known: the records must be read whole.
        """
        every, indexed = self._records.ids() if every is None else every, self.index.ids()
        if np.array_equal(every, indexed):  # nearly always
            return []
        if mend:
            self.index.remove(np.setdiff1d(indexed, every, assume_unique=True))
        lost = np.setdiff1d(every, indexed, assume_unique=True)
        join = "sources s JOIN memories m ON m.source = s.id"
        waiting = self._records.ids_of(f"SELECT m.id FROM {join} WHERE m.id > s.encode_cursor")
        return [int(i) for i in np.setdiff1d(lost, waiting)]

    # --- another embedder -----------------------------------------------------------------------

    def configure(self, config: Config) -> None:
        """Take a configuration that was read again; another embedder is changed to in idle time.

        Raises ConfigError, EmbedderMissing, TableDamaged: nothing has changed then.
        """
        if (wanted := embedders.named(config["embedder"], config)) is not self.wanted_embedder:
            wanted.check()
        with self._lock:
            self._config = config
            self._health.restore("embedder")
            if signature(wanted) != signature(self.wanted_embedder):
                self.wanted_embedder, self.reencoding = wanted, None
                self.due = signature(wanted) != self._records.meta("embedder")
            elif wanted is not self.wanted_embedder:  # the same vectors, got in another way
                if self.embedder is self.wanted_embedder:
                    self.serving = (self.index, wanted)
                self.wanted_embedder, self.reencoding = wanted, None

    def begin_reencoding(self) -> Reencoding:
        """The work of encoding everything with the wanted embedder; one at a time.

        Raises DiskFull when there is not the room for a second index.
        """
        with self._lock:
            if self.reencoding is None:
                given = self._records, self.index.directory, self.wanted_embedder
                self.reencoding = Reencoding(*given, self._lock, self._waiters, self.serve)
            return self.reencoding

    def serve(self, index: BlockIndex, embedder: Embedder) -> None:
        """Let another index serve, with the embedder that made it; the records know already."""
        self.serving = (index, embedder)
        self.reencoding = None
        self.due = signature(embedder) != signature(self.wanted_embedder)
        self.unencoded_ids, self._damaged = [], []
        self._unwritten = UnwrittenVectors()
        self._health.restore(self.name)

    # --- writing --------------------------------------------------------------------------------

    def encode(
        self, texts: Sequence[str], before_each: Callable[[], object] = lambda: None
    ) -> Encoded:
        """The embedder that serves and the vectors of texts, None while it is away; a quick one is
        given BULK texts at a time, and `before_each` is called between them."""
        embedder, parts = self.embedder, [texts]
        if embedder.quick and len(texts) > BULK:
            parts = [texts[first : first + BULK] for first in range(0, len(texts), BULK)]
        made: list[Rows] = []
        with contextlib.suppress(Degraded):
            for part in parts:
                before_each()
                made.append(segments.encode(embedder, part))
            return embedder, np.concatenate(made)
        return embedder, None

    def write(self, tx: Transaction, ids: Sequence[int], rows: Rows) -> set[int]:
        """Keep the vectors of memories in their transaction, or only in RAM, where they can be had
        again from the texts: the ids of those that are written now, to be given to `add`."""
        return self._unwritten.write(tx, ids, rows, quick=self.embedder.quick)

    def add(self, ids: Sequence[int], rows: Rows | None, written: Collection[int] = ()) -> None:
        """Show readers the vectors of memories that were committed; see `write`.

        Without vectors the memories are found by words until the embedder is back.
        """
        if rows is None:
            self.unencoded_ids = [*self.unencoded_ids, *ids]
            return
        self.index.append(np.array(ids, np.int64), rows)
        if len(ids) >= BULK:
            self._bulk_until = time.monotonic() + BULK_SECONDS
        if self.embedder.quick:
            self._unwritten.add(ids, rows, written)

    def seal_bulk(self) -> None:
        """Seal the hot rows once they are many; while other maintenance runs, only when they take
        too much memory.  For who has stored a bulk, and holds no lock."""
        hot = self.index.stats()["hot"]
        large = hot * self.index.dims >= WAITING_BYTES
        if hot >= BULK_ROWS and self._lock.acquire(blocking=large):
            try:
                with contextlib.suppress(Ended):
                    self.flush((lambda: None) if large else self._waiters.end_for_them)
            finally:
                self._lock.release()

    def seal(
        self, ids: Ids, rows: Vectors, within: Callable[[Transaction], None] | None = None
    ) -> None:
        """Put rows into a new segment; `within` joins its transaction (to move a cursor, say)."""
        with self._lock:
            segments.seal(self._records, self.index, ids, rows, within, self.give_way)

    def flush(self, going_on: Callable[[], object] = lambda: None) -> int:
        """Seal every hot vector into a segment; the number of rows.  `going_on`: as of `merge`."""
        with self._lock:
            self.settle()
            bulk = self._unwritten.bulk
            ids, rows = self.index.hot_rows()
            if len(ids):
                within = self._unwritten.seal(ids, bulk)
                look = lambda: (going_on(), self.give_way())  # noqa: E731
                segments.seal(self._records, self.index, ids, rows, within, look)
            return len(ids)

    def merge(self, names: Sequence[str], going_on: Callable[[], object] = lambda: None) -> None:
        """Make one segment of several: see `nimad.core.segments.merge`."""
        with self._lock:
            segments.merge(self._records, self.index, names, going_on)

    def rewrite_segments_with(self, ids: Ids) -> None:
        """Make each segment that holds one of these ids again, without what is forgotten."""
        for name in self._records.segment_names():
            if len(np.intersect1d(self.index.segment_ids([name]), ids)):
                self.merge([name])

    # --- idle time ------------------------------------------------------------------------------

    def follow(self) -> bool:
        """Mend what is damaged, encode what has no vector, seal hot vectors, merge segments."""
        self.settle()
        if self._damaged:
            self._retire_damaged()
            return True
        if self.uncertain:  # bring the index to what the records hold
            with self._records.exclusive():  # nothing comes or goes in between
                self.uncertain = False
                alive = self._records.ids()
                self.index.remove(np.setdiff1d(self.index.ids(), alive, assume_unique=True))
                self.unencoded_ids = [] if self.due else self.missing_vectors()
        waits: NimadError | None = None
        try:
            if self.due:
                work = self.begin_reencoding()
                with contextlib.suppress(Ended):
                    if not work.step():
                        rows, name = work.finish(), self.embedder.name
                        log.info("encoded %d memories with the embedder %s", rows, name)
                return True
            if self.unencoded_ids:
                with contextlib.suppress(Ended):
                    self.repair()
                return True
            if self._health.restore(self.name):
                log.info("the blocks are whole again")
        except (Degraded, DiskFull, DiskFailed) as error:
            waits = error  # what is there already is tidied up nevertheless
        many = self.index.stats()["hot"] >= self._config["blocks.flush_rows"]
        due = many or self._unwritten.due
        if self.sparing:  # whoever brings a bulk seals it
            due = self.index.stats()["hot"] >= max(self._config["blocks.flush_rows"], BULK_ROWS)
        with contextlib.suppress(Ended):
            if due and self.flush(self._waiters.end_for_them):
                return True
        if small := self._to_be_merged(sparing=self.sparing):
            with contextlib.suppress(Ended):
                self.merge(small, self._waiters.end_for_them)
            return True
        if waits is not None:
            raise waits
        return False

    @property
    def bulk_comes(self) -> bool:
        """Whether memories came in bulk a moment ago."""
        return time.monotonic() < self._bulk_until

    @property
    def crowded(self) -> bool:
        """Whether segments should be merged although a bulk comes."""
        return self.bulk_comes and bool(self._to_be_merged(sparing=True))

    def _to_be_merged(self, *, sparing: bool) -> list[str]:
        listed = sorted(self.index.sizes().items(), key=itemgetter(1, 0))
        most, bound = self._config["blocks.merge_segments"], self.index.params.learn_rows
        choose = segments.flat_ones if sparing and len(listed) <= HELD else segments.small_ones
        return choose(listed, most, bound)

    def repair(self) -> bool:
        """Encode some memories without a vector (a damaged segment, an embedder that was away);
        whether any are left.  Raises Degraded while the embedder is away, Ended."""
        with self._lock:
            ids = self.unencoded_ids[:REPAIR_ROWS]
            given = self._records, self.embedder, ids, self._waiters.end_for_them
            kept, rows = segments.encode_memories(*given)
            if kept:
                numbers = np.array(kept, np.int64)
                if len(kept) + self.index.stats()["hot"] < self._config["blocks.flush_rows"]:
                    self.add_hot(numbers, rows)
                else:
                    self.seal(numbers, rows)
            with self._records.exclusive():
                self._encoded(set(ids))
            return bool(self.unencoded_ids)

    def add_hot(
        self,
        ids: Ids,
        rows: Rows,
        within: Callable[[Transaction, Ids], None] = lambda tx, added: None,
    ) -> Ids:
        """Put rows among the hot ones; those forgotten meanwhile are left out.

        `within` joins the transaction.  Returns, and gives it, the ids that are still here.
        """
        with self._records.exclusive():
            with self._records.write() as tx:
                alive = np.isin(ids, tx.alive(ids))
                ids, rows = ids[alive], rows[alive]
                tx.add_hot(segments.to_hot(ids.tolist(), rows))
                within(tx, ids)
            self.index.append(ids, rows)
        return ids

    def _note_damage(self, damaged: list[Damage]) -> None:
        """Segments that cannot be used are to be set aside; queries go on with the rest."""
        if damaged:
            self._damaged = damaged
            self._health.fail(self.name, f"{len(damaged)} damaged segment(s) are being made anew")

    def _retire_damaged(self) -> None:
        """Set the damaged segments aside; their memories are encoded again.

        Crash prose: a crash after a file was moved leaves a listed segment without a file, which
        the next start treats as damaged; one after the transaction leaves memories without a
        vector, which every start looks for.
        """
        names = [damage.name for damage in self._damaged]
        for damage in self._damaged:
            log.error("segment %s: %s", damage.name, damage.error.message)
            path = self.index.path(damage.name)
            if path.exists():
                set_aside(path, self._state / "aside")
        with self._records.write() as tx:
            tx.unlist_segments(names)
        with self._records.exclusive():
            self.index.publish([], names)
            self.unencoded_ids = [] if self.due else self.missing_vectors()
        self._damaged = []

    def rebuild(self) -> int:
        """Encode every memory again, with the wanted embedder; the number of memories.

        Goes on where an earlier one for the same embedder stopped; others may work between the
        steps, and a purge comes first.  Raises Degraded while the embedder is away, DiskFull.
        """
        self.settle()
        with self._lock:
            if not self.due:
                self.reencoding = None
            work = self.begin_reencoding()
        while True:
            self._waiters.let_go_first()
            with contextlib.suppress(Ended):
                return work.finish(self._waiters.end_for_them)

    # --- the rest of a projection ---------------------------------------------------------------

    def scrub(self, note: PurgeNote) -> None:
        """Rewrite the segments that held the vectors, those of an index under way, too."""
        self.settle()
        if self._damaged:  # one may hold them, and what was set aside is deleted after this step
            self._retire_damaged()
        ids = np.array(sorted(note.ids), np.int64)
        self.rewrite_segments_with(ids)
        if self.due:
            self.begin_reencoding().discard(ids)

    def check(self) -> list[Problem]:
        """Checksums of all segments; every memory has one vector, every vector a memory."""
        self.settle()
        damaged = self.index.verify()
        self._note_damage(damaged)  # for `follow`, which sets it aside: a check writes nothing
        fix = f"nothing: it is set aside and made anew in idle time (or now: {FIX})"
        found = [Problem(self.name, damage.error.message, fix) for damage in damaged]
        if self.due:
            what = f"the vectors are to be made anew with the embedder {self.wanted_embedder.name}"
            return [*found, Problem(self.name, what, LATER, "note")]
        with self._lock, self._records.exclusive():  # nothing comes or goes in between
            indexed, rows = self.index.ids(), self.index.stats()["rows"]
            strangers = np.setdiff1d(indexed, self._records.ids())
            lost = self.missing_vectors()
            waiting = len(np.intersect1d(lost, self.unencoded_ids))
            stray = self.strays()
        twice = len(indexed) - len(np.unique(indexed)) or rows - len(indexed)
        for number, what, fix, severity in (
            (len(strangers), "vector(s) belong to no memory", FIX, "error"),
            (twice, "memories have two vectors", FIX, "error"),
            (len(lost) - waiting, "memories have no vector", FIX, "error"),
            (waiting, "memories have no vector yet: only words find them", LATER, "warning"),
        ):
            if number:
                found.append(Problem(self.name, f"{number} {what}", fix, severity))
        return found + [Problem(self.name, f"{p.name} is not listed", LATER, "note") for p in stray]

    def strays(self) -> list[Path]:
        """See `Projection`."""
        return segments.stray_files(self._records, self.index)

    def verify_steps(self) -> Iterator[None]:
        """Read all segments and compare checksums, a few MB a step: a start reads only a part of
        large ones.  Damage is noted for `follow`, as by `check`."""
        found = []
        for damage in self.index.verify_steps():
            if damage is not None:
                found.append(damage)
            yield
        self._note_damage(found)

    def size(self) -> int:
        """Bytes of the segments."""
        return size_of(self._state / "blocks")

    def rest(self) -> None:
        """Give back the embedder's table, and what was read of the segments."""
        self.embedder.rest()
        self.index.rest()
