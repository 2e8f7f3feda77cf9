"""One query on its way through the ranking: what it asks, of what, and how long each part takes."""

from __future__ import annotations

import math
import time
from datetime import tzinfo

from nimad.dataclass import dataclass
from nimad.embed.base import Embedder
from nimad.errors import QueryTooLong
from nimad.index.blocks import BlockIndex
from nimad.recall.scopes import Scope

STRICTNESS = 0.5
"""How much evidence an answer needs when nothing else is said, in [0, 1]."""
PARTS = ("wait", "words", "embed", "blocks", "cosines", "fusion", "records")
"""In the order of a query: wait for other queries and follow what changed; score the words; embed
the question; find the nearest in the blocks; compare it with these and their neighbours; fuse both
sides; read the memories that are shown."""


class Stopwatch:
    """Laps of one query, what `--explain` shows, and its end; not for several threads.  `limit`:
    what the query may take [seconds]."""

    def __init__(self, limit: float = math.inf) -> None:
        self._last = time.perf_counter()
        self._limit = limit
        self._end = self._last + limit
        self._spent = dict.fromkeys(PARTS, 0.0)

    def lap(self, part: str) -> None:
        """Count the time since the last lap, or the start, to a part.  Raises as `check` does."""
        now = time.perf_counter()
        self._spent[part] += now - self._last
        self._last = now
        self.check()

    def check(self) -> None:
        """Raise QueryTooLong when the time is up; asked between steps that may take long."""
        if time.perf_counter() > self._end:
            raise QueryTooLong(limit=f"{self._limit:g}")

    def milliseconds(self) -> dict[str, float]:
        """{"words_ms": ..., ...}: one for each part, zero for what was not needed."""
        return {f"{part}_ms": round(spent * 1000, 3) for part, spent in self._spent.items()}


@dataclass(frozen=True, slots=True)
class QueryContext:
    """The query's text and bounds, and the parts of the store that it runs on.  `mode` is hybrid,
    meaning or words; `now` [epoch milliseconds] is what "yesterday" counts from, in `zone`;
    `strictness` says how much evidence an answer needs (`nimad.recall.evidence`)."""

    text: str
    k: int
    mode: str
    scope: Scope
    now: int
    zone: tzinfo
    blocks: BlockIndex
    embedder: Embedder
    watch: Stopwatch
    strictness: float = STRICTNESS
