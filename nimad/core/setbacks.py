"""What could not be done in the background: why, and when it is tried again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from nimad.dataclass import dataclass
from nimad.errors import Busy, NimadError

FIRST_PAUSE = 60.0
"""Pause after the first failure of a piece of work; each further one doubles it [seconds]."""
LONGEST_PAUSE = 3600.0
"""Pause that is never exceeded [seconds]."""
LONGEST_WHEN_BUSY = FIRST_PAUSE
"""The same after `Busy`: who is in the way, a long look of nimad's own, say, will be gone soon, a
try costs little, and a purge that met them three times should not wait for minutes [seconds]."""


@dataclass(frozen=True, slots=True)
class Setback:
    """A piece of work that failed `times` in a row, and when it is due again (by the clock)."""

    why: str
    times: int
    due: float


class Setbacks:
    """One piece of work that fails is tried more and more seldom, and never stops the others.

    Safe to use from many threads.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, Setback] = {}
        self._lock = threading.Lock()

    def note(self, work: str, error: BaseException) -> Setback:
        """It failed; `remaining` tells the pause."""
        why = describe(error)
        with self._lock:
            before = self._known.get(work)
            times = before.times + 1 if before else 1
            longest = LONGEST_WHEN_BUSY if isinstance(error, Busy) else LONGEST_PAUSE
            pause = min(longest, FIRST_PAUSE * 2 ** min(times - 1, 20))
            self._known[work] = setback = Setback(why, times, self._clock() + pause)
        return setback

    def clear(self, work: str | None = None) -> None:
        """It succeeded; without a name: the cause may be gone, so everything is tried at once."""
        with self._lock:
            if work is None:
                self._known.clear()
            else:
                self._known.pop(work, None)

    def remaining(self, work: str) -> float:
        """Time until it is tried again; 0 when it may be tried now [seconds]."""
        setback = self._known.get(work)
        return 0.0 if setback is None else max(0.0, setback.due - self._clock())

    def due_in(self) -> float | None:
        """Time until the next piece is due again [seconds]; None when nothing failed."""
        with self._lock:
            due = [setback.due for setback in self._known.values()]
        return max(0.0, min(due) - self._clock()) if due else None

    def reasons(self) -> dict[str, str]:
        """Work → why it failed the last time."""
        with self._lock:
            return {work: setback.why for work, setback in self._known.items()}


def describe(error: BaseException) -> str:
    """What went wrong, in a line."""
    return error.message if isinstance(error, NimadError) else f"{type(error).__name__}: {error}"
