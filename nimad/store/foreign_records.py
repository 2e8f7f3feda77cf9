"""A records file of which nobody knows who made it: whether it is one of ours, before it is used.

Nothing that it brings along can run: the tables, indexes and triggers are compared, letter by
letter, with those that nimad makes, and schema functions are not trusted.  Names of files in it are
compared with the forms that nimad gives them, because they are opened and deleted later.
"""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from nimad.dataclass import dataclass
from nimad.disk.failures import translated
from nimad.errors import RecordsDamaged, StateTooNew
from nimad.store import schema
from nimad.store.identity import RENEW

MAX_VALUE_BYTES = 256 << 20
"""Size of the largest value, or row, that is read [bytes]."""
CHECK_SECONDS = 1800.0
"""Time that SQLite's own check may take [seconds]."""
FIRST = 14
"""The schema of the first backups."""
FILES = {
    "snapshots": ("SELECT snapshot FROM sources WHERE snapshot IS NOT NULL", r".+\.(sqlite|tar)"),
    "dense": ("SELECT name || '.nsd' FROM dense", r"dns-\d+\.nsd"),
}
"""By directory: what in the records names the files that a backup has, and the form of names."""
LISTS = (
    "DELETE FROM segments",
    "DELETE FROM pending",
    "DELETE FROM tombstones",
    "DELETE FROM meta WHERE key = 'words'",
    RENEW,
)
"""What takes the files off their lists that are made anew, and tells a copy from its original."""


@dataclass(frozen=True)
class ForeignRecords:
    """What a records file of ours holds: `files` are names, by directory."""

    memories: int
    files: dict[str, set[str]]


def take_over(path: Path) -> ForeignRecords:
    """Look through a file that has no WAL, and take off its lists what did not come with it.

    The file is put into rollback mode, so that nothing is written beside it; opening the store puts
    it back.  Raises RecordsDamaged for anything but whole records of this nimad or an older one,
    and StateTooNew.  Cost: it is read whole once.
    """
    with path.open("r+b") as file:  # https://www.sqlite.org/fileformat.html, offsets 18 and 19
        file.seek(18)
        file.write(b"\x01\x01")
    from urllib.parse import quote  # no start needs it, and it takes long to import

    uri = f"file:{quote(str(path))}?mode=rw"
    with translated(path), closing(sqlite3.connect(uri, uri=True)) as connection:
        for limit, value in (
            (sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES),
            (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
            (sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0),
        ):
            connection.setlimit(limit, value)
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "journal_mode = MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        until = time.monotonic() + CHECK_SECONDS
        connection.set_progress_handler(lambda: time.monotonic() > until, 1_000_000)
        _compare_schema(connection, path)
        problems = [line for (line,) in connection.execute("PRAGMA integrity_check(3)")]
        if problems := [line for line in problems if line != "ok" and "FTS5" not in line]:
            raise RecordsDamaged(path=path, detail=f"SQLite reports: {problems[0]}")
        ((memories,),) = connection.execute("SELECT count(*) FROM memories")
        files: dict[str, set[str]] = {}
        for directory, (sql, form) in FILES.items():
            files[directory] = {str(name) for (name,) in connection.execute(sql)}
            for name in files[directory]:
                if "/" in name or not re.fullmatch(form, name):
                    raise RecordsDamaged(path=path, detail=f"it names the file {name!r}")
        for statement in LISTS:
            connection.execute(statement)
        connection.commit()
        return ForeignRecords(memories, files)


def _compare_schema(connection: sqlite3.Connection, path: Path) -> None:
    ((application,),) = connection.execute("PRAGMA application_id")
    ((version,),) = connection.execute("PRAGMA user_version")
    if application != schema.APPLICATION_ID or version < FIRST:
        raise RecordsDamaged(path=path, detail="it is none of nimad's databases")
    if version > schema.SCHEMA:
        raise StateTooNew(path=path, found=version, known=schema.SCHEMA)
    if named := schema.differences(connection, version):
        raise RecordsDamaged(path=path, detail=f"its {named[0]!r} is not what nimad makes")
