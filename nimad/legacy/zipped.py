"""Finds what lies where in the zip of a checkpoint, so that it can be used in place.

torch.save writes a zip whose entries are stored as they are: `NAME/data.pkl`, the numbers in
`NAME/data/0`, `NAME/data/1`, ..., each aligned to 64 bytes.  Only such entries are taken.  What is
read: the end of central directory (with its zip64 form), the central directory, and the two lengths
in each local header.  Every number is checked against the size of the file.

Source: PKWARE, APPNOTE.TXT - .ZIP File Format Specification, 4.3 and 4.5.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from nimad.errors import SourceCorrupt, SourceUnsupported

LOCAL, CENTRAL, END, END64, LOCATOR64 = (
    b"PK\x03\x04",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"PK\x06\x06",
    b"PK\x06\x07",
)
MAX_ENTRIES = 1_000_000
"""A checkpoint with more entries than this is not believed."""
MAX_COMMENT = 65_535 + 22
CHUNK = 4 << 20
FULL32, FULL16 = 0xFFFFFFFF, 0xFFFF


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry: where its bytes lie in the file, their CRC-32, where that is written down.

    `crc_at` are the offsets of the CRC in the central directory and in the local header (or behind
    the bytes, where a stream's writer puts it).
    """

    name: str
    offset: int
    size: int
    crc: int
    crc_at: tuple[int, ...]


def entries(view: memoryview, path: Path | str) -> dict[str, Entry]:
    """Name without the archive's own directory -> entry, such as "data.pkl" and "data/0".

    Raises SourceCorrupt (cut short, or damaged) and SourceUnsupported (compressed).
    """
    try:
        return _Directory(view, path).read()
    except (struct.error, IndexError, UnicodeDecodeError):
        raise SourceCorrupt(path=path, detail="its zip directory is damaged") from None


def check(
    view: memoryview, path: Path | str, entry: Entry, seen: Callable[[], None] = lambda: None
) -> None:
    """Raise SourceCorrupt when an entry's bytes are not those it was written with.

    `seen` is called after each piece of `CHUNK` bytes.
    """
    crc = 0
    for start in range(entry.offset, entry.offset + entry.size, CHUNK):
        crc = zlib.crc32(view[start : min(start + CHUNK, entry.offset + entry.size)], crc)
        seen()
    if crc != entry.crc:
        detail = f"{entry.name} in it has changed (its CRC is {crc:08x}, not {entry.crc:08x})"
        raise SourceCorrupt(path=path, detail=detail)


class _Directory:
    """One reading of a central directory."""

    def __init__(self, view: memoryview, path: Path | str) -> None:
        self._view, self._path = view, path

    def read(self) -> dict[str, Entry]:
        count, size, start = self._end()
        if count > MAX_ENTRIES:
            self._damaged(f"it claims to have {count} entries")
        if start + size > len(self._view):
            self._damaged("its zip directory lies beyond its end")
        found: dict[str, Entry] = {}
        at = start
        for _ in range(count):
            entry, at = self._entry(at)
            found[entry.name.partition("/")[2] or entry.name] = entry
        return found

    def _damaged(self, detail: str) -> NoReturn:
        raise SourceCorrupt(path=self._path, detail=detail)

    def _end(self) -> tuple[int, int, int]:
        """(entries, size, offset) of the central directory."""
        view = self._view
        tail = bytes(view[max(0, len(view) - MAX_COMMENT) :])
        found = tail.rfind(END)
        if found < 0:
            self._damaged(f"it is cut short after {len(view)} bytes: its zip has no end")
        at = len(view) - len(tail) + found
        _, _, _, count, size, start, _ = struct.unpack_from("<HHHHIIH", view, at + 4)
        if FULL16 not in (count,) and FULL32 not in (size, start):
            return count, size, start
        if at < 20 or bytes(view[at - 20 : at - 16]) != LOCATOR64:
            self._damaged("the long form of its zip directory is missing")
        (there,) = struct.unpack_from("<Q", view, at - 12)
        if there + 56 > len(view) or bytes(view[there : there + 4]) != END64:
            self._damaged("the long form of its zip directory is missing")
        count, size, start = struct.unpack_from("<QQQ", view, there + 32)
        return count, size, start

    def _entry(self, at: int) -> tuple[Entry, int]:
        view = self._view
        if bytes(view[at : at + 4]) != CENTRAL:
            self._damaged("its zip directory is damaged")
        method, crc, packed, size = struct.unpack_from("<10xH4xIII", view, at)
        name_length, extra_length, comment_length = struct.unpack_from("<HHH", view, at + 28)
        (offset,) = struct.unpack_from("<I", view, at + 42)
        begin = at + 46
        name = bytes(view[begin : begin + name_length]).decode()
        extra = bytes(view[begin + name_length : begin + name_length + extra_length])
        size, packed, offset = _long_form(extra, size, packed, offset)
        if method != 0 or size != packed:
            raise SourceUnsupported(path=self._path, what=f"a zip with compressed data ({name})")
        data, local = self._data(offset, name)
        if data + size > len(view):
            self._damaged(f"{name} in it lies beyond its end")
        crc_at = (at + 16, *self._local_crc(local, data + size, crc))
        next_one = begin + name_length + extra_length + comment_length
        return Entry(name, data, size, crc, crc_at), next_one

    def _data(self, local: int, name: str) -> tuple[int, int]:
        """Where the bytes behind a local header begin, and the header."""
        view = self._view
        if local + 30 > len(view) or bytes(view[local : local + 4]) != LOCAL:
            self._damaged(f"the header of {name} in it is damaged")
        name_length, extra_length = struct.unpack_from("<HH", view, local + 26)
        return local + 30 + name_length + extra_length, local

    def _local_crc(self, local: int, end: int, crc: int) -> tuple[int, ...]:
        """Where else the CRC stands: in the local header, or behind the bytes."""
        raw = struct.pack("<I", crc)
        places = (local + 14, end + 4, end)
        return tuple(at for at in places if bytes(self._view[at : at + 4]) == raw)


def _long_form(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """The zip64 field (id 1) holds, in this order, what did not fit into 32 bits."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            numbers = iter(struct.iter_unpack("<Q", extra[at + 4 : at + 4 + length // 8 * 8]))
            values = [next(numbers)[0] if v == FULL32 else v for v in (size, packed, offset)]
            return values[0], values[1], values[2]
        at += 4 + length
    return size, packed, offset
