"""The algebra of block hypervectors: B blocks of D coordinates each, here 100 of 500.

A hypervector is `float32[..., B, D]`.  Two are bound block by block with circular convolution: a
block that is zero in one of them is zero in the product, so sparse hypervectors (see `sparse`) stay
sparse.

Source: M. Laiho et al., High-Dimensional Computing with Sparse Vectors (2015), and E. P. Frady,
D. Kleyko, F. T. Sommer, Variable Binding for Sparse Distributed Representations (2021), for block
codes; T. Plate, Holographic Reduced Representations (1995), for the convolution.

This is the reference: plain, in float64 inside, and deterministic.  What `nimad.index` stores is
the searchable form of the same idea, a block and a dimension for every memory.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCKS = 100
DIMS = 500

Vector = NDArray[np.float32]


def item(name: str, blocks: int = BLOCKS, dims: int = DIMS, active: int | None = None) -> Vector:
    """The hypervector of a name: one 1 in each active block, zero elsewhere; float32[B, D].

    The same on every machine and for ever: positions come from BLAKE2b of the name, never from
    Python's salted `hash`.  Two names agree in a block with probability 1 / D.

    Args:
        name: any text; "" is a name like any other.
        active: how many blocks are active, chosen by the name; all of them by default.

    Shapes: result (B, D).

    Raises:
        ValueError: when `active` is not in 1..B.
    """
    active = blocks if active is None else active
    if not 0 < active <= blocks:
        raise ValueError(f"active must be 1..{blocks}, got {active}")
    chosen, places = places_of(name, blocks, dims, active)
    out = np.zeros((blocks, dims), np.float32)
    out[chosen, places] = 1
    return out


def places_of(
    name: str, blocks: int, dims: int, active: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The active blocks of a name's item, ascending, and where the 1 stands in each; int[active].

    Both are decided by 64-bit numbers, two for each block: BLAKE2b of the name in counter mode.
    """
    raw = bytearray()
    key = name.encode("utf-8", "surrogatepass")
    while len(raw) < 16 * blocks:
        counter = (len(raw) // 64).to_bytes(8, "little")
        raw += hashlib.blake2b(key, digest_size=64, salt=counter, person=b"nimad item 1").digest()
    numbers = np.frombuffer(bytes(raw[: 16 * blocks]), "<u8")
    chosen = np.sort(np.argsort(numbers[blocks:], kind="stable")[:active])
    return chosen, (numbers[chosen] % dims).astype(np.intp)


def identity(blocks: int = BLOCKS, dims: int = DIMS) -> Vector:
    """The hypervector that binding leaves alone: a 1 at the start of each block; float32[B, D]."""
    out = np.zeros((blocks, dims), np.float32)
    out[:, 0] = 1
    return out


def random(
    rng: np.random.Generator, blocks: int = BLOCKS, dims: int = DIMS, active: int | None = None
) -> Vector:
    """A dense hypervector: Gaussian, of length 1 in each of `active` blocks (all by default).

    Shapes: result (B, D).

    Raises:
        ValueError: when `active` is not in 1..B.
    """
    active = blocks if active is None else active
    if not 0 < active <= blocks:
        raise ValueError(f"active must be 1..{blocks}, got {active}")
    out = np.zeros((blocks, dims), np.float32)
    values = rng.standard_normal((active, dims))
    chosen = np.sort(rng.permutation(blocks)[:active])
    out[chosen] = values / np.linalg.norm(values, axis=1, keepdims=True)
    return out


def bind(a: Vector, b: Vector) -> Vector:
    """a (x) b: the circular convolution of each block; associates two things.

    (a (x) b)[i, n] = sum over m of a[i, m] b[i, (n - m) mod D].  Commutative, associative,
    distributive over bundling; `identity` is neutral.  Of two one-hot blocks it is the one-hot
    block at the sum of their positions modulo D, exactly.

    Shapes: a (*, B, D), b (*, B, D), result (*, B, D); leading axes broadcast.

    Cost: O(B D log D).
    """
    spectrum = np.fft.rfft(_wide(a)) * np.fft.rfft(_wide(b))
    return _back(spectrum, a, b)


def unbind(bound: Vector, known: Vector) -> Vector:
    """What was bound to `known`, nearly: the circular correlation of each block.

    Exact when each block of `known` is one-hot (or zero: then nothing is known of that block, and
    the result is zero there).  Otherwise the answer plus noise of about 1 / sqrt(D).

    Shapes: bound (*, B, D), known (*, B, D), result (*, B, D).
    """
    spectrum = np.fft.rfft(_wide(bound)) * np.conj(np.fft.rfft(_wide(known)))
    return _back(spectrum, bound, known)


def inverse(a: Vector) -> Vector:
    """a with each block reversed around its start: binding with it is unbinding.

    Shapes: a (*, B, D), result (*, B, D).
    """
    return np.roll(a[..., ::-1], 1, axis=-1)


def bundle(vectors: Vector) -> Vector:
    """The sum: a set of things, similar to each of them.

    Not normalised: `similarity` does not need it, and sums of sums stay sums.  An empty set is the
    zero hypervector, which is similar to nothing.

    Shapes: vectors (n, *, B, D), result (*, B, D).
    """
    return np.asarray(np.sum(_wide(vectors), axis=0), np.float32)


def permute(a: Vector, shifts: int = 1) -> Vector:
    """a with its blocks moved on: position in a sequence; `permute(permute(a, 1), -1)` is a.

    Moving whole blocks keeps each block's content, so it commutes with binding and bundling.

    Shapes: a (*, B, D), result (*, B, D).
    """
    return np.roll(a, shifts, axis=-2)


def similarity(a: Vector, b: Vector) -> NDArray[np.float32]:
    """The cosine of whole hypervectors, -1..1; 0 when one of them is zero.

    Shapes: a (*, B, D), b (*, B, D), result (*); leading axes broadcast.
    """
    x, y = _wide(a), _wide(b)
    products = np.einsum("...ij,...ij->...", x, y)
    lengths = np.sqrt(np.einsum("...ij,...ij->...", x, x) * np.einsum("...ij,...ij->...", y, y))
    cosine = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return np.asarray(np.clip(cosine, -1, 1), np.float32)


def dot(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> float:
    """The dot product of two arrays of one shape, in float64.

    Without the threads of BLAS, which on a busy machine wait for each other far longer than the
    sum takes.
    """
    return float(np.einsum("i,i->", a.reshape(-1), b.reshape(-1), dtype=np.float64))


def length(a: NDArray[np.floating[Any]]) -> float:
    """The length of an array, as `dot`."""
    return math.sqrt(dot(a, a))


def _wide(a: Vector) -> NDArray[np.float64]:
    return np.asarray(a, np.float64)


def _back(spectrum: NDArray[np.complex128], a: Vector, b: Vector) -> Vector:
    """From the spectrum to coordinates, with the transform's rounding noise removed.

    The noise of a float64 transform is below 1e-12 of the operands' lengths; what is under 1e-9 of
    them is zero, so one-hot blocks stay one-hot and empty blocks empty.
    """
    out = np.fft.irfft(spectrum, n=a.shape[-1])
    reach = np.linalg.norm(_wide(a), axis=-1) * np.linalg.norm(_wide(b), axis=-1)
    out[np.abs(out) <= 1e-9 * reach[..., None]] = 0
    return out.astype(np.float32)
