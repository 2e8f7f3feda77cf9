"""Finds what lies where in the zip of a checkpoint, so that it can be used in place.

torch.save writes a zip whose entries are stored as they are: `NAME/data.pkl`, the numbers in
`NAME/data/0`, `NAME/data/1`, ..., each aligned to 64 bytes.  Only such entries are taken.  Python's
zipfile reads the directory; where an entry's bytes begin, its local header says.  Every number is
checked against the size of the file, and no two entries may share a byte: many names for the same
megabytes would cost their number times their size.

Source: PKWARE, APPNOTE.TXT - .ZIP File Format Specification, 4.3 and 4.5.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from nimad.dataclass import dataclass
from nimad.errors import SourceCorrupt, SourceUnsupported

LOCAL, END = b"PK\x03\x04", b"PK\x05\x06"
CENTRAL_BYTES, LOCAL_BYTES = 46, 30
"""Length of a header without its name and what follows that [bytes]."""
MAX_DIRECTORY = 32 << 20
"""Largest zip directory that is read [bytes]: a third of a million entries of torch's."""
MAX_COMMENT = 65_535 + 22
"""Bytes at the end of a file among which its zip's end must be."""
CHUNK = 4 << 20
UTF8_NAME = 0x800
"""Flag of an entry: its name is UTF-8, else a byte a character."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry: where its bytes lie in the file, their CRC-32, where that is written down.

    A CRC of 0 means none: torch can be told not to compute any.  `crc_at` are the offsets of the
    CRC in the central directory and in the local header (or behind the bytes, where a stream's
    writer puts it).
    """

    name: str
    offset: int
    size: int
    crc: int
    crc_at: tuple[int, ...]


def entries(view: memoryview, path: Path | str) -> dict[str, Entry]:
    """Name without the archive's own directory -> entry, such as "data.pkl" and "data/0".

    Raises SourceCorrupt (cut short, damaged, or overlapping) and SourceUnsupported (compressed).
    """
    if END not in bytes(view[max(0, len(view) - MAX_COMMENT) :]):
        detail = f"it is cut short after {len(view)} bytes: its zip has no end"
        raise SourceCorrupt(path=path, detail=detail)
    try:
        directory = zipfile.ZipFile(_ViewFile(view))
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, OSError):
        raise SourceCorrupt(path=path, detail="its zip directory is damaged") from None
    found: dict[str, Entry] = {}
    spans: list[tuple[int, int]] = []
    at = directory.start_dir
    for info in directory.infolist():
        entry = _entry(view, path, info, at)
        found[entry.name.partition("/")[2] or entry.name] = entry
        spans.append((info.header_offset, entry.offset + entry.size))
        name = info.orig_filename.encode("utf-8" if info.flag_bits & UTF8_NAME else "cp437")
        at += CENTRAL_BYTES + len(name) + len(info.extra) + len(info.comment)
    spans.sort()
    if any(end > start for (_, end), (start, _) in pairwise(spans)):
        raise SourceCorrupt(path=path, detail="two entries of its zip share the same bytes")
    return found


def _entry(view: memoryview, path: Path | str, info: zipfile.ZipInfo, at: int) -> Entry:
    """The entry whose header in the central directory is at `at`."""
    name, size, local = info.filename, info.file_size, info.header_offset
    if info.compress_type != zipfile.ZIP_STORED or size != info.compress_size:
        raise SourceUnsupported(path=path, what=f"a zip with compressed data ({name})")
    if not 0 <= local <= len(view) - LOCAL_BYTES or bytes(view[local : local + 4]) != LOCAL:
        raise SourceCorrupt(path=path, detail=f"the header of {name} in it is damaged")
    offset = local + LOCAL_BYTES + sum(struct.unpack_from("<HH", view, local + 26))
    if offset + size > len(view):
        raise SourceCorrupt(path=path, detail=f"{name} in it lies beyond its end")
    if not info.CRC:
        return Entry(name, offset, size, 0, ())
    raw = info.CRC.to_bytes(4, "little")
    places = (local + 14, offset + size + 4, offset + size)
    others = [place for place in places if bytes(view[place : place + 4]) == raw]
    return Entry(name, offset, size, info.CRC, (at + 16, *others))


class _ViewFile:
    """A file of a bundle as zipfile reads it; a piece larger than a directory is refused."""

    def __init__(self, view: memoryview) -> None:
        self._view, self._at = view, 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = (0, self._at, len(self._view))[whence] + offset
        if self._at < 0:
            raise OSError("before the begin")
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        end = len(self._view) if size < 0 else min(self._at + size, len(self._view))
        if end - self._at > MAX_DIRECTORY:
            raise OSError("more than a directory")
        data = bytes(self._view[self._at : end])
        self._at += len(data)
        return data


def check(
    view: memoryview, path: Path | str, entry: Entry, seen: Callable[[], None] = lambda: None
) -> None:
    """Raise SourceCorrupt when an entry's bytes are not those it was written with.

    `seen` is called after each piece of `CHUNK` bytes.
    """
    if not entry.crc:
        return
    crc = 0
    for start in range(entry.offset, entry.offset + entry.size, CHUNK):
        crc = zlib.crc32(view[start : min(start + CHUNK, entry.offset + entry.size)], crc)
        seen()
    if crc != entry.crc:
        detail = f"{entry.name} in it has changed (its CRC is {crc:08x}, not {entry.crc:08x})"
        raise SourceCorrupt(path=path, detail=detail)
