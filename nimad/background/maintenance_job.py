"""The store's maintenance as a job: after a change, once it is quiet, or a minute later at most."""

from __future__ import annotations

import logging
import threading

from nimad.background.worker import Backoff, Step, Worker
from nimad.core import maintenance
from nimad.core.store import MemoryStore
from nimad.errors import NimadError

log = logging.getLogger(__name__)

LATEST_SECONDS = 60.0
"""Longest time that maintenance waits for an idle machine [seconds]."""


class MaintenanceJob:
    """Learns of changes from `store.on_change`.

    What fails is tried again later and later; a change of the store brings the next attempt
    forward, because there may be something else to do.
    """

    name = "maintenance"

    def __init__(self, store: MemoryStore, worker: Worker) -> None:
        self._store, self._worker = store, worker
        self._lock = threading.Lock()
        self._changes = 0
        self._due: float | None = worker.clock()  # what the last process left undone
        self._backoff = Backoff(worker.clock)
        store.on_change = self.changed

    def changed(self) -> None:
        """The store changed: there is work, in a while.  Cheap: called after each write."""
        with self._lock:
            self._changes += 1
            now = self._worker.clock()
            if self._due is None or self._due > now:
                self._due = now
                self._worker.wake()

    def hurry(self) -> None:
        """The store changed, and is to be tidied up without waiting for an idle machine."""
        with self._lock:
            self._changes += 1
            self._due = self._worker.clock() - LATEST_SECONDS
            self._worker.wake()

    def next_step(self) -> Step | None:
        """The next piece, when the machine is idle or the work has waited long enough."""
        if (due := self._due) is None:
            return None
        ahead = due - self._worker.clock()
        if ahead > 0:
            return Step(self._step, ahead)
        busy = self._worker.idle.closed_for()
        return Step(self._step, max(0.0, min(busy, ahead + LATEST_SECONDS)), yielding=busy <= 0)

    def _step(self) -> None:
        seen = self._changes
        try:
            more = maintenance.step(self._store)
        except Exception as error:  # the rest of the work is done: this alone is tried again
            pause = self._backoff.fail()
            if isinstance(error, NimadError):
                log.warning("maintenance waits for %.0f s: %s", pause, error.message)
            else:
                log.exception("maintenance failed; tried again in %.0f s", pause)
            with self._lock:
                if self._changes == seen:
                    self._due = self._worker.clock() + pause
            return
        self._backoff.clear()
        with self._lock:
            if more or self._changes != seen:
                return
            self._due = None
        maintenance.rest(self._store)

    def close(self) -> None:
        """Learn of no more changes."""
        self._store.on_change = lambda: None
