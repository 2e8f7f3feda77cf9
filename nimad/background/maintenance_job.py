"""The store's maintenance as a job: after a change, once it is quiet, or a minute later at most."""

from __future__ import annotations

import threading

from nimad.background.worker import Step, Worker
from nimad.core import maintenance
from nimad.core.semantic import BULK_SECONDS
from nimad.core.store import MemoryStore

LOOK = 16
"""New memories after which it is looked whether work is overdue, for which the records are asked:
that takes a twentieth of a `remember` [memories]."""
LATEST_SECONDS = 60.0
"""Longest time that maintenance waits for an idle machine [seconds]."""


class WordsJob:
    """Words come before migrations when they are out of service, for what a migration that was cut
    short had copied would not be found by words until all of it has its meaning, too; and when as
    many wait for a file as a start reads, for a large migration would bring more and more."""

    name = "words"

    def __init__(self, store: MemoryStore, worker: Worker) -> None:
        self._store, self._worker = store, worker
        self._since: float | None = None
        self._rests = 0.0
        """No step begins before, for the last one could do nothing [seconds]."""

    def next_step(self) -> Step | None:
        """Some more memories: now where many wait in memory, and else when the machine is idle or
        they have waited long enough."""
        store = self._store
        missing = store.health.reason("words") is not None
        overdue = not missing and store.words.overdue
        if not (missing or overdue) or store.setbacks.remaining("words"):
            self._since = None
            return None
        if self._since is None:
            self._since = self._worker.clock()
        busy = self._worker.idle.closed_for()
        left = 0.0 if overdue else self._since + LATEST_SECONDS - self._worker.clock()
        rests = self._rests - self._worker.clock()
        return Step(self._step, max(0.0, rests, min(busy, left)), yielding=busy <= 0)

    def _step(self) -> None:
        store = self._store
        sparing = store.semantic.bulk_comes and self._worker.idle.closed_for() > 0
        if not maintenance.step(store, sparing=sparing, only="words"):  # others read a bulk on
            self._rests = self._worker.clock() + BULK_SECONDS

    def close(self) -> None:
        """Nothing is open."""


class MaintenanceJob:
    """Learns of changes from `store.on_change`.

    What fails is set aside by `nimad.core.maintenance`, and tried again when it is due.
    """

    name = "maintenance"

    def __init__(self, store: MemoryStore, worker: Worker) -> None:
        self._store, self._worker = store, worker
        self._lock = threading.Lock()
        self._changes, self._memories = 0, 0
        self._due: float | None = worker.clock()  # what the last process left undone
        self._asked: float | None = None
        store.on_change, store.on_asked = self.changed, self.asked

    def changed(self, memories: int = LOOK) -> None:
        """The store changed, by so many memories: there is work, in a while.  Cheap: called after
        each write."""
        with self._lock:
            self._changes += 1
            self._memories += memories
            now = self._worker.clock()
            if self._due is None or self._due > now:
                self._due = now
                self._worker.wake()
            elif self._memories >= LOOK:
                self._memories = 0
                if self._store.words.overdue or self._store.semantic.crowded:
                    self._worker.wake()

    def asked(self) -> None:
        """A query was answered: memory is to be given back, once it is quiet."""
        if self._asked is None:
            self._asked = self._worker.clock()
            self._worker.wake()

    def hurry(self) -> None:
        """The store changed, and is to be tidied up without waiting for an idle machine."""
        with self._lock:
            self._changes += 1
            self._due = self._worker.clock() - LATEST_SECONDS
            self._worker.wake()

    def next_step(self) -> Step | None:
        """The next piece, when the machine is idle or the work has waited long enough."""
        due, step = self._due, self._step
        if due is None:
            due, step = self._asked, self._rest
        if due is None:
            return None
        ahead = due - self._worker.clock()
        if ahead > 0:
            return Step(step, ahead)
        busy = self._worker.idle.closed_for()
        # It does not wait when words and meaning both are out of service, after an upgrade of a
        # large store: no query finds anything.  Nor when clients wrote without a pause, and what
        # waits is in so many segments that questions take longer.  Nor when traces of what was
        # purged are still to be removed.
        store, reason = self._store, self._store.health.reason
        urgent = bool(reason("words") and reason("blocks")) or store.semantic.crowded
        urgent = urgent or (store.purge.due and not store.setbacks.remaining("purge"))
        latest = 0.0 if urgent else LATEST_SECONDS
        return Step(step, max(0.0, min(busy, ahead + latest)), yielding=busy <= 0)

    def _step(self) -> None:
        seen = self._changes
        sparing = self._store.semantic.bulk_comes and self._worker.idle.closed_for() > 0
        if maintenance.step(self._store, sparing=sparing):
            return
        with self._lock:
            if self._changes != seen:
                return
            again = BULK_SECONDS if sparing else self._store.setbacks.due_in()
            self._due = None if again is None else self._worker.clock() + again
        self._rest()

    def _rest(self) -> None:
        self._asked = None
        maintenance.rest(self._store)

    def close(self) -> None:
        """Learn of no more changes."""
        self._store.on_change = lambda memories=0: None
        self._store.on_asked = lambda: None
