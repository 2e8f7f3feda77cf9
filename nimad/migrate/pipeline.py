"""Moves sources on, batch by batch, stage by stage, through errors that pass.

Each stage is a generator that yields after every batch and takes all it knows from the ledger: so
after an error, a pause or a crash it is simply made anew, and goes on behind what was committed.

Retries: at once, then after 1, 5 and 15 seconds, but only for errors that can pass.  A memory error
halves the batch and tries again at once for as long as that helps.  What becomes of a source whose
batch has failed with all its retries:

- A full disk or an absent embedder: tried again later and later, without an end.
- What may pass (a locked file, a failing disk, memory): likewise, but after `SETBACKS` failed
  batches in a row the source pauses and says where.
- Everything else stops the source.

The other sources go on meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from nimad import heap
from nimad.background.worker import Step, Worker
from nimad.core.setbacks import Setbacks, describe
from nimad.core.store import MemoryStore
from nimad.errors import (
    Busy,
    Degraded,
    DiskFailed,
    DiskFull,
    DiskReadOnly,
    GraphFailed,
    MigrationFailed,
    NimadError,
    VerifyFailed,
)
from nimad.migrate.encode_on_hit import EncodeOnHit
from nimad.migrate.log import MigrationLog
from nimad.model import Stage, now_ms
from nimad.store import sources
from nimad.store.sources import Source

if TYPE_CHECKING:
    from nimad.migrate.run import Run

log = logging.getLogger(__name__)

WAITS = (0.0, 1.0, 5.0, 15.0)
"""Pauses before the second, third, ... attempt of a batch [seconds]."""
SETBACKS = 3
"""Batches of a source that may fail one after the other, each with its retries."""
MAY_PASS = (DiskFull, DiskFailed, Busy, GraphFailed, MemoryError, OSError)
"""Errors that may be gone at the next attempt."""


class Pipeline:
    """The one source that is under work; `advance` does a batch of it.

    `turn` is the lock of all that changes sources: it is held for the length of one attempt, and
    free while an attempt waits to be repeated.
    """

    def __init__(
        self, store: MemoryStore, log: MigrationLog, turn: threading.RLock, stop: threading.Event
    ) -> None:
        self._store, self._log, self._turn, self._stop = store, log, turn, stop
        self._waits = WAITS
        self._steps: Iterator[None] | None = None
        self.run: Run | None = None

    def reset(self) -> None:
        """Forget what was under work; the ledger has changed, or it is time to close."""
        with self._turn:
            self._steps = None
            if self.run is not None:
                self.run.close()
                self.run = None

    def advance(self, source: Source) -> None:
        """Do one batch.  Raises what cannot pass, or did not pass in time; nothing is half done."""
        import tenacity

        def tell(state: tenacity.RetryCallState) -> None:
            assert state.outcome is not None and state.next_action is not None
            error = state.outcome.exception()
            if self.run is not None:
                self.run.progress.retries += 1
            message = error.message if isinstance(error, NimadError) else repr(error)
            self._log.warn(
                f"Batch failed (attempt {state.attempt_number}/{len(self._waits) + 1}): {message}"
                f" Retrying in {state.next_action.sleep:.0f}s... {source.name}"
            )

        retrying = tenacity.Retrying(
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(len(self._waits) + 1),
                tenacity.stop_when_event_set(self._stop),
            ),
            wait=tenacity.wait_chain(*(tenacity.wait_fixed(seconds) for seconds in self._waits)),
            retry=tenacity.retry_if_exception_type(MAY_PASS),
            sleep=tenacity.sleep_using_event(self._stop),
            before_sleep=tell,
            reraise=True,
        )
        retrying(self._attempt_that_fits, source.id)
        if (number := retrying.statistics.get("attempt_number", 1)) > 1:
            self._log.info(f"Batch succeeded on retry {number} {source.name}")

    def _attempt_that_fits(self, source_id: int) -> None:
        """One attempt; at once again with a smaller batch."""
        while True:
            try:
                self._attempt(source_id)
                return
            except MemoryError:
                if self.run is None or not self.run.batcher.ran_out_of_memory():
                    raise
                size = self.run.batcher.size
                self._log.warn(f"Batch failed: out of memory. Retrying with {size} rows...")

    def _attempt(self, source_id: int) -> None:
        from nimad.migrate.run import Run

        with self._turn:
            source = sources.by_id(self._store.records, source_id)
            if not source.is_due:
                return  # paused, or rolled back, while this attempt waited
            if self.run is None or self.run.source_id != source_id:
                self.reset()
                self.run = run = Run.of(self._store, source, self._log)
                if source.started is None and source.stage != Stage.ROLLING_BACK:
                    sources.change(self._store.records, source.id, started=now_ms())
                    self._log.heading(f"NIMA Memory Migration: {source.name} → nimad")
                    self._log.info(
                        f"Source: {source.total} nodes, {source.bytes / (1 << 20):.0f} MB"
                    )
                    self._log.info(f"Batch size: {run.batcher.size} nodes")
                    self._log.info("Starting migration...")
                else:
                    self._log.info(f"{source.name}: goes on ({source.stage.state})")
            try:
                if self._steps is None:
                    self._steps = self._all_stages(self.run)
                self.run.give_way()
                with heap.without_cycles():
                    next(self._steps, None)
            except BaseException:
                self._steps = None
                self.run.close()
                raise

    # --- what is told -------------------------------------------------------------------------

    def _all_stages(self, run: Run) -> Iterator[None]:
        """Every stage that is still due, one after the other."""
        stages = _load_stages()
        while (stage := run.source().stage) in stages:
            run.begin_stage(stage)
            if stage == Stage.LINKED:
                run.show()
            yield from stages[stage](run)
            self._finished(run, stage)
            if stage == Stage.LINKED:
                from nimad.migrate.link_stage import make_graph

                make_graph(run)
            yield
        run.close()

    def _finished(self, run: Run, stage: Stage) -> None:
        source = run.source()
        if stage == Stage.ROLLING_BACK:
            self._log.info(f"{source.name}: rolled back")
            return
        if stage != Stage.LINKED:
            self._log.info(f"{source.name}: {source.stage} after {run.progress.elapsed():.1f}s")
            return
        if source.follow:
            self._log.info(f"{source.name}: up to date, {source.copied} memories")
            return
        seconds = run.progress.batch_seconds
        took = ((source.finished or now_ms()) - (source.started or now_ms())) / 1000
        left_out = sources.count_quarantined(self._store.records, source.id)
        done = source.copied if source.stage == Stage.LAZY else source.verified
        share = 100 * done / source.total if source.total else 100.0
        self._log.heading("Migration Summary")
        for line in (
            f"Total nodes: {source.total}",
            f"Migrated: {source.copied}",
            f"Relations: {source.relations}",
            f"Turns: {source.turns}",
            f"Quarantined: {left_out}",
            f"Retries: {run.progress.retries}",
            f"Elapsed: {took:.1f}s",
            f"Avg batch time: {sum(seconds) / max(1, len(seconds)):.2f}s",
            f"Success rate: {share:.1f}%",
        ):
            self._log.info(line, quiet=True)
        if source.stage == Stage.LAZY:
            how = f"lazy, {source.encoded} of {source.copied} memories encoded, all identical"
        else:
            how = f"verified, {source.verified} memories identical"
        self._log.info(f"{source.name}: {how}; {took:.1f}s")


def _load_stages() -> dict[Stage, Callable[[Run], Iterator[None]]]:
    """What each stage does, imported only now: most starts need none of it."""
    from nimad.migrate.copy_stage import copy
    from nimad.migrate.encode_stage import encode
    from nimad.migrate.hypervector_stage import convert
    from nimad.migrate.link_stage import link
    from nimad.migrate.rollback import roll_back
    from nimad.migrate.verification import verify

    return {
        Stage.ATTACHED: copy,
        Stage.COPIED: encode,
        Stage.ENCODED: lambda run: chain(convert(run), link(run)),
        Stage.LINKED: verify,
        Stage.ROLLING_BACK: roll_back,
    }


class MigrationJob:
    """`moved` is called after each batch of a source that waits for no idle moment."""

    name = "migrations"

    def __init__(
        self,
        store: MemoryStore,
        worker: Worker,
        pipeline: Pipeline,
        encode_on_hit: EncodeOnHit,
        migration_log: MigrationLog,
        moved: Callable[[], None],
    ) -> None:
        self._store, self._worker, self._pipeline = store, worker, pipeline
        self._encode_on_hit, self._log, self._moved = encode_on_hit, migration_log, moved
        self._waiting, self._failed = Setbacks(worker.clock), Setbacks(worker.clock)

    def retry(self) -> None:
        """A source was attached or resumed: nothing waits because of what failed before."""
        self._waiting.clear()
        self._failed.clear()
        self._worker.wake()

    def next_step(self) -> Step | None:
        """A batch of the first source that may go on."""

        def step(source: Source) -> Step:
            closed = 0.0 if source.at_once else self._worker.idle.closed_for()
            pauses = (each.remaining(source.name) for each in (self._waiting, self._failed))
            move = partial(self._move, source)
            return Step(move, max(closed, *pauses), yielding=not source.at_once)

        due = map(step, sources.due_sources(self._store.records))
        return min(due, key=lambda each: each.wait, default=None)

    def close(self) -> None:
        """Close the snapshot that is open."""
        self._pipeline.reset()

    def _move(self, source: Source) -> None:
        try:
            self._pipeline.advance(source)
        except Exception as error:
            self._pipeline.reset()
            if self._worker.stopping.is_set() and isinstance(error, MAY_PASS):
                return
            self._fail(source, error)
        else:
            self._waiting.clear(source.name)
            self._failed.clear(source.name)
            self._encode_on_hit.look(sources.all_sources(self._store.records))
        self._store.on_change()
        if source.at_once:
            self._moved()

    def _fail(self, source: Source, error: Exception) -> None:
        message = describe(error)
        if not isinstance(error, NimadError):
            log.exception("%s stopped", source.name, exc_info=error)
        elif not isinstance(error, (VerifyFailed, MigrationFailed)):
            message = f"{message} {error.next_step}"
        self._log.error(f"{source.name} stopped: {message}")
        if isinstance(error, (Degraded, DiskFull, DiskReadOnly)):
            self._waiting.note(source.name, error)
            pause = self._waiting.remaining(source.name)
            self._log.warn(f"{source.name}: tried again in {pause:.0f}s")
            return
        paused = 0
        if isinstance(error, MAY_PASS):
            number = self._failed.note(source.name, error).times
            pause = self._failed.remaining(source.name)
            if number < SETBACKS:
                told = f"failed batch {number} of {SETBACKS}; tried again in {pause:.0f}s"
                self._log.warn(f"{source.name}: {told}")
                return
            self._failed.clear(source.name)
            now = sources.by_id(self._store.records, source.id)
            counters = {Stage.ATTACHED: now.copied, Stage.COPIED: now.encoded}
            done, paused = counters.get(now.stage, now.linked), 1
            message = (
                f"{SETBACKS} batches failed one after the other at offset {done} of {now.total}"
                f" ({now.stage.state}): {message} When that is mended,"
                f" `nimactl migrate --resume {source.name}` goes on there."
            )
            self._log.error(f"{source.name}: {message}")
        sources.change(self._store.records, source.id, error=message, paused=paused)
