"""A bundle of files (bundle.py), mapped into memory: each file is a view of the map.

Only what bundle.py writes is taken: ordinary files with plain relative names.  Pages that were
looked at can be let go of (`drop`), so a bundle of gigabytes needs a few megabytes of memory.
"""

from __future__ import annotations

import contextlib
import mmap
import tarfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from nimad.errors import SourceCorrupt, SourceNotRecognised
from nimad.legacy.sidecar import SUFFIX

BLOCK = tarfile.BLOCKSIZE
MAX_MEMBERS = 20_000
PURGED = "nimad-purged.json"
"""The member that lists purged rows, {file: [rows]}; see redact_bundle.py."""
CHUNK = 4 << 20


END = bytes(2 * BLOCK)


@dataclass(frozen=True, slots=True)
class Packed:
    """A file of the bundle: its name, where its bytes lie, when it was written [epoch seconds]."""

    name: str
    offset: int
    size: int
    written: float


class Bundle:
    """An open bundle.  Used by one thread at a time; views are dead after `close`."""

    def __init__(self, path: Path) -> None:
        """Map `path`.  Raises SourceNotRecognised and SourceCorrupt."""
        self.path = path
        with path.open("rb") as file:
            if path.stat().st_size < 2 * BLOCK:
                raise SourceNotRecognised(path=path, detail="it is no bundle of files")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.view = memoryview(self._map)
        try:
            self.files = self._list()
        except BaseException:
            self.close()
            raise

    def of(self, file: Packed) -> memoryview:
        """The bytes of a file, not copied."""
        return self.view[file.offset : file.offset + file.size]

    def drop(self) -> None:
        """Let go of the pages that were looked at; they come back when they are needed."""
        self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Unmap it, or, while somebody still holds a view, leave that to the last of them."""
        with contextlib.suppress(BufferError):
            self.view.release()
            self._map.close()

    def _list(self) -> dict[str, Packed]:
        found: dict[str, Packed] = {}
        at = 0
        while at + BLOCK <= len(self.view):
            block = bytes(self.view[at : at + BLOCK])
            if not any(block):
                return found
            file = self._header(block, at)
            if file.name in found or len(found) >= MAX_MEMBERS:
                raise SourceCorrupt(path=self.path, detail=f"{file.name} is in the bundle twice")
            found[file.name] = file
            at = file.offset + file.size + -file.size % BLOCK
        raise SourceCorrupt(path=self.path, detail="the bundle has no end")

    def _header(self, block: bytes, at: int) -> Packed:
        try:
            info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        except (tarfile.TarError, ValueError) as error:
            raise SourceNotRecognised(
                path=self.path, detail=f"it is no bundle of files: {error}"
            ) from None
        offset = at + BLOCK
        parts = info.name.split("/")
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.size < 0:
            raise SourceCorrupt(path=self.path, detail=f"{info.name} in the bundle is no file")
        if not info.name or "\\" in info.name or any(part in ("", ".", "..") for part in parts):
            raise SourceCorrupt(path=self.path, detail="a name in the bundle leads out of it")
        if offset + info.size > len(self.view):
            raise SourceCorrupt(path=self.path, detail=f"{info.name} in the bundle is cut short")
        return Packed(info.name, offset, info.size, float(info.mtime))


def strip(path: Path, names: Collection[str]) -> None:
    """Take files, and the checksums beside them, out of a bundle that nobody has open.

    The new bundle is written beside the old one and renamed over it.
    """
    gone = {*names, *(name + SUFFIX for name in names)}
    bundle, working = Bundle(path), path.with_name(path.name + ".strip.tmp")
    try:
        with working.open("wb") as out:
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
        bundle.close()
