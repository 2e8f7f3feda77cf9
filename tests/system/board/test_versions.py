"""Two versions of nimad side by side: `make test-pi BEFORE=earlier.deb`.

Each has a machine of its own, and they take each step in turn, so that both meet the same load.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.system.board.conftest import MEMORIES, REST, ask_board, made_board, measure, ready
from tests.system.machine.conftest import wait_until_done
from tests.system.machine.emulated import Emulated

STARTS = 5
"""Starts whose median is told."""
BEFORE = os.environ.get("NIMAD_PI_BEFORE", "")

pytestmark = pytest.mark.skipif(not BEFORE, reason="no package to compare with: BEFORE=")
Figures = dict[str, float]
machine = contextmanager(made_board)


def starts(board: Emulated) -> float:
    """Median time until READY of some restarts [seconds]."""
    took = []
    for _ in range(STARTS):
        board.run("systemctl restart nimad", timeout=900)
        took.append(ready(board))
    return statistics.median(took)


def install(board: Emulated) -> Figures:
    board.run("apt-get install -y /var/tmp/nimad.deb", timeout=1800)
    board.run("usermod -aG nimad maya")
    ready(board)
    return {"start_s_empty": starts(board)}


def rest_empty(board: Emulated) -> Figures:
    time.sleep(REST)
    return {"idle_pss_mib_empty": measure(board, "memory")["pss_mib"]}


def remember(board: Emulated) -> Figures:
    found: Figures = measure(board, "remember", 1000)
    return found


def migrate(board: Emulated) -> Figures:
    began = time.monotonic()
    board.run("nimactl migrate /home/maya/graph.sqlite --strategy full", user="maya", timeout=900)

    def ask(arguments: str) -> Any:
        return ask_board(board, arguments)

    source = wait_until_done(ask, "graph", 3600)
    assert source["state"] == "verified" and source["verified"] == MEMORIES
    took = round(time.monotonic() - began)
    peak = measure(board, "memory")["peak_rss_mib"]
    return {"migration_s": took, "migration_peak_rss_mib": peak}


def query(board: Emulated) -> Figures:
    found: Figures = measure(board, "query", 100)
    found["nimactl_minus_python_ms"] = round(found["nimactl_query_ms"] - found["python_ms"], 1)
    return found


def rest_used(board: Emulated) -> Figures:
    time.sleep(REST)
    return {"used_pss_mib": measure(board, "memory")["pss_mib"]}


def restart(board: Emulated) -> Figures:
    return {"start_s": starts(board)}


STEPS = (install, rest_empty, remember, migrate, query, rest_used, restart)
EXACT = ("idle_pss_mib_empty", "used_pss_mib", "migration_peak_rss_mib", "remember_kib")
"""Figures that do not depend on the load: none may be a twentieth more than before."""


@pytest.fixture
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Emulated]]:
    packages = {"before": BEFORE, "now": os.environ["NIMAD_PI_DEB"]}
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(machine(tmp_path_factory.mktemp(name), package))
            for name, package in packages.items()
        }


def test_side_by_side(boards: dict[str, Emulated], report: dict[str, Any]) -> None:
    found: dict[str, Figures] = {name: {} for name in boards}
    for step in STEPS:
        for name, board in boards.items():
            found[name] |= step(board)
            print(f"{time.strftime('%X')} {name}, {step.__name__}: {found[name]}", flush=True)
    before, now = found["before"], found["now"]
    for name, value in now.items():
        ratio = round(before[name] / value, 2) if value else None
        report[name] = {"before": before[name], "now": value, "times less": ratio}
    more = {name for name in EXACT if now[name] > 1.05 * before[name]}
    assert not more, report
