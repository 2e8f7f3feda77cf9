"""Empties those functions of a shared library that nothing can reach, and what tells of them.

Of most libraries all that they export can be reached, and all that data points to.  OpenBLAS holds
all of LAPACK for programs in C and Fortran; numpy calls 57 functions of it, and these call four of
gfortran's library.  What can be reached stays, bit for bit and in its place; the rest becomes
zeros, which pack to nothing.  So does what tells of it: its frame, the names that nobody asks for,
and what the loader would look up for calls that nobody makes.

A function is a symbol's address up to the next symbol, or, without symbols, what a frame of
.eh_frame_hdr describes.  Where in doubt, it stays: everything that data points to, and whatever may
be a call, a jump or an address, also by chance.  Of OpenBLAS for x86 two kinds of data count only
when code can reach them: tables of functions (`_Tables`).  Sources: elf(5), the System V ABI and
the LSB on .eh_frame_hdr, the ELF specification of GNU's hash table (`_hash`), Intel's and Arm's
manuals of the instructions named below.
"""

from __future__ import annotations

import bisect
import re
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

FUNCTIONS = (2, 10)
"""STT_FUNC, STT_GNU_IFUNC: kinds of symbols."""
X86, ARM = 62, 183
PLT_HEADER = {X86: 16, ARM: 32}
"""Size of what stands before the first entry of .plt, whose entries have 16 [bytes]."""
FAR = re.compile(rb"(?=[\xe8\xe9\x80-\x8f\x05\x0d\x15\x1d\x25\x2d\x35\x3d])", re.DOTALL)
"""Of x86: the byte before the distance in CALL, JMP, Jcc and in what is relative to RIP."""
JUMP = re.compile(rb"(?=\xe9|[\x80-\x8f](?<=\x0f.))", re.DOTALL)
"""Of x86: the byte before the distance in JMP and Jcc."""
NEAR = re.compile(rb"(?=[\xeb\xe3\x70-\x7f])", re.DOTALL)
"""Of x86: jumps with a distance of one byte."""
FRAMES = b"\x01\x1b\x03\x3b"
"""The begin of an .eh_frame_hdr with a table of signed distances of four bytes."""
KERNELS = "gotoblas"
"""OpenBLAS's pointer to the table of the processor's functions, and the begin of their names."""
BEFORE = 16
"""Distance before a table from which code may count in it [bytes]."""
APART = 64
"""Distance of two functions in a table that code may choose between by counting [bytes]."""


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

    def symbols(self, table: str, names: str) -> Iterator[tuple[str, int, int, int, int]]:
        """(name, kind, section, address, size) of each symbol; none without the table."""
        found, strings = self.sections.get(table), self.sections.get(names)
        if found is None or strings is None:
            return
        for at in range(found.offset, found.offset + found.size, 24):
            name, info, _, section, address, size = struct.unpack_from("<IBBHQQ", self.data, at)
            yield self._string(strings.offset + name), info & 15, section, address, size

    def relocations(self, table: str) -> Iterator[tuple[int, int, int]]:
        """(place, number of the symbol, addend) of each relocation."""
        if (found := self.sections.get(table)) is not None:
            for at in range(found.offset, found.offset + found.size, 24):
                place, info, addend = struct.unpack_from("<QQq", self.data, at)
                yield place, info >> 32, addend

    def content(self, name: str) -> bytes:
        """What is in a section."""
        part = self.sections[name]
        return self.data[part.offset : part.offset + part.size]

    def frames(self) -> dict[int, int]:
        """Address of each function that .eh_frame describes → where its description is in the
        file; nothing in another form than FRAMES."""
        header = self.sections.get(".eh_frame_hdr")
        if header is None or not self.content(".eh_frame_hdr").startswith(FRAMES):
            return {}
        shift = self.sections[".eh_frame"].offset - self.sections[".eh_frame"].address
        (count,) = struct.unpack_from("<I", self.data, header.offset + 8)
        pairs = struct.iter_unpack("<ii", self.content(".eh_frame_hdr")[12 : 12 + 8 * count])
        return {header.address + a: header.address + b + shift for a, b in pairs}


class _Tables:
    """Tables of functions in OpenBLAS's data, each of which counts once code can reach it.

    An object of .data or .data.rel.ro, when code refers to an address in it or closely before it.
    Of the tables with one function for each use, one for each kind of processor
    (`gotoblas_HASWELL`), the functions at a distance, or near one, that stands as a number in data
    or in the code of who knows where the table is.
    """

    def __init__(self, library: Library, own: list[tuple[str, int, int, int, int]]) -> None:
        self._objects = sorted((at, at + size, n) for n, kind, _, at, size in own if kind == 1)
        self._begins = [begin for begin, _, _ in self._objects]
        self._held = defaultdict[int, set[int]](set)
        self._kernels = defaultdict[int, set[int]](set)
        self._base = {at for name, _, _, at, _ in own if name == KERNELS}
        self._anybody = False
        """Whether data tells where the table is: then all functions may know."""
        self._sections = [library.sections[name] for name in (".data", ".data.rel.ro")]
        data = b"".join(map(library.content, (".rodata", ".data", ".data.rel.ro")))
        self._numbers = {number for (number,) in struct.iter_unpack("<I", _whole(data))}

    def hold(self, place: int, target: int) -> bool:
        """Take what a relocation points to, when its place is in an object of data."""
        self._anybody |= target in self._base
        at = bisect.bisect_right(self._begins, place) - 1
        if at < 0 or place >= self._objects[at][1]:
            return False
        if not any(s.address <= place < s.address + s.size for s in self._sections):
            return False
        begin, _, name = self._objects[at]
        if name.startswith(f"{KERNELS}_"):
            self._kernels[place - begin].add(target)
        else:
            self._held[at].add(target)
        return True

    def near(self, addresses: set[int]) -> set[int]:
        """What objects at or closely behind some addresses point to."""
        found = set[int]()
        for address in addresses:
            at = bisect.bisect_right(self._begins, address + BEFORE) - 1
            while at >= 0 and address < self._objects[at][1]:
                begin, _, name = self._objects[at]
                if name.startswith(f"{KERNELS}_"):
                    found |= self._kernels.get(address - begin & ~7, set())
                found |= self._held.pop(at, set())
                at -= 1
        return found

    def kernels(self, name: str, code: bytes, addresses: set[int]) -> set[int]:
        """What a function may take out of the table of the processor.  Parts of functions
        (`f.part.0`) may be given the table by another."""
        if not (self._anybody or self._base & addresses or "." in name):
            return set()
        numbers = {at for k in range(4) for (at,) in struct.iter_unpack("<I", _whole(code[k:]))}
        numbers |= self._numbers | set(range(128))  # these fit into a byte
        told = sorted(numbers & set(range(max(self._kernels, default=0) + 1)))
        return set().union(
            *(
                targets
                for at, targets in self._kernels.items()
                if bisect.bisect(told, at + APART) > bisect.bisect_left(told, at - APART)
            )
        )


def imported(data: bytes) -> set[str]:
    """The names that a library takes from others."""
    symbols = Library(data).symbols(".dynsym", ".dynstr")
    return {name for name, _, section, _, _ in symbols if section == 0}


class _Code:
    """The functions of a library, and what each may lead to."""

    def __init__(self, library: Library, slots: dict[int, int], tables: _Tables | None) -> None:
        text = library.sections[".text"]
        self._library, self._slots, self._tables = library, slots, tables
        self.first, self.end = text.address, text.address + text.size
        self.shift = text.offset - text.address
        own = list(library.symbols(".symtab", ".strtab"))
        symbols = own + list(library.symbols(".dynsym", ".dynstr"))
        named = [(n, at) for n, kind, _, at, _ in symbols if kind in FUNCTIONS and self.has(at)]
        self._cold_parts = not own
        """Whether parts of functions have no names, and are jumped into."""
        begins = {self.first, *(address for _, address in named)}
        begins |= set(filter(self.has, library.frames())) if self._cold_parts else set()
        self.starts = sorted(begins)
        self.ends = dict(zip(self.starts, [*self.starts[1:], self.end], strict=True))
        self._names = {address: name for name, address in named}
        self._parts = _parts(named)
        self._known = begins | slots.keys()
        self.called = set[int]()
        """The entries of .plt that `live` has met."""

    def has(self, address: int) -> bool:
        """Whether an address is in the code."""
        return self.first <= address < self.end

    def targets(self, start: int, code: bytes) -> set[int]:
        """Where the code that begins at an address may lead."""
        if self._library.machine == ARM:
            jumps = _arm_jumps(start, code)
            reached = jumps & self._known | _arm_addresses(start, code, self._known)
        else:
            jumps, found = _distant(JUMP, start, code), _x86_targets(start, code)
            reached = found & self._known
            if self._tables is not None:
                reached |= self._tables.near(found)
                reached |= self._tables.kernels(self._names.get(start, "."), code, found)
        return reached | set(filter(self.has, jumps)) if self._cold_parts else reached

    def start_of(self, address: int) -> int:
        """Where the function begins that an address is in."""
        return self.starts[bisect.bisect_right(self.starts, address) - 1]

    def live(self, work: list[int]) -> set[int]:
        """Where those functions begin that some addresses lead to."""
        found = set[int]()
        while work:
            address = work.pop()
            if address in self._slots:
                self.called.add(address)
                address = self._slots[address]
            if not self.has(address):
                work += self._tables.near({address}) if self._tables is not None else ()
                continue
            if (start := self.start_of(address)) not in found:
                found.add(start)
                work += self._parts[start]
                code = self._library.data[start + self.shift : self.ends[start] + self.shift]
                work += self.targets(start, code)
        return found


def pruned(data: bytes, wanted: set[str] | None = None) -> bytes:
    """The library with zeros for what cannot be reached from its exports, or of these only from
    those that are `wanted`; as it is, when that cannot be told."""
    library = Library(data)
    own = list(library.symbols(".symtab", ".strtab"))
    exported = list(library.symbols(".dynsym", ".dynstr"))
    frames = library.frames()
    slots = _slots(library, exported)
    if slots is None or not (own or frames):
        return data
    has_tables = wanted is not None and own and library.machine == X86
    tables = _Tables(library, own) if has_tables else None
    code = _Code(library, slots, tables)
    work = [at for name, _, _, at, _ in exported if wanted is None or name in wanted]
    for place, symbol, addend in library.relocations(".rela.dyn"):
        target = exported[symbol][3] + addend
        if tables is None or not tables.hold(place, target):
            work.append(target)
    for name in {".init", ".fini"} & library.sections.keys():
        work += code.targets(library.sections[name].address, library.content(name))
    live = code.live(work)
    out = bytearray(data)
    for start in code.ends.keys() - live:
        size = code.ends[start] - start
        out[start + code.shift : start + code.shift + size] = bytes(size)
    _drop_calls(out, library, [at in code.called for at in slots])
    gone = {f for f in frames if code.has(f) and code.start_of(f) not in live}
    _drop_frames(out, library, gone if wanted is None else set(frames))  # Fortran throws nothing
    if wanted is not None:
        _drop_names(out, library, wanted)
    return bytes(out)


def _drop_calls(out: bytearray, library: Library, called: list[bool]) -> None:
    """Let entries of .plt that nobody calls ask for no name: the loader looks each up at once."""
    for number, used in enumerate(called):
        if not used:
            at = library.sections[".rela.plt"].offset + 24 * number
            struct.pack_into("<I", out, at + 12, 0)


def _drop_frames(out: bytearray, library: Library, gone: set[int]) -> None:
    """Take functions out of .eh_frame_hdr, and what .eh_frame describes of them."""
    if not (frames := library.frames()):
        return
    header, table = library.sections[".eh_frame_hdr"], library.sections[".eh_frame"]
    shift = table.address - table.offset - header.address
    kept = [(f - header.address, at + shift) for f, at in frames.items() if f not in gone]
    struct.pack_into("<I", out, header.offset + 8, len(kept))
    pairs = b"".join(struct.pack("<ii", *pair) for pair in kept)
    first = header.offset + 12
    out[first : first + 8 * len(frames)] = pairs.ljust(8 * len(frames), b"\0")
    for start in gone:
        (size,) = struct.unpack_from("<I", library.data, frames[start])
        out[frames[start] + 8 : frames[start] + 4 + size] = bytes(size - 4)
    if not kept:
        out[table.offset : table.offset + table.size] = bytes(table.size)


def _drop_names(out: bytearray, library: Library, wanted: set[str]) -> None:
    """Take exports out of .dynsym, .dynstr and .gnu.hash that neither others nor the library's own
    relocations ask for."""
    table, strings = library.sections[".dynsym"], library.sections[".dynstr"]
    symbols = list(library.symbols(".dynsym", ".dynstr"))
    again = Library(bytes(out))
    asked = {n for part in (".rela.dyn", ".rela.plt") for _, n, _ in again.relocations(part)}
    kept = {n for n, (_, _, section, *_) in enumerate(symbols) if n in asked or not section}
    kept |= {n for n, (name, *_) in enumerate(symbols) if name in wanted}
    for number, (name, *_) in enumerate(symbols):
        if number not in kept:
            at = table.offset + 24 * number
            (begin,) = struct.unpack_from("<I", library.data, at)
            out[strings.offset + begin : strings.offset + begin + len(name)] = bytes(len(name))
            out[at : at + 24] = bytes(24)
    told = {struct.unpack_from("<I", library.data, table.offset + 24 * n)[0] for n in kept}
    told |= {value for _, value in struct.iter_unpack("<QQ", library.content(".dynamic"))}
    for part in {".gnu.version_r", ".gnu.version_d"} & library.sections.keys():
        told |= {number for (number,) in struct.iter_unpack("<I", library.content(part))}
    for begin in told:  # and whatever else may be a name: of a library, a folder, a version
        if begin < strings.size:
            end = library.data.index(b"\0", strings.offset + begin)
            out[strings.offset + begin : end] = library.data[strings.offset + begin : end]
    _hash(out, library, {number: symbols[number][0] for number in kept})


def _hash(out: bytearray, library: Library, kept: dict[int, str]) -> None:
    """Let .gnu.hash lead to these symbols alone.

    Its parts: four numbers (buckets, first symbol, words and shift of the filter), the filter's
    words of 64 bits, the buckets, and for each symbol from the first on its hash, odd at the end of
    a bucket's.
    """
    part = library.sections[".gnu.hash"]
    buckets, first, words, shift = struct.unpack_from("<IIII", library.data, part.offset)
    sums = {number: _gnu_hash(name) for number, name in kept.items() if number >= first}
    bloom, begins, chain = [0] * words, [0] * buckets, [0] * (part.size // 4 - 4 - 2 * words)
    for number, value in sorted(sums.items(), reverse=True):
        bloom[value // 64 % words] |= 1 << value % 64 | 1 << (value >> shift) % 64
        chain[buckets + number - first] = value & ~1 | (not begins[value % buckets])
        begins[value % buckets] = number
    chain[:buckets] = begins
    content = struct.pack(f"<{words}Q{len(chain)}I", *bloom, *chain)
    out[part.offset + 16 : part.offset + 16 + len(content)] = content


def _gnu_hash(name: str) -> int:
    value = 5381
    for byte in name.encode():
        value = (33 * value + byte) % 2**32
    return value


def _slots(
    library: Library, exported: list[tuple[str, int, int, int, int]]
) -> dict[int, int] | None:
    """Address of each entry of .plt → where it leads; None, where other ways lead to functions."""
    entries = list(library.relocations(".rela.plt"))
    header = PLT_HEADER.get(library.machine, 0)
    plt = library.sections.get(".plt", Section(0, 0, 0, header))
    other_ways = {".relr.dyn", ".plt.sec"} & library.sections.keys()
    if other_ways or not header or plt.size != header + 16 * len(entries):
        return None
    return {
        plt.address + header + 16 * number: exported[symbol][3] + addend
        for number, (_, symbol, addend) in enumerate(entries)
    }


def _parts(named: list[tuple[str, int]]) -> dict[int, set[int]]:
    """Address of a function → of its parts elsewhere ("name.cold"), reached through tables too."""
    at, parts = dict(named), defaultdict[int, set[int]](set)
    for name, address in named:
        if (whole := at.get(name.partition(".")[0])) is not None:
            parts[whole].add(address)
    return parts


def _distant(before: re.Pattern[bytes], start: int, code: bytes) -> set[int]:
    """Where the distances of four bytes lead that stand behind certain bytes."""
    places = [match.start() + 1 for match in before.finditer(code, 0, max(len(code) - 4, 0))]
    return {start + at + 4 + struct.unpack_from("<i", code, at)[0] for at in places}


def _x86_targets(start: int, code: bytes) -> set[int]:
    """What a function may call, jump to or take the address of, and much by chance."""
    found = _distant(FAR, start, code)
    for match in NEAR.finditer(code, 0, max(len(code) - 1, 0)):
        after = match.start() + 2
        found.add(start + after + (code[after - 1] ^ 128) - 128)
    return found


def _whole(code: bytes) -> bytes:
    """As much of the code as are words of four bytes."""
    return code[: len(code) // 4 * 4]


def _arm_jumps(start: int, code: bytes) -> set[int]:
    """Where B, BL and conditional jumps lead."""
    found = set()
    for at, (word,) in enumerate(struct.iter_unpack("<I", _whole(code))):
        here = start + 4 * at
        if word >> 26 in (0x05, 0x25):  # B, BL
            found.add(here + 4 * _signed(word, 26))
        elif word >> 25 & 0x3F == 0x1A or word >> 24 == 0x54:  # CBZ, CBNZ, B.cond
            found.add(here + 4 * _signed(word >> 5, 19))
        elif word >> 25 & 0x3F == 0x1B:  # TBZ, TBNZ
            found.add(here + 4 * _signed(word >> 5, 14))
    return found


def _arm_addresses(start: int, code: bytes, known: set[int]) -> set[int]:
    """Known addresses that ADR makes, or ADRP with any ADD to its register."""
    found, pages, added = set(), defaultdict[int, set[int]](set), defaultdict[int, set[int]](set)
    for at, (word,) in enumerate(struct.iter_unpack("<I", _whole(code))):
        here = start + 4 * at
        if word >> 24 & 0x9F == 0x90:  # ADRP
            page = (here & ~0xFFF) + (_signed(word >> 5, 19) << 14) + ((word >> 29 & 3) << 12)
            pages[word & 31].add(page)
        elif word >> 24 & 0x9F == 0x10:  # ADR
            found.add(here + 4 * _signed(word >> 5, 19) + (word >> 29 & 3))
        elif word >> 22 == 0x244:  # ADD of 12 bits
            added[word >> 5 & 31].add(word >> 10 & 0xFFF)
    for register, bases in pages.items():
        found |= {page + low for page in bases for low in added[register]}
    return found & known


def _signed(number: int, bits: int) -> int:
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> bits - 1 else number
