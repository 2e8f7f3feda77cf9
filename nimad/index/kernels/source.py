"""The kernels' one source: numba functions over plain memory, compiled ahead or in place.

Each kernel takes pointers and lengths, allocates nothing, raises nothing and holds no lock, so it
can become a function of a shared object that knows nothing of Python (packaging/build_kernels.py)
or be compiled by numba where that is wanted.  `nimad.index.kernels.reference` says what they
compute, `contract` explains the layout.  The caller has checked every length.

Why it looks like this: a vectoriser needs innermost loops of a constant length over neighbouring
memory; hence 32 rows a group and 16 a rotation.  And bare pointers, not arrays: an array's index
may be negative, and that question alone makes it gather where it could load, 3 times slower.

Imported only by the builder and on request: importing numba takes 0.3 s and 66 MB.
"""
# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call,var-annotated"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cfunc

from nimad.index.kernels.contract import (
    BINS,
    FARTHEST,
    LANES,
    MOST_DIMS,
    PLANES,
    QUERY_MAX,
    ROW_MAX,
    WORDS,
)
from nimad.index.kernels.cutting import cut
from nimad.index.kernels.intrinsics import (
    BLOCK,
    F32,
    I8,
    I16,
    I32,
    I64,
    OPTIONS,
    U8,
    U32,
    U64,
    c_signature,
    inline,
    multiply_add,
    multiply_blocks,
    onward,
    popcount,
    prefetch,
    root,
)
from nimad.index.kernels.postings import cover, leaders, postings, seek, shares, weigh
from nimad.index.kernels.scanning import GROUP, LINE, distances, distances32, scan, scan_near
from nimad.index.kernels.sign_codes import encode, planes
from nimad.index.kernels.spelling import grams, parts
from nimad.index.kernels.texts import text_sums

ABI = 12

_ROWS_AHEAD = 8
"""Distance at which rows are: 2,000 of 100,000 that no cache has take .07 ms in place of .10 with 3
[rows]."""

# Dot products are summed in 32 bits.
assert QUERY_MAX * ROW_MAX * MOST_DIMS < 1 << 31

# --- a heap of the k smallest int64 keys, largest first -------------------------------------------
#
# A key is a distance in its upper and a number in its lower 32 bits, so that equal distances are
# ordered by number and every form of the kernels keeps the same ones.


@inline
def _sift_down(heap: I64, size: int) -> None:
    """Put the first of a largest-first heap where it belongs."""
    key, at = heap[0], 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= key:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = key


@inline
def _sift_up(heap: I64, at: int, key: int) -> None:
    """Add a key at the end, `at`, of a largest-first heap."""
    while at > 0:
        parent = (at - 1) // 2
        if heap[parent] >= key:
            break
        heap[at] = heap[parent]
        at = parent
    heap[at] = key


@inline
def _push(heap: I64, size: int, k: int, key: int) -> int:
    """Keep the k smallest of what was pushed; how many there are now."""
    if size < k:
        _sift_up(heap, size, key)
        return size + 1
    if key < heap[0]:
        heap[0] = key
        _sift_down(heap, k)
    return size


@inline
def _sort_numbers(heap: I64, size: int) -> None:
    """Turn a heap of keys into their numbers, ascending."""
    for at in range(size):
        key = heap[at] & 0xFFFFFFFF
        _sift_up(heap, at, key)
    for last in range(size - 1, 0, -1):
        key = heap[last]
        heap[last] = heap[0]
        heap[0] = key
        _sift_down(heap, last)


# --- rescoring rows -------------------------------------------------------------------------------


@inline
def _dot(rows: I8, start: int, dims: int, query: I16) -> tuple[np.int32, np.int32]:
    """<x, q> and <x, x> of the row that begins at rows[start]."""
    whole = dims - dims % BLOCK
    product, square = multiply_blocks(onward(rows, start), whole, query)
    for i in range(whole, dims):
        x = np.int32(rows[start + i])
        product = multiply_add(product, x, np.int32(query[i]))
        square = multiply_add(square, x, x)
    return product, square


@inline
def _fetch_row(rows: I8, dims: int, picks: I64, count: int, at: int) -> None:
    """Ask for the row that comes some picks later."""
    if at + _ROWS_AHEAD < count:
        ahead = picks[at + _ROWS_AHEAD] * dims
        for line in range(0, dims, LINE):
            prefetch(rows, ahead + line)


def dots(
    rows: I8, dims: int, picks: I64, count: int, query: I16, products: I32, norms: I32
) -> None:
    """Kernels.dots."""
    for at in range(count):
        _fetch_row(rows, dims, picks, count, at)
        product, square = _dot(rows, picks[at] * dims, dims, query)
        products[at], norms[at] = product, square


_planes = inline(planes)


@inline
def _length(query: I16, dims: int) -> np.float64:
    """|q|, 1 at least."""
    whole = np.int64(0)
    for i in range(dims):
        whole += np.int64(query[i]) * np.int64(query[i])
    return root(np.float64(max(whole, np.int64(1))))


@inline
def _score(vectors: I8, dims: int, picks: I64, count: int, query: I16, scores: F32) -> None:
    """The cosine of each picked row with the query."""
    length = _length(query, dims)
    for at in range(count):
        _fetch_row(vectors, dims, picks, count, at)
        product, square = _dot(vectors, picks[at] * dims, dims, query)
        norm = root(np.float64(max(square, np.int32(1))))
        scores[at] = np.float32(np.float64(product) / (norm * length))


def ranked(
    words: U64,
    before: U32,
    order: U32,
    ordered: int,
    width: int,
    numbers: I64,
    count: int,
    out: I64,
) -> None:
    """Kernels.ranked; `order` is looked at when `ordered` is not 0."""
    for at in range(count):
        number = numbers[at]
        out[at] = np.int64(-1)
        if 0 <= number < width:
            word, bit = words[number >> 6], np.uint64(number & 63)
            if (word >> bit) & np.uint64(1) != np.uint64(0):
                lower = word & ((np.uint64(1) << bit) - np.uint64(1))
                place = np.int64(before[number >> 6]) + np.int64(popcount(lower))
                out[at] = np.int64(order[place]) if ordered != 0 else place


def cosines(
    vectors: I8, scored: int, dims: int, rows: I64, count: int, query: I16, out: F32
) -> None:
    """Kernels.cosines."""
    length = _length(query, dims)
    for at in range(count):
        if at + _ROWS_AHEAD < count and 0 <= rows[at + _ROWS_AHEAD] < scored:
            ahead = rows[at + _ROWS_AHEAD] * dims
            for line in range(0, dims, LINE):
                prefetch(vectors, ahead + line)
        row = rows[at]
        if row < 0:
            out[at] = np.float32(np.nan)
        elif row >= scored:
            out[at] = np.float32(0)
        else:
            product, square = _dot(vectors, row * dims, dims, query)
            norm = root(np.float64(max(square, np.int32(1))))
            out[at] = np.float32(np.float64(product) / (norm * length))


# --- choosing posting lists -----------------------------------------------------------------------


@inline
def _nearest_blocks(query: I16, dims: int, blocks: I8, count: int, probes: int, heap: I64) -> int:
    """The numbers of the blocks nearest to the query, ascending, in `heap`; how many."""
    size = 0
    for block in range(count):
        product, square = _dot(blocks, block * dims, dims, query)
        length = root(np.float64(max(square, np.int32(1))))
        away = np.int64(FARTHEST) - np.int64(np.float64(product) / length)
        size = _push(heap, size, probes, (away << 32) | block)
    _sort_numbers(heap, size)
    return size


@inline
def _bar_of(tallies: I64, bounds: I64) -> tuple[Any, Any]:
    """The last step of distance that is scanned, and how much of what counts at it."""
    wanted, least, reach = bounds[0], bounds[1], bounds[2]
    bar, left, last = np.int64(0), wanted, np.int64(BINS)
    while bar < BINS and tallies[bar] < left:
        left -= tallies[bar]
        if left < wanted and last == BINS:
            last = bar + reach
        if bar >= last and wanted - left >= least:
            left = wanted  # all at the bar, and nothing beyond
            break
        bar += 1
    return bar, left


@inline
def _choose_spans(
    active: I64,
    active_count: int,
    block_start: U32,
    cell_codes: U64,
    cell_start: U32,
    weights: U32,
    planes: U64,
    near: U64,
    bounds: I64,
    room: I64,
    spans: I64,
) -> int:
    """Steps 2 and 3 of Kernels.find; `room` is for int64[BINS + cells].

    Cells are sorted by counting: the weight of each distance first, then what is below the bar.
    """
    tallies, bins = room, onward(room, BINS)
    for number in range(BINS):
        tallies[number] = 0
    at = 0
    for number in range(active_count):
        cell = np.int64(block_start[active[number]])
        end = np.int64(block_start[active[number] + 1])
        while cell < end:
            group = cell // LANES
            distances32(cell_codes, group * GROUP, planes, near)
            stop = min(end, (group + 1) * LANES)
            for mine in range(cell, stop):
                found = np.int64(near[mine - group * LANES]) >> 2
                bins[at] = found
                tallies[found] += np.int64(weights[mine + 1]) - np.int64(weights[mine])
                at += 1
            cell = stop
    bar, left = _bar_of(tallies, bounds)
    count = at = 0
    for number in range(active_count):
        for cell in range(block_start[active[number]], block_start[active[number] + 1]):
            mine = bins[at]
            at += 1
            if mine > bar or (mine == bar and left <= 0):
                continue
            first, end = np.int64(cell_start[cell]), np.int64(cell_start[cell + 1])
            if mine == bar:
                left -= np.int64(weights[cell + 1]) - np.int64(weights[cell])
            if weights[cell] == weights[cell + 1]:
                continue
            if count > 0 and spans[2 * count - 1] == first:
                spans[2 * count - 1] = end
            else:
                spans[2 * count], spans[2 * count + 1] = first, end
                count += 1
    return count


def find(
    query: I16,
    dims: int,
    mean: F32,
    signs: F32,
    blocks: I8,
    block_count: int,
    block_start: U32,
    cell_codes: U64,
    cell_start: U32,
    codes: U64,
    scored: int,
    vectors: I8,
    probes: int,
    bounds: I64,
    marks: U8,
    weights: U32,
    filtered: int,
    k: int,
    kept: I64,
    scores: F32,
    tallies: I32,
    floats: F32,
    words: U64,
    room: I64,
) -> int:
    """Kernels.find: leaves rows in `kept: int64[2 * k]` and cosines in `scores: float32[k]`.

    `bounds` is what is wanted, and `Bounds` field by field.  `tallies` is room for int32[3585],
    `floats` for float32[512], `words` for uint64[56], `room` for int64[probes + BINS + 3 * cells +
    2].
    """
    plane, near = words, onward(words, PLANES * WORDS)
    _planes(query, dims, mean, signs, plane, floats)
    if block_count == 0 or bounds[0] >= np.int64(weights[block_start[block_count]]):
        spans = room
        spans[0], spans[1] = 0, scored
        count = 1
    else:
        active, rest = room, onward(room, probes)
        cells = np.int64(block_start[block_count])
        spans = onward(rest, BINS + cells)
        found = _nearest_blocks(query, dims, blocks, block_count, probes, active)
        book = (active, found, block_start, cell_codes, cell_start)
        count = _choose_spans(*book, weights, plane, near, bounds, rest, spans)
    few, margin = bounds[3], bounds[4]
    size = scan_near(
        *(codes, spans, count, plane, marks, filtered, k, few, margin, kept, tallies, near)
    )
    _score(vectors, dims, kept, size, query, scores)
    return size


KERNELS: dict[str, Callable[..., Any]] = {
    kernel.__name__: kernel
    for kernel in (
        *(encode, planes, distances, scan, find, dots, ranked, cosines),
        *(postings, weigh, shares, leaders, cover, seek, text_sums, cut, grams, parts),
    )
}


def compile_kernel(name: str) -> Any:
    """One kernel as a numba cfunc: `.address` to call, `.inspect_llvm()` to compile ahead."""
    return cfunc(c_signature(KERNELS[name]), **OPTIONS)(KERNELS[name])
