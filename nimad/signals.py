"""Signals that a process heeds whatever its main thread waits for.

Python runs a handler between two instructions of the main thread.  A signal that comes behind the
last of them and before a call that waits (accept, sleep, read) does not cut that short: it waits,
the signal with it, maybe for ever.  Nor does one cut short what the C library repeats by itself,
such as asking for a name.
"""

from __future__ import annotations

import os
import signal
import threading
import time

AGAIN = 0.05
"""Pause until what the main thread waits for is interrupted (again) [seconds]."""


def end_on_term() -> None:
    """From now on SIGTERM ends the process with 0 and nothing is taken apart: for one that leaves
    nothing to tidy up.  Threads and processes that were begun before do not know of it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait() -> None:
        signal.sigwait({signal.SIGTERM})
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def heed() -> None:
    """From now on each signal that has a handler in Python cuts short what the main thread waits
    for, once more with SIGURG until it has looked; called there."""
    heeded = True
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    waiting = threading.get_ident()

    def look(*_: object) -> None:  # after the handlers of lower signals
        nonlocal heeded
        heeded = True

    def watch() -> None:
        nonlocal heeded
        while True:
            if os.read(told, 1)[0] == signal.SIGURG:
                continue
            heeded = False
            while not heeded:
                time.sleep(AGAIN)
                signal.pthread_kill(waiting, signal.SIGURG)

    signal.signal(signal.SIGURG, look)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    threading.Thread(target=watch, daemon=True).start()
