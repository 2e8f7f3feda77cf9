"""The listening socket: made where no other process listens, never open to the wrong users.

Crash prose: a kill leaves the socket file; connecting to it is refused, so the next start removes
it.  A crash between bind and listen leaves the same.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from nimad.dataclass import dataclass
from nimad.errors import SocketBusy, SocketUnusable

LONGEST_PATH = 107
"""Length of the longest socket path, sun_path without its end (unix(7)) [bytes]."""
BACKLOG = 256
"""Number of connections that wait to be taken; a full queue refuses others [connections]."""
LOCK_SECONDS = 2.0


@dataclass
class Listener:
    """A listening socket and the file that it is; `remove` deletes the file if it is still ours."""

    sock: socket.socket
    path: Path
    identity: tuple[int, int, int]

    def remove(self) -> None:
        """Delete the socket file, unless another one is in its place by now."""
        with contextlib.suppress(OSError):
            if _identity(self.path) == self.identity:
                self.path.unlink()


def group_of(read_group: str, control_group: str) -> str:
    """The group that the socket is given to, "" for everyone.

    A file has one group.  Where there are two, everyone may connect, and `Access` turns away who is
    in neither before anything is read from it.
    """
    return read_group if control_group in ("", read_group) else ""


def listen_at(path: Path, group: str | None = None) -> Listener:
    """Bind and listen, mode 0660; `group` gets the socket when this user may give it away.

    With group "" everyone may connect (0666).  A directory that is missing is made: 0755 by root,
    0700 by others.  A file that a dead process left is replaced.  Raises SocketBusy when a process
    listens there, SocketUnusable otherwise (too long, no permission, not a socket).
    """
    size = len(os.fsencode(path))
    if size > LONGEST_PATH:
        detail = f"its path has {size} bytes, at most {LONGEST_PATH} are possible"
        raise SocketUnusable(socket=path, detail=detail)
    try:
        path.parent.mkdir(mode=0o755 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        with _one_at_a_time(path.parent):
            _remove_stale(path)
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            try:
                os.fchmod(sock.fileno(), 0o600)  # the mode that bind gives the file (Linux)
                sock.bind(os.fspath(path))
                identity = _identity(path)
                if group:
                    with contextlib.suppress(KeyError, PermissionError):
                        os.chown(path, -1, grp.getgrnam(group).gr_gid)
                path.chmod(0o666 if group == "" else 0o660)
                sock.listen(BACKLOG)
            except BaseException:
                sock.close()
                raise
            return Listener(sock, path, identity)
    except OSError as error:
        raise SocketUnusable(socket=path, detail=error.strerror or str(error)) from error


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketUnusable(socket=path, detail="a file that is no socket is in its place")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(LOCK_SECONDS)
        code = probe.connect_ex(os.fspath(path))
    if code == errno.ECONNREFUSED:
        path.unlink(missing_ok=True)
    elif code in (0, errno.EAGAIN):  # accepted, or the queue is full: a process listens
        raise SocketBusy(socket=path)
    elif code != errno.ENOENT:
        raise SocketUnusable(socket=path, detail=f"what is there does not go: {os.strerror(code)}")


@contextlib.contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
    """Two starts must not both find the socket stale and remove each other's fresh one."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while time.monotonic() < deadline:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def _identity(path: Path) -> tuple[int, int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino, found.st_mtime_ns  # inode numbers are given again at once
