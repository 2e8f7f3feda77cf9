"""The words index as a projection.  It lies in the records' file and changes in their transactions.

Damage shows itself in two ways: SQLite refuses to read or to change it (then the query or the write
that met it tells, see `meet`), or words are simply not found any more.  The second kind is looked
for in idle time, by a word of some memories; `nimactl doctor` compares everything.

It is made anew a few memories at a time, after damage or when an upgrade brought another common
form of text.  Until then queries are answered by meaning alone, and say so.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from nimad.core.health import Health
from nimad.core.projection import Problem, Projection
from nimad.errors import NimadError, RecordsDamaged, WordsDamaged
from nimad.store import words
from nimad.store.forgotten import PurgeNote
from nimad.store.records import Records

T = TypeVar("T")

log = logging.getLogger(__name__)

SAMPLE_SECONDS = 600.0
"""Time between two looks for silent damage, the first one after the start [seconds]."""
FEW = 2000
"""Memories that are indexed at once, where something waits for it: a tenth of a second."""
WHY = "its index is damaged and is being made anew"
RENEWED = "its index is being made anew"


class WordsIndex(Projection):
    """FTS5 over texts and names."""

    name = "words"

    def __init__(
        self,
        records: Records,
        health: Health,
        lock: threading.RLock,
        on_change: Callable[[bool], None],
    ) -> None:
        """`on_change` is told that the index is incomplete, or (True) that it was made anew."""
        self._records, self._health, self._lock = records, health, lock
        self._on_change = on_change
        self._next_sample = 0.0

    def open(self) -> None:
        """Go on with what an upgrade or a crash left."""
        if words.gap(self._records) is not None:
            self._health.fail(self.name, RENEWED)
            try:
                self._fill_few()
            except NimadError as error:  # a full disk, say: idle time tries it again
                log.warning("the words index is incomplete: %s", error.message)

    def meet(self, error: RecordsDamaged) -> None:
        """A query or a write met damage; raises it again unless it lies in this index."""
        if not isinstance(error, WordsDamaged):
            raise error
        if self._health.reason(self.name) is None:
            log.error("the words index is damaged: %s", error.message)
            self._health.fail(self.name, WHY)

    def guard(self, write: Callable[[], T]) -> T:
        """What `write` gives, a transaction that touches the index; where it meets damage, the
        index is made anew, because nothing can be written beside it, and `write` is called again.
        """
        try:
            return write()
        except RecordsDamaged as error:
            self.mend(error)
            return write()

    def mend(self, error: RecordsDamaged) -> None:
        """Take the index out of the way of a write that met damage in it, and make it anew.

        Raises `error` if that is not there.
        """
        self.meet(error)
        with self._lock:
            self._empty()
            self._fill_few()

    def follow(self) -> bool:
        """Make the index anew, a step at a time; now and then look for silent damage."""
        now = time.monotonic()
        if self._health.reason(self.name) is None and now >= self._next_sample:
            self._next_sample = now + SAMPLE_SECONDS
            try:
                missing = words.missing_of_sample(self._records)
            except RecordsDamaged as error:
                self.meet(error)
                missing = 0
            if missing:
                log.error("the words index does not find %d of some memories", missing)
                self._health.fail(self.name, WHY)
        if self._health.reason(self.name) is None:
            return False
        if words.gap(self._records) is None:
            self._empty()
        self._fill()
        return True

    def rebuild(self) -> int:
        """Index every memory's text again; the number of memories."""
        with self._lock:
            self._empty()
            while self._fill():
                pass
            return self._records.counts()["memories"]

    def _empty(self) -> None:
        if self._health.reason(self.name) is None:
            self._health.fail(self.name, RENEWED)
        words.empty(self._records)
        self._on_change(False)

    def _fill(self) -> bool:
        """Index some more; whether anything is left."""
        more = words.fill(self._records)
        if not more:
            self._health.restore(self.name)
            self._on_change(True)
        return more

    def _fill_few(self) -> None:
        """All of it, where that takes no time."""
        after, upto = words.gap(self._records) or (0, 0)
        while upto - after <= FEW and self._fill():
            pass

    def scrub(self, note: PurgeNote) -> None:
        """Merge the index into one b-tree: deleted words are then gone from the file."""
        self.guard(lambda: words.optimise(self._records))

    def check(self) -> list[Problem]:
        """Each word of each memory stands in the index, and nothing else."""
        problem = words.problem(self._records)
        if problem is None:
            return []
        self._health.fail(self.name, WHY)
        fix = "nothing: it is made anew in idle time (or now: nimactl rebuild words)"
        return [Problem(self.name, problem, fix)]

    def size(self) -> int:
        """Bytes within records.sqlite."""
        return words.size_bytes(self._records)
