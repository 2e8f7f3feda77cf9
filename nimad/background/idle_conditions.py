"""When work that can wait may go on: a gate that is asked between small steps.

The gate of `full` is always open.  The gate of `incremental` opens when nobody has asked anything
for a while and the machine has nothing better to do (machine_idle.py); it is asked before each
step, and a gated step is kept so short that whoever asks meanwhile hardly waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

GATED_SECONDS = 0.05
"""What a step between two looks at the gate should take [seconds]."""


class IdleCondition(Protocol):
    """Lets work go on, or makes it wait."""

    def closed_for(self) -> float:
        """Seconds until it opens, or is worth another look; 0 when it is open."""

    def because(self) -> str | None:
        """Why it is closed; None when it is open."""


class Always:
    """Never makes anybody wait."""

    def closed_for(self) -> float:
        """It is open."""
        return 0.0

    def because(self) -> str | None:
        """It is open."""
        return None


class NoRecentRequests:
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

    def because(self) -> str | None:
        """How long ago somebody asked."""
        if self.closed_for() <= 0:
            return None
        ago = self._clock() - self._last
        return f"a request {ago:.1f} s ago; it waits for {self._seconds():g} s without one"


class AllOf:
    """Open when all of several conditions are; the first closed one, in order, answers."""

    def __init__(self, *gates: IdleCondition) -> None:
        self._gates = gates

    def closed_for(self) -> float:
        """What the first closed one says."""
        return next((wait for gate in self._gates if (wait := gate.closed_for()) > 0), 0.0)

    def because(self) -> str | None:
        """What the first closed one says."""
        return next((why for gate in self._gates if (why := gate.because())), None)
