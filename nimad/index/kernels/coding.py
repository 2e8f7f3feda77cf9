"""From rows to sign codes and from a query to bit planes, for the compiled kernels."""
# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call,var-annotated"

from __future__ import annotations

from typing import Any

import numpy as np

from nimad.index.kernels.contract import BITS, LANES, PLANES, ROUNDS, WORDS
from nimad.index.kernels.intrinsics import inline, multiply_add, root
from nimad.index.kernels.rotation import WIDTH, rotate_lone, rotate_wide

_GROUP = WORDS * LANES
_FOLD = (ROUNDS - 1) * BITS - BITS


@inline
def _length(square: Any) -> Any:
    return np.float32(root(np.float64(square)))


@inline
def _load_wide(
    rows: Any, first: Any, count: Any, dims: Any, mean: Any, signs: Any, values: Any
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
            _load_wide(rows, first, count, dims, mean, signs, scratch)
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
    for i in range(min(dims, BITS)):
        values[i] = np.float32(query[i]) - np.float32(mean[i] * length)
    for i in range(BITS, dims):
        more = np.float32(query[i]) - np.float32(mean[i] * length)
        values[i - BITS] += more * signs[_FOLD + i]
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
