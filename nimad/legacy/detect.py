"""What kind of legacy store a path is, or the reason why it is none; nothing is written.

Standard library only, and sqlite3 is imported when a database is looked at and not before:
nimactl imports this module for every command.
"""

from __future__ import annotations

import os
import stat
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nimad.errors import (
    NimadError,
    SourceCorrupt,
    SourceMissing,
    SourceNotRecognised,
    SourceUnreadable,
    SourceUnsupported,
)
from nimad.legacy.schema import identify, open_source, sqlite_errors

SQLITE_MAGIC = b"SQLite format 3\0"
NOT_SQLITE = "it does not begin like an SQLite database"
HEADER_BYTES = 100
"""Length of the header of an SQLite database (https://www.sqlite.org/fileformat.html)."""
HEAD_BYTES = 4096
"""So much of a file is looked at to tell what it is."""
COMPANIONS = {
    ".sha256": "checksum",
    "-wal": "write-ahead log",
    "-shm": "shared memory of the write-ahead log",
    "-journal": "rollback journal",
}


@dataclass(frozen=True)
class Detected:
    """A legacy store: `kind` is "nima-sqlite"; `path` is absolute, with links followed.

    `schema` is 1 or 3, or 0 when only a snapshot can tell (the tables may live in the write-ahead
    log).  `size_bytes` counts the file and its write-ahead log.
    """

    kind: str
    schema: int
    path: Path
    size_bytes: int


def detect(path: Path) -> Detected:
    """Say what `path` is.

    Raises SourceMissing, SourceUnreadable (no permission, or the disk fails), SourceUnsupported
    (a NIMA file that this version does not take over), SourceNotRecognised and SourceCorrupt (the
    file is shorter than its header says).  Cost: one page of the file and its table list.
    """
    resolved, head, size = _peek(Path(path))
    if not head.startswith(SQLITE_MAGIC):
        raise _refusal(resolved, head, size)
    _check_header(resolved, head, size)
    log = _companion(resolved, "-wal")
    log_bytes = log.stat().st_size if log.exists() else 0
    return Detected("nima-sqlite", _glance(resolved, head), resolved, size + log_bytes)


def _peek(path: Path) -> tuple[Path, bytes, int]:
    """The path with links followed, the file's first bytes, and its size."""
    try:
        resolved = path.resolve(strict=True)
        status = resolved.stat()
        if stat.S_ISDIR(status.st_mode):
            raise SourceNotRecognised(path=path, detail=_about_directory(resolved))
        if not stat.S_ISREG(status.st_mode):
            raise SourceNotRecognised(path=path, detail="it is not an ordinary file")
        with open_plain(resolved) as file:
            return resolved, file.read(HEAD_BYTES), status.st_size
    except OSError as error:
        raise os_error(error, path) from error
    except RuntimeError as error:  # Python 3.11 says so when links go round in a circle
        raise SourceUnreadable(path=path, detail="its links lead back to it") from error


def open_plain(path: Path) -> BinaryIO:
    """Open a file for reading; a pipe that took its place meanwhile does not block."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    return os.fdopen(descriptor, "rb", buffering=0)


def os_error(error: OSError, path: Path | str) -> NimadError:
    """The nimad error that says why a source could not be opened or read."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return SourceMissing(path=path)
    if isinstance(error, PermissionError):
        return SourceUnreadable(path=path, detail="permission denied")
    return SourceUnreadable(path=path, detail=error.strerror or str(error))


def _about_directory(directory: Path) -> str:
    """Why a directory is refused, naming the file inside that was probably meant."""
    for name in ("graph.sqlite", "memory/graph.sqlite"):
        if (directory / name).is_file():
            return f"it is a directory; did you mean {directory / name}?"
    return "it is a directory; name the graph.sqlite file (directories come with later formats)"


def _companion(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _refusal(path: Path, head: bytes, size: int) -> NimadError:
    """The error for a file that does not begin like an SQLite database."""
    for suffix, role in COMPANIONS.items():
        if path.name.endswith(suffix):
            main = path.name.removesuffix(suffix)
            return SourceNotRecognised(path=path, detail=f"it is the {role} of {main}: name that")
    if size == 0:
        return SourceNotRecognised(path=path, detail="it is empty")
    if what := _other_format(path, head):
        return SourceUnsupported(path=path, what=what)
    return SourceNotRecognised(path=path, detail=NOT_SQLITE)


def _other_format(path: Path, head: bytes) -> str | None:
    """What a file of NIMA's other formats is, known by its first bytes; nothing is unpickled."""
    if head.startswith(b"PK\x03\x04") and b"data.pkl" in head[:512]:
        return "a checkpoint of hypervectors (PyTorch)"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return "a pickle, such as sparse_memory.pkl"
    if head[:1] == b"{" and b'"num_blocks"' in head:
        return "a sparse block memory (JSON)"
    return None


def _check_header(path: Path, head: bytes, size: int) -> None:
    """Refuse what cannot be a whole database, from its header alone."""
    if len(head) < HEADER_BYTES:
        raise SourceCorrupt(path=path, detail=f"it ends after {size} bytes, within its header")
    page = int.from_bytes(head[16:18], "big")
    page = 65536 if page == 1 else page
    if not 512 <= page <= 65536 or page & (page - 1):
        raise SourceCorrupt(path=path, detail=f"its header gives a page size of {page} bytes")
    pages = int.from_bytes(head[28:32], "big")
    # The count is only valid when both change counters agree (older writers left it alone), and
    # pages that live in a write-ahead log or were moved by an unfinished commit are not missing.
    valid = head[24:28] == head[92:96]
    unfinished = any(_companion(path, suffix).exists() for suffix in ("-wal", "-journal"))
    if valid and not unfinished and size < pages * page:
        raise SourceCorrupt(
            path=path, detail=f"it has {size} bytes where its header says {pages * page}"
        )


def _glance(path: Path, head: bytes) -> int:
    """The schema number, when the table list can be read without leaving a trace; else 0.

    A store in WAL mode is opened `immutable`, which reads the main file alone: what it shows is
    true unless a write-ahead log lies beside it, and then its absence proves nothing.  A store in
    rollback mode is opened read-only, which waits for a writer.  A file that looks damaged here
    may merely be changing: only the snapshot, which is stable, may say so.
    """
    in_wal_mode = head[18] == 2 or head[19] == 2
    log_beside = _companion(path, "-wal").exists()
    flags = "mode=ro&immutable=1" if in_wal_mode else "mode=ro"
    try:
        with sqlite_errors(path), closing(open_source(path, flags, timeout=0.2)) as connection:
            return identify(connection, path).schema
    except SourceNotRecognised:
        if log_beside:
            return 0
        raise
    except NimadError:
        return 0
