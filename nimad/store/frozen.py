"""The records as they were at one moment, while others write on: what a backup copies."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping

from nimad.dataclass import dataclass
from nimad.disk.failures import translated
from nimad.errors import Busy, DiskFailed, DiskFull
from nimad.store.database_files import CHUNK, DatabaseFiles
from nimad.store.records import READER_SECONDS, Records
from nimad.store.wal_pages import last_frame, read_wal_pages


@dataclass(frozen=True)
class Frozen:
    """A connection that reads them, and the files, whose descriptors SQLite owns: never to be
    closed.  `newer` has the place in the WAL of each page that could not be folded, by number.

    Attributes:
        size: of the database [bytes].
        page_size: of its pages [bytes].
    """

    connection: sqlite3.Connection
    files: DatabaseFiles
    size: int
    page_size: int
    newer: Mapping[int, int]

    def content(self) -> Iterator[bytes]:
        """The database, a piece at a time."""
        each = self.page_size if self.newer else CHUNK
        for at in range(0, self.size, each):
            if (place := self.newer.get(at // each + 1)) is not None:
                yield os.pread(self.files.wal_content, each, place)
            else:
                yield os.pread(self.files.content, min(each, self.size - at), at)


@contextlib.contextmanager
def frozen(records: Records) -> Iterator[Frozen]:
    """The records as they are now, for as long as the block takes; others write on.

    The WAL is folded into the file, and before anything else is written a reading transaction
    begins.  While it lasts SQLite folds nothing: the file alone is the records of that moment
    (https://www.sqlite.org/walformat.html, WAL_READ_LOCK(0)), and the WAL grows.  SQLite's own
    backup would write a copy to the disk first.  Where the disk takes no writes, what stands in the
    WAL is read from there; it stays, and what is folded later is the same.  Raises Busy while
    another program reads.
    """
    with translated(records.path), contextlib.closing(records.connect_reader()) as reader:
        until = time.monotonic() + READER_SECONDS
        while True:
            folded = _folded(records)  # most of it while others write
            with records.exclusive():
                if folded:
                    folded = _folded(records)
                if folded is not False:
                    reader.execute("BEGIN")
                    reader.execute("SELECT count(*) FROM meta").fetchone()
                    files = records.files
                    newer = {} if folded else read_wal_pages(files.wal_content, last_frame(files))
                    break
            if time.monotonic() > until:
                raise Busy(detail=f"another program reads {records.path.name}")
            time.sleep(0.02)
        ((pages,),) = reader.execute("PRAGMA page_count")
        ((page_size,),) = reader.execute("PRAGMA page_size")
        yield Frozen(reader, files, pages * page_size, page_size, newer)
        if records.files is not files:
            raise Busy(detail=f"the files of {records.path.name} were restored meanwhile")


def _folded(records: Records) -> bool | None:
    """Whether the WAL is folded into the file; None where the disk takes no writes."""
    try:
        return records.checkpoint()
    except (DiskFailed, DiskFull):
        return None
