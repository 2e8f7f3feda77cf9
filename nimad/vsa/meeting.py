"""Joins two groups of codebooks where their sums meet: the inner part of `factors`.

Every combination of a group's items has one sum of positions in each block.  For two key blocks
the sums that one group needs of the other stand in a table; the other group's sums are looked up
there, a piece at a time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from nimad.vsa.codes import Codes

CHUNK = 1 << 20
"""Number of combinations looked at together [combinations]."""
COMPARED = 1 << 12
"""Number of combinations of a chunk that are compared in all blocks [combinations]."""
SLOTS = 1 << 24
"""Size of the largest table [bytes]."""

Indices = NDArray[np.intp]


class Group:
    """Some of the codebooks: every combination of their items is one number, and has one sum."""

    def __init__(self, numbers: Sequence[int], books: Sequence[Codes]) -> None:
        self.numbers, self.books = tuple(numbers), tuple(books)
        self.size = math.prod(len(book) for book in books)

    def sums(self, block: int, dims: int) -> Indices:
        """int[size]: the sum of each combination in a block, modulo D."""
        total = np.zeros(1, np.intp)
        for book in self.books:
            total = np.add.outer(total, book[:, block].astype(np.intp)).ravel() % dims
        return total

    def rows(self, chosen: Indices) -> list[Indices]:
        """For each codebook the rows of combinations."""
        return list(np.unravel_index(chosen, [len(book) for book in self.books]))

    def part(self, books: slice) -> Group:
        """A group of some of its codebooks."""
        return Group(self.numbers[books], self.books[books])


def split(codebooks: Sequence[Codes]) -> tuple[Group, Group]:
    """Two groups, the larger first, that have the fewest combinations together."""
    numbers = range(len(codebooks))
    whole = math.prod(len(book) for book in codebooks)

    def cost(chosen: tuple[int, ...]) -> int:
        part = math.prod(len(codebooks[n]) for n in chosen)
        return part + whole // part

    ways = (c for k in range(1, len(codebooks)) for c in itertools.combinations(numbers, k))
    one = min(ways, key=lambda chosen: (cost(chosen), chosen))
    other = tuple(n for n in numbers if n not in one)
    groups = [Group(part, [codebooks[n] for n in part]) for part in (one, other)]
    left, right = sorted(groups, key=lambda group: -group.size)
    return left, right


class Table:
    """What a group needs of the other one in two key blocks, so that they meet in strong values.

    A key is x D + y, for the sums x and y that are needed.
    """

    def __init__(self, strong: NDArray[np.bool_], group: Group, pair: tuple[int, int]) -> None:
        self._dims = dims = strong.shape[1]
        x, y = (group.sums(block, dims) for block in pair)
        values = itertools.product(*(np.flatnonzero(strong[block]) for block in pair))
        keys = [(first - x) % dims * dims + (second - y) % dims for first, second in values]
        every = np.concatenate(keys)
        order = np.argsort(every, kind="stable")
        self._keys, self._owners = every[order], order % group.size
        self.density = len(every) / dims**2
        self._taken = np.zeros(min(4 * dims * dims, SLOTS), np.bool_)
        for carry in (0, dims, 2 * dims * dims, 2 * dims * dims + dims):  # sums are not reduced
            unreduced = self._keys // dims * 2 * dims + self._keys % dims + carry
            self._taken[unreduced % len(self._taken)] = True

    def meeting(self, outer: list[Indices], inner: list[Indices]) -> tuple[Indices, Indices]:
        """(number in outer x inner, combination of the table's group) of all that meet.

        Args:
            outer, inner: the sums of two parts of the other group, in both key blocks.
        """
        dims = self._dims
        parts = [x * 2 * dims + y for x, y in (outer, inner)]
        sums = np.add.outer(*parts).ravel()
        if len(self._taken) < 4 * dims * dims:
            here = np.flatnonzero(self._taken[sums % len(self._taken)])
        else:
            here = np.flatnonzero(self._taken[sums])
        keys = sums[here] // (2 * dims) % dims * dims + sums[here] % (2 * dims) % dims
        first = np.searchsorted(self._keys, keys, "left")
        counts = np.searchsorted(self._keys, keys, "right") - first
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(here, counts), self._owners[np.repeat(first, counts) + place]


def meet(
    strong: NDArray[np.bool_], left: Group, right: Group, pair: tuple[int, int], voters: list[int]
) -> Iterator[tuple[NDArray[np.intp], Indices]]:
    """Combinations that have a strong value in both key blocks and, of the voters, in one or more.

    Args:
        strong: bool[B, D], the values that count.

    Yields:
        rows: int[n, codebooks], the row in each codebook, and int[n], the number of blocks in
        which the product has a strong value.
    """
    dims = strong.shape[1]
    table = Table(strong, right, pair)
    head, rest = left.part(slice(1)), left.part(slice(1, None))
    outer, inner = ([g.sums(b, dims) for b in (*pair, *voters)] for g in (head, rest))
    votes = [right.sums(block, dims) for block in voters]
    rows = max(1, int(CHUNK / rest.size / max(1.0, table.density)))
    for first in range(0, head.size, rows):
        piece = [sums[first : first + rows] for sums in outer]
        here, there = table.meeting(piece[:2], inner[:2])
        high, low = np.divmod(here, rest.size)
        count = np.zeros(len(here), np.int8)
        for block, x, y, z in zip(voters, piece[2:], inner[2:], votes, strict=True):
            count += strong[block, (x[high] + y[low] + z[there]) % dims]
        if voters:
            good = np.flatnonzero(count)
            good = good[np.argsort(-count[good], kind="stable")[:COMPARED]]
            high, low, there = high[good] + first, low[good], there[good]
        found = np.empty((len(there), len(left.books) + len(right.books)), np.intp)
        chosen = [*head.rows(high), *(rest.rows(low) if rest.books else ()), *right.rows(there)]
        books = (*left.books, *right.books)
        total = np.zeros((len(there), len(strong)), np.intp)
        for number, row, book in zip((*left.numbers, *right.numbers), chosen, books, strict=True):
            found[:, number] = row
            total += book[row]
        strong_there = strong[np.arange(len(strong)), total % dims]
        yield found, np.asarray(np.count_nonzero(strong_there, axis=1))
