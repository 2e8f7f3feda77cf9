"""The priority of one thread: SCHED_IDLE and the idle I/O class, and back.

A thread at SCHED_IDLE runs when no other wants its processor.  That is dangerous for a thread
that holds what others need, a lock or the interpreter: so a request that waits for it lifts it.
The kernel lets a thread leave SCHED_IDLE only with CAP_SYS_NICE or an RLIMIT_NICE of 20 (nice 0),
which the unit grants (LimitNICE=+0).  Where neither is given, SCHED_BATCH takes its place: it never
preempts, but shares the processor like any other thread, and can be left.
Source: sched(7), ioprio_set(2).
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from contextlib import suppress

import psutil

log = logging.getLogger(__name__)

NOTHING = os.sched_param(0)
"""The only parameter that the policies used here take."""


@functools.cache
def lowest() -> int:
    """SCHED_IDLE when a thread of this process can leave it again, else SCHED_BATCH.  Tried out
    once, on a thread that ends with the trial."""
    failed: list[OSError] = []

    def trial() -> None:
        try:
            os.sched_setscheduler(0, os.SCHED_IDLE, NOTHING)
            os.sched_setscheduler(0, os.SCHED_OTHER, NOTHING)
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=trial, name="trial")
    thread.start()
    thread.join()
    if not failed:
        return os.SCHED_IDLE
    log.warning(
        "work that waits for an idle moment runs at SCHED_BATCH, not SCHED_IDLE (%s);"
        " LimitNICE=+0 in the unit, or `ulimit -e 20`, permits it",
        failed[0].strerror,
    )
    return os.SCHED_BATCH


def take_usual() -> None:
    """Run this thread as usual, whatever the one that started it had, which it would take over."""
    Priority()._set(os.SCHED_OTHER, psutil.IOPRIO_CLASS_NONE)


class Priority:
    """The priority of the thread that made it.  `lift` may be called from any thread."""

    def __init__(self) -> None:
        self._thread = threading.get_native_id()
        self._lock = threading.Lock()
        self._low = False
        self._process: psutil.Process | None = None
        with suppress(psutil.Error, OSError):
            self._process = psutil.Process(self._thread)  # the kernel takes thread ids, too

    def lower(self) -> None:
        """Yield the processor and the disk to all others.  Never raises.  Cost: 0.1 ms once."""
        with self._lock:
            if not self._low:
                self._low = True
                self._set(lowest(), psutil.IOPRIO_CLASS_IDLE)

    def lift(self) -> None:
        """Run at the usual priority from now on.  Never raises; free when it does already."""
        if not self._low:
            return
        with self._lock:
            if self._low:
                self._low = False
                self._set(os.SCHED_OTHER, psutil.IOPRIO_CLASS_NONE)

    def _set(self, policy: int, io_class: int) -> None:
        try:
            os.sched_setscheduler(self._thread, policy, NOTHING)
        except OSError as error:
            log.debug("the scheduling policy was not changed: %s", error)
        if self._process is not None:
            try:
                self._process.ionice(io_class)
            except (psutil.Error, OSError, ValueError) as error:
                log.debug("the I/O class was not changed: %s", error)
