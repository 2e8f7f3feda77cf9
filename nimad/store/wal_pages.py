"""What a WAL holds of a database: the pages that count in place of those in its file.

For a copy of a database whose WAL cannot be folded, because the disk takes no writes.  A WAL is a
header and frames, a page each; a frame counts when its salts are the header's and its checksum,
which goes on from frame to frame, is right, up to the last frame that ends a transaction.

Sources: https://www.sqlite.org/fileformat2.html#the_write_ahead_log,
https://www.sqlite.org/walformat.html#the_wal_index_header.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

from nimad.store.database_files import DatabaseFiles

HEADER = struct.Struct(">8I")
"""Magic, version, size of a page, number, two salts, two sums."""
FRAME = struct.Struct(">6I")
"""Number of the page, pages of the database after a transaction or 0, two salts, two sums."""
MAGIC = 0x377F0682
"""Its lowest bit: whether sums are of words with the highest byte first."""
LAST_FRAME = 16
"""Place of the number of the last frame that counts, in the shared memory [bytes]."""


def read_wal_pages(fd: int, last: int | None) -> dict[int, int]:
    """The place in the WAL behind a descriptor of each page that is in it, by number; of its first
    `last` frames, where that is known.  Cost: 0.1 s a MB."""
    header = os.pread(fd, HEADER.size, 0)
    if len(header) < HEADER.size:
        return {}
    magic, _, page_size, _, *salts, first, second = HEADER.unpack(header)
    order = ">" if magic & 1 else "<"
    sums = _summed(header[:-8], order, 0, 0)
    if magic & ~1 != MAGIC or sums != (first, second):
        return {}
    found: dict[int, int] = {}
    begun: dict[int, int] = {}
    at, length = HEADER.size, FRAME.size + page_size
    while last is None or at < HEADER.size + last * length:
        frame = os.pread(fd, length, at)
        if len(frame) < length:
            break
        page, pages, *salt, first, second = FRAME.unpack_from(frame)
        sums = _summed(frame[FRAME.size :], order, *_summed(frame[:8], order, *sums))
        if salt != salts or sums != (first, second):
            break
        begun[page] = at + FRAME.size
        if pages:  # the end of a transaction
            found |= begun
            begun = {}
        at += length
    return found


def last_frame(files: DatabaseFiles) -> int | None:
    """The last frame that counts, as SQLite's shared memory has it; None where it has none.

    It is read where SQLite has mapped it: to open and close the file would drop SQLite's locks.
    """
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, _, offset, _, _, *name = line.split(maxsplit=5)
        if name == [str(files.shm)] and int(offset, 16) == 0:
            begin = int(place.split("-")[0], 16)
            return int.from_bytes(ctypes.string_at(begin + LAST_FRAME, 4), sys.byteorder)
    return None


def _summed(data: bytes, order: str, first: int, second: int) -> tuple[int, int]:
    """The sums behind some more words, of which there are evenly many."""
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for one, other in zip(words, words, strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second
