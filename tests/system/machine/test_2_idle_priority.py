"""Under the real unit, behind all its walls, idle work runs at SCHED_IDLE and comes back."""

from __future__ import annotations

from tests.system.machine.conftest import FEW, Ask, wait_until_done
from tests.system.machine.emulated import Emulated

WATCH = """
import os, sys, time
pid, seen = sys.argv[1], set()
for _ in range(300):
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            seen.add(os.sched_getscheduler(int(thread)))
        except ProcessLookupError:
            pass
    if os.SCHED_IDLE in seen:
        break
    time.sleep(0.2)
print(sorted(seen))
"""


def test_the_thread_yields(board: Emulated, ask: Ask) -> None:
    pid = board.run("systemctl show nimad --property MainPID --value").strip()
    ask("migrate /home/maya/few.sqlite --strategy incremental")
    assert board.run(f"python3 -c '{WATCH}' {pid}").strip() == "[0, 5]", "SCHED_OTHER, SCHED_IDLE"
    source = wait_until_done(ask, "few", 900)
    assert source["verified"] == FEW, ask("migrate --status few")


def test_nothing_forbade_it(board: Emulated) -> None:
    """The filter of system calls, RestrictRealtime and the limit of niceness let it down and up."""
    assert "SCHED_BATCH" not in board.run("journalctl --unit nimad --no-pager")
    pid = board.run("systemctl show nimad --property MainPID --value").strip()
    limit = board.run(f"grep 'Max nice' /proc/{pid}/limits").split()
    assert limit[-2:] == ["20", "20"]
