"""How long each part of a query took: what `--explain` shows."""

from __future__ import annotations

import time

PARTS = ("wait", "words", "embed", "blocks", "cosines", "fusion", "records")
"""In the order of a query: wait for other queries and follow what changed; score the words; embed
the question; find the nearest in the blocks; compare it with these and their neighbours; fuse both
sides; read the memories that are shown."""


class Stopwatch:
    """Laps of one query; not for several threads."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._spent = dict.fromkeys(PARTS, 0.0)

    def lap(self, part: str) -> None:
        """The time since the last lap, or the start, was this part's."""
        now = time.perf_counter()
        self._spent[part] += now - self._last
        self._last = now

    def milliseconds(self) -> dict[str, float]:
        """{"words_ms": ..., ...}: one for each part, zero for what was not needed."""
        return {f"{part}_ms": round(spent * 1000, 3) for part, spent in self._spent.items()}
