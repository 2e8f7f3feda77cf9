"""Codes scanned, and the nearest of them kept: see `nimad.index.kernels.source`."""
# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call,var-annotated"

from __future__ import annotations

from typing import Any

import numpy as np

from nimad.index.kernels.contract import FARTHEST_CODE, LANES, WORDS
from nimad.index.kernels.intrinsics import I32, I64, U8, U64, inline, popcount, prefetch

GROUP = WORDS * LANES
"""Size of a group of codes [words]."""
_AHEAD = 3
"""Distance at which codes in posting lists are asked for before their turn [groups]."""
LINE = 64
"""Size of a cache line [bytes]."""


@inline
def _plane(planes: U64, start: int) -> Any:
    """The eight words of a plane."""
    p, s = planes, start
    return p[s], p[s + 1], p[s + 2], p[s + 3], p[s + 4], p[s + 5], p[s + 6], p[s + 7]


@inline
def _unlike(c: U64, at: int, plane: Any) -> Any:
    """In how many bits the code at c[at] differs from a plane."""
    a, b, d, e, f, g, h, i = plane
    near = popcount(c[at] ^ a) + popcount(c[at + LANES] ^ b)
    near += popcount(c[at + 2 * LANES] ^ d) + popcount(c[at + 3 * LANES] ^ e)
    near += popcount(c[at + 4 * LANES] ^ f) + popcount(c[at + 5 * LANES] ^ g)
    return near + popcount(c[at + 6 * LANES] ^ h) + popcount(c[at + 7 * LANES] ^ i)


@inline
def distances32(codes: U64, start: int, planes: U64, near: U64) -> None:
    """The distances of the 32 rows whose group begins at codes[start]."""
    one, two, four = _plane(planes, 0), _plane(planes, WORDS), _plane(planes, 2 * WORDS)
    for at in range(start, start + LANES):
        near[at - start] = (
            _unlike(codes, at, one)
            + (_unlike(codes, at, two) << np.uint64(1))
            + (_unlike(codes, at, four) << np.uint64(2))
        )


def distances(codes: U64, n: int, planes: U64, out: I32, near: U64) -> None:
    """Kernels.distances; `near` is room for uint64[32]."""
    all_groups = (n + LANES - 1) // LANES
    for group in range(all_groups):
        distances32(codes, group * GROUP, planes, near)
        first = group * LANES
        for lane in range(min(LANES, n - first)):
            out[first + lane] = np.int32(near[lane])


@inline
def _marked(marks: U8, group: int, end: int) -> np.uint64:
    """The marks of a group's 32 rows; nothing beyond row `end` is read."""
    word = np.uint64(0)
    for byte in range(group * 4, min(group * 4 + 4, (end + 7) >> 3)):
        word |= np.uint64(marks[byte]) << np.uint64(8 * (byte - group * 4))
    return word


# The k nearest are kept as they come: `kept` holds distance << 32 | row of what was nearer than the
# bar when it came, in the order of rows; `tallies` how many were at each distance; the bar is the
# distance of the k-th nearest so far (above all while there are fewer), and `less` how many lie
# below it.  A heap of 244 took 50 of the 185 us of a search among a million rows.


@inline
def _offer(
    near: U64,
    first: int,
    end: int,
    group: int,
    kept: I64,
    tallies: I32,
    size: np.int64,
    less: np.int64,
    bar: np.int64,
    k: int,
) -> tuple[Any, Any, Any]:
    """Offer the rows first..end of a group to the k nearest: `size`, `less` and the bar then.

    Rows come in ascending order, so an equal distance never takes an earlier row's place.
    """
    least = near[0]
    for lane in range(1, LANES):
        least = min(least, near[lane])
    if np.int64(least) >= bar:
        return size, less, bar
    for lane in range(first - group * LANES, end - group * LANES):
        distance = np.int64(near[lane])
        if distance >= bar:
            continue
        if size == 2 * k:
            size = _keep_nearest(kept, size, less, bar, k)
        kept[size] = (distance << 32) | (group * LANES + lane)
        size += 1
        tallies[distance] += np.int32(1)
        less += 1
        while less >= k:
            bar -= 1
            less -= np.int64(tallies[bar])
    return size, less, bar


@inline
def _keep_nearest(kept: I64, size: np.int64, less: np.int64, bar: np.int64, k: int) -> np.int64:
    """Leave only the k nearest, in the order in which they came; how many there are then."""
    ties, left = k - less, np.int64(0)
    for at in range(size):
        key = kept[at]
        distance = key >> 32
        if distance < bar or (distance == bar and ties > 0):
            if distance == bar:
                ties -= 1
            kept[left] = key
            left += 1
    return left


@inline
def _fetch_group(codes: U64, spans: I64, span_count: int, span: int, row: int) -> tuple[Any, Any]:
    """Ask for the group of a row of a posting list; the list and the row that come after it."""
    if span < span_count:
        group = row // LANES
        for line in range(GROUP * 8 // LINE):
            prefetch(codes, group * GROUP + line * (LINE // 8))
        row = (group + 1) * LANES
        if row >= spans[2 * span + 1]:
            span += 1
            row = spans[2 * span] if span < span_count else row
    return span, row


@inline
def _last_wanted(tallies: I32, less: np.int64, bar: np.int64, few: int) -> np.int64:
    """The distance of the `few`-th nearest; the bar, where it is not below it."""
    while less >= few:
        bar -= 1
        less -= np.int64(tallies[bar])
    return bar


@inline
def scan_near(
    codes: U64,
    spans: I64,
    span_count: int,
    planes: U64,
    marks: U8,
    filtered: int,
    k: int,
    few: int,
    margin: int,
    kept: I64,
    tallies: I32,
    near: U64,
) -> int:
    """`scan`, but without those of the k that lie further than `margin` behind the `few`-th."""
    for distance in range(FARTHEST_CODE + 1):
        tallies[distance] = np.int32(0)
    size = less = np.int64(0)
    bar = np.int64(FARTHEST_CODE + 1)
    ahead = row = np.int64(0)
    if span_count > 0:
        row = spans[0]
    for _ in range(_AHEAD if span_count > 1 else 0):  # one list is read in order
        ahead, row = _fetch_group(codes, spans, span_count, ahead, row)
    for at in range(span_count):
        first, end = spans[2 * at], spans[2 * at + 1]
        while first < end:
            group = first // LANES
            stop = min(end, (group + 1) * LANES)
            if span_count > 1:
                ahead, row = _fetch_group(codes, spans, span_count, ahead, row)
            word = np.uint64(0)
            if filtered != 0:
                word = _marked(marks, group, stop)
            if filtered == 0 or word != 0:
                distances32(codes, group * GROUP, planes, near)
                if filtered != 0:  # unmarked rows get distances larger than any
                    for lane in range(LANES):
                        near[lane] |= (~(word >> np.uint64(lane)) & np.uint64(1)) << np.uint64(32)
                size, less, bar = _offer(
                    near, first, stop, group, kept, tallies, size, less, bar, k
                )
            first = stop
    last = _last_wanted(tallies, less, bar, few) + margin
    if last < bar:  # what equals the bar goes, too
        less, bar = np.int64(k), last + 1
    found: int = _keep_nearest(kept, size, less, bar, k)
    for at in range(found):
        kept[at] &= 0xFFFFFFFF
    return found


def scan(
    codes: U64,
    spans: I64,
    span_count: int,
    planes: U64,
    marks: U8,
    filtered: int,
    k: int,
    kept: I64,
    tallies: I32,
    near: U64,
) -> int:
    """Kernels.scan; leaves the rows in `kept: int64[2 * k]` and returns how many.

    `marks` are looked at when `filtered` is not 0; `tallies` is room for int32[3585], `near` for
    uint64[32]; rows are below 2^32.
    """
    every = FARTHEST_CODE + 1
    found: int = scan_near(
        codes, spans, span_count, planes, marks, filtered, k, 1, every, kept, tallies, near
    )
    return found
