"""nimactl migrate --follow on a real daemon: through restarts, without a copy, to a clean end."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.legacy import stores
from tests.process import DaemonProcess
from tests.system.test_nimactl import CONFIG, Tool
from tests.threads import PATIENCE


@pytest.fixture
def tool(tmp_path: Path) -> Iterator[Tool]:
    # whether other tests keep the machine busy is of no interest here
    calm = "migration: {idle_seconds: 0}\n"
    daemon = DaemonProcess(tmp_path, CONFIG + calm, fork=True)
    try:
        yield Tool(daemon.start())
    finally:
        daemon.finish()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "agent").mkdir()
    return stores.small_store(tmp_path / "agent" / "graph.sqlite")


def follow(tool: Tool, source: Path) -> subprocess.Popen[str]:
    process = tool.start("migrate", source, "--follow", "--every", "1")
    assert process.stdout and "30 memories" in process.stdout.readline()
    return process


def wait_for(done: Callable[[], bool], seconds: float = PATIENCE) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until
        time.sleep(0.1)


def verified(tool: Tool, memories: int) -> bool:
    (told,) = tool.daemon.call("migrate.status")["sources"]
    return told["state"] == "verified" and told["verified"] == memories


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_follows_until_it_is_told_to_end(
    tool: Tool, source: Path, number: signal.Signals
) -> None:
    process = follow(tool, source)
    wait_for(lambda: verified(tool, 30))
    with stores.writer(source, "add(31)", "add(32)"):
        wait_for(lambda: verified(tool, 32))
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "row" in out and "no longer following" in err and "Traceback" not in err
    assert tool.json("migrate", "--verify", "graph")["ok"]
    assert tool.json("doctor")["problems"] == []


def test_it_waits_for_a_daemon_that_comes_back(tool: Tool, source: Path) -> None:
    process = follow(tool, source)
    try:
        wait_for(lambda: verified(tool, 30))
        tool.daemon.kill()
        stores.insert(source, "memory_nodes", [stores.node(31)])
        time.sleep(2)
        assert process.poll() is None
        tool.daemon.start()
        wait_for(lambda: verified(tool, 31))
        stores.insert(source, "memory_nodes", [stores.node(32)])
        wait_for(lambda: verified(tool, 32))
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and "it goes on" in err


def test_a_rollback_ends_it(tool: Tool, source: Path) -> None:
    process = follow(tool, source)
    wait_for(lambda: verified(tool, 30))
    tool.run("migrate", "--rollback", "graph", "--yes")
    stores.insert(source, "memory_nodes", [stores.node(31)])
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 64 and "rolled back" in err


def test_what_it_is_not_for(tool: Tool, source: Path, tmp_path: Path) -> None:
    stores.small_store(tmp_path / "agent" / "other.sqlite", count=3)
    assert "--follow" in tool.run("migrate", "--status", "--follow", code=64)
    assert "one store" in tool.run("migrate", source.parent, "--follow", code=64)
