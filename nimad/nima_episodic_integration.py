"""NIMAVSABridge of the legacy guides: SparseBlockMemory by its name of before."""

from __future__ import annotations

from pathlib import Path

from nimad.cognition.sparse_block_memory import SparseBlockConfig, SparseBlockMemory
from nimad.vsa.algebra import DIMS


class NIMAVSABridge(SparseBlockMemory):
    """Episodes stored, found by role and by meaning; the methods are those of SparseBlockMemory.

    Args:
        vsa_dimension: of the hypervectors, a multiple of 500.

    Raises:
        ValueError: for another dimension.
    """

    def __init__(self, vsa_dimension: int = 50_000, path: str | Path | None = None) -> None:
        if vsa_dimension < DIMS or vsa_dimension % DIMS:
            raise ValueError(f"a dimension is a multiple of {DIMS}, not {vsa_dimension}")
        super().__init__(SparseBlockConfig(num_blocks=vsa_dimension // DIMS), path)

    @property
    def vsa_dimension(self) -> int:
        """Coordinates of a hypervector."""
        return self.config.total_dim
