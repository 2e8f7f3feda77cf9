"""systemd's side, the log's form, and the status line."""

from __future__ import annotations

import io
import logging
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from nimad import logs, systemd
from nimad.errors import UsageError
from nimad.lifecycle import resting, status_line
from nimad.model import Stage
from nimad.store.sources import COLUMNS, Source
from tests.threads import PATIENCE


def test_no_log_steers_a_terminal() -> None:
    """Whatever stands in a name from outside: a key of the configuration, a file, a source."""
    told = "there is no key \x1b]0;owned\x07\x9b2J\u202e\rfoo"
    for kind in (logs.SafeFormatter, logs.PersonFormatter, logs.JournalFormatter):
        shown = "".join(lines(kind("%(message)s"), logging.INFO, told))
        assert shown.isprintable() and "\\x1b]0;owned\\x07\\x9b2J\\u202e" in shown, shown


def test_without_a_manager_nothing_happens() -> None:
    notifier = systemd.Notifier({})
    notifier.ready("x")
    notifier.watchdog()
    assert notifier.watchdog_seconds is None


def test_messages_are_utf8_lines_and_a_status_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notifier = systemd.Notifier()
        for status in ("idle", "idle", "moving\nBärenhöhle €", "idle"):
            notifier.status(status)
        told = [manager.recv(999).decode() for _ in range(3)]
    assert told == ["STATUS=idle", "STATUS=moving Bärenhöhle €", "STATUS=idle"]


def test_a_manager_that_went_away_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    systemd.Notifier().ready("x")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_it_must(
    environment: dict[str, str], expected: float | None
) -> None:
    assert systemd.Notifier(environment).watchdog_seconds == expected


def test_sockets_for_another_process_are_not_ours() -> None:
    environment = {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "x", "HOME": "/"}
    assert systemd.listening_sockets(environment) == []
    assert environment == {"HOME": "/"}, "no child may take them for its own"


def test_a_descriptor_that_is_no_listening_socket_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    with (tmp_path / "file").open("wb") as file:
        monkeypatch.setattr(systemd, "FIRST_FD", file.fileno())
        with pytest.raises(UsageError, match="is no socket"):
            systemd.listening_sockets(dict(environment))
    pair = socket.socketpair()
    monkeypatch.setattr(systemd, "FIRST_FD", pair[0].detach())
    with pytest.raises(UsageError, match="no listening"):
        systemd.listening_sockets(dict(environment))
    pair[1].close()


# --- the log --------------------------------------------------------------------------------------


def lines(formatter: logging.Formatter, level: int, message: str) -> list[str]:
    record = logging.LogRecord("nimad.x", level, "x.py", 1, message, (), None)
    return formatter.format(record).split("\n")


def test_every_line_for_the_journal_has_its_priority() -> None:
    formatter = logs.JournalFormatter("%(message)s")
    assert lines(formatter, logging.INFO, "ready") == ["<6>ready"]
    assert lines(formatter, logging.ERROR, "failed\n  a\n  b") == ["<3>failed", "<3>  a", "<3>  b"]


def test_a_person_sees_the_time_and_the_level_where_it_matters() -> None:
    formatter = logs.PersonFormatter("%(message)s")
    assert lines(formatter, logging.INFO, "ready")[0].split(" ", 1)[1] == "ready"
    assert lines(formatter, logging.WARNING, "low")[0].endswith(" warning: low")


def test_the_journal_is_recognised_by_its_stream(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w") as stream:
        found = os.fstat(stream.fileno())
        named = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert systemd.in_journal(stream, named)
        assert not systemd.in_journal(stream, {"JOURNAL_STREAM": "1:2"})
        assert not systemd.in_journal(stream, {})
    assert not systemd.in_journal(io.StringIO(), named)


# --- the status line ------------------------------------------------------------------------------


def source(name: str, state: str, **numbers: int) -> dict[str, Any]:
    return {"name": name, "state": state, "total": 4112, **numbers}


@pytest.mark.parametrize(
    ("memories", "sources", "degraded", "expected"),
    [
        (0, [], {}, "0 memories, idle"),
        (1, [], {}, "1 memory, idle"),
        (4112, [source("g", "verified")], {}, "4,112 memories, 1 source verified, idle"),
        (4112, [source("g", "lazy")], {}, "4,112 memories, 1 source lazy, idle"),
        (9, [source("g", "rolling_back")], {}, "9 memories, 1 source rolling back"),
        (
            4112,
            [source("g", "verified"), source("h", "verified"), source("i", "paused")],
            {"graph": "damaged"},
            "4,112 memories, 1 source paused, 2 sources verified, graph out of service, idle",
        ),
        (
            2000,
            [source("graph", "copying", copied=2000)],
            {},
            "2,000 memories, graph: copying 2,000 of 4,112",
        ),
    ],
)
def test_the_status_line_is_true_and_short(
    memories: int,
    sources: list[dict[str, Any]],
    degraded: dict[str, str],
    expected: str,
) -> None:
    assert status_line(memories, sources, degraded) == expected


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("stopped", [False, True], ids=["", "paused"])
def test_a_daemon_rests_when_no_source_moves_on_by_itself(stage: Stage, stopped: bool) -> None:
    """The one set of states at rest agrees with what the ledger calls due, in each stage."""
    values = {**dict.fromkeys(COLUMNS, 0), "stage": stage, "paused": int(stopped), "error": None}
    found = Source(**values)  # type: ignore[arg-type]
    assert resting([source("g", found.state)]) is not found.is_due
