"""Processor time of a test, however slow this machine is just now.

A board, a busy host or a virtual machine may take several times as long for the same work.  So what
is asserted is not what the clock of processor time says: that is divided by how much longer than
`ORDINARY` a fixed piece of work takes, measured before and after.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

ORDINARY = 0.05
"""Time of the fixed work on the machine in whose seconds bounds are given [seconds]."""


class Pace:
    """What `measure_pace` found."""

    seconds: float
    """Processor time of the block, of all threads of this process, on that machine [seconds]."""


def slowness() -> float:
    """How many times as long as there the fixed work takes here; at least 1."""
    began = time.thread_time()
    sum(number * number for number in range(1_000_000))
    return max(1.0, (time.thread_time() - began) / ORDINARY)


@contextmanager
def measure_pace() -> Iterator[Pace]:
    """Measure a block; the result is there after it."""
    pace, before, began = Pace(), slowness(), time.process_time()
    yield pace
    pace.seconds = (time.process_time() - began) / max(before, slowness())
