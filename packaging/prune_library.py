"""Empties those functions of a shared library that nothing can reach from what is imported of it.

OpenBLAS holds all of LAPACK for programs in C and Fortran; numpy calls 57 functions of it.  What
these can reach stays, bit for bit and in its place; the rest becomes zeros, which pack to nothing.

A function is a symbol's address up to the next symbol.  Where in doubt, it stays: everything that
data points to, and whatever may be a call, a jump or an address, also by chance.  Sources: elf(5),
Intel's and Arm's manuals of the instructions named below.
"""

from __future__ import annotations

import bisect
import re
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

STT_FUNC = 2
X86, ARM = 62, 183
PLT_HEADER = {X86: 16, ARM: 32}
"""Size of what stands before the first entry of .plt, whose entries have 16 [bytes]."""
FAR = re.compile(rb"(?=[\xe8\xe9\x80-\x8f\x05\x0d\x15\x1d\x25\x2d\x35\x3d])", re.DOTALL)
"""Of x86: the byte before the distance in CALL, JMP, Jcc and in what is relative to RIP."""
NEAR = re.compile(rb"(?=[\xeb\xe3\x70-\x7f])", re.DOTALL)
"""Of x86: jumps with a distance of one byte."""


@dataclass(frozen=True)
class Section:
    """A section: where it is in memory and in the file."""

    kind: int
    address: int
    offset: int
    size: int


class Library:
    """A shared library of 64 bits as bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        (self.machine,) = struct.unpack_from("<H", data, 18)
        (start,) = struct.unpack_from("<Q", data, 0x28)
        size, count, names = struct.unpack_from("<HHH", data, 0x3A)
        headers = [struct.unpack_from("<IIQQQQ", data, start + size * n) for n in range(count)]
        self.sections = {
            self._string(headers[names][4] + h[0]): Section(h[1], *h[3:]) for h in headers
        }

    def _string(self, at: int) -> str:
        return self.data[at : self.data.index(b"\0", at)].decode()

    def symbols(self, table: str, names: str) -> Iterator[tuple[str, int, int, int]]:
        """(name, kind, section, address) of each symbol; none without the table."""
        found, strings = self.sections.get(table), self.sections.get(names)
        if found is None or strings is None:
            return
        for at in range(found.offset, found.offset + found.size, 24):
            name, info, _, section, address = struct.unpack_from("<IBBHQ", self.data, at)
            yield self._string(strings.offset + name), info & 15, section, address

    def relocations(self, table: str) -> Iterator[tuple[int, int]]:
        """(number of the symbol, addend) of each relocation."""
        found = self.sections[table]
        for at in range(found.offset, found.offset + found.size, 24):
            _, info, addend = struct.unpack_from("<QQq", self.data, at)
            yield info >> 32, addend


def imported(data: bytes) -> set[str]:
    """The names that a library takes from others."""
    symbols = Library(data).symbols(".dynsym", ".dynstr")
    return {name for name, _, section, _ in symbols if section == 0}


def pruned(data: bytes, wanted: set[str]) -> bytes:
    """The library with zeros for what `wanted` cannot reach; as it is, when that cannot be told."""
    library = Library(data)
    text = library.sections[".text"]
    first, end = text.address, text.address + text.size
    own = list(library.symbols(".symtab", ".strtab"))
    hidden = {".relr.dyn", ".plt.sec"} & library.sections.keys()  # other ways to point to one
    if hidden or not own or library.machine not in PLT_HEADER:
        return data
    exported = list(library.symbols(".dynsym", ".dynstr"))
    named = [(n, a) for n, kind, _, a in own + exported if kind == STT_FUNC and first <= a < end]
    starts = sorted({first, *(address for _, address in named)})
    ends = dict(zip(starts, [*starts[1:], end], strict=True))
    slots, known = {}, set(starts)
    plt = library.sections[".plt"].address + PLT_HEADER[library.machine]
    for number, (symbol, _) in enumerate(library.relocations(".rela.plt")):
        slots[plt + 16 * number] = exported[symbol][3]
    work = [address for name, _, _, address in exported if name in wanted]
    work += [exported[s][3] + addend for s, addend in library.relocations(".rela.dyn")]
    parts, known = _parts(named), known | slots.keys()
    targets = _x86_targets if library.machine == X86 else _arm_targets
    for name in (".init", ".fini"):
        if (part := library.sections.get(name)) is not None:
            code = data[part.offset : part.offset + part.size]
            work += targets(part.address, code, known)
    live: set[int] = set()
    while work:
        address = slots.get(work[-1], work[-1])
        del work[-1]
        if not first <= address < end:
            continue
        start = starts[bisect.bisect_right(starts, address) - 1]
        if start in live:
            continue
        live.add(start)
        work += parts[start]
        at = text.offset + start - first
        work += targets(start, data[at : at + ends[start] - start], known)
    out = bytearray(data)
    for start in starts:
        if start not in live:
            at, size = text.offset + start - first, ends[start] - start
            out[at : at + size] = bytes(size)
    return bytes(out)


def _parts(named: list[tuple[str, int]]) -> dict[int, set[int]]:
    """Address of a function → of its parts elsewhere ("name.cold"), reached through tables too."""
    at, parts = dict(named), defaultdict[int, set[int]](set)
    for name, address in named:
        if (whole := at.get(name.partition(".")[0])) is not None:
            parts[whole].add(address)
    return parts


def _x86_targets(start: int, code: bytes, known: set[int]) -> set[int]:
    """What a function may call, jump to or take the address of, where one begins."""
    found = set()
    for match in FAR.finditer(code, 0, max(len(code) - 4, 0)):
        after = match.start() + 5
        found.add(start + after + struct.unpack_from("<i", code, after - 4)[0])
    for match in NEAR.finditer(code, 0, max(len(code) - 1, 0)):
        after = match.start() + 2
        found.add(start + after + (code[after - 1] ^ 128) - 128)
    return found & known


def _arm_targets(start: int, code: bytes, known: set[int]) -> set[int]:
    """The same, of whole words: B, BL, conditional jumps, ADR, and ADRP with any ADD to it."""
    found, pages, added = set(), defaultdict[int, set[int]](set), defaultdict[int, set[int]](set)
    for at, (word,) in enumerate(struct.iter_unpack("<I", code[: len(code) // 4 * 4])):
        here = start + 4 * at
        if word >> 26 in (0x05, 0x25):  # B, BL
            found.add(here + 4 * _signed(word, 26))
        elif word >> 24 & 0x9F == 0x90:  # ADRP
            page = (here & ~0xFFF) + (_signed(word >> 5, 19) << 14) + ((word >> 29 & 3) << 12)
            pages[word & 31].add(page)
        elif word >> 24 & 0x9F == 0x10:  # ADR
            found.add(here + 4 * _signed(word >> 5, 19) + (word >> 29 & 3))
        elif word >> 22 == 0x244:  # ADD of 12 bits
            added[word >> 5 & 31].add(word >> 10 & 0xFFF)
        elif word >> 25 & 0x3F == 0x1A or word >> 24 == 0x54:  # CBZ, CBNZ, B.cond
            found.add(here + 4 * _signed(word >> 5, 19))
        elif word >> 25 & 0x3F == 0x1B:  # TBZ, TBNZ
            found.add(here + 4 * _signed(word >> 5, 14))
    for register, bases in pages.items():
        sums = (page + low for page in bases for low in added[register])
        found |= {target for target in sums if target in known}
    return found


def _signed(number: int, bits: int) -> int:
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> bits - 1 else number
