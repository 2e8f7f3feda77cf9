"""No text that came from outside reaches a terminal raw: each field of each reply, each command.

Between nimactl and a real daemon stands one that writes an escape sequence, a line break and a mark
that turns the reading direction into every text of every reply, names of fields among them.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nimad.ctl.main import COMMANDS, main
from tests.legacy.stores import small_store
from tests.process import DaemonProcess
from tests.threads import Background, Callers, hang_up, until_hung_up

EVIL = "\x1b]0;owned\x07\x9b31m\u202e\r\x08"
"""What a terminal would obey: a new title, a colour, text from right to left, text written over."""
RAW = set("\x1b\x07\x9b\u202e\r\x08")
UNNAMED = {"jsonrpc", "id", "result", "error", "code", "message", "data"}
"""Names in a frame that are nimad's own and no text of anybody."""

LINES: dict[str, list[list[str]]] = {
    "query": [
        ["query", "lantern"],
        ["query", "lantern", "--explain"],
        ["query", "lantern", "--goal", "--explain"],
        ["query", "lantern", "--context"],
        ["query", "lantern", "--budget", "200"],
    ],
    "get": [["get", "1"], ["get", "999"]],
    "similar": [["similar", "1"]],
    "related": [["related", "1"]],
    "complete": [["complete", "--what", "lantern", "--ask", "who"]],
    "phi": [["phi", "1"], ["phi", "--top", "3"], ["phi", "999"]],
    "narrative": [["narrative"], ["narrative", "--day", "today"], ["narrative", "--who", "x"]],
    "person": [["person", "x"], ["person", EVIL]],
    "connect": [["connect", "1", "2"], ["connect", "1", "999"]],
    "step": [["step", "-n", "2"], ["step", "--affect", "fear", "--dry-run"]],
    "dream": [
        ["dream", "--dry-run"],
        ["dream"],
        ["dream", "list"],
        ["dream", "reject", "1"],
        ["dream", "accept", "999"],
    ],
    "goal": [
        ["goal", "add", "mend the lantern", "--due", "2190"],
        ["goal", "list"],
        ["goal", "show", "1"],
        ["goal", "done", "999"],
    ],
    "graph": [["graph", "MATCH (m:Memory) RETURN m.layer, m.id LIMIT 3"], ["graph", "MATCH"]],
    "remember": [["remember", "one more"], ["remember", ""]],
    "capture": [["capture", "{turn}"], ["capture", "{turn}"], ["capture", "{lines}"]],
    "forget": [["forget", "2", "--dry-run"], ["forget", "999"]],
    "import": [
        ["import", "{lines}"],
        ["import", "{notes}", "--dry-run"],
        ["import", "{notes}"],
        ["import", "{notes}", "--verify"],
    ],
    "export": [["export"]],
    "migrate": [
        ["migrate", "{graph}", "--dry-run"],
        ["migrate", "{graph}", "--strategy", "full"],
        ["migrate", "--status"],
        ["migrate", "--verify", "graph"],
        ["migrate", "--pause"],
        ["migrate", "--rollback", "graph", "--yes"],
    ],
    "status": [["status"]],
    "rebuild": [["rebuild", "words"]],
    "doctor": [["doctor"]],
    "audit": [["audit"], ["audit", "--kind", "duplicate"]],
    "redate": [["redate", "2023-05-08", "3"], ["redate", "no date", "3"]],
    "metrics": [["metrics"]],
    "bugreport": [["bugreport", "--print"]],
    "bench": [["bench", "--in", f"/nowhere{EVIL}"]],
    "backup": [
        ["backup", "{backup}"],
        ["backup", "{backup}", "--verify"],
        ["backup", "{lines}", "--verify"],
    ],
    "restore": [["restore", "{backup}", "--into", "{restored}"], ["restore", "{lines}"]],
    "fleet": [["fleet"], ["fleet", "join", EVIL, f"a{EVIL}=both"]],
    "web": [["web", "--url"]],
}
"""Command lines for each command, those that are refused among them."""
FOR_PROGRAMS = {"mcp", "hook"}
"""Commands that never write to a terminal."""
SHOWS = (
    "query",
    "get",
    "similar",
    "related",
    "narrative",
    "goal",
    "person",
    "step",
    "graph",
    "export",
    "migrate",
    "status",
)
"""Commands that show a text of a reply in at least one of these lines."""


def spoil(value: Any, *, own: bool) -> Any:
    """The same JSON with EVIL in each text; `own`: the names of this object are nimad's."""
    if isinstance(value, str):
        return value + EVIL
    if isinstance(value, list):
        return [spoil(one, own=False) for one in value]
    if isinstance(value, dict):
        spoilt = {name: spoil(one, own=own and name in UNNAMED) for name, one in value.items()}
        return spoilt if "extra" not in spoilt else {**spoilt, "extra": {f"a{EVIL}": f"b{EVIL}"}}
    return value


class Spoiler(Callers):
    """A socket that hands requests, descriptors too, to a daemon and spoils what it replies."""

    def __init__(self, path: Path, daemon: Path) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        super().__init__(listener, self._hand_on)
        self._daemon = daemon

    def _hand_on(self, client: socket.socket) -> None:
        with socket.socket(socket.AF_UNIX) as daemon:
            daemon.connect(str(self._daemon))
            with Background(self._ask, client, daemon):
                try:
                    self._reply(client, daemon)
                finally:
                    hang_up(client)

    def _ask(self, client: socket.socket, daemon: socket.socket) -> None:
        with until_hung_up():
            while True:
                data, files, *_ = socket.recv_fds(client, 1 << 16, 8)
                if not data:
                    break
                socket.send_fds(daemon, [data], files)
                for fd in files:
                    os.close(fd)
            daemon.shutdown(socket.SHUT_WR)

    def _reply(self, client: socket.socket, daemon: socket.socket) -> None:
        with daemon.makefile("rb") as lines:
            for line in lines:
                reply = json.loads(line)
                body = "result" if "result" in reply else "error"
                reply[body] = spoil(reply[body], own=True)
                if body == "error" and isinstance(reply["error"].get("data"), dict):
                    code = json.loads(line)["error"]["data"].get("code")
                    reply["error"]["data"]["code"] = code
                client.sendall(json.dumps(reply).encode() + b"\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a daemon with some memories and its spoiler listen; a graph and lines to take over."""
    place = tmp_path_factory.mktemp("terminal")
    small_store(place / "graph.sqlite")
    with contextlib.closing(sqlite3.connect(place / "graph.sqlite")) as graph:
        graph.execute("PRAGMA ignore_check_constraints = ON")
        graph.execute("UPDATE memory_nodes SET who = ?, layer = ? WHERE id = 2", (EVIL, EVIL))
        graph.commit()
    (place / "lines.jsonl").write_text(json.dumps({"text": "a", "layer": "no layer"}) + "\n")
    (place / "notes").mkdir()
    (place / "notes" / f"a note{EVIL}.md").write_text(f"A lantern of notes. {EVIL}\n")
    (place / "notes" / f"no text{EVIL}.md").write_bytes(b"\xff")
    turn = {"session": "s", "turn": f"t{EVIL}", "input": f"An old lantern. {EVIL}"}
    (place / "turn.json").write_text(json.dumps(turn))
    daemon = DaemonProcess(place, fork=True).start()
    fields = {"who": EVIL, "where": EVIL, "tags": [EVIL], "session": EVIL, "conversation": EVIL}
    turns = [
        {"text": f"The lantern {n} hangs here. {EVIL}", "turn": f"t{n // 3}{EVIL}", "layer": layer}
        for n, layer in enumerate(["input", "contemplation", "output"] * 3)
    ]
    daemon.call(
        "import", {"memories": [{**fields, **turn, "extra": {EVIL: EVIL}} for turn in turns]}
    )
    try:
        with Spoiler(place / "spoilt", daemon.socket):
            yield place
    finally:
        daemon.finish()


def test_each_command_has_its_lines() -> None:
    assert LINES.keys() | FOR_PROGRAMS == COMMANDS.keys()


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("command", LINES)
def test_nothing_reaches_the_terminal_raw(
    place: Path,
    command: str,
    form: list[str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NIMAD_SOCKET", str(place / "spoilt"))
    files = {"graph": "graph.sqlite", "lines": "lines.jsonl", "turn": "turn.json"}
    files |= {"notes": "notes", "backup": "a.nimad", "restored": "restored"}
    names = {name: str(place / file) for name, file in files.items()}
    shown = ""
    for line in LINES[command]:
        main([word.format(**names) if word[:1] == "{" else word for word in line] + form)
        out, err = capfd.readouterr()
        assert not RAW & set(out + err), line
        if not form:
            assert all(text.isprintable() for text in (out + err).splitlines()), line
        shown += out + err
    if command in SHOWS:
        assert "owned" in shown


def test_the_spoiler_reaches_every_text() -> None:
    reply: Callable[..., Any] = lambda **found: spoil({"result": found}, own=True)["result"]  # noqa: E731
    assert reply(results=[{"who": "a", "extra": {}}])["results"][0]["who"] == "a" + EVIL
    assert set(reply(extra={"b": 1})["extra"]) == {f"a{EVIL}"}
