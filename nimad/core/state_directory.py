"""The state directory: who may use it, one process at a time, swept of what a crash left."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import pwd
import stat
import time
from pathlib import Path

from nimad.disk.durable import make_directory, own_files, size_of, sweep_temporary
from nimad.disk.failures import check_writable, disk_errors
from nimad.errors import DiskReadOnly, RecordsDamaged, StateBusy, StateUnusable
from nimad.graph.limits import FILES as GRAPH_FILES
from nimad.store.database_files import mark_of

log = logging.getLogger(__name__)

PARTS = {
    "blocks": r"seg-\d+\.nsb",
    "words": r"wds-\d+\.nsw",
    "dense": r"dns-\d+\.nsd",
    "graph": GRAPH_FILES,
    "snapshots": r"incoming-\w+|.+\.(sqlite|tar)(\.scrub|\.strip)?",
    "aside": r"",
}
"""Directories, and the names in them of files that a crash may leave half written.  Other files
are not nimad's: a disk that is mounted there has its lost+found."""
LOCK, RECORDS = "nimad.lock", "records.sqlite"
SMALLEST = 512
"""Size of the smallest SQLite database; it takes less for an empty one [bytes]."""
ORPHAN_SECONDS = 10.0
"""Longest wait for a lock whose holder is gone [s]."""
FILES = r"columns\.nrc(\.\d+)?|records\.sqlite(-wal)?"
"""The same of the state directory itself."""


class StateLock:
    """Exclusive flocks on the state directory and on `nimad.lock`, which names the holder's pid.

    The lock on the directory is the one that counts: it holds even when `nimad.lock` is
    deleted.  The lock on the file is for file systems that cannot lock a directory (NFS), and
    keeps out versions of nimad that knew no other.  The kernel drops both when the process ends,
    however it ends, so nothing stale can block a start.  A child that it was about to start when
    it was killed has them until it runs its program: that is waited for.  Source: flock(2).
    """

    def __init__(self, state: Path, *, writable: bool = True) -> None:
        """Raises StateBusy when another process owns `state`, StateUnusable.  Where it is not
        `writable`, `nimad.lock` names nobody, and may be missing."""
        with contextlib.ExitStack() as undo:
            self._directory = _open(state, os.O_RDONLY | os.O_DIRECTORY, state)
            undo.callback(os.close, self._directory)
            if not (state / LOCK).is_symlink():  # a link is not followed
                _check_file(state / LOCK)
            if writable:
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
                self._file = _open(state / LOCK, flags, state)
            elif (state / LOCK).exists():
                self._file = _open(state / LOCK, os.O_RDONLY | os.O_NOFOLLOW, state)
            else:
                self._file = os.dup(self._directory)
            undo.callback(os.close, self._file)
            until = time.monotonic() + ORPHAN_SECONDS
            for descriptor in (self._file, self._directory):
                while (holder := self._try_lock(descriptor)) is not None:
                    alive = Path("/proc", holder).exists()
                    if alive or time.monotonic() > until:
                        raise StateBusy(pid=holder or "unknown", state=state)
                    time.sleep(0.01)
            self._undo = undo.pop_all()
        text = f"{os.getpid()}\n".encode()
        with contextlib.suppress(OSError):
            try:  # over the old one: on a full disk there is no room for a new block
                os.pwrite(self._file, text, 0)
                os.ftruncate(self._file, len(text))
            except OSError:  # better no name than the name of a process that is gone
                os.ftruncate(self._file, 0)

    def _try_lock(self, descriptor: int) -> str | None:
        """None once it is locked; else the pid of who holds it, "" when that is unknown."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with contextlib.suppress(IsADirectoryError):
                return os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
            return ""
        except OSError:
            if descriptor == self._file:
                raise
            # else a file system that locks files only
        return None

    def release(self) -> None:
        """Let another process have the directory."""
        with contextlib.suppress(OSError):
            self._undo.close()


def _open(path: Path, flags: int, state: Path) -> int:
    try:
        with disk_errors(f"{path} cannot be opened"):
            return os.open(path, flags | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateUnusable(state=state, detail=f"{path.name}: {error.strerror}") from error


def _check_file(path: Path) -> None:
    """Raises StateUnusable for what is there and no file, or cannot be told: a link to itself."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise StateUnusable(state=path.parent, detail=f"{path.name} is no file")
    except FileNotFoundError:
        pass
    except OSError as error:
        detail = f"{path.name}: {error.strerror}"
        raise StateUnusable(state=path.parent, detail=detail) from error


def prepare_state(state: Path) -> None:
    """Make the state directory and its parts (mode 0700, durable).

    Raises DiskFull, DiskReadOnly, DiskFailed when the disk or the directory refuses; StateUnusable
    when that cannot be otherwise, and as `check_owner`.
    """
    try:
        make_directory(state)
        check_owner(state)
        check_writable(state)
        with disk_errors(f"{state} cannot be used"):
            for part in PARTS:
                make_directory(state / part)
    except OSError as error:
        raise StateUnusable(state=state, detail=f"{error.filename}: {error.strerror}") from error
    if not os.access(state, os.W_OK | os.X_OK):
        if (state / RECORDS).exists():
            raise DiskReadOnly(detail=f"{state} may not be written to: its mode or attributes")
        raise StateUnusable(state=state, detail="no permission to write there")


def check_owner(state: Path) -> None:
    """Raises StateUnusable when it belongs to another user or everybody may write to it: the
    memories in it could be read, changed or replaced by others."""
    try:
        found = state.stat()
        if found.st_uid != os.geteuid():
            detail = f"it belongs to {_user(found.st_uid)}, and this is {_user(os.geteuid())}"
            raise StateUnusable(state=state, detail=detail)
        if found.st_mode & stat.S_IWOTH:
            mode = stat.S_IMODE(found.st_mode)
            detail = f"everybody may write to it (mode {mode:04o}); chmod 0700 closes it"
            raise StateUnusable(state=state, detail=detail)
    except OSError as error:
        raise StateUnusable(state=state, detail=f"{error.filename}: {error.strerror}") from error


def check_records(state: Path) -> None:
    """Raises RecordsDamaged when the records are gone, or empty, and what was made of them, their
    log or its mark is there: a new store would hide that, and delete the log.  (A restore that was
    interrupted leaves none.)  Raises StateUnusable for what is no file, which SQLite might read
    for ever."""
    records, log_ = state / RECORDS, state / f"{RECORDS}-wal"
    for path in (records, log_, state / f"{RECORDS}-shm", state / f"{RECORDS}-journal"):
        _check_file(path)
    if size_of(records) >= SMALLEST:
        return
    left = [path for part in ("words", "blocks") for path in own_files(state / part, PARTS[part])]
    if size_of(log_):
        left.append(log_)
    left += filter(Path.exists, [mark_of(records)])
    if left:
        told = f"the file is {'empty' if records.exists() else 'missing'}"
        found = f"{told}, and {left[0].name} says that there were some; e2fsck puts what it finds"
        raise RecordsDamaged(path=records, detail=f"{found} into lost+found")
    log.info("there are no memories in %s yet", state)


def sweep(state: Path) -> None:
    """Remove temporary files that a crash left."""
    for part, form in {"": FILES, **PARTS}.items():
        for name in sweep_temporary(state / part, form):
            log.info("removed %s, which an interrupted write had left", name)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
