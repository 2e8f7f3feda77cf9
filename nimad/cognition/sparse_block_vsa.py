"""SparseBlockHDVector: a hypervector of which only the active blocks are kept; see nimad.vsa."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.vsa import sparse
from nimad.vsa.sparse import Sparse


class SparseBlockHDVector:
    """A block hypervector with the names of the legacy library.

    Attributes:
        active_blocks: the numbers of the blocks that are not zero.
        blocks: number of the block → float32[block_dim].

    Args:
        rng: draws the content of the blocks of `active_set`; without it they are zero.
    """

    def __init__(
        self,
        block_dim: int = 500,
        num_blocks: int = 100,
        active_set: Iterable[int] = (),
        rng: np.random.Generator | None = None,
    ) -> None:
        active = np.array(sorted(set(map(int, active_set))), np.int64)
        if len(active) and not 0 <= active[0] <= active[-1] < num_blocks:
            raise ValueError(f"active blocks must be 0..{num_blocks - 1}")
        shape = (len(active), block_dim)
        values = np.zeros(shape) if rng is None else rng.normal(0, block_dim**-0.5, shape)
        self._take(Sparse(active, values.astype(np.float32), num_blocks), block_dim)

    def _take(self, content: Sparse, block_dim: int) -> None:
        self.content = content
        self.block_dim = block_dim
        self.num_blocks = content.blocks

    @classmethod
    def of(cls, content: Sparse) -> SparseBlockHDVector:
        """The face of a sparse hypervector."""
        made = cls.__new__(cls)
        made._take(content, content.values.shape[-1])
        return made

    @property
    def active_blocks(self) -> set[int]:
        """The numbers of the active blocks."""
        return set(self.content.active.tolist())

    @property
    def blocks(self) -> dict[int, NDArray[np.float32]]:
        """Number → content; the arrays are views of this hypervector."""
        pairs = zip(self.content.active.tolist(), self.content.values, strict=True)
        return dict(pairs)

    def similarity(self, other: SparseBlockHDVector) -> float:
        """The cosine, -1..1."""
        return sparse.similarity(self.content, other.content)

    @staticmethod
    def bind(a: SparseBlockHDVector, b: SparseBlockHDVector) -> SparseBlockHDVector:
        """Block-wise circular convolution, in the blocks that both have."""
        return SparseBlockHDVector.of(sparse.bind(a.content, b.content))

    @staticmethod
    def unbind(bound: SparseBlockHDVector, known: SparseBlockHDVector) -> SparseBlockHDVector:
        """What was bound to `known`, nearly."""
        return SparseBlockHDVector.of(sparse.unbind(bound.content, known.content))

    @staticmethod
    def bundle(*vectors: SparseBlockHDVector) -> SparseBlockHDVector:
        """The sum."""
        return SparseBlockHDVector.of(sparse.bundle([vector.content for vector in vectors]))

    def to_dense(self) -> NDArray[np.float32]:
        """float32[num_blocks * block_dim]: all of it, zeros included."""
        return sparse.densify(self.content).reshape(-1)

    def __repr__(self) -> str:
        return (
            f"SparseBlockHDVector({len(self.content.active)} of {self.num_blocks} blocks of"
            f" {self.block_dim})"
        )

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, SparseBlockHDVector):
            return NotImplemented
        mine, theirs = self.content, other.content
        same = mine.blocks == theirs.blocks and np.array_equal(mine.active, theirs.active)
        return bool(same and np.array_equal(mine.values, theirs.values))

    __hash__ = None  # type: ignore[assignment]
