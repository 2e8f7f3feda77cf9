"""The hypervectors of a bundle of files: each memory's from the newest file that has it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nimad.legacy.parsed import Parsed, Vectors

SCAN_BYTES = 8 << 20
"""So much is looked at between two times that pages are let go of [bytes]."""


class FileRows:
    """`DenseRows` of a bundle; `drop` lets go of the pages that were looked at."""

    def __init__(
        self,
        places: Mapping[int, tuple[Vectors, int]],
        newest_first: Sequence[Parsed],
        drop: Callable[[], None],
    ) -> None:
        self._places, self._files, self._drop = places, newest_first, drop
        first = next(iter(places.values()))[0]
        self.dimension, self.block_size = first.dimension, first.block_size
        self._keys: NDArray[np.int64] | None = None

    def keys(self) -> NDArray[np.int64]:
        """As `DenseRows.keys`."""
        if self._keys is None:
            self._keys = self._finite(sorted(self._places))
        return self._keys

    def rows(self, keys: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """As `DenseRows.rows`."""
        made = np.empty((len(keys), self.dimension), np.float32)
        groups: dict[int, list[int]] = defaultdict(list)
        found = [self._places[int(key)] for key in keys]
        for row, (vectors, _) in enumerate(found):
            groups[id(vectors)].append(row)
        for rows in groups.values():
            made[rows] = found[rows[0]][0].rows([found[row][1] for row in rows])
        self._drop()
        return made

    def items(self) -> Iterator[tuple[str, str, NDArray[np.float32]]]:
        """As `DenseRows.items`; a name that several files have is the newest one's."""
        told: set[tuple[str, str]] = set()
        for parsed in self._files:
            for kind, name, vectors, row in parsed.items:
                if (kind, name) in told or vectors.dimension != self.dimension:
                    continue
                told.add((kind, name))
                vector = vectors.rows([row])[0]
                if _whole(vector):
                    yield kind, name, vector
            self._drop()

    def _finite(self, keys: list[int]) -> NDArray[np.int64]:
        step = max(1, SCAN_BYTES // (4 * self.dimension))
        good: list[int] = []
        for start in range(0, len(keys), step):
            part = keys[start : start + step]
            good += [key for key, row in zip(part, self.rows(part), strict=True) if _whole(row)]
        return np.array(good, np.int64)


def _whole(vector: NDArray[np.float32]) -> bool:
    return bool(np.isfinite(vector).all())
