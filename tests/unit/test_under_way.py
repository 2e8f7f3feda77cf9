"""What takes long tells how far it is: in the daemon, by ping, and as a line on a terminal."""

from __future__ import annotations

import argparse
import contextlib
import os
import pty
import socket
import termios
import threading
import time
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from nimad.audit import findings
from nimad.check import check
from nimad.cognition.phi_of_memories import MemoryPhi
from nimad.config import Config
from nimad.core import maintenance
from nimad.core.fleet import Fleet
from nimad.core.store import MemoryStore
from nimad.ctl import under_way
from nimad.ctl.screen import Screen
from nimad.model import Memory
from nimad.namespaces import Namespaces
from nimad.reflection.dream import dream
from nimad.serve.access import Peer
from nimad.serve.service_verbs import ServiceVerbs, Traffic
from nimad.serve.verbs import Call
from tests.threads import PATIENCE, Callers


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    made = MemoryStore.open(tmp_path / "s", Config().replace(embedder="hash", graph__engine="none"))
    made.remember_many([Memory(f"The kettle number {n} leaks at the bottom.") for n in range(450)])
    yield made
    made.close()


def told_by(store: MemoryStore, work: Any, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The fractions that were told while some work read from the records."""
    seen: list[float] = []
    rows = store.records.rows

    def reading(*given: Any) -> Any:
        seen.extend(store.under_way.fractions().values())
        return rows(*given)

    monkeypatch.setattr(store.records, "rows", reading)
    work()
    assert store.under_way.fractions() == {}
    return seen


@pytest.mark.parametrize(
    "work",
    [
        lambda store: findings.audit(store, UTC),
        lambda store: check(store),
        lambda store: maintenance.rebuild(store, "all"),
        lambda store: dream(store, 0.2),
        lambda store: MemoryPhi(store, UTC, None).measure_more(0.2),
    ],
    ids=["audit", "doctor", "rebuild", "dream", "phi"],
)
def test_it_tells_more_and_more(
    store: MemoryStore, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = told_by(store, lambda: work(store), monkeypatch)
    assert seen == sorted(seen) and 0 <= seen[0] < seen[-1] <= 1


def test_ping_tells_it_to_who_is_not_bound(store: MemoryStore) -> None:
    (ping,) = (v for v in ServiceVerbs(store, Traffic(), Fleet(store)).all() if v.name == "ping")
    me = Peer(1, 0, 0)
    with store.under_way.tell("audit", lambda: 0.5):
        assert ping.answer(Call({}, me))["under_way"] == {"audit": 0.5}
        assert "under_way" not in ping.answer(Call({}, me, within=Namespaces(("a",))))
    assert "under_way" not in ping.answer(Call({}, me))


def test_a_terminal_shows_it_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()

        def talk(connection: socket.socket) -> None:
            with connection.makefile("rb") as lines:
                for number, _ in enumerate(lines, 1):
                    reply = '{"jsonrpc":"2.0","id":%d,"result":{"under_way":{"audit":0.42}}}\n'
                    connection.sendall((reply % number).encode())

        monkeypatch.setattr(under_way, "PATIENCE", 0.0)
        monkeypatch.setattr(under_way, "PAUSE", 0.1)
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        screen = Screen()
        screen._err = os.fdopen(theirs, "w")
        os.set_blocking(ours, False)

        def read_until(shown: str, awaited: str) -> str:
            until = time.monotonic() + PATIENCE
            while not shown.endswith(awaited) and time.monotonic() < until:
                with contextlib.suppress(BlockingIOError):  # the kernel takes its own time
                    shown += os.read(ours, 65536).decode()
                time.sleep(0.01)
            return shown

        where = argparse.Namespace(socket=str(place))
        with Callers(listener, talk), under_way.shown_under_way(where, screen, "audit"):
            shown = read_until("", "0:00")
        shown = read_until(shown, "\r\x1b[K")
    assert "audit [##########--------------]  42 %  0:00" in shown
    assert shown.endswith("\r\x1b[K")
    screen._err.close()
    os.close(ours)


def test_without_a_terminal_nothing_is_asked_or_drawn() -> None:
    before = threading.active_count()
    with under_way.shown_under_way(argparse.Namespace(socket="/nowhere"), Screen(), "audit"):
        assert threading.active_count() == before
