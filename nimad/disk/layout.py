"""The bytes around the regions of a container: header, region table, footer (see `container`)."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nimad.errors import FormatCorrupt, FormatTooNew, FormatTooOld

MAGIC = b"\x89NMD\r\n\x1a\n"
COMPLEMENT = bytes(byte ^ 0xFF for byte in MAGIC)
CONTAINER_VERSION = 1
ALIGN = 64

HEAD = struct.Struct("<8s16sHHI16sQII")
ENTRY = struct.Struct("<16sQQII")
FOOT = struct.Struct("<8s16sII")
MOST_REGIONS = 4096


@dataclass(frozen=True)
class Region:
    """One entry of the region table; `offset` and `length` in bytes."""

    name: str
    offset: int
    length: int
    crc: int

    @property
    def extent(self) -> int:
        """The bytes it takes in the file, padding included."""
        return padded(self.length)


@dataclass(frozen=True)
class Header:
    """What a header says: the format's version, the id in hexadecimal, and the regions by name."""

    version: int
    digest: str
    regions: dict[str, Region]


def padded(length: int) -> int:
    """`length` bytes, rounded up to the alignment of regions."""
    return -(-length // ALIGN) * ALIGN


def make_header(
    format_name: str, version: int, table: Sequence[Region], length: int
) -> tuple[bytes, bytes]:
    """The header with its region table and padding, and the id; `length` of the whole file."""
    entries = b"".join(
        ENTRY.pack(_ascii(region.name), region.offset, region.length, region.crc, 0)
        for region in table
    )
    name = _ascii(format_name)
    stamp = struct.pack("<16sHHI", name, version, CONTAINER_VERSION, len(table))
    digest = hashlib.blake2b(stamp + entries, digest_size=16).digest()

    def fill(crc: int) -> bytes:
        head = HEAD.pack(
            MAGIC, name, version, CONTAINER_VERSION, len(table), digest, length, 0, crc
        )
        return (head + entries).ljust(padded(len(head) + len(entries)), b"\0")

    return fill(zlib.crc32(fill(0))), digest


def make_footer(head: bytes, digest: bytes) -> bytes:
    """The footer that belongs to a header."""
    first = FOOT.pack(COMPLEMENT, digest, HEAD.unpack_from(head)[-1], 0)[:-4]
    return first + struct.pack("<I", zlib.crc32(first))


def _ascii(name: str) -> bytes:
    raw = name.encode("ascii")
    if not 0 < len(raw) <= 16 or b"\0" in raw:
        raise ValueError(f"a name has 1 to 16 ASCII characters: {name!r}")
    return raw


def read_header(path: Path, file: BinaryIO, size: int, format_name: str | None) -> Header:
    """Read and check header, region table and footer.

    Args:
        size: of the file, in bytes.
        format_name: what the file should hold; None: anything.

    Raises:
        FormatCorrupt: when one of them is not what was written, or the format is another.
        FormatTooOld, FormatTooNew: when the container's own version is unknown.
    """

    def corrupt(detail: str) -> FormatCorrupt:
        return FormatCorrupt(path=path, detail=detail)

    raw = file.read(HEAD.size)
    if len(raw) < HEAD.size:
        raise corrupt(f"it has {size} bytes, a header alone takes {HEAD.size}")
    magic, name, version, container, count, digest, length, _, crc = HEAD.unpack(raw)
    if magic != MAGIC:
        raise corrupt(f"it begins with {magic.hex()}, expected {MAGIC.hex()}")
    if container != CONTAINER_VERSION:
        refusal = FormatTooNew if container > CONTAINER_VERSION else FormatTooOld
        raise refusal(path=path, found=container, oldest=1, newest=CONTAINER_VERSION)
    if length != size:
        raise corrupt(f"it has {size} bytes, {length} were written")
    if count > MOST_REGIONS:
        raise corrupt(f"its header names {count} regions, at most {MOST_REGIONS} are possible")
    rest = padded(HEAD.size + count * ENTRY.size) - HEAD.size
    body = file.read(rest)
    found = zlib.crc32(body, zlib.crc32(raw[:-4] + bytes(4)))
    if len(body) != rest or found != crc:
        raise corrupt(f"its header has checksum {found:08x}, {crc:08x} was written")
    file.seek(size - FOOT.size)
    if file.read(FOOT.size) != make_footer(raw, digest):
        raise corrupt("its footer does not belong to its header: the end is missing or changed")
    kind = name.rstrip(b"\0").decode("ascii", "replace")
    if format_name is not None and kind != format_name:
        raise corrupt(f"it holds {kind!r}, expected {format_name!r}")
    return Header(version, digest.hex(), _table(path, body, count, size))


def _table(path: Path, body: bytes, count: int, size: int) -> dict[str, Region]:
    table = {}
    for number in range(count):
        raw, offset, length, crc, _ = ENTRY.unpack_from(body, number * ENTRY.size)
        region = Region(raw.rstrip(b"\0").decode("ascii", "replace"), offset, length, crc)
        if offset % ALIGN or offset + region.extent > size - FOOT.size:
            raise FormatCorrupt(path=path, detail=f"region {region.name} lies outside the file")
        table[region.name] = region
    return table
