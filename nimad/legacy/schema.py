"""What a NIMA graph database looks like inside: its tables, its columns, its schema number.

Standard library only: nimactl asks this before anything is copied, and the daemon asks it again
about the copy it was handed.  A database is trusted with nothing: only base tables count (a view
or a virtual table of the right name runs code when it is read), and only the columns that are
stored (a generated column is an expression).

| schema | written by            | known by                                                        |
|--------|-----------------------|-----------------------------------------------------------------|
| 1      | nima-core 1 and 2     | memory_nodes without the columns below                          |
| 3      | nima-core 3 and later | memory_nodes with `embedding`, `strength` or `is_ghost`         |
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes

from nimad.dataclass import dataclass
from nimad.disk.failures import Fault, sqlite_fault
from nimad.errors import (
    DiskFull,
    NimadError,
    SourceChanged,
    SourceCorrupt,
    SourceNotRecognised,
    SourceUnreadable,
)

if TYPE_CHECKING:
    import sqlite3

NODES, EDGES, TURNS = "memory_nodes", "memory_edges", "memory_turns"
REQUIRED = {
    NODES: ("id", "timestamp", "layer", "text"),
    EDGES: ("source_id", "target_id", "relation"),
    TURNS: ("turn_id",),
}
"""Columns a table must have to be read at all; the others may be missing."""
ROW_KEYS = ("rowid", "_rowid_", "oid")
SCHEMA_3_COLUMNS = ("embedding", "strength", "is_ghost")


@dataclass(frozen=True)
class Shape:
    """The schema number and, per table, its stored columns in order (empty: no such table)."""

    schema: int
    nodes: tuple[str, ...]
    edges: tuple[str, ...]
    turns: tuple[str, ...]


def identify(connection: sqlite3.Connection, path: Path | str) -> Shape:
    """Say which NIMA schema a database has.

    `path` only names the source in errors.  Raises SourceNotRecognised when the tables are
    missing, are not base tables, or lack what a memory needs; SourceCorrupt when SQLite cannot
    make sense of the file.
    """
    with sqlite_errors(path):
        rows = connection.execute(
            "SELECT lower(name), type, rootpage FROM sqlite_schema WHERE type IN ('table','view')"
            f" AND lower(name) IN ('{NODES}', '{EDGES}', '{TURNS}') LIMIT 100"
        )
        kinds = {  # "table", "view" or "virtual table", which has no page
            str(name): "virtual table" if kind == "table" and not page else str(kind)
            for name, kind, page in rows
        }
        if not kinds.get(NODES):
            missing = [name for name in (NODES, EDGES, TURNS) if name not in kinds]
            raise SourceNotRecognised(
                path=path, detail=f"the database has no table {', '.join(missing)}"
            )
        columns = {name: _columns(connection, name, kinds, path) for name in REQUIRED}
        # memories are told apart by `id`, so it must be the table's own integer key
        listed = connection.execute(f"PRAGMA table_info({NODES})").fetchall()
        keys = [(str(row[1]).lower(), str(row[2]).upper()) for row in listed if row[5]]
        # an index made for the key: then `id` is a column like any other, not the row's own id
        indexes = connection.execute(f"PRAGMA index_list({NODES})").fetchall()
        if keys != [("id", "INTEGER")] or any(row[3] == "pk" for row in indexes):
            detail = f"{NODES}.id is not the table's integer primary key"
            raise SourceNotRecognised(path=path, detail=detail)
    known = {name.lower() for name in columns[NODES]}
    schema = 3 if known.intersection(SCHEMA_3_COLUMNS) else 1
    return Shape(schema, columns[NODES], columns[EDGES], columns[TURNS])


def _columns(
    connection: sqlite3.Connection, table: str, kinds: dict[str, str], path: Path | str
) -> tuple[str, ...]:
    kind = kinds.get(table)
    if kind is None:
        return ()
    if kind != "table":
        raise SourceNotRecognised(path=path, detail=f"{table} is a {kind}, not a table")
    # table_info leaves generated columns out: they are expressions, not data.
    columns = tuple(str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})"))
    lower = {name.lower() for name in columns}
    if missing := [name for name in REQUIRED[table] if name not in lower]:
        raise SourceNotRecognised(path=path, detail=f"{table} has no column {', '.join(missing)}")
    if not has_row_ids(connection, table, lower):
        raise SourceNotRecognised(path=path, detail=f"the rows of {table} have no id of their own")
    return columns


def has_row_ids(connection: sqlite3.Connection, table: str, columns: Container[str]) -> bool:
    """Whether a table, with columns of these names in small letters, has rowids that can be read.

    PRAGMA table_list tells it, too, but opens every table, and one that is damaged can end that.
    """
    import sqlite3

    key = next((name for name in ROW_KEYS if name not in columns), None)
    try:
        return bool(key) and bool(connection.execute(f"SELECT {key} FROM {quoted(table)} LIMIT 0"))
    except sqlite3.OperationalError as error:
        if "no such column" not in str(error):
            raise
        return False


def row_key(columns: tuple[str, ...]) -> str:
    """The name under which SQLite gives a row's own id: one that no column has taken."""
    taken = {name.lower() for name in columns}
    return next(name for name in ROW_KEYS if name not in taken)


def quoted(name: str) -> str:
    """A name as SQL takes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def open_source(path: Path, flags: str, timeout: float = 5.0) -> sqlite3.Connection:
    """Connect to a database that is not ours: `flags` are the URI's, such as "mode=ro".

    No statement may run code that the schema brings along, and pages are never mapped (a file that
    shrinks under a mapping kills the process).  `timeout`: seconds to wait for a lock.
    """
    import sqlite3

    uri = f"file:{quote_from_bytes(os.fsencode(path))}?{flags}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False
    )
    for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0"):
        connection.execute(f"PRAGMA {pragma}")
    with suppress(sqlite3.Error, UnicodeDecodeError):  # the caller will meet it, too
        read_schema(connection, "SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
    return connection


def read_schema(
    connection: sqlite3.Connection, sql: str, parameters: Sequence[str] = ()
) -> sqlite3.Cursor:
    """Run a statement that reads a schema, also one whose indexes, checks or columns use JSON.

    They are harmless, but SQLite does not say so of its JSON functions, and calls such a schema
    malformed.  Trusting it gives it no other function that does more: extensions are off.
    """
    import sqlite3

    try:
        return connection.execute(sql, parameters)
    except sqlite3.DatabaseError as error:
        if "unsafe use of json" not in str(error):
            raise
        connection.execute("PRAGMA trusted_schema=ON")
        return connection.execute(sql, parameters)


@contextmanager
def sqlite_errors(path: Path | str) -> Iterator[None]:
    """Turn what SQLite raises while a source is read into the errors of nimad."""
    import sqlite3

    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path) from error
    except UnicodeDecodeError as error:  # SQLite quotes the damaged schema in its complaint
        raise SourceCorrupt(path=path, detail="its table list is not text") from error


def translate(error: sqlite3.Error, path: Path | str) -> NimadError | MemoryError:
    """The nimad error that says what a SQLite error means to the owner of the source."""
    match sqlite_fault(error):
        case Fault.NO_MEMORY:
            return MemoryError(str(error))
        case Fault.NO_DATABASE:
            return SourceNotRecognised(path=path, detail="it is not an SQLite database")
        case Fault.LOCKED:
            return SourceChanged(path=path, detail="another program keeps it locked")
        case Fault.FULL:
            return DiskFull(detail=f"the copy of {path} did not fit")
        case Fault.FAILED:
            detail = f"the disk reports an error ({_one_line(error)})"
            return SourceUnreadable(path=path, detail=detail)
        case Fault.NOT_OPENED | Fault.READ_ONLY:
            return SourceUnreadable(path=path, detail=_one_line(error))
        case Fault.INTERRUPTED:
            return SourceCorrupt(path=path, detail="reading one part of it took unreasonably long")
    return SourceCorrupt(path=path, detail=_one_line(error))


def _one_line(error: Exception) -> str:
    """What SQLite says, short and printable: it quotes what a damaged file holds."""
    line = " ".join(str(error).split())
    return "".join(c if c.isprintable() else "?" for c in line[:100])
