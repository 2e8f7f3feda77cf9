"""The MemoryStore: everything a state directory holds, behind one object.

The records (`store.records`) are the truth; `store.projections` is the list of what is derived from
them, see nimad/core/projection.py.  This class ties them together; each verb is a few lines here.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import tzinfo
from pathlib import Path

from nimad import heap
from nimad.config import Config
from nimad.core.capture import CapturedTurn, StoredTurn
from nimad.core.clock import Clock
from nimad.core.columns_cache import ColumnsCache
from nimad.core.graph import Graph
from nimad.core.health import Health
from nimad.core.history import History
from nimad.core.hypervectors import Hypervectors
from nimad.core.integrity import Integrity, told_as_damage
from nimad.core.projection import Projection, Waiters
from nimad.core.purge import Purge, Receipt
from nimad.core.query_priority import SHORT_PAUSE, QueryPriority
from nimad.core.semantic import SemanticIndex
from nimad.core.setbacks import Setbacks
from nimad.core.state_directory import (
    RECORDS,
    StateLock,
    check_owner,
    check_records,
    prepare_state,
    sweep,
)
from nimad.core.under_way import UnderWay
from nimad.core.unwritten import BULK
from nimad.core.words import WordsIndex
from nimad.core.writer import DocumentName, Writer
from nimad.disk.failures import disk_errors, find_unreadable, refusal_beside
from nimad.embed.base import Embedder
from nimad.errors import DiskFailed, DiskFull, NimadError, NotFound
from nimad.index.blocks import BlockIndex
from nimad.model import EVERYTHING, Answer, Filter, Hit, Memory, may_see
from nimad.namespaces import Namespaces
from nimad.recall.query_context import Stopwatch
from nimad.recall.ranking import Recall
from nimad.store.bounded import page_within
from nimad.store.fixed_records import FixedRecords
from nimad.store.records import Records
from nimad.store.relations import RelatedMemory, related_memories
from nimad.store.transaction import Transaction
from nimad.words.index import TermIndex

DISK = "disk"
"""Its name in `degraded`, while it is read-only or fails: what is remembered is refused then."""
TEXT = 1 << 19
"""Length of the texts that are stored after which what they left in memory is given back: pages
of the embedder's table, 13 MB, and pieces of what was freed [characters]."""


class MemoryStore:
    """Records and projections of one state directory; safe to use from many threads.

    `maintenance` is the lock of all work that seals, merges, rebuilds or purges: one piece at a
    time, while reads and `remember` go on.  The background worker registers callbacks:
    `on_change` is called after each change (with how many memories were stored), `on_asked` after
    each query, `on_returned` with the ids of memories that a caller was given.
    """

    def __init__(self, state: Path, config: Config, lock: StateLock, records: Records) -> None:
        self.state, self.config, self._lock, self.records = state, config, lock, records
        self.maintenance, self.waiters = threading.RLock(), Waiters()
        self.on_change: Callable[..., None] = lambda memories=0: None
        self.on_asked: Callable[[], None] = lambda: None
        self.on_returned: Callable[[Sequence[int]], None] = lambda ids: None
        self.health = Health(lambda: self.on_change())
        self.setbacks = Setbacks()
        self.query_priority = QueryPriority()
        self.under_way = UnderWay()
        self.started = time.monotonic()
        self._taken_in = 0
        self.clock = Clock(records)
        self.history = History(records, self.clock)
        records.on_trouble = self._disk_trouble
        if records.refusal is not None:
            self.health.fail(DISK, records.refusal.sentences)
        self.semantic = SemanticIndex(
            state, config, records, self.health, self.maintenance, self.waiters
        )
        self.semantic.give_way = give_way = self.query_priority.yield_to_queries
        self.dense = Hypervectors(state, records, self.health, self.maintenance)
        self.graph = Graph(state, config, records, self.health, give_way)
        self.terms = terms = TermIndex(records, lambda error: self.words.meet(error))
        file = state / "columns.nrc"
        self.recall = Recall(records, lambda: self.semantic.serving, file=file, terms=terms)
        self.words = WordsIndex(
            *(state, records, self.health, self.maintenance, terms, self.recall),
            *(self.query_priority.yield_to_queries, self.waiters),
        )
        first: list[Projection] = [self.words, self.semantic, self.graph, self.dense]
        self.projections = [*first, ColumnsCache(self.recall, file)]
        for projection in self.projections:
            projection.open()
        self.writer = Writer(
            *(records, self.clock, self.semantic, self.setbacks),
            *(self._stored, self.give_way, self.recall.spare, terms),
        )
        self.integrity = Integrity(records, self.health, self.projections)
        self.purge = Purge(
            *(state, records, self.semantic, self.dense, self.projections),
            *(self.maintenance, self.waiters),
        )

    @classmethod
    def open(cls, state: Path, config: Config, refusal: NimadError | None = None) -> MemoryStore:
        """Take the directory (made when missing), recover what a crash left.

        Raises StateBusy when another process owns it, StateUnusable, StateTooNew, RecordsDamaged;
        DiskFull, DiskReadOnly, DiskFailed: then it may be tried again; ConfigError,
        EmbedderMissing, TableDamaged while there are no vectors yet.

        With `refusal`, why the disk takes no writes, it is only read, as far as it can be, and each
        write is refused (`store.fixed_records`).  Raises `refusal` also when it must be brought up
        to date first.
        """
        (prepare_state if refusal is None else check_owner)(state)
        with disk_errors(f"{state} cannot be opened"), contextlib.ExitStack() as undo:
            lock = StateLock(state, writable=refusal is None)
            undo.callback(lock.release)
            check_records(state)
            path = state / RECORDS
            if refusal is None:
                sweep(state)
                records = Records.open(path)
            else:
                records = FixedRecords.open_fixed(path, refusal)
            undo.callback(records.close)
            with told_as_damage(records):
                store = cls(state, config, lock, records)
                with records.as_far_as_readable():  # a question that needs them will be told
                    store.recall.load()
                    # the columns know every id, and their file is read sooner than all records
                    store.semantic.complete(store.recall.every_id())
            undo.pop_all()
        return store

    def takes_writes(self) -> bool:
        """Whether the disk that refused writes at the start would not now."""
        path = self.records.path
        try:
            prepare_state(self.state)
            return os.access(path, os.W_OK) and refusal_beside(path) is None
        except NimadError:
            return False

    def reads_whole(self) -> bool:
        """Whether all of the records can be read, where that may be what kept them from being
        written to.  Reads them all, so a full or read-only disk is not asked."""
        failed = type(self.records.refusal) is DiskFailed
        return not failed or find_unreadable(self.records.path) is None

    def close(self) -> None:
        """Write what is kept in RAM and give the directory free."""
        with self.maintenance:
            self.writer.accesses.save(self.records)
            with contextlib.suppress(NimadError):  # a full disk must not keep it from stopping
                self.history.save()
            for projection in self.projections:
                projection.close()
            self.recall.close()
            self.records.close()
            self._lock.release()

    def configure(self, config: Config) -> None:
        """Take a configuration that was read again; another embedder is changed to in idle time.

        Raises ConfigError, EmbedderMissing, TableDamaged: nothing has changed then.
        """
        with self.maintenance:
            self.semantic.configure(config)
            self.config = config
        self.setbacks.clear()
        self.on_change()

    def _disk_trouble(self, error: DiskFailed | DiskFull | None) -> None:
        """The disk refuses, or (None) works again: then all that waits goes on at once."""
        if error is None:
            self.health.restore(DISK)
            self.setbacks.clear()
            self.on_change()
        elif isinstance(error, DiskFailed):
            self.semantic.uncertain = True
            self.health.fail(DISK, error.sentences)

    @property
    def blocks(self) -> BlockIndex:
        """The index of vectors that serves now, with those that the start left."""
        self.semantic.settle()
        return self.semantic.index

    @property
    def embedder(self) -> Embedder:
        """The embedder that made the vectors in `blocks`."""
        return self.semantic.embedder

    # --- writing ------------------------------------------------------------------------------

    def remember(self, memory: Memory) -> int:
        """Store one memory; durable and findable when it returns. Raises UsageError, DiskFull."""
        return self.remember_many([memory])[0]

    def remember_many(
        self,
        memories: Sequence[Memory],
        also: Callable[[Transaction], None] | None = None,
        gone: Sequence[DocumentName] = (),
    ) -> list[int]:
        """Store memories in one transaction: all of them, or (on an error) none; their ids.

        A document takes the place of the one with its key, and those named in `gone` go; both are
        forgotten.  `also` joins the transaction when the memories have their ids.  The UsageError
        for a memory has its number in `fields["place"]`.
        """
        return self.writer.remember(memories, also, gone)

    def capture(self, turns: Sequence[CapturedTurn]) -> list[StoredTurn]:
        """Store turns, or what they lack, in one transaction: see nimad.core.capture.

        The UsageError for a turn has its number in `fields["place"]`; nothing is stored then.
        """
        return self.writer.capture(turns)

    def _stored(self, memories: Sequence[Memory]) -> None:
        """Memories were stored.  Of many, words and columns learn here: the next query, which would
        have to otherwise, then takes no longer than usual."""
        self.on_change(len(memories))
        self._taken_in += sum(len(each.text) for each in memories)
        if self._taken_in >= TEXT:
            self._taken_in = 0
            self.embedder.give_back()
            self.give_way()
            heap.give_back()
        if len(memories) < BULK:
            return
        try:
            self.take_in(memories)
            self.semantic.seal_bulk()
        except NimadError:  # they are stored; a query tells what is wrong
            pass
        finally:
            self.recall.spare(0, 0)

    def take_in(self, memories: Sequence[Memory]) -> None:
        """Let words and columns learn of what was written, these memories last, in steps between
        which queries go first."""
        ids, texts = [each.id for each in memories], [each.text for each in memories]
        self.terms.add_ahead(ids, texts, self.give_way)
        last = self.records.value("SELECT max(id) FROM memories")
        self.terms.follow_ahead(int(last or 0), self.give_way)
        asked = self.query_priority.asked_lately
        self.recall.follow(give_way=self.give_way, sparing=asked)

    def give_way(self) -> None:
        """Wait for the queries under way, a little: for long work for a client."""
        self.query_priority.yield_to_queries(SHORT_PAUSE)

    def forget(
        self,
        ids: Sequence[int],
        *,
        purge: bool = False,
        dry_run: bool = False,
        all_forgotten: bool = False,
    ) -> Receipt:
        """Delete memories from every part; with `purge` no trace of them is left in the files.

        With `all_forgotten`, nor of any memory that was forgotten before.  Raises UsageError.
        """
        receipt = self.purge.forget(ids, purge, dry_run, all_forgotten)
        if receipt.forgotten and not dry_run:
            self.on_change()
        return receipt

    # --- reading ------------------------------------------------------------------------------

    def get(self, memory_id: int, within: Namespaces | None = None) -> Memory:
        """The memory, with its blobs; raises NotFound, also for one outside of some namespaces."""
        self.clock.catch_up()
        found = self.records.get([memory_id])
        if memory_id not in found or not may_see(within, found[memory_id]):
            raise NotFound(kind="memory", id=memory_id)
        self.on_returned([memory_id])
        return self.records.with_blobs([found[memory_id]])[0]

    def query(
        self,
        text: str,
        k: int = 10,
        mode: str = "hybrid",
        where: Filter | None = None,
        now: int | None = None,
        watch: Stopwatch | None = None,
        zone: tzinfo | None = None,
        strictness: float | None = None,
        rank: Callable[[list[Hit]], list[Hit]] | None = None,
    ) -> Answer:
        """The memories that answer a text, best first; see nimad.recall.ranking.

        Args:
            now: epoch milliseconds from which "yesterday" in the text counts; default: the clock.
            zone: whose days dates in the text mean; default: this machine's.
            rank: has the last word on which hits are shown, and their order.
            watch: ends the query when it takes too long (QueryTooLong).
            strictness: how much evidence an answer needs, in [0, 1]; default: the configuration's.
        """
        began = time.perf_counter()
        self.clock.catch_up()
        watch, where = watch or Stopwatch(), where or Filter()
        if strictness is None:
            strictness = self.config["recall.strictness"]
        with self.query_priority:
            if mode != "words":
                self.semantic.settle()
            hits = self.recall.query(text, k, mode, where, now, watch, zone, strictness)
            if rank is not None:
                hits = rank(hits)
        return self._answer(hits, began, watch.milliseconds())

    def similar(
        self, memory_id: int, k: int = 10, within: Namespaces | None = None, *, dense: bool = False
    ) -> Answer:
        """The memories (of some namespaces) nearest in meaning to one, best first, itself left out.

        With `dense`, those whose legacy hypervectors are nearest.  Raises NotFound, NoHypervector.
        """
        began = time.perf_counter()
        memory = self.get(memory_id, within)
        with self.query_priority:
            allowed = None if within is None else self.recall.ids(Filter(within=within))
            if dense:
                hits = self.dense.similar(memory_id, k, allowed)
            else:
                self.semantic.settle()
                hits = self.recall.similar(memory, k, allowed)
        return self._answer(hits, began, {})

    def _answer(self, hits: list[Hit], began: float, timings: dict[str, float]) -> Answer:
        ids = [hit.memory.id for hit in hits]
        self.writer.accesses.count(ids)
        self.on_returned(ids)
        self.on_asked()
        took = (time.perf_counter() - began) * 1000
        self.history.note(took)
        return Answer(hits, took, sorted(self.degraded()), timings)

    def related(
        self, memory_id: int, depth: int = 1, limit: int = 50, within: Namespaces | None = None
    ) -> list[RelatedMemory]:
        """What relations and turns connect with a memory, nearest first, by way of nothing that
        is outside of some namespaces.  Raises NotFound."""
        self.get(memory_id, within)
        return related_memories(self.records, memory_id, depth, limit, within)

    def export(self, after: int, limit: int) -> list[Memory]:
        """Up to `limit` memories with ids above `after`, by id, blobs included."""
        return page_within(self.records, after, limit, EVERYTHING, 1 << 62)[0]

    def degraded(self) -> dict[str, str]:
        """The parts that are out of service: name → reason."""
        trouble = self.embedder.trouble
        return {**self.health.reasons(), **({"embedder": trouble} if trouble else {})}
