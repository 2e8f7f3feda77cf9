"""Users who are bound to namespaces, as processes of their own on one daemon."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client import Client, RemoteFailure
from tests.process import DaemonProcess
from tests.threads import PATIENCE

ANNA, BERT, STRANGER = 54_321, 54_322, 54_323
CONFIG = f"""
embedder: hash
access:
  read_group: no-such-group
  control_group: no-such-group
  namespaces:
    - user: {ANNA}
      control: [anna]
      read: [home]
    - user: {BERT}
      control: ["bert*"]
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")


@pytest.fixture
def daemon() -> Iterator[DaemonProcess]:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o711)
        daemon = DaemonProcess(Path(place), config=CONFIG, fork=True).start()
        yield daemon
        daemon.finish()


def as_user(daemon: DaemonProcess, uid: int, *requests: tuple[str, dict[str, Any]]) -> list[Any]:
    """What a process of this user is answered: results, or the codes of errors."""
    ours, theirs = multiprocessing.Pipe()

    def run() -> None:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        answers: list[Any] = []
        for method, params in requests:
            try:
                with Client(daemon.socket) as client:
                    answers.append(client.call(method, **params))
            except RemoteFailure as error:
                answers.append(error.code)
        theirs.send(answers)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    assert ours.poll(PATIENCE)
    found: list[Any] = ours.recv()
    process.join()
    return found


def test_each_user_has_a_namespace_and_strangers_have_none(daemon: DaemonProcess) -> None:
    (stored,) = as_user(daemon, ANNA, ("remember", {"text": "The kettle is in the attic."}))
    (theirs,) = as_user(
        daemon, BERT, ("remember", {"text": "The kettle is mine.", "namespace": "bert.1"})
    )
    daemon.call("remember", text="The kettle is at home.", namespace="home")
    question = ("query", {"text": "where is the kettle"})
    found, status, got, forgot, graph, moved = as_user(
        daemon,
        ANNA,
        question,
        ("status", {}),
        ("get", {"id": theirs["id"]}),
        ("forget", {"ids": [theirs["id"]]}),
        ("graph", {"cypher": "MATCH (m:Memory) RETURN count(*)"}),
        ("remember", {"text": "x", "namespace": "home"}),
    )
    assert {m["namespace"] for m in found["results"]} == {"anna", "home"}
    assert status["memories"] == 2 and set(status["namespaces"]) == {"anna", "home"}
    assert got == "not_found" and forgot["missing"] == [theirs["id"]]
    assert graph == moved == "namespace_denied"
    (found,) = as_user(daemon, BERT, question)
    assert [m["id"] for m in found["results"]] == [theirs["id"]]
    assert as_user(daemon, STRANGER, question)[0] in ("owner_only", "not_permitted")
    assert len(daemon.call("query", text="where is the kettle")["results"]) == 3
    assert stored["id"] != theirs["id"]


def test_a_rule_that_was_taken_away_counts_after_a_reload(daemon: DaemonProcess) -> None:
    kept = {"text": "The kettle is mine.", "namespace": "bert.1"}
    assert as_user(daemon, BERT, ("remember", kept))[0]["id"]
    text = daemon.config_file.read_text()
    daemon.config_file.write_text(text.replace(f"user: {BERT}", f"user: {STRANGER}"))
    daemon.signal(signal.SIGHUP)
    deadline = time.monotonic() + PATIENCE
    while "the configuration was read again" not in daemon.log():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    question = ("query", {"text": "where is the kettle"})
    assert as_user(daemon, BERT, question)[0] in ("owner_only", "not_permitted")
    (found,) = as_user(daemon, STRANGER, question)
    assert [m["namespace"] for m in found["results"]] == ["bert.1"]
