"""The order by fingerprints of rows that came after those whose order is mapped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LATE, LATE_SHARE = 8192, 4
"""Rows behind those in order that are looked at one by one; more of them, and of one for each
LATE_SHARE before them, are put in order: 0.1 us a row."""


class LateOrder:
    """For many threads, as long as nothing is cleared: two may put the same rows in order."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """The rows are others now."""
        self._kept = (0, 0, np.zeros(0, np.uint32))

    def of(self, prints: NDArray[np.int64], start: int) -> NDArray[np.uint32]:
        """The rows from `start` on by `prints: int64[n]`, without those that came last."""
        first, end, order = self._kept
        if first != start:
            end, order = start, order[:0]
        if len(prints) - end >= max(LATE, (end - start) // LATE_SHARE):
            order = (np.argsort(prints[start:], kind="stable") + start).astype(np.uint32)
            self._kept = start, len(prints), order
        return order
