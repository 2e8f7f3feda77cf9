"""The sparse form of a hypervector: its k strongest blocks, the others taken as zero.

k is about 10 of 100.  Blocks are chosen by their energy (sum of squares), equal ones by number, so
the same hypervector always has the same form.  Binding works on active blocks alone: a block is
active in the product when it is in both operands.

Mind the limit: choosing by energy keeps what is concentrated.  In a hypervector whose energy is
spread evenly (a sum of many dense ones) the choice is close to chance, and k of B blocks keep k / B
of the energy; such a one is better stored whole.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.vsa import algebra
from nimad.vsa.algebra import Vector

ACTIVE = 10


@dataclass(frozen=True)
class Sparse:
    """The active blocks of a hypervector.

    Attributes:
        active: int64[k], block numbers, ascending, each below `blocks`.
        values: float32[k, D], the content of these blocks.
        blocks: B.
    """

    active: NDArray[np.int64]
    values: Vector
    blocks: int = algebra.BLOCKS

    @property
    def bytes(self) -> int:
        """Memory of the arrays."""
        return self.active.nbytes + self.values.nbytes


def sparsify(a: Vector, k: int = ACTIVE) -> Sparse:
    """The k strongest blocks of a; fewer when fewer are not zero.

    Shapes: a (B, D).

    Raises:
        ValueError: when a is not two-dimensional or k is not positive.
    """
    if a.ndim != 2 or k <= 0:
        raise ValueError(f"sparsify takes (B, D) and k > 0, got {a.shape} and {k}")
    energy = np.einsum("ij,ij->i", a.astype(np.float64), a.astype(np.float64))
    strongest = np.lexsort((np.arange(len(a)), -energy))[:k]
    active = np.sort(strongest[energy[strongest] > 0])
    return Sparse(active, a[active].astype(np.float32), len(a))


def densify(a: Sparse) -> Vector:
    """The whole hypervector, zero in blocks that are not active; float32[B, D]."""
    out = np.zeros((a.blocks, a.values.shape[-1]), np.float32)
    out[a.active] = a.values
    return out


def bind(a: Sparse, b: Sparse) -> Sparse:
    """`algebra.bind` of the blocks that both have; equal to binding the whole hypervectors."""
    active, here, there = np.intersect1d(a.active, b.active, return_indices=True)
    return Sparse(active, algebra.bind(a.values[here], b.values[there]), a.blocks)


def unbind(bound: Sparse, known: Sparse) -> Sparse:
    """`algebra.unbind` of the blocks that both have."""
    active, here, there = np.intersect1d(bound.active, known.active, return_indices=True)
    return Sparse(active, algebra.unbind(bound.values[here], known.values[there]), bound.blocks)


def bundle(vectors: list[Sparse], k: int | None = None) -> Sparse:
    """The sum; with k only its strongest blocks.

    Raises:
        ValueError: when `vectors` is empty: nothing says how many blocks it has.
    """
    if not vectors:
        raise ValueError("bundle needs at least one hypervector")
    total = densify(vectors[0])
    for other in vectors[1:]:
        total[other.active] += other.values
    return sparsify(total, len(total) if k is None else k)


def permute(a: Sparse, shifts: int = 1) -> Sparse:
    """`algebra.permute`: the blocks' numbers move, their content stays."""
    moved = (a.active + shifts) % a.blocks
    order = np.argsort(moved)
    return Sparse(moved[order], a.values[order], a.blocks)


def similarity(a: Sparse, b: Sparse) -> float:
    """The cosine, -1..1; 0 when one of them is zero.  Only shared blocks are multiplied."""
    _, here, there = np.intersect1d(a.active, b.active, return_indices=True)
    x, y = a.values.astype(np.float64), b.values.astype(np.float64)
    length = float(np.sqrt(np.sum(x * x) * np.sum(y * y)))
    product = float(np.sum(x[here] * y[there]))
    return float(np.clip(product / length, -1, 1)) if length > 0 else 0.0
