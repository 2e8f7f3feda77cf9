"""Pressure: how much of the time a task had to wait for a processor, or for memory.

The kernel tells it per resource (pressure stall information, PSI): a share averaged over the last
10 seconds, and the sum of all waiting, from which the share of any stretch can be told at once.
Some kernels are told not to (Raspberry Pi OS: `psi=1` in cmdline.txt): then there is the load
average, which takes a minute to follow, and what a single thread has waited.
Source: Linux, Documentation/accounting/psi.rst and Documentation/scheduler/sched-stats.rst.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from nimad.probe.board import read

PRESSURE = Path("/proc/pressure")
THREADS = Path("/proc/self/task")
WINDOW = 10.0
"""What the kernel averages over; a stretch longer than this is told as that average [seconds]."""


def load() -> float:
    """Load average of the last minute: tasks that run, want to, or wait for a disk."""
    return os.getloadavg()[0]


def waited(thread: int) -> float | None:
    """What a thread of this process has waited for a processor in all [seconds]; None: not told."""
    try:
        fields = (THREADS / str(thread) / "schedstat").read_text().split()
        return int(fields[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None


class Stalls:
    """How much tasks waited since the last look: the highest share among several files.  A look
    less than `least` seconds after the last one tells nothing: so short a stretch is noise."""

    def __init__(
        self, paths: Sequence[Path], least: float = 0.5, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._paths, self._least, self._clock = paths, least, clock
        self._seen = {path: some(path, "total") for path in paths}
        self._at = clock()

    @property
    def told(self) -> bool:
        """Whether the kernel tells anything at all."""
        return any(total is not None for total in self._seen.values())

    def share(self) -> float | None:
        """[0, 1] since the last look; None when it was just now, or nothing is told.  Cost: 30 us a
        file."""
        now = self._clock()
        elapsed = now - self._at
        if elapsed < self._least:
            return None
        self._at = now
        shares = []
        for path in self._paths:
            before, total = self._seen[path], some(path, "total")
            self._seen[path] = total
            if total is None or before is None:
                continue
            if elapsed <= WINDOW:
                shares.append(min(1.0, max(0.0, (total - before) / 1e6 / elapsed)))
            elif (average := some(path, "avg10")) is not None:
                shares.append(average / 100)
        return max(shares, default=None)


def some(path: Path, field: str) -> float | None:
    """A field of the line "some avg10=0.00 avg60=0.00 avg300=0.00 total=0"; None: not told."""
    for part in read(path).partition("\n")[0].split():  # "": no such file, or switched off
        name, _, value = part.partition("=")
        if name == field:
            return float(value)
    return None
