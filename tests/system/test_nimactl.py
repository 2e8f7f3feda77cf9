"""nimactl against the real daemon: memories, files, a migration with a crash in it, refusals."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import forked, threads
from tests.legacy import stores
from tests.process import DaemonProcess
from tests.threads import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "embedder: hash\n"


class Tool:
    """Runs nimactl on one daemon's socket."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.daemon = daemon

    def start(self, *args: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "nimad.ctl.main", "--socket", self.daemon.socket, *args]
        return forked.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def run(self, *args: object, code: int = 0) -> str:
        """The output of a run that must end with `code`; of errors, when it is not 0."""
        process = self.start(*args)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, f"{args}: {out}{err}"
        return out if code == 0 else out + err

    def json(self, *args: object) -> Any:
        return json.loads(self.run("--json", *args))


@contextmanager
def running(place: Path) -> Iterator[Tool]:
    daemon = DaemonProcess(place, CONFIG, fork=True)
    try:
        yield Tool(daemon.start())
    finally:
        daemon.finish()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tool]:
    with running(tmp_path_factory.mktemp("shared")) as tool:
        yield tool


@pytest.fixture
def tool(tmp_path: Path) -> Iterator[Tool]:
    with running(tmp_path) as tool:
        yield tool


@pytest.fixture(scope="session")
def household(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("household") / "graph.sqlite"
    subprocess.run([sys.executable, ROOT / "packaging" / "make_sample.py", path], check=True)
    return path


def test_a_memory_from_remembering_to_forgetting(tool: Tool) -> None:
    said = tool.run("remember", "The ladder leans on the apple tree.", "--who", "Maya")
    assert said == "remembered as 1\n"
    assert tool.json("remember", "-k, the kettle is fixed", "--tag", "kitchen") == {"id": 2}
    found = tool.json("query", "ladder", "--mode", "words")["results"]
    assert [one["id"] for one in found] == [1] and found[0]["who"] == "Maya"
    assert "apple tree" in tool.run("query", "where", "is", "the", "ladder?")
    assert "Nothing relevant" in tool.run("query", "zebra", "--mode", "words")
    assert "Maya" in tool.run("get", 1)
    assert "Nothing is connected with 1." in tool.run("related", 1)
    assert tool.run("forget", 1, "--dry-run").startswith("would forget 1")
    assert "there is no memory 99" in tool.run("forget", 1, 99, "--purge", code=1)
    assert "There is no memory 1." in tool.run("get", 1, code=1)
    status = tool.json("status")
    assert status["memories"] == 1
    assert "all well" in tool.run("doctor")
    assert "rebuilt blocks: 1 memory" in tool.run("rebuild", "blocks")


def test_a_wrong_value_is_the_users_error(shared: Tool) -> None:
    assert "layer must be one of input" in shared.run("query", "x", "--layer", "no", code=64)


def test_a_migration_from_dry_run_to_rollback(tool: Tool, household: Path) -> None:
    tool.run("remember", "This stays.")
    report = tool.json("migrate", household, "--dry-run")["report"]
    assert tool.json("status")["memories"] == 1, "a dry run writes nothing"
    said = tool.run("migrate", household, "--strategy", "full", "--wait")
    assert "graph  verified  [########################] 100 %" in said
    (source,) = tool.json("migrate", "--status")["sources"]
    assert source["total"] == source["verified"] == report["memories"]
    assert source["relations"] == report["relations"] and source["turns"] == report["turns"]
    assert source["quarantined"] == report["dangling"]
    before = tool.json("status")["memories"]
    assert before == report["memories"] + 1
    assert "is known already" in tool.run("migrate", household)
    tool.run("migrate", household, "--wait")
    assert tool.json("status")["memories"] == before, "running it again adds nothing"
    assert "identical with its source" in tool.run("migrate", "--verify", "graph")
    assert "balcony" in tool.run("query", "What did Maya plant on the balcony?", "-k", "5")
    assert tool.json("migrate", "--pause")["sources"] == []
    assert "freed" in tool.run("migrate", "--forget-backup", "graph")
    assert f"{report['memories']:,} memories" in tool.run("migrate", "--rollback", "graph")
    assert tool.json("status")["memories"] == 1
    assert "all well" in tool.run("doctor")


def test_copies_of_a_backup_are_told_by_a_purge_and_by_doctor(tool: Tool, household: Path) -> None:
    tool.run("migrate", household, "--strategy", "full", "--wait")
    backups = tool.daemon.state / "snapshots"
    backup = backups / "graph.sqlite"
    text = tool.daemon.call("get", id=1)["memory"]["text"].encode()
    shutil.copy(backup, backups / "graph.sqlite.bak")
    (backups / "graph.2.sqlite").hardlink_to(backup)
    (backups / "older").mkdir()
    shutil.copy(backup, backups / "older" / "graph.sqlite")
    strange = [f"{backups}/{name}" for name in ("graph.2.sqlite", "graph.sqlite.bak", "older")]
    for name in ("incoming-x1.tmp", "graph.sqlite.scrub.tmp"):  # as while they are written
        (backups / name).write_bytes(text)
    (backups / "lost+found").mkdir()
    assert tool.json("forget", 1)["strangers"] == []  # it leaves its text, as it says
    assert tool.json("forget", 1, "--purge", "--dry-run")["strangers"] == strange
    assert tool.json("forget", 1, "--purge")["strangers"] == strange
    tool.run("remember", "Forget this.")
    last = tool.json("status")["memories"] + 1
    said = tool.run("forget", last, "--purge")
    for path in strange:
        assert f"{path} is not nimad's and may still hold it: move it away, or delete it" in said
    found = tool.daemon.call("doctor")["problems"]
    assert [(each["part"], each["severity"]) for each in found] == [("snapshots", "warning")]
    assert "graph.2.sqlite, graph.sqlite.bak, older" in found[0]["what"]
    assert f"move them out of {backups}" in found[0]["fix"]
    for path in map(Path, strange):
        path.rename(tool.daemon.state.parent / path.name)
    (backups / "incoming-x1.tmp").unlink()
    (backups / "graph.sqlite.scrub.tmp").unlink()
    assert not [p for p in tool.daemon.state.rglob("*") if p.is_file() and text in p.read_bytes()]
    assert tool.json("forget", 2, "--purge")["strangers"] == []
    assert "all well" in tool.run("doctor")


def test_waiting_goes_on_through_a_kill(tool: Tool, tmp_path: Path) -> None:
    path = tmp_path / "graph.sqlite"
    stores.create(path)
    rows = [stores.node(key, f"memory number {key} " + "word " * 20) for key in range(1, 3001)]
    stores.insert(path, "memory_nodes", rows)
    process = tool.start("migrate", path, "--strategy", "full", "--batch-size", 50, "--wait")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        status = tool.daemon.call("migrate.status")["sources"]
        if status and status[0]["copied"]:
            break
        time.sleep(0.01)
    tool.daemon.kill()
    with threads.after(1.0, tool.daemon.start):
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, out + err
    assert "verified 3,000" in out
    assert tool.json("status")["memories"] == 3000
    assert "all well" in tool.run("doctor")


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("missing.sqlite", 66, "There is no file"),
        ("nothing", 65, "no NIMA store in that directory"),
        ("text.txt", 65, "is not a NIMA store"),
        ("empty.sqlite", 65, "it is empty"),
        ("other.sqlite", 65, "no table memory_nodes"),
        ("cut.sqlite", 65, "is damaged"),
    ],
)
def test_what_is_no_store_is_refused(
    shared: Tool, tmp_path: Path, name: str, code: int, message: str
) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "text.txt").write_text("hello " * 100)
    (tmp_path / "empty.sqlite").touch()
    (tmp_path / "other.sqlite").touch()
    stores.execute(tmp_path / "other.sqlite", "CREATE TABLE notes (text TEXT);")
    stores.create(tmp_path / "whole.sqlite", mode="delete")
    whole = (tmp_path / "whole.sqlite").read_bytes()
    (tmp_path / "cut.sqlite").write_bytes(whole[: len(whole) // 2])
    said = shared.run("migrate", tmp_path / name, "--wait", code=code)
    assert said.startswith("nimactl: ") and message in said and said.count("\n") == 1
    assert shared.json("migrate", "--status")["sources"] == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_store_that_may_not_be_read(shared: Tool, tmp_path: Path) -> None:
    stores.create(tmp_path / "graph.sqlite")
    (tmp_path / "graph.sqlite").chmod(0)
    assert "Run nimactl as the user" in shared.run("migrate", tmp_path / "graph.sqlite", code=77)


# --- export and import ----------------------------------------------------------------------------


def exported(tool: Tool) -> list[dict[str, Any]]:
    return [json.loads(line) for line in tool.run("export").split("\n") if line]


def test_export_and_import_lose_nothing(tool: Tool, tmp_path: Path) -> None:
    store = tmp_path / "graph.sqlite"
    stores.create(store, schema=3)
    blob = bytes(range(256)) * 6
    rows = [
        stores.node(1, "odd \u2028 text\n\x01 ü 東京 🌱", embedding=blob, strength=0.1),
        stores.node(2, who=None, fe_score=7.5, affect_json='{"joy": 1}'),
        stores.node(3, "x" * 150_000, session_key="s", conversation_id="c", turn_id="t"),
    ]
    rows[1]["text"] = ""
    stores.insert(store, "memory_nodes", rows)
    tool.run("migrate", store, "--strategy", "full", "--wait")
    tool.run("remember", "Mine.", "--where", "home", "--tag", "a", "--tag", "b", "--namespace", "n")
    first = exported(tool)
    assert len(first) == 4 and first[0]["blobs"]

    file = tmp_path / "all.jsonl"
    assert tool.run("export", "--output", file) == f"exported 4 memories to {file}\n"
    (tmp_path / "b").mkdir()
    with running(tmp_path / "b") as other:
        assert other.run("import", file) == "imported 4 memories as 1 to 4\n"
        second = exported(other)
        assert "all well" in other.run("doctor")
    for before, after in zip(first, second, strict=True):
        came_from = before.pop("source")
        assert after.pop("source") is None
        extra = after["extra"] or {}
        assert extra.pop("source", None) == came_from
        after["extra"] = extra or None
        assert {**before, "id": 0} == {**after, "id": 0}


def test_an_import_names_the_line_and_keeps_what_came_before(tool: Tool, tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"memory {n}", "importance": 0.5}) for n in range(1, 1201)]
    lines[1016] = '{"text": "bad", "importance": 3}'
    file = tmp_path / "file.jsonl"
    file.write_text("\n".join(lines))
    said = tool.run("import", file, code=65)
    assert f"{file}:1017: " in said and "importance" in said
    assert "1,016 memories stored; go on with: nimactl import" in said
    assert tool.json("status")["memories"] == 1016
    lines[1016] = '{"text": "good"}'
    file.write_text("\n".join(lines))
    tool.run("import", file, "--from-line", 1017)
    assert [one["text"] for one in exported(tool)][1015:1018] == [
        "memory 1016",
        "good",
        "memory 1018",
    ]


def test_the_quarantine_and_the_backup_of_a_source(tmp_path: Path) -> None:
    store = stores.small_store(tmp_path / "graph.sqlite")
    stores.execute(store, "INSERT INTO memory_edges VALUES (900, 1, 4711, 'lost', 1.0)")
    with running(tmp_path) as tool:
        tool.run("migrate", store, "--strategy", "full", "--wait")
        listed = tool.json("migrate", "--quarantine", "graph")
        assert listed["total"] == 1 and listed["rows"][0]["key"] == 900
        assert "edge 900  target memory 4711" in tool.run("migrate", "--quarantine", "graph")
        assert "1 row" in tool.run("migrate", "--retry-quarantined", "graph")
        tool.run("migrate", store, "--wait")
        assert tool.json("migrate", "--quarantine", "graph")["total"] == 1
        store.unlink()
        back = tmp_path / "back.sqlite"
        told = tool.json("migrate", "--restore", "graph", "--to", back)
        assert (told["bytes"], told["to"]) == (back.stat().st_size, str(back))
        assert back.stat().st_mode & 0o777 == 0o600
        assert "exists" in tool.run("migrate", "--restore", "graph", "--to", back, code=73)
        assert "--to" in tool.run("migrate", "--restore", "graph", code=64)
        assert "other" in tool.run(
            "migrate", "--restore", "other", "--to", back.parent / "x", code=1
        )
        tool.run("migrate", "--forget-backup", "graph")
        gone = tool.run("migrate", "--restore", "graph", "--to", tmp_path / "no", code=1)
        assert "backup" in gone and not list(tmp_path.glob("no*"))
        tool.run("migrate", back, "--name", "graph", "--wait")
        assert tool.json("status")["memories"] == 30
