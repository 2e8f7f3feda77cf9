"""The kernels' one source: numba functions over plain memory, compiled ahead or in place.

Each kernel takes pointers and lengths, allocates nothing, raises nothing and holds no lock, so it
can become a function of a shared object that knows nothing of Python (packaging/build_kernels.py)
or be compiled by numba where that is wanted.  `nimad.index.kernels.reference` says what they
compute, `contract` explains the layout.  Whoever calls them has checked every length.

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
from numba import cfunc, types

from nimad.index.kernels.choosing import choose_spans, nearest_blocks
from nimad.index.kernels.coding import encode, planes
from nimad.index.kernels.contract import BINS, LANES, MOST_DIMS, PLANES, QUERY_MAX, ROW_MAX, WORDS
from nimad.index.kernels.distance import distances32
from nimad.index.kernels.heap import push, sort_numbers
from nimad.index.kernels.intrinsics import OPTIONS, inline, multiply_add, onward, prefetch, root

ABI = 2

_GROUP = WORDS * LANES
_AHEAD = 3
_LINE = 64
_AWAY = 1 << 32


def distances(codes: Any, n: Any, planes: Any, out: Any, near: Any) -> None:
    """Kernels.distances; `near` is room for uint64[32]."""
    all_groups = (n + LANES - 1) // LANES
    for group in range(all_groups):
        distances32(codes, group * _GROUP, planes, near)
        first = group * LANES
        for lane in range(min(LANES, n - first)):
            out[first + lane] = np.int32(near[lane])


@inline
def _marked(marks: Any, group: Any, end: Any) -> Any:
    """The marks of a group's 32 rows; nothing beyond row `end` is read."""
    word = np.uint64(0)
    for byte in range(group * 4, min(group * 4 + 4, (end + 7) >> 3)):
        word |= np.uint64(marks[byte]) << np.uint64(8 * (byte - group * 4))
    return word


@inline
def _put_away(near: Any, word: Any) -> None:
    """Make the distances of unmarked rows larger than any."""
    for lane in range(LANES):
        near[lane] |= (~(word >> np.uint64(lane)) & np.uint64(1)) << np.uint64(32)


@inline
def _offer(near: Any, first: Any, end: Any, group: Any, heap: Any, size: Any, k: Any) -> Any:
    """Offer the rows first..end of a group to the k nearest; how many there are then.

    Rows come in ascending order, so an equal distance never takes an earlier row's place.
    """
    bar = heap[0] >> 32 if size == k else np.int64(_AWAY)
    least = near[0]
    for lane in range(1, LANES):
        least = min(least, near[lane])
    if np.int64(least) >= bar:
        return size
    for lane in range(first - group * LANES, end - group * LANES):
        distance = np.int64(near[lane])
        if distance >= bar:
            continue
        key = (distance << 32) | (group * LANES + lane)
        size = push(heap, size, k, key)
        if size == k:
            bar = heap[0] >> 32
    return size


@inline
def _fetch_span(codes: Any, span: Any) -> None:
    """Ask for the first two groups of a posting list to come."""
    start = span // LANES * _GROUP
    for line in range(2 * _GROUP * 8 // _LINE):
        prefetch(codes, start + line * (_LINE // 8))


def scan(
    codes: Any,
    spans: Any,
    span_count: Any,
    planes: Any,
    marks: Any,
    filtered: Any,
    k: Any,
    heap: Any,
    near: Any,
) -> int:
    """Kernels.scan; leaves distance << 32 | row of each in `heap: int64[k]` and returns how many.

    `marks` are looked at when `filtered` is not 0; `near` is room for uint64[32]; rows are below
    2^32.
    """
    size = 0
    for at in range(span_count):
        if at + _AHEAD < span_count:
            _fetch_span(codes, spans[2 * (at + _AHEAD)])
        first, end = spans[2 * at], spans[2 * at + 1]
        while first < end:
            group = first // LANES
            stop = min(end, (group + 1) * LANES)
            word = np.uint64(0)
            if filtered != 0:
                word = _marked(marks, group, stop)
            if filtered == 0 or word != 0:
                distances32(codes, group * _GROUP, planes, near)
                if filtered != 0:
                    _put_away(near, word)
                size = _offer(near, first, stop, group, heap, size, k)
            first = stop
    return size


def dots(
    rows: Any, dims: Any, picks: Any, count: Any, query: Any, products: Any, norms: Any
) -> None:
    """Kernels.dots."""
    for at in range(count):
        if at + _AHEAD < count:
            ahead = picks[at + _AHEAD] * dims
            for line in range(0, dims, _LINE):
                prefetch(rows, ahead + line)
        start = picks[at] * dims
        product = square = np.int32(0)
        for i in range(dims):
            x = np.int32(rows[start + i])
            product = multiply_add(product, x, np.int32(query[i]))
            square = multiply_add(square, x, x)
        products[at], norms[at] = product, square


_planes, _scan = inline(planes), inline(scan)


@inline
def _score(vectors: Any, dims: Any, picks: Any, count: Any, query: Any, scores: Any) -> None:
    """The cosine of each picked row with the query."""
    whole = np.int64(0)
    for i in range(dims):
        whole += np.int64(query[i]) * np.int64(query[i])
    length = root(np.float64(max(whole, np.int64(1))))
    for at in range(count):
        if at + _AHEAD < count:
            ahead = picks[at + _AHEAD] * dims
            for line in range(0, dims, _LINE):
                prefetch(vectors, ahead + line)
        start = picks[at] * dims
        product = square = np.int32(0)
        for i in range(dims):
            x = np.int32(vectors[start + i])
            product = multiply_add(product, x, np.int32(query[i]))
            square = multiply_add(square, x, x)
        norm = root(np.float64(max(square, np.int32(1))))
        scores[at] = np.float32(np.float64(product) / (norm * length))


def find(
    query: Any,
    dims: Any,
    mean: Any,
    signs: Any,
    blocks: Any,
    block_count: Any,
    block_start: Any,
    cell_codes: Any,
    cell_start: Any,
    codes: Any,
    scored: Any,
    vectors: Any,
    probes: Any,
    wanted: Any,
    marks: Any,
    weights: Any,
    filtered: Any,
    k: Any,
    heap: Any,
    scores: Any,
    floats: Any,
    words: Any,
    room: Any,
) -> int:
    """Kernels.find: leaves rows in `heap: int64[k]` and cosines in `scores: float32[k]`.

    `floats` is room for float32[512], `words` for uint64[64], `room` for
    int64[probes + BINS + 3 * cells + 2].
    """
    plane, near = words, onward(words, PLANES * WORDS)
    _planes(query, dims, mean, signs, plane, floats)
    if block_count == 0 or wanted >= np.int64(weights[block_start[block_count]]):
        spans = room
        spans[0], spans[1] = 0, scored
        count = 1
    else:
        active, rest = room, onward(room, probes)
        cells = np.int64(block_start[block_count])
        spans = onward(rest, BINS + cells)
        found = nearest_blocks(query, dims, blocks, block_count, probes, active)
        count = choose_spans(
            active,
            found,
            block_start,
            cell_codes,
            cell_start,
            weights,
            plane,
            near,
            wanted,
            rest,
            spans,
        )
    size = _scan(codes, spans, count, plane, marks, filtered, k, heap, near)
    sort_numbers(heap, size)
    _score(vectors, dims, heap, size, query, scores)
    return size


# Dot products are summed in 32 bits.
assert QUERY_MAX * ROW_MAX * MOST_DIMS < 1 << 31


def _pointer(kind: Any) -> Any:
    return types.CPointer(kind)


_i8, _i16, _i32 = _pointer(types.int8), _pointer(types.int16), _pointer(types.int32)
_i64, _u8, _u64 = _pointer(types.int64), _pointer(types.uint8), _pointer(types.uint64)
_u32 = _pointer(types.uint32)
_f32, _size = _pointer(types.float32), types.int64

SIGNATURES: dict[str, tuple[Callable[..., Any], Any]] = {
    "encode": (encode, types.void(_i8, _size, _size, _f32, _f32, _u64, _f32)),
    "planes": (planes, types.void(_i16, _size, _f32, _f32, _u64, _f32)),
    "distances": (distances, types.void(_u64, _size, _u64, _i32, _u64)),
    "scan": (
        scan,
        types.int64(_u64, _i64, _size, _u64, _u8, _size, _size, _i64, _u64),
    ),
    "find": (
        find,
        types.int64(
            *(_i16, _size, _f32, _f32, _i8, _size, _u32, _u64, _u32, _u64, _size, _i8),
            *(_size, _size, _u8, _u32, _size, _size, _i64, _f32, _f32, _u64, _i64),
        ),
    ),
    "dots": (dots, types.void(_i8, _size, _i64, _size, _i16, _i32, _i32)),
}


def compile_kernel(name: str) -> Any:
    """One kernel as a numba cfunc: `.address` to call, `.inspect_llvm()` to compile ahead."""
    function, signature = SIGNATURES[name]
    return cfunc(signature, **OPTIONS)(function)
