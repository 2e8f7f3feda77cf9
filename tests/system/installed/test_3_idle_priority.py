"""Under the real unit's filter of system calls, idle work runs at SCHED_IDLE, its I/O as well."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.installed.conftest import AT_REST, CONFIG, Ask
from tests.system.installed.machine import Machine
from tests.system.installed.test_2_use import main_pid
from tests.system.machine.conftest import store_of

COUNT = 3000
"""Memories that move in idle time: enough work to be seen doing it."""
WATCH = """
import os, subprocess, sys, time
pid, policies, classes = sys.argv[1], set(), set()
until = time.monotonic() + 60
while time.monotonic() < until and "idle" not in classes:
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            policy = os.sched_getscheduler(int(thread))
        except ProcessLookupError:
            continue
        policies.add(policy)
        if policy == os.SCHED_IDLE:
            shown = subprocess.run(["ionice", "-p", thread], capture_output=True, text=True).stdout
            classes.add(shown.split(":")[0].strip())
    time.sleep(0.02)
print(sorted(policies), *sorted(classes))
"""


INSTEAD = """
[Service]
AmbientCapabilities=CAP_SYS_NICE
CapabilityBoundingSet=CAP_SYS_NICE
"""
"""Where this machine lets nobody raise a limit (test-vm does): the walls stay the unit's own."""


def niceness(machine: Machine) -> str:
    """What the daemon may raise itself to: 20 is nice 0."""
    return machine.run(f"grep 'Max nice' /proc/{main_pid(machine)}/limits").stdout.split()[-1]


@pytest.fixture(scope="module", autouse=True)
def a_way_back_from_idle(machine: Machine) -> Iterator[None]:
    """The unit's LimitNICE, or INSTEAD for the tests of this file."""
    folder = "/etc/systemd/system/nimad.service.d"
    instead = niceness(machine) != "20"
    if instead:
        print("the limit of niceness cannot be raised here: CAP_SYS_NICE takes its place")
        machine.run(f"mkdir -p {folder} && cat > {folder}/nice.conf", stdin=INSTEAD)
        machine.run("systemctl daemon-reload && systemctl restart nimad")
    yield
    if instead:
        machine.run(f"rm -r {folder} && systemctl daemon-reload && systemctl restart nimad")


def test_the_thread_yields_the_processor_and_the_disk(
    machine: Machine, ask: Ask, tmp_path: Path
) -> None:
    machine.put(store_of(COUNT, tmp_path / "idle.sqlite"), "/home/maya/idle.sqlite", owner="maya")
    machine.run(f"cp {CONFIG} {CONFIG}.busy && cat >> {CONFIG}", stdin=AT_REST)
    machine.run("systemctl reload nimad")
    ask("migrate /home/maya/idle.sqlite --strategy incremental")
    seen = machine.run(f"python3 - {main_pid(machine)}", stdin=WATCH).stdout.split("] ")
    assert seen[0] == "[0, 5", "SCHED_OTHER, SCHED_IDLE"
    assert "idle" in seen[1].split()


def test_it_is_done_and_comes_back(machine: Machine, ask: Ask) -> None:
    deadline = time.monotonic() + 300
    while True:
        (source,) = ask("migrate --status idle")["sources"]
        if source["state"] == "verified":
            break
        assert source["state"] != "failed" and time.monotonic() < deadline, source
        time.sleep(2)
    assert source["verified"] == COUNT
    machine.run(f"mv {CONFIG}.busy {CONFIG} && systemctl reload nimad")


def test_nothing_forbade_it(machine: Machine) -> None:
    """The filter of system calls and RestrictRealtime let it down and up again."""
    pid = main_pid(machine)
    assert "SCHED_BATCH" not in machine.run(f"journalctl _PID={pid} --no-pager").stdout
