"""The kernels of the words index: postings unpacked and weighed, and what neighbours share.

As in `nimad.index.kernels.source`, which gathers them: pointers and lengths, nothing allocated.  A
column of memories lies in two parts, one mapped from a file and one in memory: row `r` is
`first[r]` below `edge` and `more[r - edge]` from there on.
"""
# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call,no-any-return,var-annotated"

from __future__ import annotations

from typing import Any

import numpy as np

from nimad.index.kernels.contract import MOST_COUNTED, SAMPLED, STEPS, TABLED
from nimad.index.kernels.intrinsics import (
    F32,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    inline,
    pointer,
    popcount,
    prefetch,
)

_AHEAD = 8
"""Distance at which the neighbours of a row are asked for [rows]."""


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
    ids: U32,
    counts: U16,
) -> int:
    """Kernels.postings; `ids: uint32[count]` and `counts: uint16[count]`; how many are sound."""
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
        ids[place] = np.uint32(first + document)
        held = np.int64(1)
        if number & 1:
            extra, rest = _number(more, rest, more_end)
            if rest == 0:
                return place
            held = min(extra + 2, np.int64(MOST_COUNTED))
        counts[place] = np.uint16(held)
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
    terms: I64,
    term_count: int,
    rows: U32,
    counts: U16,
    first: U8,
    edge: int,
    more: U8,
    width: int,
    rarities: F32,
    weights: F32,
    sizes: F32,
    fresh: U32,
) -> int:
    """Kernels.weigh; how many rows had nothing before, left in `fresh`, which has one place more
    than there are postings.

    `terms: int64[term_count, 3]` are the addresses of rows and counts of each term, and how many;
    `rows` and `counts` only tell their types; `sizes` is room for float32[TABLED].
    """
    above, k1, fixed, share, average = weights[0], weights[1], weights[2], weights[3], weights[4]
    tabled = width == 1
    for words in range(TABLED if tabled else 0):  # few lengths are different
        sizes[words] = k1 * (fixed + share * np.float32(words) / average)
    found = 0
    for term in range(term_count):
        rarity = rarities[term]
        held_by, often = pointer(terms[3 * term], rows), pointer(terms[3 * term + 1], counts)
        for place in range(terms[3 * term + 2]):
            row, held = np.int64(held_by[place]), np.float32(often[place])
            if tabled:
                size = sizes[first[row] if row < edge else more[row - edge]]
            else:
                words = np.float32(_width_of(first, edge, more, width, row))
                size = k1 * (fixed + share * words / average)
            fresh[found] = held_by[place]  # without a branch: none could be foretold
            found += int(own[row] == np.float32(0))
            own[row] += rarity * held * above / (held + size)
    return found


@inline
def _cover_marked(
    held: U32, end: int, value: np.float32, marks: U64, before: U32, width: int, out: F32
) -> None:
    """Add what a term is worth to those of the marked rows that hold it."""
    for place in range(end):
        row = np.int64(held[place])
        word, bit = row >> 6, np.uint64(row & 63)
        if word < width and (marks[word] >> bit) & np.uint64(1):
            lower = marks[word] & ((np.uint64(1) << bit) - np.uint64(1))
            out[np.int64(before[word]) + np.int64(popcount(lower))] += value


def cover(
    terms: I64,
    term_count: int,
    like: U32,
    values: F32,
    rows: I64,
    count: int,
    marks: U64,
    before: U32,
    width: int,
    out: F32,
) -> None:
    """Kernels.cover; `terms: int64[term_count, 2]` are the address of each term's rows, and how
    many; `like` only tells their type.

    With a `width`, `marks: uint64[width]`, zeros, has a bit for every row, and `before:
    uint32[width]` is room: then all postings are looked at, which no branch has to foretell.  With
    0 each row is searched for.
    """
    for place in range(count):
        out[place] = np.float32(0)
        if 0 <= rows[place] >> 6 < width:
            marks[rows[place] >> 6] |= np.uint64(1) << np.uint64(rows[place] & 63)
    total = np.uint64(0)
    for word in range(width):
        before[word] = np.uint32(total)
        total += popcount(marks[word])
    for term in range(term_count):
        held, end, value = pointer(terms[2 * term], like), terms[2 * term + 1], values[term]
        if width > 0:
            _cover_marked(held, end, value, marks, before, width, out)
            continue
        low = np.int64(0)
        for place in range(count):
            row = rows[place]
            step = np.int64(1)  # the next one is mostly near: by doubled steps, then by halves
            while low + step < end and np.int64(held[low + step]) < row:
                low += step
                step += step
            high = min(low + step, end)
            while low < high:
                middle = (low + high) >> 1
                if np.int64(held[middle]) < row:
                    low = middle + 1
                else:
                    high = middle
            if low < end and np.int64(held[low]) == row:
                out[place] += value


@inline
def _value(values: I64, most: int, order: U32, place: int) -> np.int64:
    """The value at a place of an order; what a damaged one names beyond the last row is that."""
    return values[min(int(order[place]), most)]


@inline
def _below(
    values: I64, most: int, order: U32, low: int, high: int, wanted: int, also: int
) -> np.int64:
    """The first place from `low` on whose value is at least `wanted`, or above it (`also` 1)."""
    while low < high:
        middle = (low + high) >> 1
        value = _value(values, most, order, middle)
        if value < wanted or (also != 0 and value == wanted):
            low = middle + 1
        else:
            high = middle
    return np.int64(low)


def seek(
    values: I64,
    most: int,
    order: U32,
    size: int,
    wanted: I64,
    count: int,
    reach: int,
    spans: I64,
) -> None:
    """Kernels.seek; `most` is the last place in `values`, `spans: int64[count, 2]`.

    Values that are spread evenly over all numbers of 64 bits stand within `reach` of where they
    should, so few pages are looked at; where one does not, everything is searched.
    """
    for number in range(count):
        value = wanted[number]
        middle = np.int64((np.float64(value) * 2.0**-64 + 0.5) * np.float64(size))
        first, stop = max(int(middle) - reach, 0), min(int(middle) + reach, size)
        astray = first >= stop or _value(values, most, order, first) >= value
        if astray or _value(values, most, order, stop - 1) < value:
            first, stop = 0, size
        low = _below(values, most, order, first, stop, value, 0)
        end = low
        if low < size and _value(values, most, order, low) == value:
            end = low + 1
            if end < size and _value(values, most, order, end) == value:
                end = _below(values, most, order, end, np.int64(size), value, 1)
        spans[2 * number], spans[2 * number + 1] = low, end


@inline
def _chain(first: I32, edge: int, more: I32, row: int, end: int) -> np.int64:
    """The neighbour of a row, or -1; what lies beyond the last row is none."""
    other = np.int64(first[row]) if row < edge else np.int64(more[row - edge])
    return other if other < end else np.int64(-1)


@inline
def _share(
    own: F32, row: int, chains: tuple[I32, I32, int, I32, I32, int], weights: F32
) -> np.float32:
    """What one row has with the shares of its neighbours."""
    before, after, edge, more_before, more_after, end = chains
    total = own[row]
    beside = _chain(before, edge, more_before, row, end)
    if beside >= 0:
        total += weights[0] * own[beside]
        beside = _chain(before, edge, more_before, beside, end)
        if beside >= 0:
            total += weights[1] * own[beside]
    beside = _chain(after, edge, more_after, row, end)
    if beside >= 0:
        total += weights[2] * own[beside]
        beside = _chain(after, edge, more_after, beside, end)
        if beside >= 0:
            total += weights[1] * own[beside]
    return total


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
) -> int:
    """Kernels.shares; `out: float32[count]`; how many rows came before one that does not exist."""
    chains = before, after, edge, more_before, more_after, end
    for place in range(count):
        if rows[place] < 0 or rows[place] >= end:
            return place
        out[place] = _share(own, rows[place], chains, weights)
    return count


# --- the rows that share most ---------------------------------------------------------------------


@inline
def _step(value: np.float32, scale: np.float32) -> np.int64:
    return np.int64(value * scale)


@inline
def _mark(marks: U64, row: int) -> None:
    marks[row >> 6] |= np.uint64(1) << np.uint64(row & 63)


@inline
def _fetch(first: I32, edge: int, more: I32, row: int) -> None:
    """Ask for the neighbour of a row."""
    if row < edge:
        prefetch(first, row)
    else:
        prefetch(more, row - edge)


@inline
def _mark_chain(first: I32, edge: int, more: I32, row: int, end: int, marks: U64) -> None:
    """Mark the two rows that follow one in a chain."""
    beside = _chain(first, edge, more, row, end)
    if beside >= 0:
        _mark(marks, beside)
        beside = _chain(first, edge, more, beside, end)
        if beside >= 0:
            _mark(marks, beside)


@inline
def _mark_near(
    rows: I64, count: int, chains: tuple[I32, I32, int, I32, I32, int], marks: U64
) -> None:
    """Mark some rows and the two on each side of them."""
    before, after, edge, more_before, more_after, end = chains
    for place in range(count):
        if place + _AHEAD < count:
            _fetch(before, edge, more_before, rows[place + _AHEAD])
            _fetch(after, edge, more_after, rows[place + _AHEAD])
        row = rows[place]
        _mark(marks, row)
        _mark_chain(before, edge, more_before, row, end, marks)
        _mark_chain(after, edge, more_after, row, end, marks)


@inline
def _keep_highest(found: I64, shared: F32, size: int, k: int, tallies: I64) -> int:
    """Leave the rows that share most, and those that may be equal to the last of `k`; how many."""
    if size <= k:
        return size
    top = np.float32(0)
    for place in range(size):
        top = max(top, shared[place])
    scale = np.float32(STEPS - 1) / top
    for step in range(STEPS):
        tallies[step] = 0
    for place in range(size):
        tallies[_step(shared[place], scale)] += 1
    least, left = np.int64(STEPS), k
    while least > 0 and left > 0:
        least -= 1
        left -= tallies[least]
    kept = 0
    for place in range(size):
        found[kept], shared[kept] = found[place], shared[place]
        kept += int(_step(shared[kept], scale) >= least)
    return kept


def leaders(
    own: F32,
    rows: U32,
    count: int,
    before: I32,
    after: I32,
    edge: int,
    more_before: I32,
    more_after: I32,
    end: int,
    weights: F32,
    mask: U8,
    masked: int,
    wide: int,
    k: int,
    tallies: I64,
    marks: U64,
    found: I64,
    shared: F32,
) -> int:
    """What Kernels.leaders picks from, in `found` and `shared`, ascending; how many, `k` and a few
    at most, or -1 where a row does not exist.

    `mask` is looked at when `masked` is not 0.  `tallies` is room for int64[STEPS], `marks` for a
    bit a row, zeros; `found` and `shared` for one more than `count`, and than min(5 * count,
    end).
    """
    chains = before, after, edge, more_before, more_after, end
    least, scale = np.int64(0), np.float32(0)
    highest = np.uint32(0)
    for place in range(count):
        highest = max(highest, rows[place])
    if count > 0 and np.int64(highest) >= end:
        return -1
    if count > wide:
        top = np.float32(0)
        for place in range(0, count, SAMPLED):
            top = max(top, own[rows[place]])
        scale = np.float32(STEPS - 1) / top
        for step in range(STEPS):
            tallies[step] = 0
        for place in range(0, count, SAMPLED):
            tallies[_step(own[rows[place]], scale)] += 1
        least, left = np.int64(STEPS), wide // SAMPLED
        while least > 0 and left >= 0:
            least -= 1
            left -= tallies[least]
    kept = size = 0
    for place in range(count):  # without a branch
        found[kept] = np.int64(rows[place])
        kept += int(_step(own[found[kept]], scale) >= least)
    _mark_near(found, kept, chains, marks)
    for word in range((end + 63) >> 6):
        left = marks[word]
        while left != np.uint64(0):
            row = (word << 6) + np.int64(popcount((left & (~left + np.uint64(1))) - np.uint64(1)))
            left &= left - np.uint64(1)
            found[size], shared[size] = row, _share(own, row, chains, weights)
            size += int(shared[size] > 0 and (masked == 0 or mask[row] != 0))
    return _keep_highest(found, shared, size, k, tallies)
