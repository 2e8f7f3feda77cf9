"""The file that a command writes: replaced when all of it is there, never half.

Crash prose: nimad.disk.durable writes FILE.tmp, makes it durable and renames it.  A crash leaves
the old FILE, or none, and a FILE.tmp that the next run replaces.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from nimad.disk.durable import replacing
from nimad.disk.handed_over import distant_file_system
from nimad.errors import OutputUnusable
from nimad.legacy.scratch import scratch_directory

CHUNK = 1 << 20
"""Size of the pieces in which a file is copied [bytes]."""


@contextlib.contextmanager
def open_output(path: Path) -> Iterator[BinaryIO]:
    """The file to write; an ordinary one is replaced when all is written, a device is written to.
    Raises OutputUnusable and DiskFull."""
    try:
        path = _follow_own_links(path)
        if path.exists() and not path.is_file():
            with path.open("wb") as file:  # a pipe, /dev/stdout: nothing there to replace
                yield file
            return
        with replacing(path) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputUnusable(path=path, detail=error.strerror) from error


@contextlib.contextmanager
def near_file(file: BinaryIO) -> Iterator[BinaryIO]:
    """An empty file for nimad to write to: this one, or a nameless one on a local disk where this
    is a pipe or lies on another machine, for which nimad would not wait; then it is copied."""
    ordinary = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    if ordinary and not distant_file_system(file.fileno()):
        yield file
        return
    with tempfile.TemporaryFile(dir=scratch_directory()) as near:
        yield near
        near.seek(0)
        shutil.copyfileobj(near, file, CHUNK)


def _follow_own_links(path: Path) -> Path:
    """What a name stands for, by way of links of the user's own or of root.

    A link that another user planted, in /tmp say, would choose which file is replaced.  Raises
    OSError at such a link, and when links form a circle.
    """
    for _ in range(40):  # as many as the kernel follows
        if not path.is_symlink():
            return path
        if path.lstat().st_uid not in (0, os.geteuid()):
            raise OSError(errno.EPERM, "it is a link of another user")
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
