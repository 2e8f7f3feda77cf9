"""Work in the background pauses while a query is being answered.

Both compute in Python, so side by side each would take twice as long.  The pause has an end, so
that an endless run of queries does not keep a transaction open.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType

LONGEST_PAUSE = 0.05
"""A pause ends after this time, even if a query is still under way [seconds]."""
SHORT_PAUSE = 0.01
"""The same of work for which a client waits, too [seconds]."""
POLL_INTERVAL = 0.0005
"""Time between two looks during a pause [seconds]."""


class QueryPriority:
    """`with priority:` answers a query; `yield_to_queries()` waits for those under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queries = 0

    def __enter__(self) -> None:
        with self._lock:
            self._queries += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._queries -= 1

    def yield_to_queries(self, longest: float = LONGEST_PAUSE) -> None:
        """Return when no query is under way, or after some seconds.  Costs nothing when idle."""
        if not self._queries:
            return
        until = time.monotonic() + longest
        while self._queries and time.monotonic() < until:
            time.sleep(POLL_INTERVAL)
