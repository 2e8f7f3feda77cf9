"""A bug report has nothing of a memory: a canary in every field, name and question is not in it."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from nimad.model import FIELDS, Field
from tests.legacy import stores
from tests.process import DaemonProcess
from tests.system.test_nimactl import Tool

CANARY = "zyxgnu"
NUMBER = 1_234_567_891_234
"""A time that stands in no other place."""


def canary(name: str, field: Field) -> Any:
    """A value for a field of a memory that must not be told; every kind has one."""
    text = f"{CANARY}-{name}"
    values: dict[str, Any] = {
        "text": text,
        "choice": field.choices[0] if field.choices else None,
        "moment": NUMBER,
        "share": 0.123456789,
        "count": NUMBER,
        "tags": [text],
        "json": {text: [text, {text: text}]},
        "source": None,
        "blobs": {text: base64.b64encode(text.encode()).decode()},
    }
    return values[field.kind]


def memory() -> dict[str, Any]:
    """A memory with a canary in every field that the model has."""
    made = {name: canary(name, field) for name, field in FIELDS.items()}
    return {name: value for name, value in made.items() if value is not None}


def journal(place: Path, log: Path) -> None:
    """A journalctl that has a daemon's log, a line each."""
    program = place / "journalctl"
    program.write_text(
        f"#!{sys.executable}\nimport json\n"
        f"for line in open({str(log)!r}, errors='replace'):\n"
        "    print(json.dumps({'MESSAGE': line.rstrip(), 'PRIORITY': '6',"
        " '__REALTIME_TIMESTAMP': '1790000000000000'}))\n"
    )
    program.chmod(0o755)


def test_no_canary_gets_out(tmp_path: Path, monkeypatch: Any) -> None:
    daemon = DaemonProcess(tmp_path, "embedder: hash\nlog_level: debug\n").start()
    tool = Tool(daemon)
    try:
        lines = tmp_path / f"{CANARY}.jsonl"
        lines.write_text(json.dumps(memory()) + "\n")
        tool.run("import", lines)
        store = stores.small_store(tmp_path / f"{CANARY}.sqlite")
        tool.run("migrate", "--strategy", "full", "--wait", store)
        tool.run("query", CANARY, "--who", CANARY, "--namespace", CANARY)
        tool.run("goal", "add", f"sell the kettle of {CANARY}", "--namespace", CANARY)
        for wrong in (
            ("remember", "x", "--when", CANARY),
            ("migrate", tmp_path / f"{CANARY}.none"),
            ("graph", f"MATCH (m:{CANARY}) RETURN m"),
        ):
            assert tool.start(*wrong).wait() != 0
        bad = {"jsonrpc": "2.0", "id": 1, "method": CANARY, "params": {CANARY: CANARY}}
        daemon_log = daemon.log_file
        daemon.call("ping")
        assert "error" in ask(daemon, bad)
        place = tmp_path / "bin"
        place.mkdir()
        with daemon_log.open("a") as file:  # what a bug of ours might say
            file.write(f"the verb query failed: KeyError: '{CANARY}'\n{CANARY}\n")
        journal(place, daemon_log)
        monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
        said = tool.run("bugreport", tmp_path / "report.tar.gz")
        printed = tool.run("bugreport", "--print")
    finally:
        daemon.finish()
    assert CANARY in daemon_log.read_text()
    whole = gzip.decompress((tmp_path / "report.tar.gz").read_bytes()).decode("utf-8", "replace")
    for text in (whole, printed, said.replace(str(tmp_path), "")):
        assert CANARY not in text.casefold() and str(NUMBER) not in text
        assert "0.123456789" not in text and base64.b64encode(CANARY.encode()).decode() not in text
        assert str(tmp_path) not in text
    with tarfile.open(tmp_path / "report.tar.gz") as tar:
        names = [Path(name).name for name in tar.getnames()]
    assert names == re.findall(r"^  (\S+) ", said, re.MULTILINE)
    assert re.search(r'"memories": \d', whole) and "the verb … failed: KeyError" in whole
    assert "is ready" in whole and (tmp_path / "report.tar.gz").stat().st_mode & 0o77 == 0


def ask(daemon: DaemonProcess, request: dict[str, Any]) -> str:
    """The reply to a request as it stands."""
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(daemon.socket))
        connection.sendall(json.dumps(request).encode() + b"\n")
        return connection.makefile().readline()


@pytest.mark.slow
def test_without_a_daemon_it_tells_so(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path)  # never started
    printed = Tool(daemon).run("bugreport", "--print")
    assert '"daemon_absent"' in printed and "--- versions.json" in printed
