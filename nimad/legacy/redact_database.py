"""Takes purged rows out of a kept snapshot, so that `forget --purge` leaves no trace there.

The snapshot is our own copy; the source itself is never touched.  A database is made anew of what
nimad reads: the three tables of memories, edges and turns, without the purged rows.  Nothing else
comes along, because anything else may repeat the text (the full-text tables do) or be broken:
triggers, views, indexes, damaged free pages.  Edges of a purged row go with it, edges that lead
nowhere, and turns of which no memory is left.  So a purge does not depend on what is never read.
How it is done in a bundle of files is told in redact_bundle.py.

Crash prose: the new snapshot is written beside the old one as `NAME.tmp` or `NAME.scrub.tmp` (swept
at start) and renamed over it; a crash leaves the old snapshot or the new one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import closing, suppress
from pathlib import Path

from nimad.dataclass import dataclass
from nimad.disk.durable import fsync_dir
from nimad.disk.failures import Fault, sqlite_fault
from nimad.errors import NimadError
from nimad.legacy.detect import GRAPH
from nimad.legacy.reader_process import run
from nimad.legacy.recent_catalog import RECENT
from nimad.legacy.schema import (
    EDGES,
    NODES,
    TURNS,
    Shape,
    identify,
    open_source,
    quoted,
    read_schema,
    row_key,
    sqlite_errors,
)

MAX_ROW = 64 << 20
"""Size of the largest row that is copied [bytes]; of a value nimad reads a quarter."""
SIDECARS = ("-journal", "-wal", "-shm")
"""What SQLite puts beside a database; a snapshot is one file, and has none of nimad's."""
MEMBERS = ("input_node_id", "contemplation_node_id", "output_node_id")


@dataclass(frozen=True)
class Scrubbed:
    """The snapshot after scrubbing: rows removed, size [bytes] and digest."""

    rows: int
    bytes: int
    sha256: str


def scrub_snapshot(
    path: Path,
    keys: Sequence[int | str],
    kind: str = GRAPH,
    later: Collection[int] = (),
    *,
    growing: bool = False,
) -> Scrubbed:
    """Take rows out of a snapshot of this kind, and whatever else in it repeats what they say.

    `later` are keys of rows that came after it: what refers to one of those is kept.  Edges that
    lead nowhere are not, unless more rows may come (`growing`).

    Raises SourceCorrupt, SourceNotRecognised or SourceUnreadable when a snapshot cannot be read,
    DiskFull when the new one does not fit, ValueError when a file of a bundle cannot be
    overwritten.
    """
    if kind == GRAPH:
        rows = _scrub_database(path, {int(key) for key in keys}, later, growing)
        for name in SIDECARS:  # of another program's look at it, with what it read or wrote
            with suppress(FileNotFoundError, IsADirectoryError):
                Path(f"{path}{name}").unlink()
    else:
        rows = _scrub_bundle(path, keys)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Scrubbed(rows, path.stat().st_size, digest)


def _scrub_bundle(path: Path, keys: Sequence[int | str]) -> int:
    """Make the bundle anew without the episodes of these keys; how many there were."""
    RECENT.drop()
    new = path.with_name(path.name + ".scrub.tmp")
    try:
        shutil.copyfile(path, new)  # by the kernel: a bundle may be larger than the memory
        new.chmod(0o600)
        with path.open("rb") as bundle, new.open("r+b") as working:
            rows = run("redact", path, bundle.fileno(), working.fileno(), keys=list(keys))
        if rows:
            new.rename(path)
            fsync_dir(path.parent)
    finally:
        new.unlink(missing_ok=True)
    return rows


def _scrub_database(path: Path, keys: set[int], later: Collection[int], growing: bool) -> int:
    """Make the database anew without the memories of these ids; how many there were."""
    new = path.with_name(path.name + ".tmp")
    new.unlink(missing_ok=True)
    try:
        with sqlite_errors(path):
            with closing(open_source(path, "mode=ro&immutable=1")) as connection:
                shape = identify(connection, path)
                (encoding,) = connection.execute("PRAGMA encoding").fetchone()
            os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            with closing(open_source(new, "mode=rw")) as connection:
                connection.execute(f"PRAGMA encoding = {quoted(encoding)}")
                _prepare(connection, path, keys, later, growing)
                rows = _copy(connection, path, shape)
        with new.open("rb") as file:
            os.fsync(file.fileno())
        new.rename(path)
        fsync_dir(path.parent)
    finally:
        for left in (new, Path(f"{new}-journal")):
            left.unlink(missing_ok=True)
    return rows


def _prepare(
    connection: sqlite3.Connection,
    path: Path,
    keys: set[int],
    later: Collection[int],
    growing: bool,
) -> None:
    """Set up the connection to the new database, with the kept one beside it as `kept`."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_ROW)
    for pragma in ("journal_mode=MEMORY", "synchronous=OFF", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("PRAGMA ignore_check_constraints=ON")  # an expression of the file's choice
    for table, ids in (("purged", keys), ("later", later), ("growing", [1] if growing else [])):
        connection.execute(f"CREATE TEMP TABLE {table} (id INTEGER PRIMARY KEY)")
        connection.executemany(f"INSERT INTO {table} VALUES (?)", ((key,) for key in ids))
    read_schema(
        connection, "ATTACH ? AS kept", (f"{path.absolute().as_uri()}?mode=ro&immutable=1",)
    )


def _copy(connection: sqlite3.Connection, path: Path, shape: Shape) -> int:
    """Fill the new database from the kept one; how many memories were left out."""
    named = {NODES: shape.nodes, EDGES: shape.edges, TURNS: shape.turns}
    tables = {table: columns for table, columns in named.items() if columns}
    try:
        _copy_tables(connection, tables, as_they_were=True)
        if identify(connection, path) != shape:
            raise sqlite3.OperationalError("the copy has other tables")
    except (sqlite3.Error, NimadError):
        # a broken constraint, a collation that is not known here: the rows are what counts
        _copy_tables(connection, tables, as_they_were=False)
    sql = f"SELECT count(*) FROM kept.{NODES} NOT INDEXED WHERE id IN (SELECT id FROM purged)"
    return int(connection.execute(sql).fetchone()[0])


def _copy_tables(
    connection: sqlite3.Connection, tables: dict[str, tuple[str, ...]], as_they_were: bool
) -> None:
    """Copy rows with their own ids, into tables declared `as_they_were` or by column names only."""
    for table, columns in tables.items():
        connection.execute(f"DROP TABLE IF EXISTS main.{table}")
        names = [quoted(name) for name in columns]
        if as_they_were:
            found = connection.execute(f"PRAGMA kept.table_xinfo({table})").fetchall()
            if len(found) != len(columns):
                raise sqlite3.OperationalError("a generated column is an expression, not data")
            sql = "SELECT sql FROM kept.sqlite_schema WHERE type = 'table' AND lower(name) = ?"
            connection.execute(connection.execute(sql, (table,)).fetchone()[0])
        else:
            keyed = [f"{n} INTEGER PRIMARY KEY" if n.lower() == '"id"' else n for n in names]
            declared = ", ".join(keyed if table == NODES else names)
            connection.execute(f"CREATE TABLE {table} ({declared})")
        listed = ", ".join([row_key(columns), *names])
        rows = f"SELECT {listed} FROM kept.{table} NOT INDEXED WHERE ({_stays(table, columns)})"
        _insert(connection, f"INSERT INTO main.{table} ({listed}) {rows}", row_key(columns), table)


def _insert(connection: sqlite3.Connection, sql: str, key: str, table: str) -> None:
    """Copy all rows, or, where one is too large for the memory, all others: nimad could not read
    such a row either."""
    try:
        connection.execute(sql)
        return
    except sqlite3.Error as error:
        if sqlite_fault(error) is not Fault.TOO_BIG:
            raise
    for (number,) in connection.execute(f"SELECT {key} FROM kept.{table} NOT INDEXED").fetchall():
        try:
            connection.execute(f"{sql} AND {key} = ?", (number,))
        except sqlite3.Error as error:
            if sqlite_fault(error) is not Fault.TOO_BIG:
                raise


def _stays(table: str, columns: tuple[str, ...]) -> str:
    """The condition under which a row of a table stays; memories are copied before turns."""
    if table == NODES:
        return "id NOT IN (SELECT id FROM purged)"
    named = ("source_id", "target_id") if table == EDGES else MEMBERS
    known = {name.lower() for name in columns}
    # as an argument, a column has neither the type nor the collation that a hostile file gave it
    keys = [f"coalesce({name}, NULL)" for name in named if name in known]
    gone = " OR ".join(f"ifnull({key} IN (SELECT id FROM purged), 0)" for key in keys) or "0"
    there = [
        f"ifnull({key} IN (SELECT id FROM main.{NODES}) OR {key} IN (SELECT id FROM later), 0)"
        for key in keys
    ]
    if table == EDGES:
        return f"NOT ({gone}) AND (({' AND '.join(there)}) OR EXISTS (SELECT 1 FROM growing))"
    return f"NOT ({gone}) OR {' OR '.join(there) or '0'}"
