"""Every real store through a real daemon: exactly what expected.json says, and no more."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import forked
from tests.process import DaemonProcess

BOMB = Path("/tmp/nimad-pickle-bomb")
FILES = [
    "sessions/latest.pt",
    "sessions/archive/2026-02-03-0900.pt",
    "sessions_50k/memories.pt",
    "sessions_bf16/latest.pt",
    "metadata_only/latest.pt",
]
REFUSED = {
    "bitflip.pt": ("source_altered", "its SHA-256 is"),
    "bomb.pkl": ("source_unsafe", "asks for posix.system"),
    "bomb.pt": ("source_unsafe", "asks for posix.system"),
    "empty.pt": ("source_not_recognised", "it is empty"),
    "truncated.pt": ("source_corrupt", "cut short"),
    "corrupt.sqlite": ("source_corrupt", "its header says"),
    "not_nima.sqlite": ("source_not_recognised", "no table memory_nodes"),
}


@pytest.fixture
def expected(legacy_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((legacy_dir / "expected.json").read_text())
    return found


def nimactl(daemon: DaemonProcess, *args: object) -> tuple[int, Any]:
    command = [sys.executable, "-m", "nimad.ctl.main", "--socket", str(daemon.socket), "--json"]
    ran = forked.run(
        [*command, *(str(arg) for arg in args)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = ran.stdout.strip() or ran.stderr.strip()
    return ran.returncode, json.loads(said)


def migrated(daemon: DaemonProcess, path: Path) -> dict[str, Any]:
    """The one source that a path becomes, verified."""
    code, told = nimactl(daemon, "migrate", path, "--strategy", "full", "--wait")
    assert code == 0, told
    (source,) = told["sources"]
    compared = daemon.call("migrate.verify", name=source["name"])
    assert compared["ok"] and compared["memories"]["identical"] == source["total"]
    found: dict[str, Any] = source
    return found


@pytest.mark.parametrize("name", FILES)
def test_a_checkpoint(
    daemon: DaemonProcess, legacy_dir: Path, expected: dict[str, Any], name: str
) -> None:
    due = expected[name]
    code, told = nimactl(daemon, "migrate", legacy_dir / name, "--dry-run")
    report = told["report"]
    assert (code, report["memories"], report["layers"]) == (
        0,
        due["memories"],
        {"legacy_vsa": due["memories"]},
    )
    assert report["dimension"] == due.get("dimension", 0)
    assert report["vectors"] == (due["memories"] if "dimension" in due else 0)
    assert daemon.call("status")["memories"] == 0, "a dry run takes nothing over"
    source = migrated(daemon, legacy_dir / name)
    assert source["verified"] == source["total"] == due["memories"]
    assert (source["kind"], source["quarantined"]) == ("nima-files", 0)
    assert daemon.call("status")["memories"] == due["memories"]


@pytest.mark.parametrize(("name", "count"), [("pkl", "pickle_memories"), ("json", "json_memories")])
def test_a_sparse_memory(
    daemon: DaemonProcess, legacy_dir: Path, expected: dict[str, Any], name: str, count: str
) -> None:
    due = expected["sparse_memories/sparse_memory.pkl"][count]
    source = migrated(daemon, legacy_dir / "sparse_memories" / f"sparse_memory.{name}")
    assert source["verified"] == due and source["name"] == "sparse_memory"


def test_latest_and_archive_together(
    daemon: DaemonProcess, legacy_dir: Path, expected: dict[str, Any]
) -> None:
    source = migrated(daemon, legacy_dir / "sessions")
    assert source["verified"] == expected["sessions/latest.pt"]["memories"] == 160
    assert source["name"] == "sessions"
    # a part of it, named by itself, brings nothing; nor does all of it again
    for path in ("sessions/archive/2026-02-03-0900.pt", "sessions/latest.pt", "sessions"):
        code, told = nimactl(daemon, "migrate", legacy_dir / path)
        assert (code, told["name"], told["new"]) == (0, "sessions", False)
    assert daemon.call("status")["memories"] == 160
    assert daemon.call("migrate.verify", name="sessions")["ok"]


@pytest.mark.parametrize("schema", [1, 3])
def test_a_graph(
    daemon: DaemonProcess, legacy_dir: Path, expected: dict[str, Any], schema: int
) -> None:
    name = {1: "graph.sqlite", 3: "graph_v3.sqlite"}[schema]
    source, due = migrated(daemon, legacy_dir / name), expected[name]
    told = (source["verified"], source["relations"], source["turns"], source["quarantined"])
    assert told[:3] == (due["nodes"], due["edges_valid"], due["turns"])


@pytest.mark.slow
def test_a_directory_with_all_of_them(
    daemon: DaemonProcess, legacy_dir: Path, expected: dict[str, Any]
) -> None:
    code, told = nimactl(daemon, "migrate", legacy_dir, "--strategy", "full", "--wait")
    assert code == 65, "what is damaged or dangerous shows in the exit code"
    found = {
        str(Path(source["path"]).relative_to(legacy_dir)): source["verified"]
        for source in told["sources"]
    }
    assert found == {
        "graph.sqlite": expected["graph.sqlite"]["nodes"],
        "graph_v3.sqlite": expected["graph_v3.sqlite"]["nodes"],
        "sessions": 160,
        "sessions_50k": 24,
        "sessions_bf16": 30,
        "metadata_only": 40,
        "sparse_memories/sparse_memory.pkl": 40,
    }
    refused = {Path(each["path"]).name: each["code"] for each in told["refused"]}
    assert refused == {
        "bad": "source_not_recognised",  # its three checkpoints, each with its reason
        **{name: code for name, (code, _) in REFUSED.items() if not name.endswith(".pt")},
        "empty.pt": "source_not_recognised",
    }
    assert not BOMB.exists()


def test_what_is_bad_is_refused_for_its_own_reason(
    make_daemon: Callable[..., DaemonProcess], legacy_dir: Path
) -> None:
    daemon = make_daemon().start()
    for name, (code, reason) in REFUSED.items():
        exit_code, told = nimactl(daemon, "migrate", legacy_dir / "bad" / name, "--wait")
        assert exit_code == 65, name
        error = told["error"]
        assert error["code"] == code and reason in error["message"], name
        assert str(legacy_dir / "bad" / name) in error["message"]
    assert daemon.call("migrate.status")["sources"] == []
    assert list((daemon.state / "snapshots").iterdir()) == []
    assert not BOMB.exists()
