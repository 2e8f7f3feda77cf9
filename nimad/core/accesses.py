"""Access counts, kept in RAM and written with a write that happens anyway."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from nimad.model import now_ms
from nimad.store.records import Records
from nimad.store.transaction import Transaction

FLUSH_SECONDS = 900
"""Reading must not wear the card: counts wait so long, and then for the next write."""


class Accesses:
    """Reads since the last flush; safe to use from many threads."""

    def __init__(self) -> None:
        self._counts: dict[int, tuple[int, int]] = {}
        self._flushed = time.monotonic()
        self._lock = threading.Lock()

    def count(self, ids: Sequence[int]) -> None:
        """These memories were read now."""
        now = now_ms()
        with self._lock:
            for number in ids:
                count = self._counts.get(number, (0, 0))[0]
                self._counts[number] = (count + 1, now)

    def flush(self, tx: Transaction, force: bool = False) -> None:
        """Write the counts when they have waited long enough."""
        with self._lock:
            due = time.monotonic() - self._flushed > FLUSH_SECONDS
            if not self._counts or not (due or force):
                return
            tx.many(
                "UPDATE memories SET access_count = access_count + ?, last_accessed = ?"
                " WHERE id = ?",
                [(n, at, i) for i, (n, at) in self._counts.items()],
            )
            self._counts.clear()
            self._flushed = time.monotonic()

    def save(self, records: Records) -> None:
        """Write the counts in a transaction of their own, when there are any."""
        if self._counts:
            with records.write() as tx:
                self.flush(tx, force=True)
