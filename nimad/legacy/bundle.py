"""Packs the files of a legacy store into one: an uncompressed POSIX tar of the files as they are.

nimactl writes it, as the owner of the files; nimad keeps it as the backup and uses what is in it in
place (unbundle.py).  `tar -xf` gives the files back.  Standard library only.

A file counts when its inode, size and time of change are the same before and after it was read, and
all files of the store must hold still together: else all are read again.

What a crash leaves: the private directory that `scratch.py` tells of.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from nimad.errors import DiskFull, SourceChanged, SourceUnsupported
from nimad.legacy.detect import FILES, Member, open_plain, os_error
from nimad.legacy.scratch import private_directory, scratch_directory
from nimad.legacy.snapshot import MARGIN_BYTES, SETTLE_SECONDS, TRIES, Snapshot, digest_of

BLOCK = 512
CHUNK = 1 << 20
MAX_FILE = (1 << 33) - 1
"""Largest file whose size a tar header can say [bytes]."""


def take_bundle(members: Sequence[Member], origin: Path, into: Path | None = None) -> Snapshot:
    """Copy files into one bundle, each as it is at the same moment.

    `origin` is what the user calls the source.  Raises SourceChanged when a writer never paused,
    SourceMissing, SourceUnreadable, DiskFull, ScratchUnusable, SourceUnsupported (over 8 GiB).
    Cost: each file is read once and written once, then the copy is read for its digest.
    """
    into = into or scratch_directory()
    with private_directory(into) as scratch:
        copy = scratch / "copy.tar"
        for attempt in range(TRIES):
            before = [_signature(member.path) for member in members]
            _check_space(before, origin, into)
            _let_settle(before)
            _write(members, copy, origin, into)
            if [_signature(member.path) for member in members] == before:
                break
            time.sleep(0.05 * (attempt + 1))
        else:
            detail = f"{TRIES} copies in a row were overtaken by a writer"
            raise SourceChanged(path=origin, detail=detail)
        fd = os.open(copy, os.O_RDONLY | os.O_CLOEXEC)
        try:
            digest, size = digest_of(fd)
        except BaseException:
            os.close(fd)
            raise
    return Snapshot(fd, size, digest, str(origin), FILES, 0)


def _signature(path: Path) -> tuple[int, int, int]:
    """(inode, size in bytes, mtime in ns)."""
    try:
        status = path.stat()
    except OSError as error:
        raise os_error(error, path) from error
    return status.st_ino, status.st_size, status.st_mtime_ns


def _let_settle(signatures: Sequence[tuple[int, int, int]]) -> None:
    """Two writes within one tick of the clock look the same: a file must be a moment old."""
    age = time.time() - max(signature[2] for signature in signatures) / 1e9
    if 0 <= age < SETTLE_SECONDS:
        time.sleep(SETTLE_SECONDS - age)


def _check_space(signatures: Sequence[tuple[int, int, int]], origin: Path, into: Path) -> None:
    needed = sum(size for _, size, _ in signatures) + MARGIN_BYTES
    disk = os.statvfs(into)
    free = disk.f_bavail * disk.f_frsize
    if free < needed:
        raise DiskFull(
            detail=f"a copy of {origin} needs {needed >> 20} MiB in {into}; {free >> 20} MiB are"
            " free"
        )


def _write(members: Sequence[Member], copy: Path, origin: Path, into: Path) -> None:
    copy.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(copy, flags, 0o600), "wb", buffering=0) as out:

        def put(data: bytes) -> None:
            try:
                while data:
                    data = data[out.write(data) :]
            except OSError as error:
                raise DiskFull(detail=f"the copy of {origin} did not fit in {into}") from error

        for member in members:
            _write_member(member, put)
        put(bytes(2 * BLOCK))


def _write_member(member: Member, put: Callable[[bytes], None]) -> None:
    import tarfile

    try:
        with open_plain(member.path) as file:
            status = os.fstat(file.fileno())
            if status.st_size > MAX_FILE:
                raise SourceUnsupported(path=member.path, what="a file of more than 8 GiB")
            info = tarfile.TarInfo(member.name)
            info.size, info.mtime, info.mode = status.st_size, int(status.st_mtime), 0o600
            put(info.tobuf(tarfile.USTAR_FORMAT))
            left = status.st_size
            while left and (data := file.read(min(CHUNK, left))):
                put(data)
                left -= len(data)
    except OSError as error:
        raise os_error(error, member.path) from error
    # what a shrinking file lacks is filled up: its signature has changed, and all is done again
    padding = left + -status.st_size % BLOCK
    for start in range(0, padding, CHUNK):
        put(bytes(min(CHUNK, padding - start)))
