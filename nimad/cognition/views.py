"""The memories of a store as the lists that the legacy guides index: metadata and hypervectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from nimad.cognition import episodes
from nimad.cognition.sparse_block_vsa import SparseBlockHDVector
from nimad.core.store import MemoryStore
from nimad.model import Memory


class Shape(Protocol):
    """The part of a SparseBlockConfig that says what a hypervector looks like."""

    @property
    def block_dim(self) -> int:
        """Dimensions of a block."""

    @property
    def num_blocks(self) -> int:
        """Blocks."""

    @property
    def active_blocks_per_vector(self) -> int:
        """Active blocks of one item."""


class _Places:
    """The place of each memory: 0, 1, ... by id; follows the store's change log."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._seen = -1
        self._ids: NDArray[np.int64] = np.zeros(0, np.int64)

    def ids(self) -> NDArray[np.int64]:
        """int64[n]: the id of each place."""
        head = self._store.records.head()
        if head != self._seen:
            self._ids, self._seen = self._store.records.ids(), head
        return self._ids

    def memory(self, place: int) -> Memory:
        """The memory of a place; negative ones count from the end.  Raises IndexError."""
        ids = self.ids()
        if not -len(ids) <= place < len(ids):
            raise IndexError(f"there is no memory {place}; there are {len(ids)}")
        return self._store.get(int(ids[place]))


class Metadata(Sequence[dict[str, Any]]):
    """`memory_metadata`: a dict for each memory, read when it is asked for."""

    def __init__(self, store: MemoryStore) -> None:
        self._places = _Places(store)

    def ids(self) -> NDArray[np.int64]:
        """int64[n]: the store's id of each place."""
        return self._places.ids()

    def place(self, number: int) -> int:
        """The place of a store's id."""
        return int(np.searchsorted(self._places.ids(), number))

    def __len__(self) -> int:
        return len(self._places.ids())

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, place: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(len(self)))]
        return episodes.metadata_of(self._places.memory(place))


class Vectors(Sequence[SparseBlockHDVector]):
    """`memory_vectors`: a hypervector for each memory, derived when it is asked for."""

    def __init__(self, store: MemoryStore, shape: Shape) -> None:
        self._places = _Places(store)
        self._shape = shape

    def __len__(self) -> int:
        return len(self._places.ids())

    @overload
    def __getitem__(self, place: int) -> SparseBlockHDVector: ...
    @overload
    def __getitem__(self, place: slice) -> list[SparseBlockHDVector]: ...
    def __getitem__(self, place: int | slice) -> SparseBlockHDVector | list[SparseBlockHDVector]:
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(len(self)))]
        factors = episodes.factors_of(episodes.metadata_of(self._places.memory(place)))
        shape = self._shape
        return SparseBlockHDVector.of(
            episodes.episode(
                factors, shape.num_blocks, shape.block_dim, shape.active_blocks_per_vector
            )
        )
