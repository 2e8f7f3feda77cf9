"""A daemon whose records have a page that cannot be used: it refuses before it answers anybody, or
it serves what can be read, says what cannot, and goes on."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from tests.client import RemoteFailure
from tests.process import DaemonProcess
from tests.threads import PATIENCE

PAGE = 4096
COUNTED = ("memories", "turns", "relations", "sources")


def test_it_never_ends_for_a_damaged_page_once_it_is_ready(
    make_daemon: Callable[..., DaemonProcess], tmp_path: Path
) -> None:
    daemon = make_daemon().start()
    told = [daemon.call("remember", text=f"The {word} gate")["id"] for word in ("old", "new")]
    assert daemon.stop() == 0
    whole = tmp_path / "whole"
    shutil.copytree(daemon.state, whole)
    served = []
    for name, page in roots(whole / "records.sqlite"):
        shutil.rmtree(daemon.state)
        shutil.copytree(whole, daemon.state)
        with (daemon.state / "records.sqlite").open("r+b") as file:
            file.seek((page - 1) * PAGE)
            file.write(b"\xff" * PAGE)
        daemon.log_file.write_text("")
        daemon.spawn()
        if not ready(daemon):
            assert daemon.wait() == 65, (name, daemon.log())
            assert "are damaged" in daemon.log() and "restore a backup" in daemon.log()
            continue
        served.append(name)
        ask_everything(daemon, told)
        assert daemon.stop() == 0, (name, daemon.log())
        assert "Traceback" not in daemon.log(), (name, daemon.log())
        if name == "turns":
            assert "are damaged" in daemon.log() and "restore a backup" in daemon.log()
    assert {"turns", "relations"} <= set(served)


def roots(database: Path) -> list[tuple[str, int]]:
    """The first page of those that a start counts or reads, and of every fourth table or index."""
    db = sqlite3.connect(database)
    sql = "SELECT name, rootpage FROM sqlite_master WHERE rootpage > 1 ORDER BY rootpage"
    found = [(str(name), int(page)) for name, page in db.execute(sql)]
    db.close()
    return [each for at, each in enumerate(found) if at % 4 == 0 or each[0] in COUNTED]


def ready(daemon: DaemonProcess) -> bool:
    """False when it ends before it says that it is ready."""
    deadline = time.monotonic() + PATIENCE
    assert daemon.process is not None
    while time.monotonic() < deadline:
        if "is ready" in daemon.log():
            return True
        if daemon.process.poll() is not None:
            return False
        time.sleep(0.02)
    raise AssertionError(daemon.log())


def ask_everything(daemon: DaemonProcess, told: list[int]) -> None:
    """What a user would try; an answer or an error with a next step."""
    calls: list[tuple[str, dict[str, object]]] = [
        *(("get", {"id": number}) for number in told),
        ("query", {"text": "gate", "strictness": 0}),
        ("export", {"after": 0}),
        ("status", {}),
        ("doctor", {}),
        ("migrate.status", {}),
        ("remember", {"text": "A third gate"}),
        ("ping", {}),
    ]
    for method, params in calls:
        try:
            assert daemon.call(method, **params), method
        except RemoteFailure as error:
            assert error.hint and error.code != "internal", (method, error)
