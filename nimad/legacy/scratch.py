"""Private scratch directories that a killed process leaves only until the next one comes by.

Each directory is locked (flock) by the process that made it.  A crash leaves the directory
`nimad-snapshot-*`, mode 0700, with a copy of what its owner owns anyway; the lock goes with the
process, and the next call removes what is not locked.  Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from nimad.errors import DiskFull, ScratchUnusable

PREFIX = "nimad-snapshot-"


def scratch_directory() -> Path:
    """Where snapshots are made: $TMPDIR, else /var/tmp (a disk; /tmp may be memory), else /tmp."""
    given = os.environ.get("TMPDIR")
    for candidate in ([Path(given)] if given else []) + [Path("/var/tmp")]:
        if os.access(candidate, os.W_OK | os.X_OK):
            return candidate
    return Path(tempfile.gettempdir())


@contextlib.contextmanager
def private_directory(into: Path) -> Iterator[Path]:
    """A directory of our own inside `into`, removed afterwards, or by the next call after a crash.

    Raises DiskFull and ScratchUnusable.
    """
    import fcntl

    try:
        _sweep(into)
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=into))
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(detail=f"no copy fits in {into}") from error
        raise ScratchUnusable(path=into, detail=error.strerror) from error
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(handle)


def _sweep(into: Path) -> None:
    """Remove the copies of processes that were killed: no one holds their lock any more."""
    import fcntl

    for left in into.glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            # Only our own, only real directories: in a shared directory anyone may plant a link.
            handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                status = os.fstat(handle)
                # One just made is not locked yet: leave it the time to be.
                if status.st_uid == os.geteuid() and time.time() - status.st_mtime > 1:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(handle)
