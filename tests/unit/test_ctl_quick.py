"""The plain forms of commands that are run without the parser say and do what the parser would."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from nimad.ctl import start
from nimad.ctl.main import main
from nimad.errors import NotFound
from tests.fake_daemon import FakeDaemon, memory

BEFORE = (
    *("", "--json", "--socket S", "--socket=S", "--timeout 9", "--json --timeout=9 --socket S"),
    *("--socket /nowhere/s --json", "--timeout nope", "--timeout=0", "--who Maya", "--socket"),
)
COMMANDS = (
    *("query red tomatoes", "query -k 3 x --who=Maya", "query", "query x -k 0", "query --help"),
    *("remember a b --where home", "remember", "get 17", "get 18", "get nope", "get 17 18"),
)
BEHIND = ("", "--json", "--socket S --timeout=2.5", "--socket=/nowhere/s", "--timeout -1")
OTHERS = (
    *("hook nope", "--json hook prompt", "--socket S mcp extra", "--json --json query x"),
    *("-- query x", "--json=yes query x", "--timeout 1e999 query x", "--timeout 99999999999 get 1"),
    *("--socket A --socket S query x", "query x --socket S y", "--help", "--json", "", "--version"),
)


def test_both_ways_do_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def get(params: dict[str, Any]) -> Any:
        if params["id"] != 17:
            raise NotFound(kind="memory", id=params["id"])
        return {"memory": memory()}

    found = {"results": [memory(score=0.5)], "took_ms": 1.0, "degraded": []}
    lines = [" ".join(parts) for parts in product(BEFORE, COMMANDS, BEHIND)] + list(OTHERS)
    plain = 0
    with FakeDaemon(tmp_path / "s", query=found, remember={"id": 1}, get=get) as daemon:
        for line in lines:
            words = [w.replace("S", str(daemon.path)) for w in line.split()]
            told = []
            for way in (main, start.main):
                told.append((way(words), *capsys.readouterr(), daemon.calls[:]))
                daemon.calls.clear()
            assert told[0] == told[1], line
            plain += start.read_plain(words) is not None
    assert plain > len(lines) / 4


def test_time_limits_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeDaemon(tmp_path / "s", query=FakeDaemon.HANG) as daemon:
        for way in (main, start.main):
            assert way(["--timeout", "1", "--socket", str(daemon.path), "query", "x"]) == 75
        first, second = capsys.readouterr().err.splitlines()
        assert first == second and "1 seconds" in first
