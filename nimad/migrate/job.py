"""Migrations as a job of the background thread: which source is next, and what becomes of one whose
batch has failed with all its retries.

- A full disk or an absent embedder: tried again later and later, without an end.
- What may pass (a locked file, a failing disk, memory): likewise, but after `SETBACKS` failed
  batches in a row the source pauses and says where.
- Everything else stops the source.

The other sources go on meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from nimad.background.worker import Step, Worker
from nimad.core.setbacks import Setbacks
from nimad.core.store import MemoryStore
from nimad.errors import Degraded, DiskFull, DiskReadOnly, NimadError
from nimad.migrate.encode_on_hit import EncodeOnHit
from nimad.migrate.log import MigrationLog
from nimad.migrate.pipeline import MAY_PASS, Pipeline, failure
from nimad.model import Stage
from nimad.store import sources
from nimad.store.sources import Source

log = logging.getLogger(__name__)

SETBACKS = 3
"""Batches of a source that may fail one after the other, each with its retries."""


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
        first: Step | None = None
        for source in sources.due_sources(self._store.records):
            at_once = source.at_once
            closed = 0.0 if at_once else self._worker.idle.closed_for()
            pauses = (each.remaining(source.name) for each in (self._waiting, self._failed))
            wait = max(closed, *pauses)
            if first is None or wait < first.wait:
                first = Step(lambda due=source: self._move(due), wait, yielding=not at_once)  # type: ignore[misc]
        return first

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
        message = failure(error)
        if not isinstance(error, NimadError):
            log.exception("%s stopped", source.name, exc_info=error)
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
            message, paused = self._tell_where(source, message), 1
        sources.change(self._store.records, source.id, error=message, paused=paused)

    def _tell_where(self, source: Source, message: str) -> str:
        """Why a source pauses after its last setback, where it is, and what goes on from there."""
        self._failed.clear(source.name)
        now = sources.by_id(self._store.records, source.id)
        done = {Stage.ATTACHED: now.copied, Stage.COPIED: now.encoded}.get(now.stage, now.linked)
        told = (
            f"{SETBACKS} batches failed one after the other at offset {done} of {now.total}"
            f" ({now.stage.state}): {message} When that is mended,"
            f" `nimactl migrate --resume {source.name}` goes on there."
        )
        self._log.error(f"{source.name}: {told}")
        return told
