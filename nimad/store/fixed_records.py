"""The records on a disk that takes no writes: what is there is read, and each write is refused.

For a start on a disk that is read-only, full or failing.  Nothing is made, brought up to date or
folded; what stands in a WAL that a crash left is read with the rest (`schema.connect`).  Once the
disk takes writes again the store is to be closed and opened anew.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from nimad.disk.failures import translated
from nimad.errors import DiskFailed, NimadError
from nimad.store import schema, unfolded
from nimad.store.database_files import FixedFiles
from nimad.store.records import Records


class FixedRecords(Records):
    """See the module; whoever opens it keeps other processes from writing to the files."""

    def __init__(self, path: Path, writer: sqlite3.Connection, refusal: NimadError) -> None:
        """Every write raises what `refusal` is."""
        self._fixed = FixedFiles(path, refusal)
        super().__init__(path, writer)
        self.refusal = refusal
        self._connect = partial(schema.connect, path, readonly=True, fixed=True)

    def _use(self, writer: sqlite3.Connection) -> None:
        self._commits.use(writer)
        self._files = self._fixed

    @contextlib.contextmanager
    def as_far_as_readable(self) -> Iterator[list[DiskFailed]]:
        unread: list[DiskFailed] = []
        try:
            yield unread
        except DiskFailed as error:
            unread.append(error)

    @classmethod
    def open_fixed(cls, path: Path, refusal: NimadError) -> FixedRecords:
        """Raises `refusal` for a file that must be brought up to date first; else as `open`."""
        log_missing = unfolded.is_log_missing(path)
        with translated(path):
            writer = schema.connect(path, fixed=True)
            try:
                if not schema.is_current(writer, path):
                    raise refusal
                opened = cls(path, writer, refusal)
                opened.log_missing = log_missing
                return opened
            except BaseException:
                writer.close()
                raise
