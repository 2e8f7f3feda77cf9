"""Where the vectors of given ids lie: looked up once, then every query scores them directly.

The ranking scores all memories of a small store, and picked ones of a large store.  Looking up the
rows of the ids each time would cost several times the scoring.  Takes six bytes an id, and once
all are scored twenty more.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nimad.index.kernels.contract import Kernels
from nimad.index.quantise import Ids, Query, Scores
from nimad.index.view import View

_NOWHERE, _ZEROS = -1, -2
"""Numbers in place of a matrix's: the id has no vector, or one of zeros."""

_Source = tuple[NDArray[np.int8], Ids, Ids | slice]
"""Vectors, rows in them, and their places in the answer."""


class Located:
    """The vectors of `ids: int64[m]` (ascending, unique) in one view of the index; immutable."""

    def __init__(
        self, view: View, kernels: Kernels, ids: Ids, dims: int, known: Located | None = None
    ) -> None:
        """O(m log n); O(m) when `known` had most of the ids in the same segments.

        Args:
            known: of an earlier view; what still holds of it is taken over.
        """
        self.view = view
        self.dims = dims
        self.ids = ids
        self._kernels = kernels
        self._matrix = np.full(len(ids), _NOWHERE, np.int16)
        self._row = np.zeros(len(ids), np.uint32)
        self._matrices: list[NDArray[np.int8]] = [s.segment.vectors for s in view.sealed]
        places = self._take_over(known)
        for number, sealed in enumerate(view.sealed):
            rows = sealed.segment.rows_of(ids[places])
            at, rows = places[rows >= 0], rows[rows >= 0]
            if sealed.alive is not None:
                live = np.isin(rows, sealed.live(rows), assume_unique=True)
                rows, at = rows[live], at[live]
            directed = rows < sealed.segment.meta.scored  # the others are zeros
            self._matrix[at] = np.where(directed, number, _ZEROS)
            self._row[at] = rows
        for part in view.hot:
            slots, places = part.slots_of(ids)
            self._matrix[places] = len(self._matrices)
            self._row[places] = slots
            self._matrices.append(part.chunk.rows)

    def _take_over(self, known: Located | None) -> Ids:
        """Copy what was found before; int64[t], the places that are still to be looked up."""
        every = np.arange(len(self.ids))
        if known is None or len(known.ids) > len(every):
            return every
        old, new = known.view.sealed, self.view.sealed
        if len(old) != len(new) or any(a is not b for a, b in zip(old, new, strict=True)):
            return every
        count = len(known.ids)
        if not np.array_equal(known.ids, self.ids[:count]):
            return every
        # a hot row may have gone, or have hidden the sealed one that is made of it
        hot = known._matrix >= len(new)
        self._matrix[:count] = np.where(hot, np.int16(_NOWHERE), known._matrix)
        self._row[:count] = known._row
        return np.concatenate([np.flatnonzero(hot), every[count:]])

    def present(self, picks: Ids) -> NDArray[np.bool_]:
        """bool[p]: which of `ids[picks]` have a vector, zeros or not."""
        there: NDArray[np.bool_] = self._matrix[picks] != _NOWHERE
        return there

    def cosines(self, query: Scores | Query, picks: Ids | None = None) -> Scores:
        """float32[m], or float32[p] of `ids[picks]`: the cosine of each with `query: float32[d]`.

        nan without a vector, 0 where it is all zeros: the numbers that `BlockIndex.search` gives.
        0.05 ms for 1,000 ids.
        """
        if picks is None:
            return self.with_none(query)[:-1]
        return self._score(query, *self._parts(picks))

    def with_none(self, query: Scores | Query) -> Scores:
        """float32[m + 1]: the same of every id, and behind them 0 for none."""
        return self._score(query, *self._whole)

    def _score(self, query: Scores | Query, unscored: Scores, sources: list[_Source]) -> Scores:
        asked = query if isinstance(query, Query) else Query.of(query, self.dims)
        if asked is None:
            return unscored.copy()
        if len(sources) == 1 and len(sources[0][1]) == len(unscored):
            return self._kernels.cosines(sources[0][0], sources[0][1], asked.values)
        out = unscored.copy()
        for vectors, mine, places in sources:
            out[places] = self._kernels.cosines(vectors, mine, asked.values)
        return out

    @cached_property
    def complete(self) -> bool:
        """Whether every id has a vector, zeros or not."""
        return bool((self._matrix != _NOWHERE).all())

    @cached_property
    def _whole(self) -> tuple[Scores, list[_Source]]:
        """What every query needs: to find it anew took a fifth of scoring 10,000."""
        unscored, sources = self._parts(slice(None))
        if len(sources) == 1 and isinstance(sources[0][2], slice):  # a row that is not there has 0
            vectors, mine, places = sources[0]
            sources = [(vectors, np.append(mine, len(vectors)), places)]
        return np.append(unscored, np.float32(0)), sources

    def _parts(self, picks: Ids | slice) -> tuple[Scores, list[_Source]]:
        """What `ids[picks]` have before they are scored, and where what scores them lies."""
        matrix = self._matrix[picks]
        unscored = np.where(matrix == _NOWHERE, np.float32(np.nan), np.float32(0))
        return unscored, list(self._sources(matrix, self._row[picks]))

    def rows(self, picks: Ids) -> Scores:
        """float32[p, d]: the 8-bit rows of `ids[picks]`, whole numbers; zeros without a vector."""
        out = np.zeros((len(picks), self.dims), np.float32)
        for vectors, mine, places in self._sources(self._matrix[picks], self._row[picks]):
            out[places] = vectors[mine]
        return out

    def _sources(self, matrix: NDArray[np.int16], rows: NDArray[np.uint32]) -> Iterator[_Source]:
        """Of each matrix that is needed."""
        for number, vectors in enumerate(self._matrices):
            mine = matrix == number
            if mine.all():
                if len(mine):
                    yield vectors, rows.astype(np.int64), slice(None)
                return
            places = np.flatnonzero(mine)
            if len(places):
                yield vectors, rows[places].astype(np.int64), places
