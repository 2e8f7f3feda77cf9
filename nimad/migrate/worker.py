"""The thread in the background: moves sources on, and does the store's upkeep when it is quiet.

It sleeps on an event and never ticks: a change wakes it, and while the gate is closed it sleeps for
exactly as long as the gate says.

Behind the gate it runs at SCHED_IDLE (probe/priority.py).  Then a machine that is suddenly busy may
starve it while it holds the interpreter or a lock that a request needs: measured, with two busy
processes on each of two processors, others waited up to 5.5 s for the interpreter.  So each request
lifts it to the usual priority until its step is done (`lift`), and the gate closes when somebody
waits for a processor.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from nimad.background.idle_conditions import Always, IdleCondition
from nimad.background.machine_idle import Processors
from nimad.core import maintenance
from nimad.core.store import MemoryStore
from nimad.errors import Degraded, DiskFull, NimadError
from nimad.migrate import ledger
from nimad.migrate.encode_on_hit import EncodeOnHit
from nimad.migrate.log import MigrationLog
from nimad.migrate.pipeline import Pipeline, can_pass, failure
from nimad.probe.pressure import waited
from nimad.probe.priority import Priority
from nimad.store import sources
from nimad.store.sources import Source

log = logging.getLogger(__name__)

DISK_PAUSE = 60.0
"""After a full disk, or an error in the upkeep, it is tried again in so long [seconds]."""
SETBACKS = 3
"""So many batches of a source may fail one after the other, each with its retries."""
LATEST_UPKEEP = 60.0
"""Upkeep waits for quiet, but no longer than this [seconds]."""


class Worker:
    """Owns the thread; `wake` tells it that there may be something to do."""

    def __init__(
        self,
        store: MemoryStore,
        pipeline: Pipeline,
        urgent: EncodeOnHit,
        idle: IdleCondition,
        processors: Processors,
        migration_log: MigrationLog,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._pipeline, self._log = store, pipeline, migration_log
        self._idle, self._open = idle, Always()
        self._urgent = urgent
        self._processors = processors
        self._priority: Priority | None = None
        self._stop = stop
        self._clock = clock
        self._event = threading.Event()
        urgent.wake = self._event.set
        self._setbacks: dict[int, int] = {}
        self._upkeep_since: float | None = clock()  # what the last process left undone
        self._changes = 0
        self._changing = threading.Lock()
        self._not_before = 0.0
        self._guests = 0
        self._guests_gone = threading.Condition()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._loop, name="migrate", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Return when the batch under way has committed; `stop` has been set before."""
        self._event.set()
        with self._guests_gone:
            self._guests_gone.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def changed(self) -> None:
        """The store changed: there is upkeep to do, in a while.  Cheap: called after each write."""
        with self._changing:
            self._changes += 1
            if self._upkeep_since is None:
                self._upkeep_since = self._clock()
                self._event.set()

    def wake(self) -> None:
        """A source was attached, resumed, ...: look now."""
        self._not_before = 0.0
        self._event.set()

    def lift(self) -> None:
        """Somebody waits: the step under way goes on at the usual priority.  From any thread."""
        if self._priority is not None:
            self._priority.lift()

    def guest(self) -> _Guest:
        """`with worker.guest():` keeps the thread between two batches meanwhile."""
        return _Guest(self)

    # --- the thread ---------------------------------------------------------------------------

    def _loop(self) -> None:
        self._priority = Priority()
        while not self._stop.is_set():
            self._event.clear()
            pause: float | None
            try:
                pause = self._work()
            except (Degraded, DiskFull) as error:  # an embedder is away, or there is no room: later
                log.warning("upkeep waits: %s", error.message)
                self._upkeep_since = self._clock()
                self._not_before = self._clock() + DISK_PAUSE
                pause = DISK_PAUSE
            except Exception as error:  # the thread must outlive whatever happens
                log.exception("upkeep failed: %s", error)
                self._upkeep_since = self._clock()
                self._not_before = self._clock() + DISK_PAUSE
                pause = DISK_PAUSE
            if pause != 0 and not self._stop.is_set():
                self._event.wait(pause)
            self._let_guests_in()
        self._pipeline.reset()

    def _work(self) -> float | None:
        """Do one piece of work.  Returns how long to sleep: 0 not at all, None until woken."""
        if (left := self._not_before - self._clock()) > 0:
            return left
        queued = self._urgent.due_in()
        if queued == 0:
            self._step(self._urgent.step, False)
            return 0
        pause = self._work_in_turn()
        return pause if queued is None else min(queued, queued if pause is None else pause)

    def _work_in_turn(self) -> float | None:
        """The same for what no query asks for."""
        source = ledger.next_due(self._store.records)
        if source is not None:
            gate = self._open if ledger.at_once(source) else self._idle
            closed = gate.closed_for()
            if closed <= 0:
                self._step(lambda: self._move(source), gate is self._idle)
                return 0
            return min(closed, self._tend() or closed)
        return self._tend()

    def _step(self, work: Callable[[], object], yielding: bool) -> None:
        """Do a piece of work; a yielding one lets everybody else go first."""
        thread, priority = threading.get_native_id(), self._priority
        if priority is not None:
            (priority.lower if yielding else priority.lift)()
        began, before = self._clock(), waited(thread)
        try:
            work()
        finally:
            after = waited(thread)
            known = before is not None and after is not None
            self._processors.worked(
                self._clock() - began,
                after - before if known else 0.0,  # type: ignore[operator]
            )

    def _move(self, source: Source) -> None:
        try:
            self._pipeline.advance(source)
            self._setbacks.pop(source.id, None)
            self._urgent.look(sources.all_sources(self._store.records))
        except Exception as error:
            self._pipeline.reset()
            if self._stop.is_set() and can_pass(error):
                return
            self._failed(source, error)
        self._upkeep_since = self._clock()
        if ledger.at_once(source):  # whoever wanted it at once wants it tidy at once
            self._upkeep_since -= LATEST_UPKEEP

    def _failed(self, source: Source, error: Exception) -> None:
        """A full disk or an absent embedder is waited for; what may pass, `SETBACKS` times."""
        message = failure(error)
        if not isinstance(error, NimadError):
            log.exception("%s stopped", source.name, exc_info=error)
        self._log.error(f"{source.name} stopped: {message}")
        if isinstance(error, (Degraded, DiskFull)):
            self._not_before = self._clock() + DISK_PAUSE
            return
        paused = 0
        if can_pass(error):
            number = self._setbacks[source.id] = self._setbacks.get(source.id, 0) + 1
            if number < SETBACKS:
                told = f"failed batch {number} of {SETBACKS}; tried again in {DISK_PAUSE:.0f}s"
                self._log.warn(f"{source.name}: {told}")
                self._not_before = self._clock() + DISK_PAUSE
                return
            message, paused = self._give_up(source, message), 1
        self._stop_source(source, message, paused)

    def _give_up(self, source: Source, message: str) -> str:
        """Why a source pauses after its last setback, where it is, and what goes on from there."""
        self._setbacks.pop(source.id, None)
        now = ledger.by_id(self._store.records, source.id)
        done = {"attached": now.copied, "copied": now.encoded}.get(now.stage, now.linked)
        told = (
            f"{SETBACKS} batches failed one after the other at offset {done} of {now.total}"
            f" ({ledger.STATES[now.stage]}): {message} When that is mended,"
            f" `nimactl migrate --resume {source.name}` goes on there."
        )
        self._log.error(f"{source.name}: {told}")
        return told

    def _stop_source(self, source: Source, message: str, paused: int) -> None:
        try:
            with self._store.records.write() as tx:
                sources.update(tx, source.id, error=message, paused=paused)
        except NimadError as second:
            log.error("%s", second.message)
            self._not_before = self._clock() + DISK_PAUSE

    def _tend(self) -> float | None:
        """One piece of upkeep, when it is quiet or has waited long enough."""
        if self._upkeep_since is None:
            return None
        since = self._clock() - self._upkeep_since
        busy = self._idle.closed_for()
        if (closed := min(busy, LATEST_UPKEEP - since)) > 0:
            return closed
        seen = self._changes
        more: list[bool] = []
        self._step(lambda: more.append(maintenance.step(self._store)), yielding=busy <= 0)
        if more[0]:
            return 0
        with self._changing:
            if self._changes == seen:
                self._upkeep_since = None
        if self._upkeep_since is not None:
            return 0
        maintenance.rest(self._store)
        return None

    # --- guests -------------------------------------------------------------------------------

    def _let_guests_in(self) -> None:
        with self._guests_gone:
            while self._guests and not self._stop.is_set():
                self._guests_gone.wait()


class _Guest:
    """Somebody who changes sources: the thread lets them go first, and does not come in between."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def __enter__(self) -> None:
        with self._worker._guests_gone:
            self._worker._guests += 1

    def __exit__(self, *_: object) -> None:
        with self._worker._guests_gone:
            self._worker._guests -= 1
            self._worker._guests_gone.notify_all()
