"""Retention as a job: once a day, in an idle moment, what the rules of the configuration name goes.

Off by default.  A receipt goes to the log: how many memories, by which rule, which fields it names;
none of its values.  Where the clock may be wrong nothing is forgotten: to a clock that is years
ahead everything is old.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from nimad import times
from nimad.background.worker import Step, Worker
from nimad.core.retention import Chosen
from nimad.core.store import MemoryStore
from nimad.model import now_ms

log = logging.getLogger(__name__)

EVERY = 86_400.0
"""Time from one look at the rules to the next [seconds]."""


class RetentionJob:
    """Forgets one batch a step."""

    name = "retention"

    def __init__(self, store: MemoryStore, worker: Worker) -> None:
        self._store, self._worker = store, worker
        self._due = worker.clock()
        self._work: Iterator[None] | None = None

    def next_step(self) -> Step | None:
        """The next batch, once the machine is idle; None: there are no rules."""
        if not self._store.config["retention"]:
            self._work = None
            return None
        wait = max(self._due - self._worker.clock(), self._worker.idle.closed_for())
        return Step(self._step, max(0.0, wait), yielding=True)

    def _step(self) -> None:
        if self._work is None:
            self._work = self._follow_rules()
        if next(self._work, self) is self:  # all is done
            self._work, self._due = None, self._worker.clock() + EVERY

    def _follow_rules(self) -> Iterator[None]:
        """Forget what each rule names, a batch at a time."""
        if not self._store.clock.is_plausible():
            log.warning("retention waits for a day: the clock may be wrong")
            return
        for number, rule in enumerate(self._store.config["retention"], 1):
            gone = relations = turns = 0
            for batch in Chosen(self._store, rule, now_ms(), times.local_zone()).batches():
                receipt = self._store.forget(batch)
                gone += len(receipt.forgotten)
                relations += receipt.removed.get("relations", 0)
                turns += receipt.removed.get("turns", 0)
                yield
            if gone:
                told = "retention: rule %d (%s) forgot %d memories, %d relations, %d turns"
                log.info(told, number, rule.fields, gone, relations, turns)

    def close(self) -> None:
        """What is left is found again after the next start."""
        self._work = None
