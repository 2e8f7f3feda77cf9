"""The chains of the columns as slices: what is one row on, without looking every row up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


class Links:
    """The neighbours of rows at one version of the columns; immutable.

    Turns mostly come one after the other, so a neighbour is the row beside; those few that are
    elsewhere (sessions that went on at the same time) are looked up.
    """

    def __init__(self, before: NDArray[np.int32], after: NDArray[np.int32]) -> None:
        """`before`, `after`: int32[n], the row of each row's neighbour, or -1."""
        count = len(before)
        self._joined = (before[1:] == np.arange(count - 1)).astype(np.float32)
        self._sides = []
        for chain, step in ((before, -1), (after, 1)):
            far = np.flatnonzero((chain >= 0) & (chain != np.arange(step, count + step)))
            self._sides.append((far, chain[far].astype(np.int64)))

    def beside(self, values: Floats, out: Floats, *, earlier: bool) -> None:
        """out[r] = the value of the neighbour of row r; 0 where it has none."""
        if not len(out):
            return
        if earlier:
            np.multiply(values[:-1], self._joined, out=out[1:])
            out[0] = 0
        else:
            np.multiply(values[1:], self._joined, out=out[:-1])
            out[-1] = 0
        far, there = self._sides[not earlier]
        out[far] = values[there]
