"""A segment with the tombstones of its rows, at one moment."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nimad.index.kernels.contract import Marks
from nimad.index.quantise import Ids
from nimad.index.rowsets import marked
from nimad.index.segment import Segment


@dataclass(frozen=True)
class Sealed:
    """A segment and which of its rows are live.

    Attributes:
        alive: bitmap over the rows, bit (row % 8) of byte row // 8; None: all of them.
        dead: how many are not.
    """

    segment: Segment
    alive: NDArray[np.uint8] | None = None
    dead: int = 0

    @functools.cached_property
    def marks(self) -> Marks | None:
        """The live rows with a direction as the kernels want them; None: all."""
        if self.alive is None:
            return None
        scored = self.segment.meta.scored
        alive = np.unpackbits(self.alive, bitorder="little", count=scored).view(np.bool_)
        return Marks.of(self.segment.space, alive)

    def live(self, rows: Ids) -> Ids:
        """Those of `rows` that exist (not -1) and are live."""
        rows = rows[rows >= 0]
        if self.alive is None:
            return rows
        return rows[marked(self.alive, rows)]

    def every(self) -> Ids:
        """All live rows, ascending."""
        return self.live(np.arange(self.segment.meta.rows))

    def without(self, ids: Ids) -> Sealed:
        """With the rows of these ids (ascending) struck out; copies one bit a row."""
        meta = self.segment.meta
        if not len(ids) or ids[0] > meta.last or ids[-1] < meta.first:
            return self
        rows = self.live(self.segment.rows_of(ids))
        if not len(rows):
            return self
        size = -(-meta.rows // 8)
        alive = np.full(size, 0xFF, np.uint8) if self.alive is None else self.alive.copy()
        np.bitwise_and.at(alive, rows >> 3, ~(np.uint8(1) << (rows & 7).astype(np.uint8)))
        return Sealed(self.segment, alive, self.dead + len(rows))
