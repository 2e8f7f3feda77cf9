"""`nimactl import` of sources that the real tools wrote: mcp-memory-service, mem0, MCP's memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.agents.tools import HERE, NIMACTL, place, python_of, run, run_json
from tests.process import DaemonProcess
from tests.threads import PATIENCE

pytestmark = [pytest.mark.slow, pytest.mark.agents]


def imported(daemon: DaemonProcess, *args: object) -> dict[str, Any]:
    """What `nimactl import` tells; a dry run before it tells the same."""
    command = [*NIMACTL, "--socket", str(daemon.socket), "import", *map(str, args), "--json"]
    forecast = run_json([*command, "--dry-run"])
    found: dict[str, Any] = run_json(command)
    same = ("added", "changed", "gone", "unchanged", "relations", "refused")
    assert [forecast[name] for name in same] == [found[name] for name in same]
    return found


def texts(daemon: DaemonProcess) -> list[str]:
    return sorted(memory["text"] for memory in daemon.call("export")["memories"])


def numbers(report: dict[str, Any]) -> tuple[int, ...]:
    return tuple(report[name] for name in ("added", "changed", "gone", "unchanged", "refused"))


def writer() -> tuple[str, dict[str, str]]:
    """A Python that has the writers and whose SQLite loads extensions, and its environment."""
    own = python_of("sources")
    (packages,) = Path(own).parents[1].glob("lib/python3.*/site-packages")
    ask = (
        "import sqlite3, sys; sqlite3.Connection.enable_load_extension; print(sys.version_info[:2])"
    )
    for python, environment in ((own, {}), ("/usr/bin/python3", {"PYTHONPATH": str(packages)})):
        ran = subprocess.run([python, "-c", ask], capture_output=True, text=True)
        if ran.returncode == 0 and ran.stdout.strip() == str(sys.version_info[:2]):
            return python, environment
    reason = "no Python here loads extensions of SQLite, which mcp-memory-service needs"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def test_databases_as_their_programs_write_them(daemon: DaemonProcess, tmp_path: Path) -> None:
    python, more = writer()
    write = [python, str(HERE / "write_sources.py"), str(tmp_path)]
    environment = {**os.environ, "HOME": str(tmp_path), **more}
    service, history = tmp_path / "sqlite_vec.db", tmp_path / "history.db"
    run(write, env=environment, cwd=tmp_path)
    first = imported(daemon, service)
    assert (first["kind"], numbers(first), first["relations"]) == (
        "mcp-memory-service",
        (2, 0, 0, 0, 0),
        1,
    )
    told = imported(daemon, history)
    assert (told["kind"], numbers(told)) == ("mem0", (2, 0, 0, 0, 0))
    wanted = [
        "Anna likes green tea",
        "Anna lives in Rome",
        "Anna plays chess",
        "The kettle is blue",
    ]
    assert texts(daemon) == wanted
    assert (
        numbers(imported(daemon, service)) == numbers(imported(daemon, history)) == (0, 0, 0, 2, 0)
    )
    run(write, env=environment, cwd=tmp_path)
    assert numbers(imported(daemon, service)) == (0, 1, 1, 0, 0)
    assert numbers(imported(daemon, history)) == (0, 1, 1, 0, 0)
    assert texts(daemon) == ["Anna likes green tea", "Anna lives in Paris"]
    for report in (first, told):
        daemon.call("migrate.rollback", name=report["name"])
    assert texts(daemon) == []


class Server:
    """MCP's memory server, asked on standard input and output."""

    def __init__(self, file: Path) -> None:
        (script,) = place("graph").glob(
            "node_modules/@modelcontextprotocol/server-memory/dist/index.js"
        )
        self._process = subprocess.Popen(
            ["node", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "MEMORY_FILE_PATH": str(file)},
            text=True,
        )
        self._id = 0
        client = {"name": "test", "version": "1"}
        version = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
        self.ask("initialize", **version)

    def ask(self, method: str, **params: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._id += 1
        request = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        reply = json.loads(self._process.stdout.readline())
        assert "error" not in reply and not reply["result"].get("isError"), reply
        return reply["result"]

    def tool(self, name: str, **arguments: Any) -> None:
        self.ask("tools/call", name=name, arguments=arguments)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)


def test_a_graph_as_the_memory_server_writes_it(daemon: DaemonProcess, tmp_path: Path) -> None:
    file = tmp_path / "memory.jsonl"
    server = Server(file)
    person = {"name": "Anna", "entityType": "person", "observations": ["likes tea"]}
    company = {"name": "Acme", "entityType": "company", "observations": []}
    server.tool("create_entities", entities=[person, company])
    server.tool(
        "create_relations", relations=[{"from": "Anna", "to": "Acme", "relationType": "works_at"}]
    )
    first = imported(daemon, file)
    assert (first["kind"], numbers(first), first["relations"]) == (
        "server-memory",
        (4, 0, 0, 0, 0),
        1,
    )
    wanted = ["Acme (company)", "Anna (person)", "Anna works at Acme", "Anna: likes tea"]
    assert texts(daemon) == wanted
    more = [{"entityName": "Anna", "contents": ["plays chess"]}]
    server.tool("add_observations", observations=more)
    gone = [{"entityName": "Anna", "observations": ["likes tea"]}]
    server.tool("delete_observations", deletions=gone)
    server.close()
    assert numbers(imported(daemon, file)) == (1, 0, 1, 3, 0)
    ids = {memory["text"]: memory["id"] for memory in daemon.call("export")["memories"]}
    found = daemon.call("related", id=ids["Anna (person)"])["results"]
    assert [(each["text"], each["relation"]) for each in found] == [("Acme (company)", "works_at")]
