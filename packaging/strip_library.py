"""Cuts out of a shared library the names of its functions that only debuggers read.

`strip` would break libraries that patchelf has changed.  Here whole blocks, as large as the largest
alignment of a segment, leave the file, so that all that is mapped keeps its place in a page; what
is left of the names becomes zeros.  Source: elf(5).
"""

from __future__ import annotations

import struct

SYMBOLS = 2
"""SHT_SYMTAB: the kind of .symtab, whose names are in the section that it links to."""
MAPPED = 1
"""PT_LOAD: the kind of a segment that is mapped."""


def without_symbols(data: bytes) -> bytes:
    """The library without .symtab and .strtab; what is no library of 64 bits, as it is."""
    if data[:6] != b"\x7fELF\x02\x01":  # little endian, too
        return data
    out = bytearray(data)
    names = struct.unpack_from("<H", data, 0x3E)[0]
    headers = _headers(out, 0x28, 0x3A)
    spans = []
    for header in headers:
        kind, link = (struct.unpack_from("<I", out, header + at)[0] for at in (4, 40))
        if kind == SYMBOLS:
            for gone in {header, headers[link]} - {headers[names]}:
                at, size = struct.unpack_from("<QQ", out, gone + 24)
                spans.append((at, size))
                struct.pack_into("<Q", out, gone + 32, 0)
                struct.pack_into("<I", out, gone + 44, 0)  # how many symbols are local
    for at, size in sorted(spans, reverse=True):
        out[at : at + size] = bytes(size)
        _cut(out, at, size)
    return bytes(out)


def _headers(data: bytearray, place: int, shape: int) -> list[int]:
    """Where the headers of a table begin."""
    (first,) = struct.unpack_from("<Q", data, place)
    size, count = struct.unpack_from("<HH", data, shape)
    return [first + size * number for number in range(count)]


def _cut(out: bytearray, at: int, size: int) -> None:
    """Take as many blocks out of a span of the file as fit, unless some of it is mapped."""
    segments = _headers(out, 0x20, 0x36)
    mapped = [struct.unpack_from("<IIQQQQQQ", out, s) for s in segments]
    block = max(segment[7] for segment in mapped if segment[0] == MAPPED)
    gone = size // block * block
    if any(s[2] < at + size and s[2] + s[5] > at for s in mapped if s[0] == MAPPED):
        return
    offsets = [0x20, 0x28, *(s + 8 for s in segments), *(s + 24 for s in _headers(out, 0x28, 0x3A))]
    for place in offsets:
        (offset,) = struct.unpack_from("<Q", out, place)
        if offset >= at + gone:
            struct.pack_into("<Q", out, place, offset - gone)
    del out[at : at + gone]
