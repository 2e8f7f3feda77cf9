"""A descriptor that a client handed over: an ordinary file that can be read, and answers.

A thread that reads from a file system of another machine or process may never come back, and with
FUSE not even SIGKILL ends it.  So such files are refused before they are touched; what is asked of
the kernel up to then comes from its cache.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import stat
from pathlib import Path

from nimad.errors import UsageError

DISTANT = ("fuse", "nfs", "cifs", "smb", "9p", "ceph", "afs", "coda", "lustre", "orangefs")
"""How the names of file systems begin whose files are elsewhere, see /proc/self/mountinfo."""

_AT_EMPTY_PATH, _AT_STATX_DONT_SYNC = 0x1000, 0x4000
_DEVICE = 136  # offset of stx_dev_major and stx_dev_minor, statx(2)


def check_handed_over(fd: int, verb: str, beside: Path, *, writable: bool = False) -> int:
    """The size of the file [bytes]; UsageError unless it can be read (`writable`: is empty).
    `beside` is a directory of ours: what its file system holds is as near as our own files."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    modes = (os.O_RDWR, os.O_WRONLY if writable else os.O_RDONLY)
    wanted = f"an {'empty file' if writable else 'ordinary file'} that is open for "
    unfit = UsageError(detail=f"{verb} needs {wanted}{'writing' if writable else 'reading'}")
    if flags & os.O_PATH or flags & os.O_ACCMODE not in modes:
        raise unfit
    if kind := distant_file_system(fd, beside):
        detail = f"{verb} takes no file of a file system like {kind}, which may never answer"
        raise UsageError(detail=f"{detail}; copy it to a local disk (or set TMPDIR to one)")
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or (writable and status.st_size):
        raise unfit
    return status.st_size


def distant_file_system(fd: int, beside: Path | None = None) -> str:
    """The name of the file system of a descriptor where it is one of DISTANT, and not that of
    `beside`; "" for any other."""
    found = (ctypes.c_uint32 * 64)()  # struct statx has 256 bytes; it does not ask the file system
    how = _AT_EMPTY_PATH | _AT_STATX_DONT_SYNC
    if ctypes.CDLL(None).statx(fd, b"", how, 0, ctypes.byref(found)):
        raise UsageError(detail="the file that was handed over may not be looked at")
    device = os.makedev(found[_DEVICE // 4], found[_DEVICE // 4 + 1])
    if beside is not None and device == beside.stat().st_dev:
        return ""
    kind = ""
    # the file systems that are mounted here: proc_pid_mountinfo(5)
    for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        fields = line.split()
        major, minor = fields[2].split(":")
        if os.makedev(int(major), int(minor)) == device:
            kind = fields[fields.index("-") + 1]
    return kind if kind.startswith(DISTANT) else ""
