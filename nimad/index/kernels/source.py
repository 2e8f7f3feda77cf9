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
# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cfunc, types

from nimad.index.kernels.contract import BITS, LANES, PLANES, QUERY_MAX, ROW_MAX, WORDS
from nimad.index.kernels.intrinsics import OPTIONS, inline, multiply_add, popcount, prefetch, root
from nimad.index.kernels.rotation import WIDTH, rotate_lone, rotate_wide

ABI = 1

_GROUP = WORDS * LANES
_AHEAD = 3
_LINE = 64


@inline
def _length(square: Any) -> Any:
    return np.float32(root(np.float64(square)))


@inline
def _load_wide(rows: Any, first: Any, count: Any, dims: Any, mean: Any, values: Any) -> None:
    """Sixteen centred rows, column by column; lanes from `count` on are zero."""
    for at in range(BITS * WIDTH):
        values[at] = np.float32(0)
    for lane in range(count):
        start = (first + lane) * dims
        square = np.int32(0)
        for i in range(dims):
            x = np.int32(rows[start + i])
            square = multiply_add(square, x, x)
        length = _length(square)
        for i in range(dims):
            values[i * WIDTH + lane] = np.float32(rows[start + i]) - np.float32(mean[i] * length)


@inline
def _pack_wide(values: Any, count: Any, codes: Any, start: Any) -> None:
    """Sign bits of sixteen rows into one half of a group that begins at codes[start]."""
    for word in range(WORDS):
        for lane in range(WIDTH):
            codes[start + word * LANES + lane] = np.uint64(0)
        for bit in range(64):
            at = (word * 64 + bit) * WIDTH
            for lane in range(WIDTH):
                above = np.uint64(values[at + lane] > np.float32(0))
                codes[start + word * LANES + lane] |= above << np.uint64(bit)
        for lane in range(count, WIDTH):
            codes[start + word * LANES + lane] = np.uint64(0)


def encode(rows: Any, n: Any, dims: Any, mean: Any, signs: Any, codes: Any, scratch: Any) -> None:
    """Kernels.encode; `codes` has room for whole groups, `scratch` is float32[512 * 16]."""
    halves = (n + LANES - 1) // LANES * (LANES // WIDTH)
    for half in range(halves):
        first = half * WIDTH
        count = max(0, min(WIDTH, n - first))
        if count > 0:
            _load_wide(rows, first, count, dims, mean, scratch)
            rotate_wide(scratch, signs)
        _pack_wide(scratch, count, codes, half // 2 * _GROUP + half % 2 * WIDTH)


def planes(query: Any, dims: Any, mean: Any, signs: Any, out: Any, values: Any) -> None:
    """Kernels.planes; `values` is room for float32[512]."""
    square = np.int64(0)
    for i in range(dims):
        square += np.int64(query[i]) * np.int64(query[i])
    length = _length(square)
    for i in range(BITS):
        values[i] = np.float32(0)
    for i in range(dims):
        values[i] = np.float32(query[i]) - np.float32(mean[i] * length)
    rotate_lone(values, signs)
    peak = np.float32(0)
    for i in range(BITS):
        peak = max(peak, abs(values[i]))
    step = np.float32(peak / np.float32(15))
    for i in range(PLANES * WORDS):
        out[i] = np.uint64(0)
    if step == np.float32(0):
        return
    for i in range(BITS):
        raised = np.float32(values[i] / step) + np.float32(15)
        level = np.uint64(min(max(np.rint(raised / np.float32(2)), np.float32(0)), np.float32(15)))
        for plane in range(PLANES):
            bit = (level >> np.uint64(plane)) & np.uint64(1)
            out[plane * WORDS + i // 64] |= bit << np.uint64(i % 64)


@inline
def _distances32(codes: Any, start: Any, planes: Any, near: Any) -> None:
    """The distances of the 32 rows whose group begins at codes[start]."""
    for lane in range(LANES):
        near[lane] = np.uint64(0)
    for word in range(WORDS):
        one, two = planes[word], planes[WORDS + word]
        four, eight = planes[2 * WORDS + word], planes[3 * WORDS + word]
        for lane in range(LANES):
            code = codes[start + word * LANES + lane]
            near[lane] += (
                popcount(code ^ one)
                + (popcount(code ^ two) << np.uint64(1))
                + (popcount(code ^ four) << np.uint64(2))
                + (popcount(code ^ eight) << np.uint64(3))
            )


def distances(codes: Any, n: Any, planes: Any, out: Any, near: Any) -> None:
    """Kernels.distances; `near` is room for uint64[32]."""
    all_groups = (n + LANES - 1) // LANES
    for group in range(all_groups):
        _distances32(codes, group * _GROUP, planes, near)
        first = group * LANES
        for lane in range(min(LANES, n - first)):
            out[first + lane] = np.int32(near[lane])


@inline
def _sift_down(heap: Any, size: Any) -> None:
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
def _sift_up(heap: Any, at: Any, key: Any) -> None:
    """Add a key at the end, `at`, of a largest-first heap."""
    while at > 0:
        parent = (at - 1) // 2
        if heap[parent] >= key:
            break
        heap[at] = heap[parent]
        at = parent
    heap[at] = key


@inline
def _marked(marks: Any, row: Any) -> Any:
    return (marks[row >> 3] >> np.uint8(row & 7)) & np.uint8(1) != 0


@inline
def _offer(
    near: Any,
    first: Any,
    end: Any,
    group: Any,
    marks: Any,
    filtered: Any,
    heap: Any,
    size: Any,
    k: Any,
) -> Any:
    """Offer the rows first..end of a group to the k nearest; how many there are then.

    Rows come in ascending order, so an equal distance never takes an earlier row's place.
    """
    for lane in range(first - group * LANES, end - group * LANES):
        distance = np.int64(near[lane])
        if size == k and distance >= heap[0] >> 32:
            continue
        row = group * LANES + lane
        if filtered != 0 and not _marked(marks, row):
            continue
        key = (distance << 32) | row
        if size < k:
            _sift_up(heap, size, key)
            size += 1
        else:
            heap[0] = key
            _sift_down(heap, k)
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
            _distances32(codes, group * _GROUP, planes, near)
            size = _offer(near, first, stop, group, marks, filtered, heap, size, k)
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


# Dot products are summed in 32 bits.
assert QUERY_MAX * ROW_MAX * BITS < 1 << 31


def _pointer(kind: Any) -> Any:
    return types.CPointer(kind)


_i8, _i16, _i32 = _pointer(types.int8), _pointer(types.int16), _pointer(types.int32)
_i64, _u8, _u64 = _pointer(types.int64), _pointer(types.uint8), _pointer(types.uint64)
_f32, _size = _pointer(types.float32), types.int64

SIGNATURES: dict[str, tuple[Callable[..., Any], Any]] = {
    "encode": (encode, types.void(_i8, _size, _size, _f32, _f32, _u64, _f32)),
    "planes": (planes, types.void(_i16, _size, _f32, _f32, _u64, _f32)),
    "distances": (distances, types.void(_u64, _size, _u64, _i32, _u64)),
    "scan": (
        scan,
        types.int64(_u64, _i64, _size, _u64, _u8, _size, _size, _i64, _u64),
    ),
    "dots": (dots, types.void(_i8, _size, _i64, _size, _i16, _i32, _i32)),
}


def compile_kernel(name: str) -> Any:
    """One kernel as a numba cfunc: `.address` to call, `.inspect_llvm()` to compile ahead."""
    function, signature = SIGNATURES[name]
    return cfunc(signature, **OPTIONS)(function)
