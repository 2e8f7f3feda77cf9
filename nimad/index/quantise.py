"""From vectors to whole numbers, and from whole numbers back to cosines.

After these functions everything in the index is integer arithmetic, so scores are the same bits on
every machine.  A row keeps 8 bits a coordinate and no scale: a cosine does not need one.  A query
keeps 15 bits, which costs nothing (the products fit 32 bits) and leaves the rows' rounding as the
only loss.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.index.kernels.contract import MOST_DIMS, QUERY_MAX, ROW_MAX

Ids = NDArray[np.int64]
Scores = NDArray[np.float32]
Vectors = NDArray[np.floating] | NDArray[np.int8]

_BATCH = 1024
_TINY = np.finfo(np.float32).tiny


def quantise_rows(vectors: Vectors) -> NDArray[np.int8]:
    """rint(127 x / max|x|) of each row of `vectors: float[n, d]`: int8[n, d]; zeros stay zeros,
    int8 stays as it is.  Raises ValueError when a value is not finite, or d is not in 1..1024."""
    if vectors.ndim != 2 or not 0 < vectors.shape[1] <= MOST_DIMS:
        raise ValueError(f"vectors must be float32[n, 1..{MOST_DIMS}], got shape {vectors.shape}")
    if vectors.dtype == np.int8:
        return vectors.astype(np.int8, copy=False)
    if len(vectors) == 1:  # what `remember` does: the path below takes 8 us more
        scaled = _scaled(np.asarray(vectors[0], np.float32), ROW_MAX)
        lone = np.zeros(vectors.shape[1], np.float32) if scaled is None else scaled
        return lone.astype(np.int8)[None, :]
    out = np.empty(vectors.shape, np.int8)
    for first in range(0, len(vectors), _BATCH):
        batch = np.asarray(vectors[first : first + _BATCH], np.float32)
        peak = np.abs(batch).max(axis=1)
        if not np.isfinite(peak).all():
            raise ValueError("vectors must be finite")
        # Subnormal peaks would overflow the quotient; such a row has no direction worth keeping.
        usable = peak > _TINY
        scale = np.where(usable, np.float32(ROW_MAX) / np.where(usable, peak, 1), 0)
        out[first : first + _BATCH] = np.rint(batch * scale.astype(np.float32)[:, None])
    return out


def _scaled(vector: NDArray[np.float32], most: int) -> NDArray[np.float32] | None:
    """rint(most x / max|x|) of one vector; None when it is zero."""
    peak = np.abs(vector).max()
    if not math.isfinite(peak):
        raise ValueError("vectors must be finite")
    if not peak > _TINY:
        return None
    scaled: NDArray[np.float32] = np.rint(vector * (np.float32(most) / peak))
    return scaled


@dataclass(frozen=True)
class Query:
    """A query in whole numbers: `values: int16[d]`, and its length `norm`, never 0."""

    values: NDArray[np.int16]
    norm: float

    @classmethod
    def of(cls, vector: NDArray[np.float32], dims: int) -> Query | None:
        """The query for `vector: float32[dims]`; None when it is zero: nothing is near it.  Raises
        ValueError when the shape is not (dims,) or a value is not finite."""
        if vector.shape != (dims,):
            raise ValueError(f"the query must be float32[{dims}], got shape {vector.shape}")
        scaled = _scaled(np.asarray(vector, np.float32), QUERY_MAX)
        if scaled is None:
            return None
        values = scaled.astype(np.int16)
        wide = values.astype(np.float64)
        # Whole numbers below 2^53: exact, in whatever order they are added.
        return cls(values, math.sqrt(float(wide @ wide)))


def cosines(dots: NDArray[np.int32], norms: NDArray[np.int32], query: Query) -> NDArray[np.float32]:
    """<x, q> / (|x| |q|) in float64, rounded once to float32; 0 where x is zero."""
    lengths = np.sqrt(np.maximum(norms, 1).astype(np.float64))
    return (dots / (lengths * query.norm)).astype(np.float32)


def directions(rows: NDArray[np.int8]) -> NDArray[np.float32]:
    """Unit rows: float32[n, d] of `rows: int8[n, d]`, none of them zero."""
    wide = rows.astype(np.float32)
    norms = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    wide /= norms[:, None]
    return wide
