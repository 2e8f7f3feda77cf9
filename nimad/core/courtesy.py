"""Lets whoever asks go first: work in the background pauses while a question is being answered.

Both compute in Python, so side by side each would take twice as long.  The pause has an end, so
that questions without end do not keep a transaction open.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType

LONGEST = 0.05
"""A pause ends after so long, whoever asks [seconds]."""
LOOK = 0.0005
"""Between two looks while it lasts [seconds]."""


class Courtesy:
    """`with courtesy:` answers a question; `give_way()` waits for those under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking = 0

    def __enter__(self) -> None:
        with self._lock:
            self._asking += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._asking -= 1

    def give_way(self) -> None:
        """Return when nobody asks, or after LONGEST.  Cost when nobody does: nothing."""
        if not self._asking:
            return
        until = time.monotonic() + LONGEST
        while self._asking and time.monotonic() < until:
            time.sleep(LOOK)
