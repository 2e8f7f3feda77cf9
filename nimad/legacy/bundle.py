"""A bundle: the files of a legacy store in one, an uncompressed POSIX tar of the files as they are.

nimactl writes it, as the owner of the files; nimad keeps it as the backup, maps it into memory and
uses what is in it in place: each file is a view of the map.  `tar -xf` gives the files back.
Standard library only.

Written: a file counts when its inode, size and time of change are the same before and after it was
read, and all files of the store must hold still together: else all are read again.  What a crash
leaves: the private directory that `scratch.py` tells of.

Read: only ordinary files with plain relative names are taken, which is what is written here.  Pages
that were looked at can be let go of (`drop`), so a bundle of gigabytes needs a few megabytes.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tarfile
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from nimad.closing import Closing
from nimad.dataclass import dataclass
from nimad.errors import (
    DiskFull,
    SourceChanged,
    SourceCorrupt,
    SourceMissing,
    SourceNotRecognised,
    SourceTooLarge,
    SourceUnsupported,
)
from nimad.legacy.detect import CHECKSUM, FILES, Member, open_plain, os_error
from nimad.legacy.scratch import private_directory, scratch_directory
from nimad.legacy.snapshot import (
    TRIES,
    FileSignature,
    Snapshot,
    check_space,
    file_signature,
    open_copy,
    settle,
)

BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)
"""What a tar ends with."""
CHUNK = 1 << 20
MAX_FILE = (1 << 33) - 1
"""Largest file whose size a tar header can say [bytes]."""
MAX_MEMBERS = 20_000
"""Files in one bundle."""
PURGED = "nimad-purged.json"
"""The member that lists purged rows, {file: [rows]}; see redact_bundle.py."""


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
            before = [_signature(member) for member in members]
            check_space(sum(size for _, size, _ in before), origin, into)
            settle(max(modified for _, _, modified in before))
            _write(members, copy, origin, into)
            if [_signature(member) for member in members] == before:
                break
            time.sleep(0.05 * (attempt + 1))
        else:
            detail = f"{TRIES} copies in a row were overtaken by a writer"
            raise SourceChanged(path=origin, detail=detail)
        return open_copy(copy, origin, FILES, 0)


def _signature(member: Member) -> FileSignature:
    signature = file_signature(member.path)
    if not any(signature):
        raise SourceMissing(path=member.path)
    return signature


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
        put(END)


def _write_member(member: Member, put: Callable[[bytes], None]) -> None:
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


# --- reading --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Packed:
    """A file of the bundle: its name, where its bytes lie, when it was written [epoch seconds]."""

    name: str
    offset: int
    size: int
    written: float


class MappedFile(Closing):
    """A file, mapped for reading; `view` are its bytes."""

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        self.view = memoryview(self._map)

    def drop(self) -> None:
        """Let go of the pages that were looked at; they come back when they are needed."""
        self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Unmap it, or, while a view of it is still held, leave that to its last holder."""
        with contextlib.suppress(BufferError):
            self.view.release()
            self._map.close()


class Bundle(MappedFile):
    """An open bundle.  Used by one thread at a time; views are dead after `close`."""

    def __init__(self, path: Path, descriptor: int | None = None) -> None:
        """Map `path`, or what a descriptor is open for.

        Raises SourceNotRecognised and SourceCorrupt.
        """
        self.path = path
        with contextlib.ExitStack() as opened:
            if descriptor is None:
                descriptor = opened.enter_context(path.open("rb")).fileno()
            if os.fstat(descriptor).st_size < 2 * BLOCK:
                raise SourceNotRecognised(path=path, detail="it is no bundle of files")
            super().__init__(descriptor)
        try:
            self.files = self._list()
        except BaseException:
            self.close()
            raise

    def of(self, file: Packed) -> memoryview:
        """The bytes of a file, not copied."""
        return self.view[file.offset : file.offset + file.size]

    def _list(self) -> dict[str, Packed]:
        found: dict[str, Packed] = {}
        at = 0
        while at + BLOCK <= len(self.view):
            block = bytes(self.view[at : at + BLOCK])
            if not any(block):
                return found
            try:
                info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
            except (tarfile.TarError, ValueError) as error:
                detail = f"it is no bundle of files: {error}"
                raise SourceNotRecognised(path=self.path, detail=detail) from None
            file = Packed(info.name, at + BLOCK, info.size, float(info.mtime))
            if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.size < 0:
                raise SourceCorrupt(path=self.path, detail=f"{file.name} in the bundle is no file")
            parts = file.name.split("/")
            if "\\" in file.name or any(part in ("", ".", "..") for part in parts):
                raise SourceCorrupt(path=self.path, detail="a name in the bundle leads out of it")
            if file.offset + file.size > len(self.view):
                detail = f"{file.name} in the bundle is cut short"
                raise SourceCorrupt(path=self.path, detail=detail)
            if len(found) >= MAX_MEMBERS:
                raise SourceTooLarge(path=self.path, detail=f"it has more than {MAX_MEMBERS} files")
            if file.name in found:
                raise SourceCorrupt(path=self.path, detail=f"{file.name} is in the bundle twice")
            found[file.name] = file
            at = file.offset + file.size + -file.size % BLOCK
        raise SourceCorrupt(path=self.path, detail="the bundle has no end")


def strip(path: Path, names: Collection[str]) -> None:
    """Take files, and the checksums beside them, out of a bundle that is not open.

    The new bundle is written beside the old one and renamed over it.
    """
    gone = {*names, *(name + CHECKSUM for name in names)}
    working = path.with_name(path.name + ".strip.tmp")
    try:
        with Bundle(path) as bundle, working.open("wb") as out:
            for file in bundle.files.values():
                if file.name not in gone:
                    end = file.offset + file.size + -file.size % BLOCK
                    for start in range(file.offset - BLOCK, end, CHUNK):
                        out.write(bundle.view[start : min(start + CHUNK, end)])
                        bundle.drop()
            out.write(END)
        working.chmod(0o600)
        working.rename(path)
    finally:
        working.unlink(missing_ok=True)
