"""One-hot hypervectors as positions: the fast path of the algebra, exact.

`codes: int16[..., B]` holds the position of the 1 in each block, -1 where a block is zero (int32
where D is above 16,384).  Binding adds positions modulo D, so it costs B additions where the
reference transforms B D numbers.  A code of 100 blocks takes 200 bytes.  A sum of codes is no code
any more: `bundle` gives it as float32[B, D], and `bind_vector` still needs no transform.

Every function equals its namesake of `nimad.vsa.algebra` on `densify`.

Source: M. Laiho et al., High-Dimensional Computing with Sparse Vectors (2015); E. P. Frady,
D. Kleyko, F. T. Sommer, Variable Binding for Sparse Distributed Representations (2021).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.vsa import algebra
from nimad.vsa.algebra import BLOCKS, DIMS, Vector

EMPTY = -1
"""Position in a block that is zero."""
NARROW = 1 << 14
"""Largest D whose sums of two positions fit in 16 bits [positions]."""

Codes = NDArray[np.signedinteger[Any]]


def dtype_of(dims: int) -> np.dtype[np.signedinteger[Any]]:
    """The type of positions below `dims`."""
    return np.dtype(np.int16 if dims <= NARROW else np.int32)


def item(name: str, blocks: int = BLOCKS, dims: int = DIMS, active: int | None = None) -> Codes:
    """The code of a name, as `algebra.item`: the same on every machine; int16[B].

    Raises:
        ValueError: when `active` is not in 1..B.
    """
    active = blocks if active is None else active
    if not 0 < active <= blocks:
        raise ValueError(f"active must be 1..{blocks}, got {active}")
    chosen, places = algebra.places_of(name, blocks, dims, active)
    code = np.full(blocks, EMPTY, dtype_of(dims))
    code[chosen] = places
    return code


def items(
    names: Iterable[str], blocks: int = BLOCKS, dims: int = DIMS, active: int | None = None
) -> Codes:
    """The codes of names, a codebook; int16[n, B].  Raises ValueError as `item`."""
    found = [item(name, blocks, dims, active) for name in names]
    return np.array(found, dtype_of(dims)).reshape(-1, blocks)


def random(
    rng: np.random.Generator,
    count: int,
    blocks: int = BLOCKS,
    dims: int = DIMS,
    active: int | None = None,
) -> Codes:
    """`count` codes, each with `active` (default: all) blocks that are not zero; int16[n, B].

    Raises:
        ValueError: when `active` is not in 1..B.
    """
    active = blocks if active is None else active
    if not 0 < active <= blocks:
        raise ValueError(f"active must be 1..{blocks}, got {active}")
    made = rng.integers(0, dims, (count, blocks)).astype(dtype_of(dims))
    if active < blocks:
        ranks = rng.random((count, blocks)).argsort(axis=1).argsort(axis=1)
        made[ranks >= active] = EMPTY
    return made


def identity(blocks: int = BLOCKS, dims: int = DIMS) -> Codes:
    """The code that binding leaves alone: position 0 in each block; int16[B]."""
    return np.zeros(blocks, dtype_of(dims))


def bind(a: Codes, b: Codes, dims: int = DIMS) -> Codes:
    """a (x) b: positions added modulo D; zero where one of them is.

    Shapes: a (*, B), b (*, B), result (*, B); leading axes broadcast.
    """
    total = np.add(a, b)
    total -= (total >= dims) * total.dtype.type(dims)
    total[(a | b) < 0] = EMPTY  # the sign of either
    return total


def unbind(bound: Codes, known: Codes, dims: int = DIMS) -> Codes:
    """What was bound to `known`, exactly: positions subtracted modulo D.

    Shapes: bound (*, B), known (*, B), result (*, B).
    """
    total = np.subtract(bound, known)
    total += (total < 0) * total.dtype.type(dims)
    total[(bound | known) < 0] = EMPTY
    return total


def inverse(a: Codes, dims: int = DIMS) -> Codes:
    """The code that undoes binding with a.  Shapes: a (*, B), result (*, B)."""
    return np.where(a > 0, a.dtype.type(dims) - a, a)


def permute(a: Codes, shifts: int = 1) -> Codes:
    """a with its blocks moved on.  Shapes: a (*, B), result (*, B)."""
    return np.roll(a, shifts, axis=-1)


def similarity(a: Codes, b: Codes) -> NDArray[np.float32]:
    """The cosine, 0..1: blocks in which both have the same position, over the active ones.

    Shapes: a (*, B), b (*, B), result (*); leading axes broadcast.
    """
    same = np.count_nonzero((a == b) & (a >= 0), axis=-1)
    active = np.count_nonzero(a >= 0, axis=-1) * np.count_nonzero(b >= 0, axis=-1)
    return np.asarray(same / np.sqrt(np.maximum(active, 1)), np.float32)


def bundle(codes: Codes, dims: int = DIMS) -> Vector:
    """The sum of codes, float32[B, D].  Shapes: codes (n, B), result (B, D)."""
    out = np.zeros((codes.shape[-1], dims), np.float32)
    places = codes + np.arange(codes.shape[-1], dtype=np.intp) * dims
    np.add.at(out.reshape(-1), places[codes >= 0], np.float32(1))
    return out


def densify(codes: Codes, dims: int = DIMS) -> Vector:
    """The whole hypervectors.  Shapes: codes (*, B), result (*, B, D)."""
    out = np.zeros((*codes.shape, dims), np.float32)
    np.put_along_axis(out, np.maximum(codes, 0)[..., None].astype(np.intp), 1, axis=-1)
    out[codes < 0] = 0
    return out


def from_vector(vector: Vector) -> Codes:
    """The code of a hypervector whose blocks are one-hot or zero.  Shapes: (*, B, D) to (*, B).

    Raises:
        ValueError: when a block is neither.
    """
    places = vector.argmax(axis=-1)
    counts = np.count_nonzero(vector, axis=-1)
    if (counts > 1).any() or (counts != vector.sum(axis=-1)).any():
        raise ValueError("a block is neither one-hot nor zero")
    return np.where(counts > 0, places, EMPTY).astype(dtype_of(vector.shape[-1]))


def bind_vector(vector: Vector, code: Codes) -> Vector:
    """`algebra.bind` of any hypervector and a code: each block is rolled on by its position.

    Exact, and without a transform.  Shapes: vector (B, D), code (B), result (B, D).
    """
    return _rolled(vector, -code.astype(np.intp), code >= 0)


def unbind_vector(vector: Vector, code: Codes) -> Vector:
    """`algebra.unbind` of any hypervector and a code: each block is rolled back by its position."""
    return _rolled(vector, code.astype(np.intp), code >= 0)


def _rolled(vector: Vector, by: NDArray[np.intp], active: NDArray[np.bool_]) -> Vector:
    """result[b, n] = vector[b, n + by[b] modulo D]; zero in blocks that are not active."""
    dims = vector.shape[-1]
    twice = np.concatenate([vector, vector], axis=-1)
    rows = np.lib.stride_tricks.sliding_window_view(twice, dims, axis=-1)
    out = rows[np.arange(len(vector)), by % dims]
    out[~active] = 0
    return np.asarray(out, np.float32)


def products(vector: Vector, codes: Codes) -> NDArray[np.float64]:
    """Dot products of a hypervector with codes.  Shapes: vector (B, D), codes (n, B), result (n).

    Cost: O(n B), whatever D is.
    """
    places = codes + np.arange(codes.shape[-1], dtype=np.intp) * vector.shape[-1]
    values = vector.reshape(-1).take(places, mode="clip")
    return np.asarray(np.sum(values, axis=-1, where=codes >= 0, dtype=np.float64))
