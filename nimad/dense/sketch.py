"""A 1,024-bit sketch of a spectrum: enough to pick the candidates that are worth decoding.

y[j] is the sum of s[i] x[i] over the coordinates i = j modulo 1,024, with fixed signs s; the sketch
is the sign of each y[j].  The query keeps its y as numbers: for two rests of lengths |a|, |b|

    <a, b>  ~  |b| sqrt(pi / 2 / 1024) * sum over j of sign(y_b[j]) y_a[j]

Source: M. Charikar, Similarity Estimation Techniques from Rounding Algorithms (2002); feature
hashing as in K. Weinberger et al., Feature Hashing for Large Scale Multitask Learning (2009).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nimad.dense.spectrum import Rows

BITS = 1024
BYTES = BITS // 8
_ROWS = 4096
"""Rows that are estimated at a time."""


def bins(spectra: Rows) -> Rows:
    """float32[n, 1024]: the y of each row of `spectra: float32[n, size]`."""
    signed = spectra * _signs(spectra.shape[1])
    whole = np.zeros((len(spectra), -(-spectra.shape[1] // BITS) * BITS), np.float32)
    whole[:, : spectra.shape[1]] = signed
    return np.asarray(whole.reshape(len(spectra), -1, BITS).sum(axis=1), np.float32)


def sketch(spectra: Rows) -> NDArray[np.uint8]:
    """uint8[n, 128]: the signs, eight to a byte, the first one highest."""
    return np.packbits(bins(spectra) > 0, axis=1)


def estimate(
    codes: NDArray[np.uint8], lengths: NDArray[np.float32], query: Rows
) -> NDArray[np.float32]:
    """float32[n]: dot products with a query, from sketches and lengths of n rows.

    Args:
        query: float32[1024], the query's `bins`.
    """
    out = np.empty(len(codes), np.float32)
    for first in range(0, len(codes), _ROWS):
        bits = np.unpackbits(codes[first : first + _ROWS], axis=1).astype(np.float32)
        out[first : first + _ROWS] = bits @ (2 * query)
    out -= query.sum()
    return out * lengths * np.float32(np.sqrt(np.pi / 2 / BITS))


@lru_cache(maxsize=4)
def _signs(size: int) -> NDArray[np.float32]:
    """+1 or -1 for each coordinate: the highest bit of SplitMix64 of its number."""
    with np.errstate(over="ignore"):
        z = (np.arange(size, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return np.where(z >> np.uint64(63), np.float32(1), np.float32(-1))
