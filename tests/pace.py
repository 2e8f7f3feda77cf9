"""Processor time of a test in seconds of an ordinary machine, however slow this one is just now.

A board, a busy host or a virtual machine may take several times as long for the same work.  So what
is asserted is not what the clock of processor time says: that is divided by how much longer a fixed
piece of work takes, measured before and after.
"""

from __future__ import annotations

import time
from types import TracebackType

ORDINARY = 0.05
"""Time that the fixed work takes on an ordinary x86 machine [seconds]."""


def fixed_work() -> float:
    """The processor time that it takes here [seconds]."""
    began = time.thread_time()
    sum(number * number for number in range(1_000_000))
    return time.thread_time() - began


class Pace:
    """`with Pace() as pace: ...`, then `pace.seconds`: processor time of the block, of all threads
    of this process, on an ordinary machine [seconds]."""

    seconds: float

    def __enter__(self) -> Pace:
        self._work = fixed_work()
        self._began = time.process_time()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        taken = time.process_time() - self._began
        work = max(self._work, fixed_work(), ORDINARY)
        self.seconds = taken * ORDINARY / work
