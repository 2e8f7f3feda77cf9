"""A migration within 256 MB: batches shrink and grow, nothing is killed, everything arrives.

The tests share one machine and go in order.
"""

from __future__ import annotations

import re
import time

from tests.system.machine.conftest import MEMORY_MAX, NODES, Ask, wait_until_done
from tests.system.machine.emulated import Emulated

GROUP = "/sys/fs/cgroup/system.slice/nimad.service"
CHANGE = re.compile(r"Batch size (\d+) → (\d+) \((.*)\)")


def events(board: Emulated) -> dict[str, int]:
    """memory.events of the unit."""
    lines = board.run(f"cat {GROUP}/memory.events").splitlines()
    return {name: int(number) for name, _, number in (line.partition(" ") for line in lines)}


def test_the_limit_holds(board: Emulated, ask: Ask) -> None:
    assert ask("status")["memories"] == 0
    assert board.run(f"cat {GROUP}/memory.max").strip() == str(256 << 20), MEMORY_MAX
    assert ask("status")["memory"]["available_bytes"] < 256 << 20


def test_all_memories_come_over(board: Emulated, ask: Ask) -> None:
    began = time.monotonic()
    ask("migrate /home/maya/graph.sqlite --strategy full", timeout=600)
    source = wait_until_done(ask, "graph", 1800)
    print(f"{NODES} memories in {time.monotonic() - began:.0f} s, emulated")
    assert source["state"] == "verified", source
    assert source["verified"] == NODES and not source["error"]
    assert ask("status")["degraded"] == {}
    assert ask("doctor", timeout=900)["problems"] == []


def test_nothing_was_killed(board: Emulated) -> None:
    seen = events(board)
    peak = int(board.run(f"cat {GROUP}/memory.peak 2>/dev/null || echo 0"))
    print(f"memory.events {seen}, peak {peak / (1 << 20):.0f} MiB")
    assert seen["oom"] == seen["oom_kill"] == 0
    assert board.run("systemctl show nimad -p NRestarts --value").strip() == "0"


def test_the_batches_shrank_and_grew(board: Emulated) -> None:
    log = board.run("cat /var/lib/nimad/migration.log")
    changes = [(int(old), int(new), why) for old, new, why in CHANGE.findall(log)]
    print("\n".join(f"{old} → {new}: {why}" for old, new, why in changes))
    shrank = [why for old, new, why in changes if new < old]
    assert any("memory" in why for why in shrank), "memory was short, and it was noticed"
    assert any(new > old for old, new, _ in changes)
