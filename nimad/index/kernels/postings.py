"""The kernels of the words index: postings unpacked and weighed, and what neighbours share.

As in `nimad.index.kernels.source`, which gathers them: pointers and lengths, nothing allocated.  A
column of memories lies in two parts, one mapped from a file and one in memory: row `r` is
`first[r]` below `edge` and `more[r - edge]` from there on.
"""
# mypy: disable-error-code="untyped-decorator,no-untyped-call,no-any-return"

from __future__ import annotations

from typing import Any

import numpy as np

from nimad.index.kernels.intrinsics import F32, I32, I64, U8, inline


@inline
def _number(packed: U8, at: int, end: int) -> tuple[Any, Any]:
    """The number that begins at packed[at] and where the next one does; 0 there: it is cut off."""
    number = shift = np.int64(0)
    while at < end and shift < 63:
        byte = np.int64(packed[at])
        at += 1
        number |= (byte & np.int64(127)) << shift
        if byte < 128:
            return number, at
        shift += np.int64(7)
    return np.int64(0), np.int64(0)


def postings(
    gaps: U8,
    gaps_end: int,
    more: U8,
    more_end: int,
    count: int,
    first: int,
    limit: int,
    ids: I64,
    counts: F32,
) -> int:
    """Kernels.postings; `ids: int64[count]` and `counts: float32[count]`; how many are sound."""
    at = rest = np.int64(0)
    document = np.int64(-1)
    for place in range(count):
        if at >= gaps_end:
            return place
        number = np.int64(gaps[at])
        if number < 128:
            at += 1
        else:
            number, at = _number(gaps, at, gaps_end)
            if at == 0:
                return place
        document += (number >> 1) + 1
        if document >= limit:
            return place
        ids[place] = first + document
        held = np.int64(1)
        if number & 1:
            extra, rest = _number(more, rest, more_end)
            if rest == 0:
                return place
            held = extra + 2
        counts[place] = np.float32(held)
    return count


@inline
def _width_of(first: U8, edge: int, more: U8, width: int, row: int) -> np.int64:
    """A whole number of `width` bytes, 1, 2 or 4, out of a column in two parts."""
    part, at = first, row * width
    if row >= edge:
        part, at = more, (row - edge) * width
    number = np.int64(part[at])
    if width > 1:
        number |= np.int64(part[at + 1]) << 8
    if width > 2:
        number |= np.int64(part[at + 2]) << 16 | np.int64(part[at + 3]) << 24
    return number


def weigh(
    own: F32,
    rows: I64,
    counts: F32,
    count: int,
    first: U8,
    edge: int,
    more: U8,
    width: int,
    weights: F32,
    fresh: I64,
) -> int:
    """Kernels.weigh; how many rows had nothing before, left in `fresh: int64[count + 1]`."""
    rarity, above, k1 = weights[0], weights[1], weights[2]
    fixed, share, average = weights[3], weights[4], weights[5]
    found = 0
    for place in range(count):
        row, held = rows[place], counts[place]
        words = np.float32(_width_of(first, edge, more, width, row))
        size = k1 * (fixed + share * words / average)
        fresh[found] = row  # without a branch: none could be foretold
        found += int(own[row] == np.float32(0))
        own[row] += rarity * held * above / (held + size)
    return found


@inline
def _chain(first: I32, edge: int, more: I32, row: int, end: int) -> np.int64:
    """The neighbour of a row, or -1; what lies beyond the last row is none."""
    other = np.int64(first[row]) if row < edge else np.int64(more[row - edge])
    return other if other < end else np.int64(-1)


def shares(
    own: F32,
    rows: I64,
    count: int,
    before: I32,
    after: I32,
    edge: int,
    more_before: I32,
    more_after: I32,
    end: int,
    weights: F32,
    out: F32,
) -> None:
    """Kernels.shares; `out: float32[count]`."""
    near, beyond, other = weights[0], weights[1], weights[2]
    for place in range(count):
        row = rows[place]
        total = own[row]
        beside = _chain(before, edge, more_before, row, end)
        if beside >= 0:
            total += near * own[beside]
            beside = _chain(before, edge, more_before, beside, end)
            if beside >= 0:
                total += beyond * own[beside]
        beside = _chain(after, edge, more_after, row, end)
        if beside >= 0:
            total += other * own[beside]
            beside = _chain(after, edge, more_after, beside, end)
            if beside >= 0:
                total += beyond * own[beside]
        out[place] = total
