"""How many rows the next batch has: additive increase, multiplicative decrease.

A batch that took less time than it should lets the next one grow by a fixed step; one that took
much longer, or ran out of memory, halves it.  Free memory bounds it from above, always.
Source: D. Chiu, R. Jain: Analysis of the increase and decrease algorithms for congestion avoidance
in computer networks, 1989.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nimad import probe

START_ROWS = {"pi": 300, "arm64": 500, "x86_64": 1000}
"""First batch by kind of board, when it may take USUAL_SECONDS [rows]; from the legacy guide."""
USUAL_SECONDS = 2.0
OTHER_START = 300
ROW_BYTES = 24 * 1024
"""Memory that a row in flight may need [bytes]: the texts it may have, not those it usually has."""
TOO_SLOW = 1.5
"""A batch this much over its time halves the next one."""


@dataclass(frozen=True)
class Bounds:
    """What a batch may be: rows from `least` to `most`, and how long it should take [seconds]."""

    least: int = 50
    most: int = 5000
    seconds: float = 2.0
    reserve_bytes: int = 128 << 20


class Batcher:
    """Gives the size of each batch and learns from how the last one went.

    `fixed` rows (0: none) switch the learning off, except after a memory error: what did not fit
    would not fit again.  `available` tells the memory that can be had [bytes].
    """

    def __init__(
        self,
        bounds: Bounds,
        fixed: int = 0,
        available: Callable[[], int] = probe.available_memory,
        board: Callable[[], str] = probe.board,
    ) -> None:
        self._bounds = bounds
        self._fixed = fixed
        self._available = available
        share = min(1.0, bounds.seconds / USUAL_SECONDS)
        self._step = max(1, round(START_ROWS.get(board(), OTHER_START) * share))
        self._size = fixed or self._within(self._step)

    @property
    def size(self) -> int:
        """Rows of a batch as things are, memory aside."""
        return self._size

    def next_size(self) -> int:
        """Rows of the next batch: at least 1, and no more than free memory holds."""
        spare = max(0, self._available() - self._bounds.reserve_bytes)
        fits = spare // ROW_BYTES
        if fits >= self._size:
            return self._size
        return max(1, min(self._size, max(fits, min(self._bounds.least, self._size))))

    def succeeded(self, rows: int, seconds: float) -> None:
        """A batch of `rows` committed after so long; one that was not full teaches nothing good."""
        if self._fixed:
            return
        if seconds > self._bounds.seconds * TOO_SLOW:
            self._size = self._within(self._size // 2)
        elif seconds < self._bounds.seconds and rows >= self._size:
            # never more at once than the time allows, as far as the last batch can tell
            room = int(rows * self._bounds.seconds / max(seconds, 1e-6))
            self._size = self._within(min(self._size + self._step, max(room, self._size)))

    def failed(self, memory_error: bool) -> bool:
        """A batch failed; after a memory error the next is half as large.

        Returns whether trying again at once can help: not when a single row does not fit.
        """
        if not memory_error:
            return False
        smaller = max(1, self._size // 2)
        helps, self._size = smaller < self._size, smaller
        return helps

    def _within(self, rows: int) -> int:
        return max(self._bounds.least, min(self._bounds.most, rows))
