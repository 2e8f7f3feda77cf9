"""How many rows the next batch has: additive increase, multiplicative decrease.

A batch that took less time than it should lets the next one grow by a fixed step; one that took
much longer, ran out of memory, or found memory short halves it.  Memory is short when what can be
had (on the machine, and within the limits of the control group) does not hold a batch beside the
reserve, and when tasks wait for memory: then the kernel already takes pages away.
Source: D. Chiu, R. Jain: Analysis of the increase and decrease algorithms for congestion avoidance
in computer networks, 1989.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from nimad.background.idle_conditions import GATED_SECONDS
from nimad.config import Config
from nimad.dataclass import dataclass
from nimad.probe import cgroup, memory, pressure
from nimad.probe.board import board as this_board

START_ROWS = {"pi": 300, "arm64": 500, "x86_64": 1000}
"""First batch by kind of board, when it may take USUAL_SECONDS [rows]; from the legacy guide."""
USUAL_SECONDS = 2.0
OTHER_START = 300
ROW_BYTES = 24 * 1024
"""Memory that a row in flight may need [bytes]: the texts it may have, not those it usually has."""
TOO_SLOW = 1.5
"""A batch this much over its time halves the next one."""
MOST_PRESSURE = 0.10
"""Tasks that wait for memory more of the time than this halve the next batch."""
LOOK_SECONDS = 0.5
"""Memory and pressure are looked at no more often than this [seconds]."""

TOLD_PART = 8
"""A change smaller than this part of the size that was told last is not told."""


@dataclass(frozen=True)
class Bounds:
    """What a batch may be: rows from `least` to `most`, and how long it should take [seconds]."""

    least: int = 50
    most: int = 5000
    seconds: float = 2.0
    reserve_bytes: int = 128 << 20


class Surroundings:
    """Free memory and memory pressure, looked at no more often than needed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        paths = [pressure.PRESSURE / "memory", *cgroup.pressure_files()]
        self._stalls = pressure.Stalls(paths, LOOK_SECONDS, clock)
        self._at = -LOOK_SECONDS
        self._available = 0

    def available(self) -> int:
        """Memory that can be had [bytes], at most LOOK_SECONDS old."""
        if (now := self._clock()) - self._at >= LOOK_SECONDS:
            self._at, self._available = now, memory.available_memory()
        return self._available

    def pressure(self) -> float | None:
        """How much of the time tasks waited for memory [0, 1]; None when looked at just now."""
        return self._stalls.share()


def bounds(config: Config, gated: bool) -> Bounds:
    """What the configuration lets a batch be; a `gated` one has less time: requests wait for it."""
    seconds = config["migration.batch_seconds"]
    return Bounds(
        least=min(config["migration.min_batch"], 16) if gated else config["migration.min_batch"],
        most=config["migration.max_batch"],
        seconds=min(seconds, GATED_SECONDS) if gated else seconds,
        reserve_bytes=config["migration.reserve_mb"] << 20,
    )


class Batcher:
    """Gives the size of each batch and learns from how the last one went.

    `fixed` rows (0: none) switch the learning off, except after a memory error: what did not fit
    would not fit again.  `available` tells the memory that can be had [bytes], `pressure` how much
    of the time tasks wait for memory [0, 1] (None: nothing new).  `changed` is told of each change
    that is worth it: old size, new size, why.

    Attributes:
        size: rows of a batch as things are.
        reason: why it is that, in words.
    """

    def __init__(
        self,
        bounds: Bounds,
        fixed: int = 0,
        available: Callable[[], int] | None = None,
        board: Callable[[], str] = this_board,
        pressure: Callable[[], float | None] | None = None,
        changed: Callable[[int, int, str], None] = lambda old, new, why: None,
    ) -> None:
        around = Surroundings()
        self._bounds = bounds
        self._fixed = fixed
        self._available = available or around.available
        self._pressure = pressure or around.pressure
        self.changed = changed
        share = min(1.0, bounds.seconds / USUAL_SECONDS)
        self._step = max(1, round(START_ROWS.get(board(), OTHER_START) * share))
        self.size = fixed or self._within(self._step)
        self._told = self.size
        self.reason = "as asked for" if fixed else f"where {board()} begins"

    def next_size(self) -> int:
        """Rows of the next batch: at least 1, and no more than free memory holds."""
        fits = self._fits()
        if not self._fixed:  # halve when memory is short
            share = self._pressure()
            if fits < self.size:
                kept = self._bounds.reserve_bytes >> 20
                free = self._available() >> 20
                why = f"lowered: {free} MiB of memory free, {kept} of them kept back"
                self._to(max(self.size // 2, fits), why)
            elif share is not None and share > MOST_PRESSURE:
                self._to(self.size // 2, f"halved: memory pressure {100 * share:.0f} %")
        if fits >= self.size:
            return self.size
        return max(1, min(self.size, max(fits, min(self._bounds.least, self.size))))

    def succeeded(self, rows: int, seconds: float) -> None:
        """A batch of `rows` was committed in `seconds`.  A partial one never grows the next."""
        if self._fixed:
            return
        target = self._bounds.seconds
        took = f"the last batch took {seconds:.2g} s of {target:g}"
        if seconds > target * TOO_SLOW:
            self._to(self.size // 2, f"halved: {took}")
        elif seconds < target and rows >= self.size:
            # never more at once than the time and the memory allow, as far as one can tell
            room = min(int(rows * target / max(seconds, 1e-6)), self._fits())
            self._to(min(self.size + self._step, max(room, self.size)), f"grown: {took}")

    def ran_out_of_memory(self) -> bool:
        """A batch did not fit: the next one is halved; False when a single row does not fit."""
        smaller = max(1, self.size // 2)
        helps = smaller < self.size
        self._set(smaller, "halved: out of memory")
        return helps

    def _fits(self) -> int:
        return max(0, self._available() - self._bounds.reserve_bytes) // ROW_BYTES

    def _to(self, rows: int, why: str) -> None:
        self._set(self._within(rows), why)

    def _set(self, rows: int, why: str) -> None:
        if rows == self.size:
            return
        self.size, self.reason = rows, why
        if abs(rows - self._told) >= self._told / TOLD_PART:
            old, self._told = self._told, rows
            self.changed(old, rows, why)

    def _within(self, rows: int) -> int:
        return max(self._bounds.least, min(self._bounds.most, rows))
