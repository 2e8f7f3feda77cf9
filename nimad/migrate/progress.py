"""How far a source is, how fast it goes, and when it will be done: kept in memory, per source.

A row passes four stages that cost differently; WEIGHTS makes them comparable, so that one share and
one ETA hold for the whole way.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from nimad.model import COUNTED_STAGES, Stage
from nimad.store.sources import Source

WEIGHTS = dict(zip(COUNTED_STAGES, (0.25, 0.35, 0.15, 0.25), strict=True))
"""Share of the time that each stage takes."""
DENSE = 0.8
"""Of the time of encoding, what converting takes where a source has hypervectors."""


@dataclass
class Progress:
    """One source's way, as seen by this process."""

    clock: Callable[[], float] = time.monotonic
    batches: int = 0
    batch_seconds: list[float] = field(default_factory=list)
    retries: int = 0
    ahead: dict[Stage, int] = field(default_factory=dict)
    """Rows of a stage that are done, but in memory only: vectors gathered, rows compared."""
    _began: float = 0.0
    _share: float = 0.0
    _rows: int = 0

    def begin(self, source: Source) -> None:
        """Work begins, or goes on after a pause: rates count from here."""
        self._began, self._share, self._rows = self.clock(), self.share(source), source.copied

    def batch(self, seconds: float) -> None:
        """A batch is done."""
        self.batches += 1
        self.batch_seconds.append(seconds)
        del self.batch_seconds[:-1000]

    def share(self, source: Source) -> float:
        """How much of all the work is done, within [0, 1]."""
        if source.stage == Stage.VERIFIED or not source.total:
            return 1.0 if source.stage == Stage.VERIFIED else 0.0
        parts = {name: min(1.0, self.done(source, name) / source.total) for name in WEIGHTS}
        if source.total_dense and source.stage in (Stage.COPIED, Stage.ENCODED):
            converted = min(1.0, source.converted / source.total_dense)
            parts[Stage.ENCODED] = (1 - DENSE) * parts[Stage.ENCODED] + DENSE * converted
        return min(1.0, sum(weight * parts[name] for name, weight in WEIGHTS.items()))

    def done(self, source: Source, stage: Stage) -> int:
        """Rows that have come as far as `stage`, those in memory included."""
        if source.stage in COUNTED_STAGES[COUNTED_STAGES.index(stage) :]:
            return source.total
        return min(source.total, int(getattr(source, stage)) + self.ahead.get(stage, 0))

    def eta(self, source: Source) -> float | None:
        """Seconds that are left at this pace; None while there is no pace yet."""
        share, elapsed = self.share(source), self.elapsed()
        gained = share - self._share
        if source.stage == Stage.VERIFIED:
            return 0.0
        if gained <= 0 or elapsed <= 0:
            return None
        return elapsed * (1 - share) / gained

    def rows_per_second(self, source: Source) -> float:
        """Memories that went the whole way per second, as far as one can say now."""
        gained, elapsed = self.share(source) - self._share, self.elapsed()
        return source.total * gained / elapsed if gained > 0 and elapsed > 0 else 0.0

    def elapsed(self) -> float:
        """Seconds since the work began in this process."""
        return self.clock() - self._began if self._began else 0.0

    def batches_in_all(self, done: int, total: int, size: int) -> int:
        """How many batches the stage under way will have had in the end."""
        return self.batches + math.ceil(max(0, total - done) / max(1, size))
