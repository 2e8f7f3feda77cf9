"""Takes purged rows out of a kept snapshot, so that `forget --purge` leaves no trace there.

The snapshot is our own copy; the source itself is never touched.  The full-text tables of the
legacy store repeat the text, so they go whole: they can be derived and nothing here reads them.
How it is done in a bundle of files is told in redact_bundle.py.

Crash prose: the scrubbed database is written beside the snapshot as `NAME.tmp` (swept at start) and
renamed over it; a crash leaves the old snapshot or the new one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nimad.disk.durable import fsync_dir
from nimad.errors import DiskFull, SourceCorrupt
from nimad.legacy.detect import GRAPH


@dataclass(frozen=True)
class Scrubbed:
    """The snapshot after scrubbing: rows removed, size [bytes] and digest."""

    rows: int
    bytes: int
    sha256: str


def scrub_snapshot(path: Path, keys: Sequence[int | str], kind: str = GRAPH) -> Scrubbed:
    """Take rows out of a snapshot of this kind, and whatever else in it repeats what they say.

    Raises SourceCorrupt when a database cannot be read, SourceCorrupt or ValueError when a file of
    a bundle cannot be overwritten, DiskFull.
    """
    if kind == GRAPH:
        return _scrub_database(path, keys)
    from nimad.legacy.redact_bundle import blank

    rows = blank(path, keys)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Scrubbed(rows, path.stat().st_size, digest)


def _scrub_database(path: Path, keys: Sequence[int | str]) -> Scrubbed:
    """Delete memory_nodes rows by id, and the text index."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    working = path.with_name(path.name + ".scrub.tmp")
    working.unlink(missing_ok=True)
    shutil.copyfile(path, working)  # by the kernel: a snapshot may be larger than the memory
    working.chmod(0o600)
    try:
        connection = sqlite3.connect(working, isolation_level=None)
        try:
            rows = _delete(connection, keys)
            connection.execute("VACUUM INTO ?", (str(temporary),))
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
                raise DiskFull(detail=f"{path.name} cannot be rewritten ({error})") from error
            raise SourceCorrupt(path=path, detail=str(error)) from error
        finally:
            connection.close()
        temporary.chmod(0o600)
        with temporary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        temporary.rename(path)
        fsync_dir(path.parent)
    finally:
        for left in (working, temporary, Path(f"{working}-journal")):
            left.unlink(missing_ok=True)
    return Scrubbed(rows, path.stat().st_size, digest)


def _delete(connection: sqlite3.Connection, keys: Sequence[int | str]) -> int:
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA journal_mode = OFF")  # a working copy: nothing to roll back to
    connection.execute("PRAGMA synchronous = OFF")
    found = connection.execute("SELECT name, type FROM sqlite_schema").fetchall()
    for name, kind in found:
        if kind == "trigger":
            connection.execute(f"DROP TRIGGER IF EXISTS {_quoted(name)}")
    for name, kind in found:
        if kind == "table" and name == "memory_fts":
            connection.execute(f"DROP TABLE {_quoted(name)}")
    removed = 0
    for key in keys:
        removed += connection.execute("DELETE FROM memory_nodes WHERE id = ?", (key,)).rowcount
    return removed


def _quoted(name: str) -> str:
    """A name from a hostile file as an identifier."""
    return '"' + name.replace('"', '""') + '"'
