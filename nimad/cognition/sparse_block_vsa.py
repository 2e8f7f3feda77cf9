"""SparseBlockHDVector: a hypervector of which only the active blocks are kept; see nimad.vsa."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.vsa import sparse
from nimad.vsa.sparse import Sparse

SHARE = 0.1
"""Share of the blocks that are active where nothing else is said."""

_counter = itertools.count(1)


class SparseBlockHDVector:
    """A block hypervector with the names of the legacy library.

    Attributes:
        active_blocks: the numbers of the blocks that are not zero; may be set: blocks that come new
            are zero.
        blocks: number of the block → float32[block_dim]; may be set.

    Args:
        active_set: the active blocks; by default a tenth of them, chosen by `rng`.
        rng: draws the content, of length 1 in each block.  Without it the n-th hypervector that a
            process makes is the same in every process; numpy's global state is left alone.

    Raises:
        ValueError: for a block that is not there.
    """

    def __init__(
        self,
        block_dim: int = 500,
        num_blocks: int = 100,
        active_set: Iterable[int] | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        rng = rng or np.random.default_rng(next(_counter))
        if active_set is None:
            count = max(1, int(SHARE * num_blocks))
            active_set = rng.permutation(num_blocks)[:count].tolist()
        active = _numbers(active_set, num_blocks)
        values = rng.standard_normal((len(active), block_dim))
        values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-30)
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

    @active_blocks.setter
    def active_blocks(self, active: Iterable[int]) -> None:
        zero = np.zeros(self.block_dim, np.float32)
        known = self.blocks
        self.blocks = {number: known.get(number, zero) for number in active}

    @property
    def blocks(self) -> dict[int, NDArray[np.float32]]:
        """Number → content; the arrays are views of this hypervector."""
        pairs = zip(self.content.active.tolist(), self.content.values, strict=True)
        return dict(pairs)

    @blocks.setter
    def blocks(self, content: Mapping[int, Any]) -> None:
        active = _numbers(content, self.num_blocks)
        values = [np.asarray(content[number], np.float32) for number in active.tolist()]
        if any(each.shape != (self.block_dim,) for each in values):
            raise ValueError(f"a block has {self.block_dim} coordinates")
        made = np.array(values, np.float32).reshape(len(active), self.block_dim)
        self.content = Sparse(active, made, self.num_blocks)

    def permute(self, shift: int = 1) -> SparseBlockHDVector:
        """Its blocks moved on; `permute(-shift)` moves them back."""
        return SparseBlockHDVector.of(sparse.permute(self.content, shift))

    def similarity(self, other: SparseBlockHDVector) -> float:
        """The cosine of the whole hypervectors, -1..1.  Raises ValueError for another shape."""
        _check_shapes(self, other)
        return sparse.similarity(self.content, other.content)

    @staticmethod
    def bind(a: SparseBlockHDVector, b: SparseBlockHDVector) -> SparseBlockHDVector:
        """Block-wise circular convolution, in the blocks that both have.

        Raises ValueError for another shape, as do `unbind` and `bundle`.
        """
        _check_shapes(a, b)
        return SparseBlockHDVector.of(sparse.bind(a.content, b.content))

    @staticmethod
    def unbind(bound: SparseBlockHDVector, known: SparseBlockHDVector) -> SparseBlockHDVector:
        """What was bound to `known`, nearly."""
        _check_shapes(bound, known)
        return SparseBlockHDVector.of(sparse.unbind(bound.content, known.content))

    @staticmethod
    def bundle(*vectors: SparseBlockHDVector) -> SparseBlockHDVector:
        """The sum."""
        _check_shapes(*vectors)
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


def _numbers(given: Iterable[int], num_blocks: int) -> NDArray[np.int64]:
    """Numbers of blocks, ascending.  Raises ValueError for one that is not there."""
    active = np.array(sorted(set(map(int, given))), np.int64)
    if len(active) and not 0 <= active[0] <= active[-1] < num_blocks:
        raise ValueError(f"active blocks must be 0..{num_blocks - 1}")
    return active


def _check_shapes(*vectors: SparseBlockHDVector) -> None:
    shapes = {(vector.num_blocks, vector.block_dim) for vector in vectors}
    if len(shapes) > 1:
        raise ValueError(f"hypervectors of one shape are needed, not of {sorted(shapes)}")
