"""The bytes of a database that nothing uses: overwritten with zeros, a few pages at a time.

SQLite leaves copies of cells that it moved in the unused part of a page, and what a page held in
free pages and behind the end of a long value.  VACUUM takes all of that out, by writing the file
three times while nobody else may write.  Here the pages are read where they stand, and those whose
unused bytes are not all zero are written again, their used bytes as they are: nothing that SQLite
reads changes, so it does not matter where a crash falls.

What is used is worked out of the pages' own structure.  SQLite counts the unused bytes of a page,
too, and where its count is another one nothing is written (`Strange`).  Pages are told apart by the
pointer map, which databases with auto_vacuum have.

Source: https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass

MANY = 128
"""Pages of trees, and free ones, that are looked at in one step [pages]."""
LONG = 4096
"""Pages of long values from which on they are fewer [pages]."""
ROOT, FREE, REST, REST_OF_REST, TREE = range(1, 6)
"""Kinds of pages in the pointer map: the root of a tree, a free one, the first and another one of
what a long value has beyond its cell, and another one of a tree."""
INTERIOR_INDEX, INTERIOR_TABLE, LEAF_INDEX, LEAF_TABLE = 2, 5, 10, 13
HEADER = 100
"""Length of the database's own header, at the begin of its first page [bytes]."""
LOCKED = 1 << 30
"""Place of a page that SQLite only uses for locks [bytes]."""
MARGIN = 32
"""Bytes behind some pages, where the length of a cell at their end may be looked for."""

MOST = 1 << 31
"""Length of the longest row [bytes]."""

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]


class Strange(Exception):
    """Something is not as the format says, or there is no pointer map: that is not written to."""


@dataclass(frozen=True, slots=True)
class Used:
    """What is used of some pages: `marks` is 1 for such a byte, else 0.  Of each value that goes on
    in pages of its own: the place of its page, the first of its own, the length there [bytes]."""

    marks: Bytes
    owners: Numbers
    firsts: Numbers
    lengths: Numbers


class UnusedBytes:
    """Those of one file, which nobody else changes during a call of `clear`."""

    def __init__(self, descriptor: int) -> None:
        """Raises Strange, OSError."""
        self._file = descriptor
        head = os.pread(descriptor, HEADER, 0)
        size = int.from_bytes(head[16:18], "big")
        self._size = 1 << 16 if size == 1 else size
        self._pages, self._trunk = (int.from_bytes(head[at : at + 4], "big") for at in (28, 32))
        whole = self._size >= 512 and self._pages * self._size == os.fstat(descriptor).st_size
        if not whole or head[20] or not any(head[52:56]):
            raise Strange("it has no pointer map, or another length than it says")

    def clear(self, after: int) -> tuple[int | None, bool]:
        """Clear some pages behind a number: the last of them, None at the end; whether one was
        written.  Raises Strange, OSError."""
        trees: list[int] = []
        free: list[int] = []
        last: int | None = None
        for number, kind in self._kinds(after):
            (free if kind == FREE else trees).append(number)
            if len(trees) + len(free) == MANY:
                last = number
                break
        written = False
        if trees:
            done, written = self._clear_trees(np.array(trees))
            last = last if done == len(trees) else trees[done - 1]
        trunks = self._trunks() if free else {}
        for number in free:
            if last is None or number <= last:
                written |= self._clear_end(number, trunks.get(number, 0))
        return last, written

    def _kinds(self, after: int) -> Iterator[tuple[int, int]]:
        """The pages of trees and free ones behind a number, and their kinds.

        A page of the pointer map has five bytes for each of the pages that follow it."""
        if not after:
            yield 1, ROOT
        each = self._size // 5
        for group in range(2, self._pages + 1, each + 1):
            end = min(group + each, self._pages)
            if end <= after:
                continue
            first = group + (group == LOCKED // self._size + 1)
            entries = os.pread(self._file, 5 * (end - first), (first - 1) * self._size)
            kinds = np.frombuffer(entries, np.uint8)[::5]
            for place in np.flatnonzero((kinds != REST) & (kinds != REST_OF_REST)).tolist():
                number = first + 1 + place
                if number == LOCKED // self._size + 1:
                    continue
                if not ROOT <= kinds[place] <= TREE:
                    raise Strange(f"the kind of page {number} is {kinds[place]}")
                if number > after:
                    yield number, int(kinds[place])

    def _clear_trees(self, numbers: Numbers) -> tuple[int, bool]:
        """Clear pages of trees and the ends of their long values: how many, where these values are
        many, and whether one was written."""
        size = self._size
        content = bytearray(len(numbers) * size + MARGIN)
        pages = np.frombuffer(content, np.uint8)
        for place, number in enumerate(numbers.tolist()):
            part = memoryview(content)[place * size : (place + 1) * size]
            if os.preadv(self._file, [part], (number - 1) * size) < size:
                raise Strange(f"page {number} is cut off")
        used = used_of(pages, numbers == 1, size)
        room = size - 4
        lengths = np.bincount(used.owners, -(-used.lengths // room), len(numbers))
        count = max(1, int(np.searchsorted(np.cumsum(lengths), LONG, "right")))
        written = False
        for owner, first, length in zip(used.owners, used.firsts, used.lengths, strict=True):
            if owner < count:
                written |= self._clear_rest(int(first), int(length))
        clean = pages[: len(used.marks)] * used.marks
        strange = (clean != pages[: len(used.marks)]).reshape(-1, size).any(axis=1)
        for place in np.flatnonzero(strange[:count]).tolist():
            page = clean[place * size : (place + 1) * size].tobytes()
            os.pwrite(self._file, page, (int(numbers[place]) - 1) * size)
            written = True
        return count, written

    def _clear_rest(self, number: int, length: int) -> bool:
        """Clear what stands behind the end of a long value, whose pages are a chain."""
        room = self._size - 4
        while True:
            if not 1 < number <= self._pages:
                raise Strange(f"a value goes on in page {number}")
            following = int.from_bytes(os.pread(self._file, 4, (number - 1) * self._size), "big")
            if length <= room:
                break
            number, length = following, length - room
        if following:
            raise Strange(f"a value ends in page {number}, which has one behind it")
        return self._clear_end(number, 4 + length)

    def _trunks(self) -> dict[int, int]:
        """The free pages that list others, and how many of their bytes are used."""
        found: dict[int, int] = {}
        number = self._trunk
        while number:
            if number > self._pages or number in found:
                raise Strange(f"page {number} is listed as free")
            head = os.pread(self._file, 8, (number - 1) * self._size)
            following, leaves = (int.from_bytes(head[at : at + 4], "big") for at in (0, 4))
            if 8 + 4 * leaves > self._size:
                raise Strange(f"page {number} lists {leaves} free ones")
            found[number] = 8 + 4 * leaves
            number = following
        return found

    def _clear_end(self, number: int, used: int) -> bool:
        """Clear a page from a place in it on."""
        at = (number - 1) * self._size + used
        there = os.pread(self._file, self._size - used, at)
        if there.count(0) == len(there):
            return False
        os.pwrite(self._file, bytes(len(there)), at)
        return True


def used_of(pages: Bytes, is_first: NDArray[np.bool_], size: int) -> Used:
    """What is used of pages of trees, one behind the other, and MARGIN behind them.  `is_first` is
    true for the first one of a database.  Raises Strange."""
    begins = np.arange(len(is_first)) * size
    heads = begins + HEADER * is_first
    kinds = pages[heads]
    if not np.isin(kinds, (INTERIOR_INDEX, INTERIOR_TABLE, LEAF_INDEX, LEAF_TABLE)).all():
        raise Strange("a page of a tree has no kind")
    interior = kinds < LEAF_INDEX
    counts, contents = _pairs(pages, heads + 3), _pairs(pages, heads + 5)
    contents[contents == 0] = 1 << 16
    lists = heads + np.where(interior, 12, 8)
    ends = lists + 2 * counts
    if (ends > begins + contents).any() or (contents > size).any():
        raise Strange("a list of cells goes on beyond its page")

    owners = np.repeat(np.arange(len(begins)), counts)
    within = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    cells = begins[owners] + _pairs(pages, lists[owners] + 2 * within)
    limits = (begins + size)[owners]
    if (cells < (begins + contents)[owners]).any() or (cells > limits - 4).any():
        raise Strange("a cell lies outside of its page")
    sizes, rests = _cell_sizes(pages, cells, kinds[owners], size)
    if (cells + sizes > limits).any():
        raise Strange("a cell is longer than its page")

    blocks, free = _free_blocks(pages, begins, heads, size)
    counted = np.bincount(owners, sizes, len(begins)) + free + pages[heads + 7]
    if (counted != size - contents).any():
        raise Strange("SQLite counts other unused bytes of a page")
    changes = np.zeros(len(begins) * size + 1, np.int8)
    for starts, stops in ((begins, ends), (cells, cells + sizes), (blocks, blocks + 4)):
        np.add.at(changes, starts, 1)
        np.add.at(changes, stops, -1)
    marks = np.cumsum(changes[:-1], dtype=np.int8)
    if len(marks) and (marks.min() < 0 or marks.max() > 1):
        raise Strange("two parts of a page use the same bytes")
    long = rests > 0
    ends = (cells + sizes)[long]
    firsts = _pairs(pages, ends - 4) << 16 | _pairs(pages, ends - 2)
    return Used(marks.view(np.uint8), owners[long], firsts, rests[long])


def _pairs(pages: Bytes, places: Numbers) -> Numbers:
    """The numbers of two bytes that stand there."""
    return pages[places].astype(np.int64) << 8 | pages[places + 1]


def _cell_sizes(pages: Bytes, cells: Numbers, kinds: Bytes, size: int) -> tuple[Numbers, Numbers]:
    """How long cells are in their page, and what they have beyond it [bytes]."""
    heads = np.where(kinds < LEAF_INDEX, 4, 0)  # the page below
    payloads, lengths = _variable(pages, cells + heads)
    heads += lengths
    payloads[kinds == INTERIOR_TABLE] = 0  # that was the number of a row
    if ((payloads < 0) | (payloads > MOST)).any():
        raise Strange("a cell is longer than any can be")
    leaves = np.flatnonzero(kinds == LEAF_TABLE)
    heads[leaves] += _variable(pages, cells[leaves] + heads[leaves])[1]
    most = np.where(kinds == LEAF_TABLE, size - 35, (size - 12) * 64 // 255 - 23)
    least = (size - 12) * 32 // 255 - 23
    kept = least + (payloads - least) % (size - 4)
    kept = np.where(payloads <= most, payloads, np.where(kept <= most, kept, least))
    rests = payloads - kept
    return np.maximum(heads + kept + 4 * (rests > 0), 4), rests


def _variable(pages: Bytes, places: Numbers) -> tuple[Numbers, Numbers]:
    """The numbers that begin there, seven bits a byte, and how many bytes they take."""
    numbers, lengths = np.zeros_like(places), np.zeros_like(places)
    going = np.arange(len(places))
    for byte in range(9):
        found = pages[places[going] + byte].astype(np.int64)
        lengths[going] += 1
        numbers[going] = numbers[going] << 7 | found & 127  # of nine bytes only how many counts
        going = going[found > 127]
        if not len(going):
            break
    return numbers, lengths


def _free_blocks(
    pages: Bytes, begins: Numbers, heads: Numbers, size: int
) -> tuple[Numbers, Numbers]:
    """Where the free blocks of pages stand, which are a chain in each, and how much they are of
    each page [bytes]; their first four bytes tell the next one and their size."""
    found: list[Numbers] = []
    free = np.zeros(len(begins), np.int64)
    owners, places = np.arange(len(begins)), _pairs(pages, heads + 1)
    while len(owners := owners[places > 0]):
        places = places[places > 0]
        if (places > size - 4).any():
            raise Strange("a free block lies outside of its page")
        blocks = begins[owners] + places
        lengths, following = _pairs(pages, blocks + 2), _pairs(pages, blocks)
        if (places + lengths > size).any() or ((following > 0) & (following < places + 4)).any():
            raise Strange("the free blocks of a page are in disorder")
        free[owners] += lengths
        found.append(blocks)
        places = following
    return np.concatenate([*found, np.zeros(0, np.int64)]), free
