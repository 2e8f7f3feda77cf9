"""When work that can wait may go on: a gate that is asked between small steps.

The gate of `full` is always open.  The gate of `incremental` opens when nobody has asked anything
for a while; it is asked before each step, and a gated step is kept so short that whoever asks
meanwhile hardly waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

GATED_SECONDS = 0.05
"""What a step between two looks at the gate should take [seconds]."""


class Gate(Protocol):
    """Lets work go on, or makes it wait."""

    def closed_for(self) -> float:
        """Seconds until it opens if nothing happens meanwhile; 0 when it is open."""


class Open:
    """Never makes anybody wait."""

    def closed_for(self) -> float:
        """It is open."""
        return 0.0


class Quiet:
    """Opens when there has been no request for `seconds()`.

    `touch` is called for each request, from any thread.
    """

    def __init__(
        self, seconds: Callable[[], float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._last = -1e9

    def touch(self) -> None:
        """Somebody asked something."""
        self._last = self._clock()

    def closed_for(self) -> float:
        """Seconds of quiet that are still missing."""
        return max(0.0, self._last + self._seconds() - self._clock())
