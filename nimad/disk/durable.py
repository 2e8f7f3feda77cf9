"""Durable writes: after they return, the file is whole on the medium or the old one still is.

Crash prose of a replacement (`replacing`, `write_durable`):

1. `NAME.tmp` is created and filled.  A crash leaves `NAME.tmp`; `sweep_temporary` removes it.
2. `NAME.tmp` is fsynced.  A crash leaves a complete `NAME.tmp`; it is swept all the same, because
   no caller was told that it exists.
3. `NAME.tmp` is renamed to `NAME`.  A crash leaves the old `NAME` or the new one, whole.
4. The directory is fsynced.  Only then does the call return: the name is durable too.

What fsync cannot promise: that a card which lies about its cache wrote anything.  Checksums in the
container find that out when the file is read.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nimad.disk.failures import disk_errors

log = logging.getLogger(__name__)

Buffer = bytes | bytearray | memoryview

TEMPORARY = ".tmp"

_passages: dict[str, int] = {}
_passages_lock = threading.Lock()


def crash_point(name: str) -> None:
    """Kill this process as a power cut would, when the environment arms this point.

    `NIMAD_CRASH_AT=name` fires at the first passage, `NIMAD_CRASH_AT=name:n` at the n-th.  Costs
    one look into the environment when it is not armed.
    """
    armed = os.environ.get("NIMAD_CRASH_AT")
    if not armed:
        return
    wanted, _, count = armed.partition(":")
    if wanted != name:
        return
    with _passages_lock:
        _passages[name] = _passages.get(name, 0) + 1
        passage = _passages[name]
    if passage >= int(count or "1"):
        os.kill(os.getpid(), signal.SIGKILL)


def make_directory(path: Path) -> None:
    """Make a directory (mode 0700) and its missing parents, and their names durable.  Raises
    OSError for any refusal of the system; for a file in its place, too."""
    missing = [one for one in (path, *path.parents) if not one.exists()]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for made in missing:
        fsync_dir(made.parent)


def fsync_dir(directory: Path) -> None:
    """Make the names in `directory` durable: created, renamed and removed ones."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path, crash: str = "durable") -> Iterator[BinaryIO]:
    """A file, open for writing, that takes the place of `path` when the block ends well.

    The file may be seeked.  When the block raises, `path` is as it was and the temporary file is
    gone.  Readers that mapped the old file keep it: the name moves, nothing is truncated.

    Args:
        path: the file to create or replace; readable by its owner only.
        crash: prefix of the crash points `CRASH.before_fsync`, `.before_rename`, `.after_rename`.

    Raises DiskFull when the medium, the quota or a size limit has no room (nothing is left behind),
    DiskFailed on an I/O error, DiskReadOnly when the system made the disk so, and OSError for any
    other refusal of the system.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with disk_errors(f"{path} could not be written"):
            with contextlib.suppress(FileNotFoundError):  # what a crash of our own left
                found = temporary.lstat()
                if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
                    temporary.unlink()
            # never one that stands there: another user may have planted it to read it
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            with os.fdopen(os.open(temporary, flags, 0o600), "wb", buffering=1 << 16) as file:
                yield file
                file.flush()
                crash_point(f"{crash}.before_fsync")
                os.fsync(file.fileno())
            crash_point(f"{crash}.before_rename")
            temporary.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    crash_point(f"{crash}.after_rename")
    fsync_dir(path.parent)


def write_durable(path: Path, chunks: Iterable[Buffer], crash: str = "durable") -> int:
    """Write `chunks` one after the other to `path`, replacing it; return the bytes written.  Raises
    what `replacing` does."""
    written = 0
    with replacing(path, crash) as file:
        for chunk in chunks:
            file.write(chunk)
            written += memoryview(chunk).nbytes
    return written


def own_files(directory: Path, form: str, suffix: str = "") -> list[Path]:
    """The ordinary files in `directory` whose whole name is of a form (a regular expression) before
    `suffix`, by name.  Anything else there is not nimad's, links and directories included."""
    return sorted(
        directory / entry.name
        for entry in os.scandir(directory)
        if entry.name.endswith(suffix)
        and re.fullmatch(form, entry.name.removesuffix(suffix))
        and entry.is_file(follow_symlinks=False)
    )


def sweep_temporary(directory: Path, form: str = ".*") -> list[str]:
    """Remove the temporary files that a crash left in `directory` of files whose name is of a form;
    return their names, sorted.  To be called before anything writes there: a write under way looks
    just like a leftover."""
    leftovers = own_files(directory, form, TEMPORARY)
    for path in leftovers:
        path.unlink()
    if leftovers:
        fsync_dir(directory)
    return [path.name for path in leftovers]


def remove_strays(paths: Iterable[Path]) -> None:
    """At a start: delete files that nothing names, which a crash left before it committed them.
    One that the disk does not let go stays for the next start."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()
            log.info("removed %s, which was never committed", path)


def set_aside(path: Path, aside: Path) -> Path:
    """Move a damaged file or directory into `aside`, under a name that is free; return where.  Both
    must be on one file system.  A crash leaves it at the old place or at the new one."""
    aside.mkdir(mode=0o700, parents=True, exist_ok=True)
    target, number = aside / path.name, 0
    while os.path.lexists(target):
        number += 1
        target = aside / f"{path.name}.{number}"
    path.rename(target)
    fsync_dir(aside)
    fsync_dir(path.parent)
    return target


def size_of(path: Path) -> int:
    """Bytes of a file, or of the files below a directory; 0 where there is nothing, or what cannot
    be looked at: a link to itself, root's lost+found in a state directory that is a disk of its
    own.  Links in a directory are not followed: one may lead back to it."""
    try:
        if path.is_dir():
            below = [entry for entry in os.scandir(path) if not entry.is_symlink()]
            return sum(size_of(Path(entry)) for entry in below)
        return path.stat().st_size
    except OSError:
        return 0
