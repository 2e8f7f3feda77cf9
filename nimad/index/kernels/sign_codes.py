"""From rows to sign codes and from a query to bit planes, for the compiled kernels.

Eight butterflies at a time over 16 rows side by side: the span of a pass is a constant of its
function, so a vectoriser knows that what is loaded and what is stored do not overlap.
"""
# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call,var-annotated"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nimad.index.kernels.contract import BITS, LANES, PLANES, ROUNDS, TOP_LEVEL, WORDS
from nimad.index.kernels.intrinsics import F32, I8, I16, U64, inline, multiply_add, root

WIDTH = 16
"""Rows that are rotated side by side."""
_GROUP = WORDS * LANES
_FOLD = (ROUNDS - 1) * BITS - BITS


@inline
def _eight(v: F32, i: int, s: int) -> Any:
    """Eight values from v[i] on, `s` apart."""
    j = i + 4 * s
    return v[i], v[i + s], v[i + 2 * s], v[i + 3 * s], v[j], v[j + s], v[j + 2 * s], v[j + 3 * s]


@inline
def _combine(v: F32, i: int, s: int, eight: Any) -> None:
    """Three stages of butterflies on eight values, put where `_eight` takes them from."""
    a, b, c, d, e, f, g, h = eight
    a, b, c, d = a + b, a - b, c + d, c - d
    e, f, g, h = e + f, e - f, g + h, g - h
    a, c, b, d = a + c, a - c, b + d, b - d
    e, g, f, h = e + g, e - g, f + h, f - h
    j = i + 4 * s
    v[i], v[i + s], v[i + 2 * s], v[i + 3 * s] = a + e, b + f, c + g, d + h
    v[j], v[j + s], v[j + 2 * s], v[j + 3 * s] = a - e, b - f, c - g, d - h


def _rotation(width: int) -> Callable[..., None]:
    """R of `width` rows side by side: values[512, width], flat."""

    def butterflies(span: int) -> Callable[..., None]:
        """The stages h, 2h and 4h with h = `span`."""
        step = span * width

        @inline
        def run(values: F32) -> None:
            for base in range(0, BITS * width, 8 * step):
                for j in range(base, base + step):
                    _combine(values, j, step, _eight(values, j, step))

        return run  # type: ignore[no-any-return]

    @inline
    def first(values: F32, signs: F32, start: int) -> None:
        """The signs of one round and the stages 1, 2 and 4, in one pass."""
        for row in range(0, BITS, 8):
            s = _eight(signs, start + row, 1)
            for j in range(row * width, row * width + width):
                a, b, c, d, e, f, g, h = _eight(values, j, width)
                a, b, c, d = a * s[0], b * s[1], c * s[2], d * s[3]
                e, f, g, h = e * s[4], f * s[5], g * s[6], h * s[7]
                _combine(values, j, width, (a, b, c, d, e, f, g, h))

    middle, last = butterflies(8), butterflies(64)

    @inline
    def run(values: F32, signs: F32) -> None:
        for turn in range(ROUNDS):
            first(values, signs, turn * BITS)
            middle(values)
            last(values)

    return run  # type: ignore[no-any-return]


_rotate_wide = _rotation(WIDTH)
_rotate_lone = _rotation(1)


@inline
def _length(square: Any) -> Any:
    return np.float32(root(np.float64(square)))


@inline
def _load_wide(
    rows: I8, first: int, count: int, dims: int, mean: F32, signs: F32, values: F32
) -> None:
    """Sixteen centred rows, folded, column by column; lanes from `count` on are zero."""
    for at in range(BITS * WIDTH):
        values[at] = np.float32(0)
    for lane in range(count):
        start = (first + lane) * dims
        square = np.int32(0)
        for i in range(dims):
            x = np.int32(rows[start + i])
            square = multiply_add(square, x, x)
        length = _length(square)
        for i in range(min(dims, BITS)):
            values[i * WIDTH + lane] = np.float32(rows[start + i]) - np.float32(mean[i] * length)
        for i in range(BITS, dims):
            more = np.float32(rows[start + i]) - np.float32(mean[i] * length)
            values[(i - BITS) * WIDTH + lane] += more * signs[_FOLD + i]


@inline
def _pack_wide(values: F32, count: int, codes: U64, start: int) -> None:
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


def encode(rows: I8, n: int, dims: int, mean: F32, signs: F32, codes: U64, scratch: F32) -> None:
    """Kernels.encode; `codes` has room for whole groups, `scratch` is float32[512 * 16]."""
    halves = (n + LANES - 1) // LANES * (LANES // WIDTH)
    for half in range(halves):
        first = half * WIDTH
        count = max(0, min(WIDTH, n - first))
        if count > 0:
            _load_wide(rows, first, count, dims, mean, signs, scratch)
            _rotate_wide(scratch, signs)
        _pack_wide(scratch, count, codes, half // 2 * _GROUP + half % 2 * WIDTH)


def planes(query: I16, dims: int, mean: F32, signs: F32, out: U64, values: F32) -> None:
    """Kernels.planes; `values` is room for float32[512]."""
    square = np.int64(0)
    for i in range(dims):
        square += np.int64(query[i]) * np.int64(query[i])
    length = _length(square)
    for i in range(BITS):
        values[i] = np.float32(0)
    for i in range(min(dims, BITS)):
        values[i] = np.float32(query[i]) - np.float32(mean[i] * length)
    for i in range(BITS, dims):
        more = np.float32(query[i]) - np.float32(mean[i] * length)
        values[i - BITS] += more * signs[_FOLD + i]
    _rotate_lone(values, signs)
    peak, top = np.float32(0), np.float32(TOP_LEVEL)
    for i in range(BITS):
        peak = max(peak, abs(values[i]))
    step = np.float32(peak / top)
    for i in range(PLANES * WORDS):
        out[i] = np.uint64(0)
    if step == np.float32(0):
        return
    for i in range(BITS):
        raised = np.float32(values[i] / step) + top
        level = np.uint64(min(max(np.rint(raised / np.float32(2)), np.float32(0)), top))
        for plane in range(PLANES):
            bit = (level >> np.uint64(plane)) & np.uint64(1)
            out[plane * WORDS + i // 64] |= bit << np.uint64(i % 64)
