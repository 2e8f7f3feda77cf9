"""Memories that a query returned before they had a vector: encoded at once, as hot vectors.

The store tells which memories were returned (`seen`).  The background thread encodes those without
a vector in its next step, without waiting for an idle machine: it takes a few milliseconds, each
memory is done once, and the same question finds it by its meaning the next time.  The hits of two
seconds go into one transaction, to spare the card.

Crash prose: hot vector and counter are one transaction; ids that were only queued are forgotten,
and queued again by the next query that returns them.  The cursor of the stage passes over memories
that have a vector, so nothing is encoded twice.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nimad.background.worker import Step
from nimad.core import segments
from nimad.core.store import MemoryStore
from nimad.disk.durable import crash_point
from nimad.model import Stage, now_ms
from nimad.store import sources
from nimad.store.sources import Source
from nimad.store.transaction import Transaction

MOST_QUEUED = 1024
"""Longest queue; beyond it the oldest ids are dropped until a query returns them again [ids]."""
STEP_ROWS = 128
"""Memories encoded in one step: 4 ms."""
GATHER_SECONDS = 2.0
"""Delay after the first queued id, so that one step encodes several [seconds]."""
PATIENCE = 0.01
"""Longest wait for a merge or rebuild under way; then the ids stay queued [seconds]."""


class EncodeOnHit:
    """The queue; `seen` may be called from any thread, `step` by one at a time.

    `needed` tells whether any source may have memories without a vector: while it is False, `seen`
    costs nothing.  `wake` is called when the first of a step is queued.
    """

    name = "encoding what was found"

    def __init__(
        self, store: MemoryStore, turn: threading.RLock, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._turn, self._clock = store, turn, clock
        self.wake: Callable[[], object] = lambda: None
        self._lock = threading.Lock()
        self._queued: dict[int, None] = {}
        self._since = 0.0
        self.look(sources.all_sources(store.records))

    def look(self, known: Sequence[Source]) -> None:
        """Learn from the ledger whether there is anything to wait for."""
        self.needed = any(s.stage != Stage.ROLLED_BACK and s.encoded < s.copied for s in known)

    def seen(self, ids: Sequence[int]) -> None:
        """These memories were returned: those without a vector go to the front of the queue."""
        if not self.needed or not ids:
            return
        with self._lock:
            first = not self._queued
            if first:
                self._since = self._clock()
            for number in reversed(ids):  # the best hit last: the queue is taken from its end
                self._queued.pop(number, None)
                self._queued[number] = None
            while len(self._queued) > MOST_QUEUED:
                del self._queued[next(iter(self._queued))]
        if first:
            self.wake()

    def next_step(self) -> Step | None:
        """The job of the background thread: a step once the ids have gathered for a while."""
        wait = self.due_in()
        return None if wait is None else Step(self.step, wait)

    def close(self) -> None:
        """Learn of no more hits."""
        self._store.on_returned = lambda ids: None

    def due_in(self) -> float | None:
        """Seconds until a step is due; 0 when it is, None when nothing is queued."""
        with self._lock:
            if not self._queued:
                return None
            return max(0.0, self._since + GATHER_SECONDS - self._clock())

    def step(self) -> int:
        """Encode the ids that were queued last; how many memories got a vector."""
        with self._lock:
            ids = list(self._queued)[-STEP_ROWS:]
        with self._turn:
            if not ids or not self._store.maintenance.acquire(timeout=PATIENCE):
                self._since = self._clock()  # they stay queued: the next step is as far away again
                return 0
            try:
                done = self._encode(np.array(sorted(ids), np.int64))
            finally:
                self._store.maintenance.release()
            with self._lock:
                for number in ids:
                    self._queued.pop(number, None)
            self.look(sources.all_sources(self._store.records))
            return done

    def _encode(self, ids: NDArray[np.int64]) -> int:
        store = self._store
        if store.semantic.due:  # all vectors are about to be made anew
            return 0
        due = (
            "SELECT m.id, m.source FROM memories m JOIN sources s ON s.id = m.source"
            f" WHERE m.id > s.encode_cursor AND s.stage != '{Stage.ROLLING_BACK}' AND m.id IN"
        )
        owners: dict[int, int] = dict(store.records.rows_in(due, ids[~store.blocks.holds(ids)]))
        there, made = segments.encode_memories(store.records, store.embedder, sorted(owners))
        if not there:
            return 0

        def count(tx: Transaction, added: NDArray[np.int64]) -> None:
            for source, number in Counter(owners[int(i)] for i in added).items():
                sources.advance(tx, source, encoded=number)

        added = store.semantic.add_hot(np.array(there, np.int64), made, count)
        crash_point("migrate.urgent")
        store.on_change()
        for source in set(owners.values()):
            settle(store, source)
        return len(added)


def settle(store: MemoryStore, source: int) -> None:
    """Call a lazy source verified once each of its memories has its vector.

    Its rows were compared before it became lazy; `verified` counts those that have a vector, too.
    """
    found = sources.by_id(store.records, source)
    if found.stage != Stage.LAZY:
        return
    ids = sources.all_memory_ids(store.records, source)
    whole = bool(store.blocks.holds(ids).all())
    now_done = {"stage": Stage.VERIFIED, "finished": now_ms()} if whole else {}
    sources.change(store.records, source, verified=found.encoded, **now_done)
