"""When the columns go to their file and come back from it."""

from __future__ import annotations

from pathlib import Path

from nimad.recall import saved
from nimad.recall.columns import SAVED, Columns
from nimad.recall.gate import Gate
from nimad.store.records import Records

KEEP_ROWS = 1000
KEEP_SHARE = 8
MOST_BEHIND = 50_000
"""Changes that the file may lag behind before it is written anew, whatever their share [rows]."""


class Keeper:
    """The file of one store's columns; without a path nothing is kept."""

    def __init__(self, path: Path | None, records: Records, columns: Columns) -> None:
        self._path = path
        self._records = records
        self._columns = columns
        self.position: int | None = None
        """The last change of the records that is in the file; None while there is no such file."""

    def restore(self) -> None:
        """Fill the columns from the file, when it counts; nobody may read them meanwhile."""
        if self._path is None:
            return
        found = saved.load(self._path, self._records, SAVED)
        if found is not None:
            self._columns.restore(found)
            self.position = found.seen

    def save_when_due(self, gate: Gate) -> bool:
        """Write the file when many rows changed since; whether it did.  Raises DiskFull.

        A store is written anew when it has changed by an eighth, so the card wears little, and a
        start reads the rest from the records.  The file must not fall further behind than
        MOST_BEHIND: the change log is not kept for ever.
        """
        columns = self._columns
        least = max(KEEP_ROWS, columns.count // KEEP_SHARE)
        behind = 0 if self.position is None else self._records.head() - self.position
        if self._path is None or (columns.changed < least and behind < MOST_BEHIND):
            return False
        with gate.reading(lambda: (columns.changed, columns.snapshot())) as (changed, snapshot):
            pass
        saved.save(self._path, self._records, snapshot)
        columns.changed = max(0, columns.changed - changed)
        self.position = snapshot.seen
        return True

    def discard(self) -> None:
        """Delete the file: something that it tells of is to be purged."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._columns.changed += self._columns.count
        self.position = None
