"""What the disk refuses, as errors of ours: one reading of errno, one of SQLite's result codes.

| errno                 | SQLite          | error                                     |
|-----------------------|-----------------|-------------------------------------------|
| ENOSPC, EDQUOT, EFBIG | FULL            | DiskFull                                  |
| EROFS                 | READONLY        | DiskReadOnly                              |
| EIO and its kind      | IOERR           | DiskFailed                                |
|                       | CORRUPT, NOTADB | RecordsDamaged; DiskFailed where the file |
|                       |                 | cannot be read                            |
|                       | CORRUPT_VTAB    | WordsDamaged (FTS5 of before schema 9)    |
|                       | BUSY, LOCKED    | Busy                                      |
|                       | CANTOPEN        | StateUnusable                             |
|                       | NOMEM           | MemoryError                               |

SQLite says IOERR and CANTOPEN for a full and for a read-only disk, too (where it makes room for the
shared memory of the WAL, say) and keeps errno to itself.  So some pages are written beside the
database: what the system says to them tells the three apart.

SQLite is not imported: nimactl reads result codes of a legacy database without it.
"""

from __future__ import annotations

import enum
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from nimad.errors import (
    Busy,
    DiskFailed,
    DiskFull,
    DiskReadOnly,
    NimadError,
    RecordsDamaged,
    StateUnusable,
    WordsDamaged,
)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FAILED = frozenset({errno.EIO, errno.ENXIO, errno.ENODEV, errno.EREMOTEIO, errno.EBADMSG})
_PAGES = bytes(1 << 16)


class Fault(enum.Enum):
    """What a SQLite error means, for a database of ours and for a foreign one."""

    FULL = ("SQLITE_FULL",)
    NO_MEMORY = ("SQLITE_NOMEM", "SQLITE_IOERR_NOMEM")
    FAILED = ("SQLITE_IOERR",)
    READ_ONLY = ("SQLITE_READONLY",)
    INDEX_DAMAGED = ("SQLITE_CORRUPT_VTAB",)
    DAMAGED = ("SQLITE_CORRUPT",)
    NO_DATABASE = ("SQLITE_NOTADB",)
    LOCKED = ("SQLITE_BUSY", "SQLITE_LOCKED")
    NOT_OPENED = ("SQLITE_CANTOPEN",)
    INTERRUPTED = ("SQLITE_INTERRUPT",)
    TOO_BIG = ("SQLITE_TOOBIG",)
    OTHER = ("",)


def sqlite_fault(error: BaseException) -> Fault | None:
    """What an error of the sqlite3 module means; None for any other exception.  Extended result
    codes begin with the name of their primary one; the first in `Fault` that fits counts."""
    name = getattr(error, "sqlite_errorname", None)
    if name is None:
        return None
    return next(fault for fault in Fault if name.startswith(fault.value))


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """An OSError that is about the disk as DiskFull, DiskReadOnly or DiskFailed; others stay.
    `what` says which work it stops: "blocks/x.nbk could not be written"."""
    try:
        yield
    except OSError as error:
        ours = disk_error(error, what)
        if ours is None:
            raise
        raise ours from error


def disk_error(error: OSError, what: str) -> NimadError | None:
    """What `disk_errors` makes of an error; None when it stays."""
    kind = _kind_of(error.errno or 0)
    return None if kind is None else kind(detail=f"{what} ({error.strerror})")


def _kind_of(code: int) -> type[NimadError] | None:
    if code in _FULL:
        return DiskFull
    if code == errno.EROFS:
        return DiskReadOnly
    return DiskFailed if code in _FAILED else None


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors about the records in `path` as ours; what is left is a bug and stays."""
    try:
        yield
    except Exception as error:
        detail = f"{path.name}: {error}"
        ours: Exception
        match sqlite_fault(error):
            case Fault.FULL:
                ours = DiskFull(detail=detail)
            case Fault.NO_MEMORY:
                ours = MemoryError(detail)
            case Fault.FAILED:
                ours = (refusal_beside(path) or DiskFailed)(detail=detail)
            case Fault.READ_ONLY:
                ours = DiskReadOnly(detail=detail)
            case Fault.INDEX_DAMAGED:
                ours = WordsDamaged(path=path, detail=str(error))
            case Fault.DAMAGED | Fault.NO_DATABASE:
                ours = find_unreadable(path) or RecordsDamaged(path=path, detail=str(error))
            case Fault.LOCKED:
                ours = Busy(detail=f"another program keeps {path.name} locked")
            case Fault.NOT_OPENED:
                refused = refusal_beside(path)
                unusable = StateUnusable(state=path.parent, detail=detail)
                ours = refused(detail=detail) if refused else unusable
            case fault if isinstance(error, UnicodeDecodeError) or (
                fault == Fault.OTHER and str(error).startswith("no such ")
            ):  # SQLite does not know its tables any more: all our statements fit them
                told = f"{error}: its table definitions are damaged"
                ours = RecordsDamaged(path=path, detail=told)
            case _:
                raise
        raise ours from error


def find_unreadable(path: Path) -> DiskFailed | None:
    """What keeps a database and its WAL from being read whole, None when nothing does.

    SQLite takes a sector that cannot be read for damage (SQLITE_IOERR_CORRUPTFS); that may pass.
    """
    for file in (path, path.with_name(f"{path.name}-wal")):
        try:
            with disk_errors(f"{file} cannot be read"), file.open("rb", buffering=0) as content:
                while _seek_data(content) and content.read(1 << 20):
                    pass
        except FileNotFoundError:
            pass
        except DiskFailed as error:
            return error
    return None


def _seek_data(content: FileIO) -> bool:
    """Go past a hole, which can be read and may have terabytes; False: nothing else follows."""
    try:
        content.seek(content.tell(), os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return False
        if error.errno != errno.EINVAL:  # a file system that knows no holes
            raise
    return True


def refusal_beside(path: Path) -> type[NimadError] | None:
    """What the system says to some pages written beside a file; None when it takes them.  They
    stand as far into a file as the database and its WAL reach: a limit of sizes counts, too."""
    import tempfile  # which brings along much that a start does without

    files = (path, path.with_name(path.name + "-wal"))
    try:
        with tempfile.TemporaryFile(dir=path.parent) as file:
            file.seek(max(p.stat().st_size if p.is_file() else 0 for p in files))
            file.write(_PAGES)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return _kind_of(error.errno or 0)
    return None


def missing(error: FileNotFoundError) -> StateUnusable:
    """What keeps nimad from working when a file or directory of its own has gone."""
    gone = Path(os.fsdecode(error.filename or "."))
    while not gone.parent.exists():
        gone = gone.parent
    detail = f"{gone.name} was moved or deleted while nimad ran; stop nimad, put it back, start it"
    return StateUnusable(state=gone.parent, detail=detail)


def check_room(path: Path) -> None:
    """Raise what the disk refuses when SQLite's shared memory may find no room beside `path`.

    SQLite writes a byte of each of its pages of 4 KiB, so that the room is there before it touches
    the rest in the map.  With smaller blocks (disks up to 512 MB) that is not enough: the process
    would end by SIGBUS.
    """
    if os.statvfs(path.parent).f_frsize < 4096 and (refused := refusal_beside(path)) is not None:
        raise refused(detail=f"there is no room to open {path}")


def check_writable(path: Path) -> None:
    """Raise DiskReadOnly when the system has made the disk of `path` read-only, StateUnusable when
    `path` has gone; 2 µs.

    After an error ext4 may do that while the file is open, and then fsync reports success for what
    is only in RAM: nothing may be acknowledged.
    """
    try:
        flags = os.statvfs(path).f_flag
    except FileNotFoundError as error:
        raise missing(error) from error
    if flags & os.ST_RDONLY:
        raise DiskReadOnly(detail=f"{path} is on it")
