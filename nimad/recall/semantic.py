"""The semantic side: cosines of memories that carry a little of their neighbours in the session.

What is compared is `v + a before + b after`, at length 1.  Only the plain vectors are stored;
the mixture's cosine is the mixture of the cosines, over a length that is computed once and kept in
the columns.  The lengths come of whole numbers, so they are the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.index.blocks import BlockIndex
from nimad.index.located import Located
from nimad.recall.columns import NONE, Columns
from nimad.recall.weights import Weights

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Semantic:
    """Attributes:
    rows: int64[m], ascending: the memories that were scored.
    plain: float32[m], their own cosines.
    mixed: float32[m], with the neighbours; nan where there is no vector.
    low, high: between which the mixed ones of the whole store lie.
    """

    rows: Rows
    plain: Floats
    mixed: Floats
    low: float
    high: float


class Meaning:
    """Scores rows of the columns by the blocks.  Not for several threads at once."""

    def __init__(self, columns: Columns, weights: Weights) -> None:
        self._columns = columns
        self._weights = weights
        self._shares = (weights.meaning_before, weights.meaning_after)
        self._blocks: BlockIndex | None = None
        self._every: Located | None = None
        self._version = -1

    def score(
        self,
        blocks: BlockIndex,
        query: Floats,
        mask: NDArray[np.bool_],
        filtered: bool,
        words: Floats,
        shares: tuple[float, float],
    ) -> Semantic:
        """Score every row in `mask`; of a large store the nearest, and the best by `words`.

        `shares` of the neighbours' vectors are those of the embedder that made the blocks.
        """
        columns = self._columns
        self._shares = shares
        if blocks is not self._blocks:  # another embedder, or a rebuild: other lengths
            columns.length[:] = np.nan
            self._blocks, self._every = blocks, None
        if columns.count <= self._weights.exact_rows:
            rows = np.flatnonzero(mask) if filtered or columns.dead else np.arange(columns.count)
            return self._finish(rows, self._all(blocks, query))
        picked = np.flatnonzero(mask)
        probes = np.zeros(0, np.int64)
        if len(picked) > self._weights.exact_rows // 4:
            probes = picked[:: max(1, len(picked) // self._weights.sample)]
            allowed = columns.id[picked] if filtered else None
            near, _ = blocks.search(query, self._weights.candidates, allowed)
            near_rows = columns.rows_of(np.sort(near))
            worded = np.flatnonzero(words > 0)
            worded = worded[best_places(words[worded], self._weights.candidates)]
            picked = np.concatenate([near_rows[mask[near_rows]], worded])
        # the probes are for the low end only, but scoring them as well does no harm
        chosen = np.zeros(columns.count, np.bool_)
        chosen[picked] = True
        chosen[probes] = True
        rows = np.flatnonzero(chosen)
        return self._finish(rows, self._some(blocks, query, rows))

    def _all(self, blocks: BlockIndex, query: Floats) -> Floats:
        """float32[n]: the cosine of every row."""
        if self._version != self._columns.version:
            self._every, self._version = None, self._columns.version
        every = blocks.locate(self._columns.id, self._every)
        if every is not self._every:  # else nothing came that could be measured
            self._measure(every)
            self._every = every
        return every.cosines(query)

    def _some(self, blocks: BlockIndex, query: Floats, rows: Rows) -> Floats:
        """float32[n]: the cosines of `rows` and of their neighbours; nan elsewhere."""
        columns = self._columns
        near = self._with_neighbours(rows)
        located = blocks.locate(columns.id[near])
        out = np.full(columns.count, np.nan, np.float32)
        out[near] = located.cosines(query)
        unknown = rows[np.isnan(columns.length[rows])]
        self._measure_rows(unknown, near, located)
        return out

    def _finish(self, rows: Rows, cosines: Floats) -> Semantic:
        columns, (before, after) = self._columns, self._shares
        plain = cosines[rows]
        padded = np.append(cosines, np.float32(0))  # row -1, nobody, has none
        padded[np.isnan(padded)] = 0
        mixed = plain + np.float32(before) * padded[columns.before[rows]]
        mixed += np.float32(after) * padded[columns.after[rows]]
        lengths = columns.length[rows]
        mixed /= np.where(np.isnan(lengths), np.float32(1), lengths)
        known = mixed[~np.isnan(mixed)]
        if not len(known):
            return Semantic(rows, plain, mixed, 0.0, 0.0)
        return Semantic(rows, plain, mixed, float(known.min()), float(known.max()))

    def _with_neighbours(self, rows: Rows) -> Rows:
        """`rows` and whoever is beside them, ascending."""
        columns = self._columns
        wanted = np.zeros(columns.count + 1, np.bool_)  # the last one for nobody, row -1
        for found in (rows, columns.before[rows], columns.after[rows]):
            wanted[found] = True
        return np.flatnonzero(wanted[:-1])

    # --- lengths of mixtures ------------------------------------------------------------------

    def _measure(self, every: Located) -> None:
        unmeasured = np.isnan(self._columns.length) & self._columns.alive & every.present
        unknown = np.flatnonzero(unmeasured)
        for start in range(0, len(unknown), _BATCH):
            rows = unknown[start : start + _BATCH]
            near = self._with_neighbours(rows)
            self._measure_rows(rows, near, every.part(near))

    def _measure_rows(self, rows: Rows, near: Rows, located: Located) -> None:
        """Keep |v + a before + b after| of `rows`; `located` holds the vectors of `near`."""
        if not len(rows):
            return
        columns = self._columns
        vectors = np.vstack([located.rows(), np.zeros((1, located.dims), np.float32)])
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors).astype(np.float64))
        places = [
            np.where(found == NONE, len(near), np.searchsorted(near, found))
            for found in (rows, columns.before[rows], columns.after[rows])
        ]
        shares = (1.0, *self._shares)
        square = np.zeros(len(rows), np.float64)
        for n, (one, a) in enumerate(zip(places, shares, strict=True)):
            square += a * a * (norms[one] > 0)
            for other, b in zip(places[n + 1 :], shares[n + 1 :], strict=True):
                # whole numbers below 2**24: exact in float32, in any order
                dots = np.einsum("ij,ij->i", vectors[one], vectors[other]).astype(np.float64)
                square += 2 * a * b * dots / np.maximum(norms[one] * norms[other], 1)
        missing = np.zeros(len(rows), np.bool_)
        present = np.append(located.present, True)
        for one in places:  # a vector that is still to come would change the length
            missing |= ~present[one]
        lengths = np.sqrt(np.maximum(square, 1e-6)).astype(np.float32)
        lengths[missing] = np.nan
        columns.length[rows] = lengths


def best_places(score: NDArray[Any], k: int) -> Rows:
    """The places of the k highest scores, highest first, equal ones in order."""
    if len(score) <= k:
        return np.lexsort((np.arange(len(score)), -score))
    bar = np.partition(score, len(score) - k)[len(score) - k]
    places = np.flatnonzero(score >= bar)
    return places[np.lexsort((places, -score[places]))][:k]
