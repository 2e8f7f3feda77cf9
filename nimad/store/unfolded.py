"""A mark beside the records while their WAL holds what was acknowledged, to tell that it is gone.

SQLite takes a WAL that is not there for one that was folded into the file.  A store that was killed
and whose WAL went before the next start would begin without its newest memories, a young one with
none, and give their ids again.  So an empty file, `records.sqlite-unfolded`, stands beside it.

Crash prose:

1. after the first COMMIT of a process that changes memories, turns or relations, when SQLite has
   made the WAL and its name durable, the mark is made and its directory synced; then the change is
   acknowledged.  A crash before that leaves a WAL without the mark.  Later commits do nothing here;
2. at the end the mark is deleted and the directory synced; then SQLite folds the WAL and deletes
   it.  A crash in between leaves a WAL without the mark, too.

A process that ends, or lets the store go, without closing it does step 2, too (SQLite does).

So no crash leaves the mark without a WAL.  A program such as sqlite3 may: when it is the last one
to close a database it folds the WAL, deletes the shared memory, then the WAL.  That is a loss for
certain only where the shared memory is there, or no change ever came into the file.

A disk that has no room for the mark, or does not take it, keeps nothing from being remembered.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from nimad.disk.failures import translated
from nimad.errors import RecordsDamaged
from nimad.store import schema
from nimad.store.database_files import mark_of


def is_log_missing(path: Path) -> bool:
    """Whether the mark is there and the WAL is not.  To be asked before SQLite makes a new one.

    Raises RecordsDamaged where that is a loss for certain: nothing is opened or written then.
    """
    mark = mark_of(path)
    wal, shm = (mark.with_name(f"{path.resolve().name}-{end}") for end in ("wal", "shm"))
    if wal.exists() or not mark.exists():
        return False
    if shm.exists() or _is_unchanged(path):
        told = f"{wal.name} is gone, which held what was remembered last; put it back (e2fsck puts"
        told += f" what it finds into lost+found), or delete {mark.name} to go on without it"
        raise RecordsDamaged(path=path, detail=told)
    return True


def _is_unchanged(path: Path) -> bool:
    """Whether no memory, turn or relation ever came into the file."""
    with translated(path), contextlib.closing(schema.connect(path, fixed=True)) as connection:
        found: int = connection.execute(f"SELECT {schema.last_number('changes')}").fetchone()[0]
        return found == 0
