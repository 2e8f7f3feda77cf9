"""Drift: are rows added since training as close to their centroids as the training rows were?

When blocks (centroids) are learned, some rows are held out, and the cosine of each with its block
is measured: 19 edges cut these cosines into 20 parts of equal share.  Rows that a merge adds later
are counted in the same parts, and the counts stay with the segment from merge to merge.  Drift is
how much larger the share of added rows below an edge is than the share of held-out rows, at the
edge where the difference is largest: the one-sided statistic of Kolmogorov and Smirnov (Smirnov
1944).  0: as close as the training rows; 1: every added row is farther away than any of those.

Held-out rows are measured because a row that shaped a centroid lies closer to it than others of
its kind.  (Under 25,000 rows all are learned from and measured: then added rows seem to drift a
little, and blocks are learned anew too soon rather than too late.)

Why drift matters: blocks of 15,000 rows of reference text, to which 1,800 rows of chat are added,
lose 10 points of recall on questions about the chat; their drift is .09.  1,800 more rows of
reference text give .01, text added to chat .31.  Growth alone costs little: blocks of 75,000 rows,
kept when 25,000 of the same kind are added, find .975 where new ones find .978.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass

EDGES = 19
PARTS = EDGES + 1


@dataclass(frozen=True)
class Fit:
    """How near rows lie to their block: held-out ones at learning, and those added since.

    Attributes:
        learned: rows that the blocks were learned from.
        edges: float32[19], the cosines below which 1/20, 2/20 .. of the held-out rows lay.
        added: uint32[20], added rows between the edges; those at an edge count above it.
    """

    learned: int
    edges: NDArray[np.float32]
    added: NDArray[np.uint32]

    @classmethod
    def of(cls, learned: int, cosines: NDArray[np.float32]) -> Fit:
        """From the cosines of held-out rows with their block: float32[h], h > 0."""
        shares = np.arange(1, PARTS) / PARTS
        edges = np.quantile(cosines, shares).astype(np.float32)
        return cls(learned, edges, np.zeros(PARTS, np.uint32))

    def plus(self, cosines: NDArray[np.float32]) -> Fit:
        """With rows added whose cosines with their block are `cosines: float32[m]`."""
        parts = np.searchsorted(self.edges, cosines, side="right")
        counts = np.bincount(parts, minlength=PARTS).astype(np.uint32)
        return Fit(self.learned, self.edges, self.added + counts)

    @property
    def count(self) -> int:
        """How many rows were added since the blocks were learned."""
        return int(self.added.sum(dtype=np.int64))

    @property
    def drift(self) -> float:
        """The statistic above, in [0, 1]; 0 while nothing was added."""
        if not self.count:
            return 0.0
        below = np.cumsum(self.added, dtype=np.int64)[:EDGES] / self.count
        return max(0.0, float((below - np.arange(1, PARTS) / PARTS).max()))

    def stale(self, rows: int, most_drift: float, most_growth: float) -> bool:
        """Whether blocks should be learned anew for `rows` rows in all.

        They should when the drift exceeds `most_drift` by more than chance explains for this
        number of added rows; when more than the share `most_growth` was added, because a dimension
        that holds more rows than it was learned for is coarser; or when half of the rows is gone.
        """
        chance = 0.5 / math.sqrt(max(self.count, 1))
        return (
            self.drift > most_drift + chance
            or self.count > most_growth * self.learned
            or 2 * rows < self.learned
        )
