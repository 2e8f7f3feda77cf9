"""What kind of legacy store a path is, or the reason why it is none; nothing is written.

Standard library only, and sqlite3 is imported when a database is looked at and not before:
nimactl imports this module for every command.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from nimad.dataclass import dataclass
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
NO_STORE = "it begins like no database, checkpoint, pickle or JSON of NIMA's"
BEFORE_ZIP = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How checkpoints of torch before 1.6 begin: the pickle of a magic number."""
OLD_TORCH = "a checkpoint in the form of PyTorch before 1.6 (no zip; a newer one can rewrite it)"
BOM = b"\xef\xbb\xbf"
"""What some editors put before UTF-8."""
ZIP_MAGIC = b"PK\x03\x04"
PICKLE_PROTOCOLS = b"\x02\x03\x04\x05"
"""What follows 0x80 at the begin of a pickle."""
OLD_PICKLES = (b"(d", b"}q", b"}(")
"""How a dict begins in protocols 0 and 1, which have no number."""
HEADER_BYTES = 100
"""Length of the header of an SQLite database (https://www.sqlite.org/fileformat.html)."""
HEAD_BYTES = 4096
"""Begin of a file that tells what it is [bytes]."""
COMPANIONS = {
    ".sha256": "checksum",
    "-wal": "write-ahead log",
    "-shm": "shared memory of the write-ahead log",
    "-journal": "rollback journal",
}
GRAPH, FILES = "nima-sqlite", "nima-files"
"""The kinds of sources: a graph database; checkpoints, pickles and JSON."""
CHECKPOINT, PICKLE, JSON = "checkpoint", "pickle", "JSON"
"""The formats of the files of FILES."""
STORES = {
    **dict.fromkeys((".sqlite", ".sqlite3", ".db"), GRAPH),
    **dict.fromkeys((".pt", ".pth"), CHECKPOINT),
    **dict.fromkeys((".pkl", ".pickle", ".json"), PICKLE),
}
"""How the names of files end -> what they are looked at as; all of a directory that are the same
become one source, a graph by itself.  JSON is an export of the pickle beside it."""
CHECKSUM = ".sha256"
MAX_NAME = 90
"""Length of a file's name in a bundle [characters]."""


@dataclass(frozen=True)
class Member:
    """A file of a store: its name in the store, such as "archive/2026-02-03.pt", and its path."""

    name: str
    path: Path


@dataclass(frozen=True)
class Detected:
    """A legacy store: `kind` is GRAPH or FILES; `path` is absolute, with links followed.

    `schema` is 1 or 3 of a graph, or 0 when only a snapshot can tell (the tables may live in the
    write-ahead log).  `size_bytes` counts the file and its write-ahead log, or all `members`: the
    files of a store of the kind FILES with the checksums beside them.
    """

    kind: str
    schema: int
    path: Path
    size_bytes: int
    members: tuple[Member, ...] = ()


def detect(path: Path) -> Detected:
    """Say what `path` is.

    Raises SourceMissing, SourceUnreadable (no permission, or the disk fails), SourceUnsupported
    (a NIMA file that this version does not take over), SourceNotRecognised and SourceCorrupt (the
    file is shorter than its header says).  Cost: one page of the file and its table list.
    """
    resolved, head, size = _peek(Path(path))
    if not head.startswith(SQLITE_MAGIC):
        for suffix, role in COMPANIONS.items():
            if resolved.name.endswith(suffix):
                main = resolved.name.removesuffix(suffix)
                detail = f"it is the {role} of {main}: name that"
                raise SourceNotRecognised(path=resolved, detail=detail)
        file_format(head, resolved)
        return store_of([resolved], resolved.parent, resolved)
    _check_header(resolved, head, size)
    log = beside(resolved, "-wal")
    log_bytes = log.stat().st_size if log.exists() else 0
    return Detected(GRAPH, _glance(resolved, head), resolved, size + log_bytes)


def store_of(files: Sequence[Path], root: Path, path: Path) -> Detected:
    """The store of the kind FILES that these files below `root` are, called `path`.

    Raises SourceUnreadable when a checksum beside one is not its owner's.
    """
    members: list[Member] = []
    for file in files:
        relative = file.relative_to(root).as_posix()
        # any tar holds such a name, and no shell trips over it
        plain = (c if c.isascii() and (c.isalnum() or c in "._-/+@") else "_" for c in relative)
        name, number = "".join(plain)[-MAX_NAME:].lstrip("/"), 2
        while any(member.name == name for member in members):
            name, number = f"{number}-{name}"[:MAX_NAME], number + 1
        members.append(Member(name, file.resolve()))
        if (checksum := beside(file, CHECKSUM)).is_file():
            check_owner(checksum)
            members.append(Member(name + CHECKSUM, checksum.resolve()))
    size = sum(member.path.stat().st_size for member in members)
    return Detected(FILES, 0, path, size, tuple(members))


def _peek(path: Path) -> tuple[Path, bytes, int]:
    """The path with links followed, the file's first bytes, and its size."""
    try:
        resolved = path.resolve(strict=True)
        status = resolved.stat()
        if stat.S_ISDIR(status.st_mode):
            raise SourceNotRecognised(path=path, detail="it is a directory")
        if not stat.S_ISREG(status.st_mode):
            raise SourceNotRecognised(path=path, detail="it is not an ordinary file")
        with open_plain(resolved) as file:
            return resolved, file.read(HEAD_BYTES), status.st_size
    except OSError as error:
        raise os_error(error, path) from error
    except RuntimeError as error:  # Python 3.11 says so when links go round in a circle
        raise SourceUnreadable(path=path, detail="its links lead back to it") from error


def check_owner(file: Path) -> None:
    """Raise SourceUnreadable when a file found in a directory is not of the directory's owner.

    A user who may write to a directory can put a link there that leads to what only the caller
    may read.  So a link, and what it leads to, must be the directory's owner's; and where the
    caller is not that owner, an ordinary file, too: it may be a hard link.
    """
    try:
        owner, itself, target = file.parent.stat().st_uid, file.lstat(), file.stat()
    except OSError as error:
        raise os_error(error, file) from error
    strangers = {itself.st_uid, target.st_uid} - {owner}
    trusted = not stat.S_ISLNK(itself.st_mode) and owner in (os.geteuid(), 0)
    if strangers and not trusted:
        detail = "it, or what it leads to, does not belong to the owner of its directory"
        raise SourceUnreadable(path=file, detail=detail)


def open_plain(path: Path) -> BinaryIO:
    """Open a file for reading, no link; a pipe that took its place meanwhile does not block."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
    descriptor = os.open(path, flags)
    return os.fdopen(descriptor, "rb", buffering=0)


def os_error(error: OSError, path: Path | str) -> NimadError:
    """The nimad error that says why a source could not be opened or read."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return SourceMissing(path=path)
    if isinstance(error, PermissionError):
        return SourceUnreadable(path=path, detail="permission denied")
    return SourceUnreadable(path=path, detail=error.strerror or str(error))


def beside(path: Path, suffix: str) -> Path:
    """The file that is named as another one with something behind: its log, its checksum."""
    return path.with_name(path.name + suffix)


def file_format(head: bytes, path: Path | str) -> str:
    """The format of FILES that some bytes begin like: CHECKPOINT, PICKLE or JSON.

    `path` only names the file in errors.  Raises SourceNotRecognised and SourceUnsupported.
    """
    if not head:
        raise SourceNotRecognised(path=path, detail="it is empty")
    if head.startswith(BEFORE_ZIP):
        raise SourceUnsupported(path=path, what=OLD_TORCH)
    if head.startswith(ZIP_MAGIC):
        return CHECKPOINT
    if head[:2] in OLD_PICKLES or (head[:1] == b"\x80" and head[1:2] in PICKLE_PROTOCOLS):
        return PICKLE
    if head.removeprefix(BOM).lstrip()[:1] == b"{":
        return JSON
    raise SourceNotRecognised(path=path, detail=NO_STORE)


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
    unfinished = any(beside(path, suffix).exists() for suffix in ("-wal", "-journal"))
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
    log_beside = beside(path, "-wal").exists()
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
