"""The legacy tool's health check: its JSON, its exit codes, and a source that stays as it was."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nimad.health_check import health_check
from tests import forked
from tests.legacy import stores
from tests.threads import PATIENCE


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nimad.health_check", *map(str, arguments)]
    return forked.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def listing(directory: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in directory.iterdir()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "agent" / "graph.sqlite"
    path.parent.mkdir()
    stores.create(path)
    people = ["Ann", "Ann", "Ben", ""]
    rows = [stores.node(n + 1, f"memory {n}", who=who) for n, who in enumerate(people)]
    stores.insert(path, "memory_nodes", rows)
    edges = [{"source_id": 1, "target_id": n, "relation": "next"} for n in (2, 99)]
    stores.insert(path, "memory_edges", edges)
    return path


def test_a_healthy_store_is_counted_and_not_touched(source: Path) -> None:
    before = listing(source.parent)
    answer = run("--db", source, "--json", "--verbose")
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    stats = told["stats"]
    assert told["ok"] is True
    assert (stats["nodes"], stats["edges"], stats["dangling_edges"], stats["turns"]) == (4, 2, 1, 0)
    assert stats["fts_enabled"] is True
    assert stats["tables"] == ["memory_edges", "memory_nodes", "memory_turns", "memory_fts"]
    assert stats["top_contributors"][0] == {"who": "Ann", "memories": 2}
    assert {row["who"] for row in stats["top_contributors"]} == {"Ann", "Ben", "unknown"}
    assert stats["avg_fe_score"] is not None
    assert listing(source.parent) == before


def test_the_text_names_what_matters(source: Path) -> None:
    shown = run("--db", source).stdout
    assert shown.startswith("NIMA Memory Health Check: PASSED\n")
    assert "Nodes: 4" in shown and "Who said most" not in shown


def test_what_a_store_says_cannot_steer_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "graph.sqlite"
    stores.create(path, loose=True)
    rows = [stores.node(1, "x", who="\x1b]0;mine\x07", layer="in\x1b[2Jput")]
    stores.insert(path, "memory_nodes", rows)
    shown = run("--db", path, "--verbose").stdout
    assert "\x1b" not in shown and "\\x1b" in shown


def test_unreadable_rows_make_it_unhealthy(tmp_path: Path) -> None:
    path = tmp_path / "graph.sqlite"
    stores.create(path, loose=True)
    stores.insert(path, "memory_nodes", [stores.node(1, "fine"), stores.node(2, b"\xff\xfe")])
    answer = run("--db", path, "--json")
    told = json.loads(answer.stdout)
    assert answer.returncode == 1 and told["ok"] is False
    assert told["stats"]["unreadable"] == 1 and "1 rows" in told["error"]


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "no file"), (b"", "not a NIMA store"), (b"text" * 999, "not a NIMA store")],
)
def test_what_is_no_store_is_refused(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "graph.sqlite"
    if content is not None:
        path.write_bytes(content)
    answer: dict[str, Any] = health_check(path)
    assert answer["ok"] is False and says in answer["error"] and answer["hint"]
    assert run("--db", path).returncode == 1


def test_the_real_store(legacy_dir: Path, tmp_path: Path) -> None:
    expected = json.loads((legacy_dir / "expected.json").read_text())["graph.sqlite"]
    for name in ("graph.sqlite", "graph.sqlite-wal"):
        if (legacy_dir / name).exists():
            shutil.copyfile(legacy_dir / name, tmp_path / name)
    stats = health_check(tmp_path / "graph.sqlite")["stats"]
    assert stats["nodes"] == expected["nodes"]
    assert stats["turns"] == expected["turns"]
    assert stats["dangling_edges"] == expected["edges_dangling"]
    assert stats["layers"] == expected["layers"]
