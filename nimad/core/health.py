"""Health: which parts of a store are out of service, and why.  Nothing else keeps such a note."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Health:
    """Given to each part that can be damaged; safe to use from many threads.

    A part that finds itself damaged calls `fail`, goes on with what is left, and mends itself in
    idle time (`Projection.follow`); then it calls `restore`.  Queries, `status` and `doctor` show
    what stands here as `degraded`.
    """

    def __init__(self, on_fail: Callable[[], None] = lambda: None) -> None:
        """`on_fail` is called after each new failure: there is something to mend in idle time."""
        self.on_fail = on_fail
        self._reasons: dict[str, str] = {}
        self._lock = threading.Lock()

    def fail(self, part: str, why: str) -> None:
        """A part is out of service; a later reason takes the place of an earlier one."""
        with self._lock:
            known = self._reasons.get(part)
            self._reasons[part] = why
        if known is None:
            self.on_fail()

    def restore(self, part: str) -> bool:
        """A part is whole again; whether it was out of service."""
        with self._lock:
            return self._reasons.pop(part, None) is not None

    def reason(self, part: str) -> str | None:
        """Why a part is out of service; None while it serves."""
        return self._reasons.get(part)

    def reasons(self) -> dict[str, str]:
        """Name → reason of each part that is out of service: a copy."""
        with self._lock:
            return dict(self._reasons)
