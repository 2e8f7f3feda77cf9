"""A consistent copy of a legacy database, made by its owner; nothing beside the source changes.

Standard library only: this runs in nimactl, as the user who owns the file.  What is safe depends
on what lies beside the database (measured: SQLite 3.40.1, a listing with checksums before and
after each way of opening):

| beside it         | a writer      | way                                                         |
|-------------------|---------------|-------------------------------------------------------------|
| -wal and -shm     | live or dead  | SQLite's backup over `mode=ro&readonly_shm=1`               |
| -wal alone        | none          | copy both files (`mode=ro` would leave a -shm)              |
| neither           | none          | copy the file (`mode=ro` would leave an empty -wal)         |
| -journal, or none | rollback mode | copy both; the unfinished commit is undone in the copy      |

`mode=ro` alone rewrites -shm; with `readonly_shm=1` no byte changes (for root SQLite sets the log's
owner to the database's, so its change time moves).  Through all of it a shared
lock, SQLite's own, is held on the source: a commit in rollback mode waits, and no process that
leaves can take the write-ahead log with it.  A plain copy counts when the size, times and inode of
every file are the same before and after; else it is made again.

What a crash leaves: a private directory with a copy, which the next snapshot removes (see
scratch.py).  The finished copy is an open descriptor without a name: nothing can stay behind.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from nimad.closing import Closing
from nimad.dataclass import dataclass
from nimad.disk.failures import Fault, sqlite_fault
from nimad.errors import DiskFull, SourceChanged, SourceNotRecognised, SourceUnreadable
from nimad.legacy.detect import GRAPH, NOT_SQLITE, SQLITE_MAGIC, beside, open_plain, os_error
from nimad.legacy.schema import identify, open_source, sqlite_errors
from nimad.legacy.scratch import private_directory, scratch_directory
from nimad.model import AttachRequest

TRIES = 8
"""Attempts to copy a file that changes meanwhile."""
SETTLE_SECONDS = 0.05
"""Age of a file whose next write changes its signature [seconds]."""
MARGIN_BYTES = 8 << 20
"""Space left free on the scratch disk for other programs [bytes]."""
LOCK_SECONDS = 5.0
"""Time that a writer in rollback mode may keep the source locked [seconds]."""
SHARED_FIRST, SHARED_SIZE = 0x40000002, 510
"""The bytes SQLite locks for reading (https://www.sqlite.org/src/file/src/os.h)."""
CHUNK = 1 << 20
FileSignature = tuple[int, int, int]
"""(inode, size in bytes, time of the last change in ns)."""


@dataclass(frozen=True)
class Snapshot(Closing):
    """A copy of a legacy database: one file, no write-ahead log, open for reading, without a name.

    `fd` belongs to the snapshot (close it, or use it in `with`); `digest` is its SHA-256 in hex;
    `origin` is the absolute path of the source, `kind` and `schema` what was found in it.
    """

    fd: int
    size_bytes: int
    digest: str
    origin: str
    kind: str
    schema: int

    def request(self, **wishes: Any) -> AttachRequest:
        """What asks nimad to take it over; `wishes` are further fields."""
        return AttachRequest(self.origin, self.kind, self.digest, self.size_bytes, **wishes)

    def close(self) -> None:
        """Give the descriptor, and with it the disk space, back."""
        with contextlib.suppress(OSError):
            os.close(self.fd)


def take_snapshot(
    path: Path, into: Path | None = None, look: Callable[[Path], None] = lambda copy: None
) -> Snapshot:
    """Copy a legacy database as it is at one moment, its write-ahead log included.

    `into` is a directory for the copy (default `scratch_directory()`); nothing stays in it.  `look`
    may read the copy while it has a name.
    Raises what `detect` raises, SourceChanged when a writer without locks never paused, DiskFull
    before anything is written or when the space goes meanwhile, ScratchUnusable when `into`
    cannot be written.  Cost: the database is read once and written once, then read for its digest.
    """
    with consistent_copy(path, into) as (copy, source):
        with sqlite_errors(source), closing(open_source(copy, "mode=ro")) as connection:
            schema = identify(connection, source).schema
        look(copy)
        return open_copy(copy, source, GRAPH, schema)


@contextlib.contextmanager
def consistent_copy(path: Path, into: Path | None = None) -> Iterator[tuple[Path, Path]]:
    """A copy of any SQLite database as it is at one moment, one file without a log, while it is
    used, and the path that was meant.  Raises as `take_snapshot`, but for what is in it."""
    into = into or scratch_directory()
    try:
        source = Path(path).resolve(strict=True)
    except OSError as error:
        raise os_error(error, path) from error
    for suffix in ("-wal", "-shm", "-journal"):
        if beside(source, suffix).is_symlink():  # SQLite would follow it, and never makes one
            raise SourceUnreadable(path=beside(source, suffix), detail="it is a link")
    with private_directory(into) as scratch:
        copy = scratch / "copy.sqlite"
        sizes = [file_signature(beside(source, suffix))[1] for suffix in ("", "-wal", "-journal")]
        check_space(sum(sizes) + sizes[1], source, into)  # the log is written twice
        try:
            _copy_consistently(source, copy)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(detail=f"the copy of {source} did not fit in {into}") from error
            raise os_error(error, source) from error
        # one plain file is made of the copy: its log written back, what was not committed undone
        with copy.open("rb") as file:
            if file.read(len(SQLITE_MAGIC)) != SQLITE_MAGIC:
                raise SourceNotRecognised(path=source, detail=NOT_SQLITE)
        with sqlite_errors(source), closing(open_source(copy, "mode=rw")) as connection:
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode=DELETE")
        yield copy, source


def open_copy(copy: Path, origin: Path, kind: str, schema: int) -> Snapshot:
    """A finished copy, whose name may go now.  Cost: it is read for its digest."""
    fd = os.open(copy, os.O_RDONLY | os.O_CLOEXEC)
    try:
        digest, size = digest_of(fd)
    except BaseException:
        os.close(fd)
        raise
    return Snapshot(fd, size, digest, str(origin), kind, schema)


def check_space(bytes_needed: int, origin: Path, into: Path) -> None:
    """Raise DiskFull before the first byte when a copy cannot fit."""
    needed = bytes_needed + MARGIN_BYTES
    disk = os.statvfs(into)
    free = disk.f_bavail * disk.f_frsize
    if free < needed:
        raise DiskFull(
            detail=f"a copy of {origin} needs {needed >> 20} MiB in {into}; "
            f"{free >> 20} MiB are free"
        )


def settle(modified_ns: int) -> bool:
    """Wait until a file is so old that another write changes its signature; whether it was not.

    Two writes within one tick of the file system's clock look the same.
    """
    age = time.time() - modified_ns / 1e9
    if not 0 <= age < SETTLE_SECONDS:
        return False
    time.sleep(SETTLE_SECONDS - age)
    return True


# --- copying ------------------------------------------------------------------------------------


def _copy_consistently(source: Path, copy: Path) -> None:
    """Copy by the way that the table above names."""
    with open_plain(source) as file:
        # Closing any descriptor of a file drops all locks of the process on it, SQLite's close
        # too: so the lock is taken anew before each attempt.
        for again in (True, False):
            locked = _lock_shared(file.fileno())
            if not all(beside(source, suffix).exists() for suffix in ("-wal", "-shm")):
                break
            before = _signatures(source)
            if not _backup(source, copy):
                locked = _lock_shared(file.fileno())
                break
            # Over a dead writer's log SQLite reads without locks, so a writer that starts just
            # then could go unseen: when anything changed, once more, now under its locks.
            if _signatures(source) == before or not again:
                return
        in_wal_mode = 2 in os.pread(file.fileno(), 2, 18)
        _copy_files(source, copy, steady=locked and not in_wal_mode)


def _lock_shared(fd: int) -> bool:
    """Take SQLite's shared lock on the source; False when a writer never lets go of its own.

    That writer holds it by choice (locking_mode=EXCLUSIVE): the copy is then made between its
    writes, and only a copy during which nothing changed counts.  Closing `fd` frees the lock.
    """
    import fcntl

    until = time.monotonic() + LOCK_SECONDS
    while time.monotonic() < until:
        try:
            fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB, SHARED_SIZE, SHARED_FIRST)
            return True
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                return False  # a file system without locks
            time.sleep(0.02)
    return False


def _backup(source: Path, copy: Path) -> bool:
    """Copy through SQLite, which reads the live write-ahead log; False when it will not."""
    import sqlite3

    _remove(copy)
    try:
        with (
            closing(open_source(source, "mode=ro&readonly_shm=1")) as origin,
            closing(sqlite3.connect(copy, isolation_level=None)) as target,
        ):
            target.execute("PRAGMA synchronous=OFF")
            target.execute("PRAGMA journal_mode=OFF")
            origin.backup(target)
    except sqlite3.Error as error:
        if sqlite_fault(error) is Fault.FULL:
            raise OSError(errno.ENOSPC, "the disk is full") from error
        return False
    return True


def _copy_files(source: Path, copy: Path, steady: bool) -> None:
    """Copy the database and its log or journal; again while any of them changes.

    `steady`: the shared lock is held on a database in rollback mode.  Its pages cannot change
    then, and a journal that grows meanwhile only holds what those pages hold anyway.
    """
    for attempt in range(TRIES):
        before = _signatures(source)
        if settle(max(signature[2] for signature in before)):
            before = _signatures(source)
        for suffix in ("", "-wal", "-journal"):
            _copy_file(beside(source, suffix), beside(copy, suffix), required=not suffix)
        if steady or _signatures(source) == before:
            return
        time.sleep(0.05 * (attempt + 1))
    raise SourceChanged(path=source, detail=f"{TRIES} copies in a row were overtaken by a writer")


def _copy_file(source: Path, target: Path, required: bool) -> None:
    """Copy bytes to a private file; a log that is not there leaves none."""
    _remove(target)
    try:
        origin = open_plain(source)
    except FileNotFoundError:
        if required:
            raise
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with origin, os.fdopen(os.open(target, flags, 0o600), "wb", buffering=0) as out:
        while os.sendfile(out.fileno(), origin.fileno(), None, CHUNK):
            pass


def _signatures(source: Path) -> list[FileSignature]:
    """What changes when a file is written, for the source and each file beside it.

    -shm counts by its inode alone: locking writes to it, and its birth means that a writer came.
    """
    found = [file_signature(beside(source, suffix)) for suffix in ("", "-wal", "-journal")]
    return [*found, (file_signature(beside(source, "-shm"))[0], 0, 0)]


def file_signature(path: Path) -> FileSignature:
    """What changes when a file is written; zeros when there is no such file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        beside(path, suffix).unlink(missing_ok=True)


def digest_of(fd: int) -> tuple[str, int]:
    """SHA-256 in hex and size in bytes of an open file; the descriptor is left at the start."""
    import hashlib

    digest, size = hashlib.sha256(), 0
    while chunk := os.pread(fd, CHUNK, size):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size
