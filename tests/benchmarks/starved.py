"""What a thread at a low priority costs whoever needs the interpreter, while processors are busy.

    python -m tests.benchmarks.starved      beside no, two and four busy processes: 75 seconds

A thread counts in Python at one policy; another sleeps 20 ms again and again and notes how much
later than that it got the interpreter.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

POLICIES = {"usual": os.SCHED_OTHER, "batch": os.SCHED_BATCH, "idle": os.SCHED_IDLE}
SLEEP, SECONDS = 0.02, 8.0


def late(policy: int) -> list[float]:
    """How much too late the sleeper woke, sorted [milliseconds]."""
    stop = threading.Event()

    def work() -> None:
        os.sched_setscheduler(0, policy, os.sched_param(0))
        while not stop.is_set():
            sum(range(1000))

    thread = threading.Thread(target=work)
    thread.start()
    found, end = [], time.monotonic() + SECONDS
    while time.monotonic() < end:
        began = time.perf_counter()
        time.sleep(SLEEP)
        found.append((time.perf_counter() - began - SLEEP) * 1000)
    stop.set()
    thread.join()
    return sorted(found)


def main() -> None:
    for number in (0, 2, 4):
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
        for name, policy in POLICIES.items():
            took = late(policy)
            print(f"{number} busy, {name}: p50 {took[len(took) // 2]:.1f} ms, worst {took[-1]:.1f}")
        for process in busy:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
