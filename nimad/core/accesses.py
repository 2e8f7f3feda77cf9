"""Access counts, kept in RAM and written with a write that happens anyway."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from nimad.errors import NimadError
from nimad.model import now_ms
from nimad.store.records import Records
from nimad.store.transaction import Transaction

log = logging.getLogger(__name__)

FLUSH_SECONDS = 900
"""Age from which counts go with the next write: reading must not wear the card [seconds]."""


class Accesses:
    """Reads since the last flush; safe to use from many threads.  `silent` counts the answers since
    the start that had no memory."""

    def __init__(self) -> None:
        self.silent = 0
        self._counts: dict[int, tuple[int, int]] = {}
        self._flushed = time.monotonic()
        self._lock = threading.Lock()

    def count(self, ids: Sequence[int]) -> None:
        """These memories were read now."""
        now = now_ms()
        with self._lock:
            self.silent += not ids
            for number in ids:
                count = self._counts.get(number, (0, 0))[0]
                self._counts[number] = (count + 1, now)

    def ids(self) -> set[int]:
        """The memories whose counts are not written yet."""
        with self._lock:
            return set(self._counts)

    def write(self, tx: Transaction, force: bool = False) -> dict[int, int]:
        """Write the counts when they have waited long enough; what was written.

        To be given to `written` once it is committed: until then the counts stay here.
        """
        with self._lock:
            due = time.monotonic() - self._flushed > FLUSH_SECONDS
            counts = dict(self._counts) if due or force else {}
        tx.many(
            "UPDATE memories SET access_count = access_count + ?1, last_accessed = ?2,"
            " checksum = checksum + ?1 + ?2 - ifnull(last_accessed, 0) WHERE id = ?3",
            [(n, at, i) for i, (n, at) in counts.items()],
        )
        return {i: n for i, (n, _) in counts.items()}

    def written(self, counts: dict[int, int]) -> None:
        """These counts are durable; what was counted since is kept."""
        if not counts:
            return
        with self._lock:
            self._flushed = time.monotonic()
            for i, n in counts.items():
                left, at = self._counts.pop(i)
                if left > n:
                    self._counts[i] = (left - n, at)

    def save(self, records: Records) -> None:
        """Write the counts in a transaction of their own, when there are any and the disk lets."""
        if not self._counts:
            return
        try:
            with records.write() as tx:
                counts = self.write(tx, force=True)
            self.written(counts)
        except NimadError as error:  # a full disk must not keep the daemon from stopping
            log.warning("access counts were not saved: %s", error.message)
