"""Sets of rows as ranges [first, end) and as bitmaps (bit row % 8 of byte row // 8)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def marked(bitmap: NDArray[np.uint8], rows: Ints) -> NDArray[np.bool_]:
    """Whether each of `rows: int64[m]` is set in the bitmap: bool[m]."""
    bits: NDArray[np.uint8] = bitmap[rows >> 3] >> (rows & 7).astype(np.uint8)
    return (bits & 1).astype(np.bool_)


def spread(firsts: Ints, ends: Ints) -> Ints:
    """The numbers of the ranges, one range after the other: int64[sum of lengths]."""
    lengths = ends - firsts
    starts = np.cumsum(lengths) - lengths
    numbers: Ints = np.arange(int(lengths.sum())) + np.repeat(firsts - starts, lengths)
    return numbers


def joined(firsts: Ints, ends: Ints) -> Ints:
    """Ascending ranges as int64[r, 2]: neighbours made one, empty ones left out."""
    kept = ends > firsts
    firsts, ends = firsts[kept], ends[kept]
    if not len(firsts):
        return np.zeros((0, 2), np.int64)
    breaks = np.flatnonzero(firsts[1:] != ends[:-1])
    heads = firsts[np.append(0, breaks + 1)]
    return np.stack([heads, ends[np.append(breaks, len(ends) - 1)]], axis=1)
