"""When the columns go to their file and come back from it."""

from __future__ import annotations

import threading
from pathlib import Path

from nimad.disk.durable import fsync_dir
from nimad.recall import saved
from nimad.recall.columns import SAVED, Columns
from nimad.recall.gate import Gate
from nimad.store.records import Records

KEEP_ROWS = 1000
"""Rows that must have changed before a small store is written anew."""
KEEP_SHARE = 8
"""And the share of a large one: one row in eight, so the card wears little."""
KEEP_CHANGES = 50_000
"""Changes that the file may lag behind, however few rows they are of."""


class Keeper:
    """The file of one store's columns; without a path nothing is kept.

    A lock makes writing and deleting the file follow each other.  A purge deletes it after its
    transaction, and what is written is read from the columns under the lock, after they followed
    the records: so no file that is written later tells of what was purged.

    Attributes:
        position: the last change of the records that is in the file; None without such a file.
    """

    def __init__(self, path: Path | None, records: Records, columns: Columns) -> None:
        self._path = path
        self._records = records
        self._columns = columns
        self._lock = threading.Lock()
        self.position: int | None = None

    def restore(self) -> None:
        """Fill the columns from the file, when it counts; nobody may read them meanwhile."""
        if self._path is None:
            return
        found = saved.load(self._path, self._records, SAVED)
        if found is not None:
            self._columns.restore(found)
            self.position = found.seen

    def save_when_due(self, gate: Gate, most_changes: int) -> bool:
        """Write the file when enough has changed since; whether it did.  Raises DiskFull.

        A start reads from the records what is not in it.
        """
        columns = self._columns
        least = max(KEEP_ROWS, columns.count // KEEP_SHARE)
        behind = 0 if self.position is None else self._records.head() - self.position
        if self._path is None or (columns.changed < least and behind < most_changes):
            return False
        with self._lock:
            with gate.reading(lambda: (columns.changed, columns.snapshot())) as (changed, snapshot):
                pass
            saved.save(self._path, self._records, snapshot)
            columns.changed = max(0, columns.changed - changed)
            self.position = snapshot.seen
        return True

    def discard(self) -> None:
        """Delete the file, durably: something that it tells of is to be purged."""
        if self._path is None:
            return
        with self._lock:
            self._path.unlink(missing_ok=True)
            fsync_dir(self._path.parent)
            self._columns.changed += self._columns.count
            self.position = None
