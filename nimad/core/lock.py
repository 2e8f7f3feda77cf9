"""One process owns a state directory: a lock that dies with its holder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from nimad.errors import StateBusy, StateUnusable


class StateLock:
    """An exclusive flock on `nimad.lock`; the file names the holder's process id.

    The kernel drops the lock when the process ends, however it ends, so nothing stale can block a
    start.  Source: flock(2).
    """

    def __init__(self, state: Path) -> None:
        self._path = state / "nimad.lock"
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateUnusable(state=state, detail=error.strerror) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._file)
            raise StateBusy(pid=holder, state=state) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another process have the directory."""
        with contextlib.suppress(OSError):
            os.close(self._file)


def prepare_state(state: Path) -> None:
    """Make the state directory and its parts (mode 0700); StateUnusable when that cannot be."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in ("blocks", "dense", "graph", "snapshots", "aside"):
            (state / part).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StateUnusable(state=state, detail=f"{error.filename}: {error.strerror}") from error
    if not os.access(state, os.W_OK | os.X_OK):
        raise StateUnusable(state=state, detail="no permission to write there")
