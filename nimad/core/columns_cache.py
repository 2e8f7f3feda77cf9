"""The file of the columns as a projection: what ranking needs, so that a start is fast.

What it is and when it counts: nimad/recall/columns_cache.py.  A file that is damaged, or does not
fit the records, is ignored by the start and written anew in idle time, so it is never out of
service.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from nimad.core.projection import Problem, Projection
from nimad.disk.durable import size_of
from nimad.errors import NimadError
from nimad.recall.ranking import Recall
from nimad.store.forgotten import PurgeNote


class ColumnsCache(Projection):
    """`columns.nrc`."""

    name = "columns"

    def __init__(self, recall: Recall, path: Path) -> None:
        self._recall, self._path = recall, path

    @property
    def position(self) -> int | None:
        """The last change in the file: without the log since then a start compares every id."""
        return self._recall.columns_cache.position

    def follow(self) -> bool:
        """Write the file when much has changed since; not while more comes, for it would be due
        again at once, and costs a look at every memory."""
        return not self.sparing and self._recall.keep()

    def close(self) -> None:
        """Write it for the next start, where idle time would have."""
        with suppress(NimadError, OSError):  # a full or failing disk must not keep it from stopping
            self._recall.keep()

    def rebuild(self) -> None:
        """Nothing to be made on request: it only saves a start some time."""

    def scrub(self, note: PurgeNote) -> None:
        """Delete the file: there are fingerprints of texts in it.  It is written anew when idle."""
        self._recall.discard_columns()

    def check(self) -> list[Problem]:
        """Nothing can be wrong with it that costs an answer."""
        return []

    def rest(self) -> None:
        """Give back what was read of it, and of the words."""
        self._recall.rest()

    def size(self) -> int:
        """Bytes of the file."""
        return size_of(self._path)
