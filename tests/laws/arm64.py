"""Runs the kernels' arm64 objects under user emulation, one call at a time, as C functions would.

A program of forty instructions maps memory at a fixed address, reads an image of it (the object and
the arguments' buffers), calls the function that the image names, and writes the image back.
"""

from __future__ import annotations

import ctypes
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nimad.index.kernels.contract import (
    BINS,
    BITS,
    FARTHEST_CODE,
    PLANES,
    ROUNDS,
    STEPS,
    TABLED,
    TEXT_DIMS,
    TEXT_WORD,
    WORDS,
    groups,
)

QEMU = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
ASSEMBLER = shutil.which("aarch64-linux-gnu-as")
LINKER = shutil.which("aarch64-linux-gnu-ld")

BASE = 0x10000000
OBJECT = 0x1000
BUFFERS = 0x100000

PROGRAM = f"""
.global _start
_start:
    mov x8, #222            // mmap(BASE, 64 MiB, rwx, private | fixed | anonymous)
    mov x0, #{BASE}
    mov x1, #0x4000000
    mov x2, #7
    mov x3, #0x32
    mov x4, #-1
    mov x5, #0
    svc #0
    mov x19, x0
    mov x20, #0
1:  mov x8, #63             // read the image
    mov x0, #0
    add x1, x19, x20
    mov x2, #0x100000
    svc #0
    cmp x0, #0
    b.le 2f
    add x20, x20, x0
    b 1b
2:  ldr x9, [x19]           // call it with 24 arguments, 16 of them on the stack
    sub sp, sp, #128
    mov x12, #0
5:  add x13, x19, x12
    ldr x10, [x13, #72]
    str x10, [sp, x12]
    add x12, x12, #8
    cmp x12, #128
    b.lt 5b
    ldp x0, x1, [x19, #8]
    ldp x2, x3, [x19, #24]
    ldp x4, x5, [x19, #40]
    ldp x6, x7, [x19, #56]
    blr x9
    str x0, [x19]
    mov x21, #0
3:  mov x8, #64             // write the image
    mov x0, #1
    add x1, x19, x21
    sub x2, x20, x21
    svc #0
    cmp x0, #0
    b.le 4f
    add x21, x21, x0
    cmp x21, x20
    b.lt 3b
4:  mov x8, #93
    mov x0, #0
    svc #0
"""

_CODES = WORDS * 32 * 8
_TALLIES = (FARTHEST_CODE + 1) * 4


def _scan_sizes(a: tuple[int, ...]) -> list[int]:
    spans = np.frombuffer(ctypes.string_at(a[1], a[2] * 16), np.int64)
    end = int(spans.max(initial=0))
    marks = -(-end // 8) if a[5] else 0
    planes = PLANES * WORDS * 8
    return [groups(end) * _CODES, a[2] * 16, 0, planes, marks, 0, 0, a[6] * 16, _TALLIES, 256]


def _dots_sizes(a: tuple[int, ...]) -> list[int]:
    picks = np.frombuffer(ctypes.string_at(a[2], a[3] * 8), np.int64)
    rows = int(picks.max(initial=-1)) + 1
    return [rows * a[1], 0, a[3] * 8, 0, a[1] * 2, a[3] * 4, a[3] * 4]


def _find_sizes(a: tuple[int, ...]) -> list[int]:
    dims, blocks, rows, k = a[1], a[5], a[10], a[17]
    starts = np.frombuffer(ctypes.string_at(a[6], (blocks + 1) * 4 if blocks else 0), np.uint32)
    cells = int(starts.max(initial=0))
    edges = (cells + 1) * 4 if blocks else 0
    return [
        *(dims * 2, 0, dims * 4, ROUNDS * BITS * 4, blocks * dims, 0, len(starts) * 4),
        *(groups(cells) * _CODES, edges, groups(rows) * _CODES, 0, rows * dims, 0, 40),
        *(-(-rows // 8) if a[16] else 0, edges, 0, 0, k * 16, k * 4, _TALLIES, BITS * 4, 512),
        (a[12] + BINS + 3 * cells + 2) * 8,
    ]


def _weigh_sizes(a: tuple[int, ...]) -> list[int]:
    terms = _table(a[1], a[2], 3)
    held = [np.frombuffer(ctypes.string_at(rows, count * 4), np.uint32) for rows, _, count in terms]
    end, edge, width = 1 + max(int(rows.max(initial=0)) for rows in held), a[6], a[8]
    parts = [edge * width, 0, max(end - edge, 0) * width, 0]
    most = sum(map(len, held))
    return [end * 4, a[2] * 24, 0, 0, 0, *parts, a[2] * 4, 20, TABLED * 4, most * 4 + 4]


def _seek_sizes(a: tuple[int, ...]) -> list[int]:
    return [a[1] * 8 + 8, 0, a[3] * 4, 0, a[5] * 8, 0, 0, a[5] * 16]


def _ranked_sizes(a: tuple[int, ...]) -> list[int]:
    bits = np.frombuffer(ctypes.string_at(a[0], a[4] // 8), np.uint64)
    held = int(np.bitwise_count(bits).sum())
    return [a[4] // 8, a[4] // 16, held * 4 if a[3] else 0, 0, 0, a[6] * 8, 0, a[6] * 8]


def _table(address: int, terms: int, width: int) -> list[list[int]]:
    """A table of addresses and, in the last column, how many values each of them leads to."""
    raw = np.frombuffer(ctypes.string_at(address, terms * width * 8), np.int64)
    found: list[list[int]] = raw.reshape(terms, width).tolist()
    return found


def _shares_sizes(a: tuple[int, ...]) -> list[int]:
    count, edge, end = a[2], a[5], a[8]
    rest = (end - edge) * 4
    return [end * 4, count * 8, 0, edge * 4, edge * 4, 0, rest, rest, 0, 12, count * 4]


def _leaders_sizes(a: tuple[int, ...]) -> list[int]:
    count, end = a[2], a[8]
    room = max(count, min(5 * count, end)) + 1
    linked = [end * 4, count * 4, *_shares_sizes((*a[:10], 0))[2:10]]
    marked = (end // 64 + 1) * 8
    return [*linked, end if a[11] else 0, 0, 0, 0, STEPS * 8, marked, room * 8, room * 4]


def _text_sums_sizes(a: tuple[int, ...]) -> list[int]:
    count, slots = a[2], (a[8] + 1, a[10] + 1)
    text_ends = np.frombuffer(ctypes.string_at(a[1], count * 8), np.int64)
    tables = (
        np.frombuffer(ctypes.string_at(a[place], size * 4), np.int32)
        for place, size in zip((7, 9), slots, strict=True)
    )
    tokens = 1 + max(int(table.max()) for table in tables)
    ends = np.frombuffer(ctypes.string_at(a[6], tokens * 8), np.int64)
    spelt = [int(text_ends.max(initial=0)) + 1, count * 8, 0, 128, int(ends.max())]
    held = [tokens, tokens * TEXT_DIMS, tokens * 2, 0, 1024, TEXT_WORD, TEXT_WORD * 16]
    hashed = [slots[0] * 4, 0, slots[1] * 4, 0, 0]
    return [*spelt, *[tokens * 8] * 2, *hashed, *held, 1024, count * TEXT_DIMS * 8, count]


def _cut_sizes(a: tuple[int, ...]) -> list[int]:
    count, room, most = a[2], a[5], a[8]
    size = int(np.frombuffer(ctypes.string_at(a[1], count * 8), np.int64).max(initial=0))
    table = [room, 0, most * 8 + 8, most * 4, 0, a[10] * 4 + 4, 0, 32, 24]
    return [size, count * 8, 0, 256, *table, ((size + count) // 2 + 1) * 4, count * 8]


def _characters(address: int, size: int) -> int:
    return len(ctypes.string_at(address, size).decode("utf-8", "surrogatepass"))


# How many bytes each pointer argument points to; 0 for a number.
SIZES: dict[str, Callable[[tuple[int, ...]], list[int]]] = {
    "encode": lambda a: [
        *(a[1] * a[2], 0, 0, a[2] * 4, ROUNDS * BITS * 4, groups(a[1]) * _CODES, BITS * 64)
    ],
    "planes": lambda a: [a[1] * 2, 0, a[1] * 4, ROUNDS * BITS * 4, PLANES * WORDS * 8, BITS * 4],
    "distances": lambda a: [groups(a[1]) * _CODES, 0, PLANES * WORDS * 8, a[1] * 4, 256],
    "scan": _scan_sizes,
    "postings": lambda a: [a[1], 0, a[3], 0, 0, 0, 0, a[4] * 4, a[4] * 2],
    "weigh": _weigh_sizes,
    "shares": _shares_sizes,
    "leaders": _leaders_sizes,
    "ranked": _ranked_sizes,
    "cosines": lambda a: [a[1] * a[2], 0, 0, a[4] * 8, 0, a[2] * 2, a[4] * 4],
    "cover": lambda a: [
        *(a[1] * 16, 0, 0, a[1] * 4, a[5] * 8, 0, a[8] * 8 + 8, a[8] * 4 + 4, 0, a[5] * 4)
    ],
    "seek": _seek_sizes,
    "find": _find_sizes,
    "dots": _dots_sizes,
    "text_sums": _text_sums_sizes,
    "cut": _cut_sizes,
    "grams": lambda a: [
        *(a[1], 0, 0, 0, 160, 128, (a[3] - a[2] + 1) * _characters(a[0], a[1]) * 8)
    ],
    "parts": lambda a: [
        *(a[1], 0, 0, 0, 0, a[6] * 4, 0, 160, (16 + a[4]) * 8, 24 * _characters(a[0], a[1]))
    ],
}
POINTERS = {
    "encode": (0, 3, 4, 5, 6),
    "planes": (0, 2, 3, 4, 5),
    "distances": (0, 2, 3, 4),
    "scan": (0, 1, 3, 4, 7, 8, 9),
    "find": (0, 2, 3, 4, 6, 7, 8, 9, 11, 13, 14, 15, 18, 19, 20, 21, 22, 23),
    "dots": (0, 2, 4, 5, 6),
    "postings": (0, 2, 7, 8),
    "weigh": (0, 1, 5, 7, 9, 10, 11, 12),
    "shares": (0, 1, 3, 4, 6, 7, 9, 10),
    "leaders": (0, 1, 3, 4, 6, 7, 9, 10, 14, 15, 16, 17),
    "ranked": (0, 1, 2, 5, 7),
    "cosines": (0, 3, 5, 6),
    "cover": (0, 3, 4, 6, 7, 9),
    "seek": (0, 2, 4, 7),
    "text_sums": (0, 1, 3, 4, 5, 6, 7, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21),
    "cut": (0, 1, 3, 4, 6, 7, 9, 11, 12, 13, 14),
    "grams": (0, 4, 5, 6),
    "parts": (0, 5, 7, 8, 9),
}
# Where a table of addresses is, how many rows it has, how wide the values are that they lead to.
TABLES = {"weigh": (1, 2, (4, 2)), "cover": (0, 1, (4,))}


def build_program(directory: Path) -> Path:
    """Assemble and link the program."""
    assert ASSEMBLER and LINKER
    (directory / "program.s").write_text(PROGRAM)
    subprocess.run([ASSEMBLER, "-o", "program.o", "program.s"], cwd=directory, check=True)
    subprocess.run([LINKER, "-o", "program", "program.o"], cwd=directory, check=True)
    return directory / "program"


def functions(program: Path, library: Path) -> dict[str, Callable[..., int]]:
    """The kernels of an arm64 object, as functions that take what the C functions take."""
    raw = library.read_bytes()
    symbols = _symbols(raw)
    return {name: _Function(program, raw, symbols[f"nimad_{name}"], name) for name in SIZES}


class _Function:
    def __init__(self, program: Path, raw: bytes, offset: int, name: str) -> None:
        self.program, self.raw, self.offset, self.name = program, raw, offset, name

    def __call__(self, *args: int) -> int:
        assert QEMU
        image = bytearray(BUFFERS)
        image[OBJECT : OBJECT + len(self.raw)] = self.raw
        values, places = list(args), {}
        for number in POINTERS[self.name]:
            size = SIZES[self.name](args)[number]
            places[number] = (len(image), size)
            values[number] = BASE + len(image)
            image += ctypes.string_at(args[number], size) + bytes(-size % 64)
        if self.name in TABLES:
            number, rows, widths = TABLES[self.name]
            for line, row in enumerate(_table(args[number], args[rows], len(widths) + 1)):
                for column, width in enumerate(widths):
                    at = places[number][0] + 8 * (line * len(row) + column)
                    struct.pack_into("<q", image, at, BASE + len(image))
                    size = row[-1] * width
                    image += ctypes.string_at(row[column], size) + bytes(-size % 64)
            del places[number]  # only read
        values += [0] * (24 - len(values))
        struct.pack_into("<25q", image, 0, BASE + OBJECT + self.offset, *(int(v) for v in values))
        done = subprocess.run([QEMU, self.program], input=image, capture_output=True, check=True)
        assert len(done.stdout) == len(image)
        for number, (first, size) in places.items():
            ctypes.memmove(args[number], done.stdout[first : first + size], size)
        return int(struct.unpack_from("<q", done.stdout)[0])


def _symbols(raw: bytes) -> dict[str, int]:
    """The exported functions and where they are, from the dynamic symbol table."""
    (table,) = struct.unpack_from("<Q", raw, 40)
    size, count = struct.unpack_from("<HH", raw, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", raw, table + size * n) for n in range(count)]
    symbols = next(header for header in headers if header[1] == 11)
    names = headers[symbols[6]][4]
    found: dict[str, Any] = {}
    for at in range(symbols[4], symbols[4] + symbols[5], 24):
        name, _, _, _, value, _ = struct.unpack_from("<IBBHQQ", raw, at)
        end = raw.index(b"\0", names + name)
        found[raw[names + name : end].decode()] = value
    return found
