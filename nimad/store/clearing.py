"""No byte of what was deleted stays in the records: `UnusedBytes` in steps, between which others
write.

Crash prose: a step changes nothing that SQLite reads, so a crash in it, or between two, leaves the
records as they were.  What is left of the work is done again by who began it (a purge, whose note
goes after it).
"""

from __future__ import annotations

import contextlib
import logging
import os
import time

from nimad.disk.durable import crash_point
from nimad.disk.failures import disk_errors, translated
from nimad.store import schema
from nimad.store.records import Records
from nimad.store.unused_bytes import Strange, UnusedBytes

log = logging.getLogger(__name__)

PAUSE = 0.02
"""Time after which a step that met a reader is tried again [seconds]."""


def clear_unused(records: Records, patience: float = 0.0) -> bool:
    """Leave no byte of what was deleted in the file, and cut its WAL to nothing; False when a
    reader, of another program's, too, was in the way for longer than `patience` [seconds].

    `secure_delete` does not reach the copies of moved cells that SQLite leaves in the unused part
    of a page.  Writers wait for a step, of some milliseconds; nobody may move pages between the
    steps (`Records.release_space`).  Where the file is not as nimad makes them it is written anew
    in one piece, for which twice its size must be free (DiskFull).
    """
    records.checkpoint()  # most of it while others write
    with contextlib.closing(schema.connect(records.path)) as connection:
        last: int | None = 0
        until = time.monotonic() + patience
        while last is not None:
            try:
                with translated(records.path), records.folded(connection) as folded:
                    if folded:
                        last = _clear_some(records, last)
            except Strange as error:
                log.warning("%s is written anew, because %s", records.path.name, error)
                _write_anew(records)
                break
            if folded:
                until = time.monotonic() + patience
            elif time.monotonic() > until:
                return False
            else:
                time.sleep(PAUSE)
    files = records.files
    with _told(records):
        os.fdatasync(files.content)
    while not (records.checkpoint() and files is records.files):
        if time.monotonic() > until:
            return False
        time.sleep(PAUSE)
    return True


def _told(records: Records) -> contextlib.AbstractContextManager[None]:
    return disk_errors(f"what nothing uses of {records.path.name} could not be overwritten")


def _clear_some(records: Records, last: int) -> int | None:
    """Clear some pages behind one; the last of them, None at the end."""
    with _told(records):
        following, written = UnusedBytes(records.files.content).clear(last)
    if written:  # the writer must not write a page as it was before
        records.maintain("PRAGMA shrink_memory")
    crash_point("records.cleared")
    return following


def _write_anew(records: Records) -> None:
    with translated(records.path), contextlib.closing(schema.connect(records.path)) as connection:
        for pragma in ("busy_timeout = 0", "temp_store = FILE", "auto_vacuum = INCREMENTAL"):
            connection.execute(f"PRAGMA {pragma}")
        with records.exclusive(), schema.temporary_files_in(records.path.parent):
            connection.execute("VACUUM")
