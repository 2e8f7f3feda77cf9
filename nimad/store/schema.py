"""The tables of records.sqlite: created, recognised, and refused when a newer nimad wrote them.

Application id 0x6E696D61 ("nima"); the version is `PRAGMA user_version`.  A file of an older
version is brought up to date in one transaction when it is opened (schema_versions.py): a crash
before its COMMIT leaves the file as it was, and the next start does it again.  A `checksum` tells
that a row is what was written (row_checksums.py); NULL until the next look gives it one.

=========== ==================================================================================
table       what a row is
=========== ==================================================================================
memories    one memory; `layer`, `namespace`, `agent`, `conversation`, `session`, `place` are
            `names` ids, `turn` a `turns` id; a `timestamp` or `created` of 0 is no date; `summary`
            is a number n where it is the first n characters of `text`, else the text itself or
            NULL; `key` is that of a document; `origin` is NULL where nobody told it, or `source`
            tells that it was taken over; `source_key` is the row's id in its source
unset_clock memories that were stored while the clock was not set (core/clock.py): the boot, by how
            much the clock was `ahead` of the time since then [ms], and which `fields` it gave
names       interned strings: sessions and the like repeat thousands of times; `folded` is the
            common form, by which they are compared
blobs       binary columns of a legacy row, byte for byte
turns       one exchange, told apart by source, name, namespace, conversation and session (0: none);
            `listed` is 0 while only a memory has named it (no row in the source); `gone`: the
            roles whose memories were forgotten, as bits
relations   one edge between two memories
hot         vectors (float16) of memories that no segment holds yet
segments    the block segments that count; a file without a row is garbage
pending     segments of an index that is being made anew for an embedder; not in use yet
tombstones  forgotten memories that a listed segment still holds
forgotten   what a purge of a forgotten memory needs, until one has removed its traces: its key in
            its source, [source, number] of the fillers that it named; `successor`: the newest
            version of a document that it was
changes     ranges of ids added or deleted, in order
sources     one legacy source and how far each stage came
quarantine  rows of a source that were not taken over, with the reason
later       rows of a followed source that came after its snapshot (`follow`: the last of them)
dense       files of converted legacy hypervectors that count; a file without a row is garbage
dense_items names of the fillers and roles in those files
phi         how well a memory's hypervector comes apart (cognition/phi_of_memories.py): `method` is
            the version that measured it, `phi` NULL where it could not; goes with the memory
goals       what else is known of a memory that is a goal: until when, whether it is open, by which
            memory it was reached (`by`)
broadcasts  which memories `step` put into the workspace, the last some hundred
suggestions pairs of memories that `dream` found, and whether they were rejected
boards      other stores of the fleet; ids are below 0, and are the `source` of memories of theirs,
            whose `source_key` is the id there
departed    memories of shared namespaces that are gone: the `number` in the store of a `board` (0:
            here), whether it was purged, and whether the fleet learns of it from here (`mine`)
stamps      when documents and goals of shared namespaces last changed (store/stamps.py)
cursors     how far each stream of the fleet's hub was read
meta        single values (embedder and revision of the vectors, ...)
=========== ==================================================================================

Ids of memories, turns and relations and numbers of changes are never given twice: triggers keep
the highest one that was deleted in `sqlite_sequence`, and the next one (`last_number`) is above it;
it stands there twice (-NAME below 0), so that a flipped bit gives none again and is noticed.
AUTOINCREMENT would write that table with each row.  `auto_vacuum = INCREMENTAL` and `secure_delete`
exist for `forget --purge`: freed pages are cut off the file, deleted cells are overwritten.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC
from functools import cache
from pathlib import Path

from nimad.errors import RecordsDamaged, StateTooNew
from nimad.store.database_files import WAL_BYTES
from nimad.store.rows import blob_checksum, row_checksum
from nimad.store.schema_versions import NUMBERED, REFOLD, TABLES, UPGRADES
from nimad.text import FORM, common_form
from nimad.times import read

APPLICATION_ID = 0x6E696D61
SCHEMA = max(UPGRADES)
"""The version of this nimad's tables."""
FOLD_FRAMES = 120
"""Pages in the WAL from which a commit folds it into the file, after which it begins anew: with
those of one more memory they fit into WAL_BYTES [pages of 4 KiB]."""
FORMER = (
    r"CREATEVIRTUALTABLEwordsUSINGfts5\(.*"
    r"|CREATETABLE'words_(data|idx|content|docsize|config)'\(.*"
)
"""Tables of the words index of before schema 9, which idle time takes out."""


def last_number(table: str) -> str:
    """SQL for the highest number that was ever given in a table of NUMBERED; 0: none was."""
    deleted = f"SELECT max(abs(seq)) FROM sqlite_sequence WHERE name IN ('{table}', '-{table}')"
    return f"max(ifnull((SELECT max({NUMBERED[table]}) FROM {table}), 0), ifnull(({deleted}), 0))"


def decode(data: bytes) -> str:
    """A text of SQLite: a bit that flipped must not keep what is around it from being read."""
    return data.decode("utf-8", "replace")


def connect(path: Path, *, readonly: bool = False, fixed: bool = False) -> sqlite3.Connection:
    """A connection with our settings; transactions are begun explicitly.

    `fixed` is for a disk that takes no writes, where SQLite has no place for the shared memory of a
    WAL.  Nothing changes the files, so each connection makes its own index of the WAL ("exclusive",
    with locks that lock nothing); where there is no WAL, the file alone is read ("immutable").
    Sources: https://www.sqlite.org/uri.html, https://www.sqlite.org/wal.html#noshm.
    """
    place = path.as_posix()
    if fixed:
        real = path.resolve()  # SQLite looks for the WAL beside the target of a link
        wal = real.with_name(f"{real.name}-wal")
        how = "vfs=unix-none" if wal.exists() and wal.stat().st_size else "immutable=1"
        place = f"{real.as_uri()}?mode=ro&{how}"
    connection = sqlite3.connect(
        place,
        timeout=30.0,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
        uri=fixed,
    )
    connection.text_factory = decode
    if fixed:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cache_size = -2000")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.create_function("blob_checksum", 2, blob_checksum, deterministic=True)
    if readonly:
        connection.execute("PRAGMA query_only = ON")
    else:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = FAST")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {FOLD_FRAMES}")
        connection.create_function("common_form", 1, common_form, deterministic=True)
        connection.create_function("row_checksum", -1, row_checksum, deterministic=True)
        connection.create_function("read_time", 1, _read_time, deterministic=True)
    return connection


def _read_time(value: int | None) -> int | None:
    """SQL's `read_time`: a number as epoch milliseconds; NULL for what is no time."""
    with suppress(ValueError):
        return read(value, UTC).at
    return None


@contextlib.contextmanager
def temporary_files_in(directory: Path) -> Iterator[None]:
    """Let SQLite's temporary files, which have no name, lie in a directory: they hold texts."""
    before = os.environ.get("SQLITE_TMPDIR")
    os.environ["SQLITE_TMPDIR"] = str(directory)
    try:
        yield
    finally:
        os.environ.pop("SQLITE_TMPDIR")
        if before is not None:
            os.environ["SQLITE_TMPDIR"] = before


def is_current(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether `prepare` would find nothing to do.  Raises RecordsDamaged for a file that is not
    ours."""
    ((version,),) = connection.execute("PRAGMA user_version")
    ((application,),) = connection.execute("PRAGMA application_id")
    if application != APPLICATION_ID:
        raise RecordsDamaged(path=path, detail="it is no database of nimad's")
    forms = connection.execute("SELECT value FROM meta WHERE key = 'text_form'").fetchall()
    return version == SCHEMA and forms == [(FORM,)]


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Create the tables in an empty file, or check that the file is ours, and bring it up to date.

    Raises StateTooNew for a newer schema, RecordsDamaged for a file that is not ours, and what
    SQLite raises (the caller translates it).  A crash
    before the one COMMIT leaves the file as it was; the next start does it again.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    empty = not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if not empty and application != APPLICATION_ID:
        raise RecordsDamaged(path=path, detail="it is a database, but not one of nimad's")
    if version > SCHEMA:
        raise StateTooNew(path=path, found=version, known=SCHEMA)
    connection.execute("PRAGMA journal_mode = WAL")  # what sqlite3 mended may have left it
    if empty:
        make(connection)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # never a file without its tables
    elif version < SCHEMA:
        _apply(connection, [UPGRADES[number] for number in range(version + 1, SCHEMA + 1)])
    form = connection.execute("SELECT value FROM meta WHERE key = 'text_form'").fetchone()
    if form is None or form[0] != FORM:
        _apply(connection, [REFOLD.replace("?", f"'{FORM}'")])


def make(connection: sqlite3.Connection, version: int = SCHEMA) -> None:
    """Create the tables of a version in an empty database: all of them, or nothing."""
    with contextlib.closing(sqlite3.connect(":memory:")) as made:
        made.deserialize(zlib.decompress(_empty(version)))
        made.backup(connection, progress=_end_at_lock)


def _end_at_lock(status: int, *_left: int) -> None:
    """End a copy that met a lock: it would try for ever, after its connection has waited once."""
    if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode, error.sqlite_errorname = status, "SQLITE_BUSY"
        raise error


@cache
def _empty(version: int) -> bytes:
    """An empty database of a version, compressed to some KB.  One upgrade after the other makes it,
    of which SQLite looks at all tables anew: 20 ms, and 2 ms for a copy."""
    with contextlib.closing(connect(Path(":memory:"))) as made:
        made.execute("PRAGMA auto_vacuum = INCREMENTAL")
        _apply(made, [TABLES, *(UPGRADES[number] for number in range(2, version + 1))])
        return zlib.compress(made.serialize())


def differences(connection: sqlite3.Connection, version: int = SCHEMA) -> list[str]:
    """Names of tables, indexes and triggers that are not, letter by letter but for blanks, what
    nimad makes of that version, or are missing."""
    with contextlib.closing(connect(Path(":memory:"))) as ours:
        make(ours, version)
        strange = _statements(connection) ^ _statements(ours)
    return sorted({name for name, sql in strange if not re.fullmatch(FORMER, sql)})


def _statements(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    return {(name, re.sub(r"\s", "", sql)) for name, sql in rows}


def _apply(connection: sqlite3.Connection, scripts: list[str]) -> None:
    """Run the statements of scripts and note the version: all of it, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for script in scripts:
            for statement in script.split(";\n"):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
