"""The words index as a projection.  It lies in the records' file and changes in their transactions.

Damage shows itself in two ways: SQLite refuses to read or to change it (then the query or the write
that met it tells, see `meet`), or words are simply not found any more.  The second kind is looked
for in idle time, by a word of some memories; `nimactl doctor` compares everything.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from nimad.core.health import Health
from nimad.core.projection import Problem, Projection
from nimad.errors import RecordsDamaged, WordsDamaged
from nimad.store import words
from nimad.store.forgotten import PurgeNote
from nimad.store.records import Records

T = TypeVar("T")

log = logging.getLogger(__name__)

SAMPLE_SECONDS = 600.0
"""Time between two looks for silent damage, the first one after the start [seconds]."""
WHY = "its index is damaged and is being made anew"


class WordsIndex(Projection):
    """FTS5 over texts and names."""

    name = "words"

    def __init__(
        self,
        records: Records,
        health: Health,
        lock: threading.RLock,
        on_rebuilt: Callable[[], None],
    ) -> None:
        """`on_rebuilt` is called once the index was made anew: what was read may be wrong."""
        self._records, self._health, self._lock = records, health, lock
        self._on_rebuilt = on_rebuilt
        self._next_sample = 0.0

    def meet(self, error: RecordsDamaged) -> None:
        """A query or a write met damage; raises it again unless it lies in this index."""
        if not isinstance(error, WordsDamaged):
            raise error
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
        """Make the index anew after a write met damage in it; raises `error` if it is not there."""
        self.meet(error)
        self.rebuild()

    def follow(self) -> bool:
        """Make a damaged index anew; now and then look for silent damage."""
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
        self.rebuild()
        return True

    def rebuild(self) -> int:
        """Index every memory's text again; the number of memories."""
        with self._lock:
            rows = words.rebuild(self._records)
            self._health.restore(self.name)
            self._on_rebuilt()
            return rows

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
