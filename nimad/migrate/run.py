"""A source under work: its snapshot, its batches, its log; how far it is, and when it is done.

A row passes four stages that cost differently; WEIGHTS makes them comparable, so that one share and
one ETA hold for the whole way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field
from datetime import tzinfo

from nimad import heap
from nimad.closing import Closing
from nimad.core.store import MemoryStore
from nimad.dataclass import dataclass
from nimad.errors import NimadError
from nimad.legacy.snapshot_kinds import open_snapshot
from nimad.legacy.source import LegacySource
from nimad.legacy.sqlite import LegacyGraph, Overlay
from nimad.legacy.values import FIRST_ID
from nimad.migrate import snapshots
from nimad.migrate.batcher import Batcher, bounds
from nimad.migrate.log import MigrationLog, progress_line
from nimad.model import COUNTED_STAGES, Memory, Stage
from nimad.store import source_delta, sources
from nimad.store.sources import Source
from nimad.store.transaction import Transaction
from nimad.times import find_zone, local_zone

WEIGHTS = dict(zip(COUNTED_STAGES, (0.35, 0.35, 0.10, 0.20), strict=True))
"""Share of the time that each stage takes."""
WORDS = 0.5
"""Of the time of copying, what words and columns take."""
DENSE = 0.8
"""Of the time of encoding, what converting takes where a source has hypervectors."""


def zone_of(source: Source) -> tzinfo:
    """The zone of a source's times which name none; earlier versions read them as UTC."""
    name = source.note("time_zone", "UTC")
    return find_zone(name) if name else local_zone()


def cursor(value: int) -> int | None:
    """A stored cursor as what the reader wants: None before the first row."""
    return None if value == FIRST_ID else value


@dataclass
class Progress:
    """One source's way, as seen by this process."""

    clock: Callable[[], float] = time.monotonic
    batches: int = 0
    batch_seconds: list[float] = field(default_factory=list)
    retries: int = 0
    ahead: dict[Stage, int] = field(default_factory=dict)
    """Rows of a stage that are done, but in memory only: vectors gathered, rows compared."""
    _began: float = 0.0
    _share: float = 0.0
    _rows: int = 0

    def begin(self, source: Source) -> None:
        """Work begins, or goes on after a pause: rates count from here."""
        self._began, self._share, self._rows = self.clock(), self.share(source), source.copied

    def batch(self, seconds: float) -> None:
        """A batch is done."""
        self.batches += 1
        self.batch_seconds.append(seconds)
        del self.batch_seconds[:-1000]

    def share(self, source: Source) -> float:
        """How much of all the work is done, within [0, 1]."""
        if source.stage == Stage.VERIFIED or not source.total:
            return 1.0 if source.stage == Stage.VERIFIED else 0.0
        parts = {name: min(1.0, self.done(source, name) / source.total) for name in WEIGHTS}
        if source.total_dense and source.stage in (Stage.COPIED, Stage.ENCODED):
            converted = min(1.0, source.converted / source.total_dense)
            parts[Stage.ENCODED] = (1 - DENSE) * parts[Stage.ENCODED] + DENSE * converted
        return min(1.0, sum(weight * parts[name] for name, weight in WEIGHTS.items()))

    def done(self, source: Source, stage: Stage) -> int:
        """Rows that have come as far as `stage`, those in memory included."""
        if source.stage in COUNTED_STAGES[COUNTED_STAGES.index(stage) :]:
            return source.total
        return min(source.total, int(getattr(source, stage)) + self.ahead.get(stage, 0))

    def eta(self, source: Source) -> float | None:
        """Seconds that are left at this pace; None while there is no pace yet."""
        share, elapsed = self.share(source), self.elapsed()
        gained = share - self._share
        if source.stage == Stage.VERIFIED:
            return 0.0
        if gained <= 0 or elapsed <= 0:
            return None
        return elapsed * (1 - share) / gained

    def rows_per_second(self, source: Source) -> float:
        """Memories that went the whole way per second, as far as one can say now."""
        gained, elapsed = self.share(source) - self._share, self.elapsed()
        return source.total * gained / elapsed if gained > 0 and elapsed > 0 else 0.0

    def elapsed(self) -> float:
        """Seconds since the work began in this process."""
        return self.clock() - self._began if self._began else 0.0


@dataclass
class Run(Closing):
    """What the stages work on; made anew from the ledger whenever anything went wrong."""

    store: MemoryStore
    source_id: int
    log: MigrationLog
    gated: bool
    batcher: Batcher
    progress: Progress = field(default_factory=Progress)
    _graph: LegacySource | None = None
    _stage: Stage | None = None
    _hidden: tuple[int, int] = (0, 0)
    """The changes above one up to another are all of this run."""

    @classmethod
    def of(cls, store: MemoryStore, source: Source, log: MigrationLog) -> Run:
        """A run of a source as the ledger and the configuration have it."""
        gated = not source.at_once
        batcher = Batcher(bounds(store.config, gated), source.batch_size)
        run = cls(store, source.id, log, gated, batcher)
        batcher.changed = run.tell_size
        run.progress.begin(source)
        return run

    def begin_stage(self, stage: Stage) -> None:
        """A row costs something else now: the size of the batches is learned anew.

        A stage that is only begun again, after an error, keeps what it has learned.
        """
        self.progress.ahead.clear()
        if stage != self._stage:
            self._stage = stage
            limits = bounds(self.store.config, self.gated)
            self.batcher = Batcher(limits, self.source().batch_size, changed=self.tell_size)

    def tell_size(self, old: int, new: int, why: str) -> None:
        """The batcher changed the size: migration.log tells it, the journal only what is short."""
        name = self.source().name
        self.log.info(f"Batch size {old} → {new} ({why}) {name}", quiet="memory" not in why)

    def source(self) -> Source:
        """The source as the ledger has it now."""
        return sources.by_id(self.store.records, self.source_id)

    def graph(self) -> LegacySource:
        """The snapshot, open.  Raises NotFound when it was deleted, SourceCorrupt, ..."""
        if self._graph is None:
            self._graph = self.open_source()
        return self._graph

    def open_source(self, alone: bool = False) -> LegacySource:
        """The snapshot, and over it what was appended since (`alone`: only that)."""
        source = self.source()
        graph = open_snapshot(source.kind, snapshots.path_of(self.store, source), zone_of(source))
        rows = source_delta.rows(self.store.records, source.id)
        if not isinstance(graph, LegacyGraph):
            return graph
        graph.reader.give_way = self.give_way
        if not (rows or alone):
            return graph
        return Overlay(graph, rows, alone)

    def give_way(self) -> None:
        """Let queries go first."""
        self.store.query_priority.yield_to_queries()

    @contextmanager
    def adding(self) -> Iterator[Transaction]:
        """A transaction within which questions go first.  None need have what it adds until
        `take_in` has shown it, in steps."""
        with self.store.records.write() as tx:
            tx.pause, before = self.store.give_way, tx.last_change()
            yield tx
            after, last = self._hidden
            self._hidden = after if last == before else before, tx.last_change()
            self.store.recall.spare(*self._hidden)  # before a question can see the commit

    def take_in(self, memories: Sequence[Memory]) -> None:
        """Let words and columns learn of what was added; else the first question afterwards would
        have to, and 60,000 take longer than a question may."""
        with suppress(NimadError):  # they are stored; a query tells what is wrong
            self.store.take_in(memories)

    @property
    def spares(self) -> bool:
        """Whether queries are to notice nothing: this work can wait, or somebody asks."""
        return self.gated or self.store.query_priority.asked_lately

    def show(self) -> None:
        """Hide nothing any more: nothing is added after this, and the source is soon told whole."""
        self._hidden = (0, 0)
        self.store.recall.spare(0, 0)

    def close(self) -> None:
        """Let go of the snapshot, and hide nothing any more."""
        self.show()
        if self._graph is not None:
            self._graph.close()
            self._graph = None

    @contextmanager
    def batch(self, rows: int, done: Stage) -> Iterator[None]:
        """Time one batch of `rows`, teach the batcher, write the progress line."""
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        self.batcher.succeeded(rows, seconds)
        progress, source = self.progress, self.source()
        progress.batch(seconds)
        so_far = progress.done(source, done)
        # how many batches the stage under way will have had in the end
        most = progress.batches + max(0, -(-(source.total - so_far) // self.batcher.size))
        more = f"{source.name}: {so_far} of {source.total} {done}"
        share, eta = progress.share(source), progress.eta(source)
        self.log.info(progress_line(progress.batches, most, share, eta, more), quiet=True)
        self.give_way()
        heap.give_back()  # a stage's rows are of other sizes than those of the one before
