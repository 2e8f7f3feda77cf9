"""A resting daemon is small: with 10,000 memories, straight after they were imported."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.talk import make_talk
from tests.benchmarks.whole_path import INSTALLED, pss_mb
from tests.process import DaemonProcess

MOST = 60.0
"""MB of proportional set size."""
PATIENCE = 300.0
"""How long it may take until all that waits for an idle moment is done [seconds]."""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    config = "migration: {idle_seconds: 0.2}"
    made = DaemonProcess(tmp_path, config=config, environment=INSTALLED)
    yield made
    made.finish()


def rests_below(daemon: DaemonProcess, most: float) -> float:
    """The PSS [MB] once it is so small, or the last one."""
    until = time.monotonic() + PATIENCE
    while (now := pss_mb(daemon.pid)) > most and time.monotonic() < until:
        time.sleep(0.5)
    return now


def test_it_is_small_after_an_import_and_queries(daemon: DaemonProcess) -> None:
    talk = make_talk(10_000, 200)
    daemon.start()
    with daemon.client(120) as client:
        for first in range(0, len(talk.memories), 500):
            client.call("import", memories=talk.memories[first : first + 500])
        for number in range(1, 51):
            client.call("related", id=number)
        for question in talk.questions:
            client.call("query", text=question)
        assert rests_below(daemon, MOST) <= MOST, daemon.log()
        client.call("graph", cypher="MATCH (m:Memory)-[r]->(n) RETURN r.relation, count(*)")
    libraries = Path(f"/proc/{daemon.pid}/maps").read_text()
    assert "ladybug" not in libraries, "the engine has a process of its own"
    assert rests_below(daemon, MOST) <= MOST, daemon.log()
