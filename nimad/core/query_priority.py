"""Work in the background pauses while a query waits or is being answered.

Both compute in Python, so side by side each would take twice as long, and whoever comes back from
SQLite or a kernel waits for the interpreter.  The pause has an end, so that an endless run of
queries does not keep a transaction open, and after such a pause the work goes on for a while.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType

LONGEST_PAUSE = 0.05
"""A pause ends after this time, even if a query is still under way [seconds]."""
SHORT_PAUSE = 0.01
"""The same of work for which a client waits, too, and of open transactions [seconds]."""
WORK_SHARE = 5
"""After a pause that ended so, none begins for this part of it: beside queries without an end the
work takes six times as long, and no more."""
LATELY = 3.0
"""Time after a query for which more are expected [seconds]."""


class QueryPriority:
    """`with priority:` answers a query; `yield_to_queries()` waits for those under way."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._queries = self._pausing = 0
        self._working_until = 0.0
        self._last = -LATELY

    def __enter__(self) -> None:
        with self._changed:
            self._queries += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._queries -= 1
            self._last = time.monotonic()
            if self._pausing and not self._queries:
                self._changed.notify_all()

    @property
    def asked_lately(self) -> bool:
        """Whether a query is under way, or was a moment ago."""
        return bool(self._queries) or time.monotonic() < self._last + LATELY

    def yield_to_queries(self, longest: float = LONGEST_PAUSE) -> None:
        """Return when no query is under way, or after some seconds.  Costs nothing when idle."""
        if not self._queries or time.monotonic() < self._working_until:
            return
        with self._changed:
            self._pausing += 1
            try:
                calm = self._changed.wait_for(lambda: not self._queries, longest)
            finally:
                self._pausing -= 1
        if not calm:
            self._working_until = time.monotonic() + longest / WORK_SHARE
