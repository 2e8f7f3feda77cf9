"""Checkpoints through a real daemon: growth, purge, restoring, what is left out, and names."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests import forked
from tests.legacy import stores
from tests.legacy.checkpoints import episode, nested, save, tensor
from tests.process import DaemonProcess

SECRET = "The spare key hangs behind the third painting."
D = 10_000


def nimactl(daemon: DaemonProcess, *args: object) -> tuple[int, Any]:
    command = [sys.executable, "-m", "nimad.ctl.main", "--socket", str(daemon.socket), "--json"]
    ran = forked.run(
        [*command, *(str(arg) for arg in args)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return ran.returncode, json.loads(ran.stdout.strip() or ran.stderr.strip())


def hypervectors() -> NDArray[np.float32]:
    """float32[100, D] like those of episodes: unit sums of a few that they share."""
    shared = np.random.default_rng(1).standard_normal((12, D))
    picks = np.random.default_rng(2).integers(0, 12, (100, 4))
    rows = shared[picks].sum(axis=1)
    made: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1)[:, None]).astype(np.float32)
    return made


def write(path: Path, numbers: range, **more: Any) -> Path:
    rows = hypervectors()
    path.parent.mkdir(parents=True, exist_ok=True)
    episodes = [{**episode(number), **more} for number in numbers]
    return save(path, nested(episodes, tensor(rows[list(numbers)])))


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    home = tmp_path / "agent" / "sessions"
    write(home / "latest.pt", range(10))
    return home


def migrate(daemon: DaemonProcess, path: Path, *args: object) -> dict[str, Any]:
    code, told = nimactl(daemon, "migrate", path, "--strategy", "full", "--wait", *args)
    assert code == 0, told
    found: dict[str, Any] = told["sources"][0]
    return found


def test_a_store_that_grows(daemon: DaemonProcess, sessions: Path) -> None:
    assert migrate(daemon, sessions / "latest.pt")["name"] == "sessions"
    (sessions / "archive").mkdir()
    (sessions / "latest.pt").rename(sessions / "archive" / "one.pt")
    write(sessions / "latest.pt", range(5, 25))
    source = migrate(daemon, sessions)  # now the directory, and the older ones in the archive
    assert (source["name"], source["total"], source["verified"]) == ("sessions", 25, 25)
    assert len(daemon.call("migrate.status")["sources"]) == 1
    write(sessions / "latest.pt", range(5, 25), importance=0.875)
    source = migrate(daemon, sessions)
    assert (source["total"], source["changed"]) == (25, 20)
    assert daemon.call("status")["memories"] == 25
    assert daemon.call("doctor")["problems"] == []


def test_the_same_episodes_elsewhere_are_another_store(
    daemon: DaemonProcess, sessions: Path
) -> None:
    migrate(daemon, sessions)
    other = sessions.parent / "sessions_2"
    write(other / "latest.pt", range(8))
    assert migrate(daemon, other)["name"] == "sessions_2"
    assert daemon.call("status")["memories"] == 18
    moved = sessions.parent / "moved"
    sessions.rename(moved)
    assert migrate(daemon, moved)["name"] == "sessions"
    assert daemon.call("status")["memories"] == 18


def test_a_purge_reaches_the_backup(daemon: DaemonProcess, sessions: Path) -> None:
    episodes = [*map(episode, range(6)), episode(60, raw_text=SECRET, what=SECRET[:30])]
    rows = hypervectors()[:7]
    save(sessions / "latest.pt", nested(episodes, tensor(rows)), checksum=True)
    migrate(daemon, sessions)
    (hit,) = daemon.call("query", text="where is the spare key", k=1)["results"]
    assert hit["text"] == SECRET
    receipt = daemon.call("forget", ids=[hit["id"]], purge=True)
    assert receipt["purged"] and receipt["removed"]["snapshots"] == 1
    for path in daemon.state.rglob("*"):
        if path.is_file():
            assert SECRET[:30].encode() not in path.read_bytes(), path
    compared = daemon.call("migrate.verify", name="sessions")
    assert compared["ok"] and compared["memories"]["identical"] == 6
    migrate(daemon, sessions)  # the source still has it: it does not come back
    assert daemon.call("status")["memories"] == 6
    for path in daemon.state.rglob("*"):
        if path.is_file():
            assert SECRET[:30].encode() not in path.read_bytes(), path
    assert daemon.call("migrate.verify", name="sessions")["ok"]
    assert daemon.call("doctor")["problems"] == []


def test_a_backup_that_cannot_lose_a_row_goes_whole(daemon: DaemonProcess, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    save(tmp_path / "one" / "latest.pt", {"metadata": [episode(1)]})
    migrate(daemon, tmp_path / "one")
    (hit,) = daemon.call("query", text="garden", k=1)["results"]
    assert daemon.call("forget", ids=[hit["id"]], purge=True)["purged"]
    assert list((daemon.state / "snapshots").iterdir()) == []
    assert daemon.call("doctor")["problems"] == []


def test_a_backup_gives_the_files_back(
    daemon: DaemonProcess, sessions: Path, tmp_path: Path
) -> None:
    write(sessions / "archive" / "old.pt", range(3))
    migrate(daemon, sessions)
    code, _ = nimactl(daemon, "migrate", "--restore", "sessions", "--to", tmp_path / "back")
    assert code == 0
    for name in ("latest.pt", "archive/old.pt"):
        assert (tmp_path / "back" / name).read_bytes() == (sessions / name).read_bytes()


def test_a_refused_file_is_not_kept(daemon: DaemonProcess, sessions: Path) -> None:
    bad = save(sessions / "bad.pt", {"metadata": [episode(77, raw_text=SECRET)]}, checksum=True)
    Path(f"{bad}.sha256").write_text('{"hash": "' + "0" * 64 + '", "algorithm": "sha256"}')
    code, told = nimactl(daemon, "migrate", sessions, "--strategy", "full")
    assert code == 0 and told["total"] == 10
    assert [each["code"] for each in told["report"]["refused_files"]] == ["source_altered"]
    assert any("bad.pt is left out" in note for note in told["report"]["notes"])
    deadline = time.monotonic() + 60
    while daemon.call("migrate.status")["sources"][0]["state"] != "verified":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (kept,) = (daemon.state / "snapshots").glob("*.tar")
    assert SECRET.encode() not in kept.read_bytes()
    assert migrate(daemon, sessions)["total"] == 10, "the same again brings nothing"


def test_several_stores_and_options_for_one(daemon: DaemonProcess, sessions: Path) -> None:
    write(sessions.parent / "other" / "memories.pt", range(3))
    code, told = nimactl(daemon, "migrate", sessions.parent, "--name", "mine")
    assert code == 64 and "--name is for one store" in told["error"]["message"]
    code, told = nimactl(daemon, "migrate", sessions.parent, "--dry-run")
    assert code == 0 and {each["name"] for each in told["sources"]} == {"sessions", "other"}
    assert told["refused"] == [] and daemon.call("status")["memories"] == 0
    code, told = nimactl(daemon, "migrate", sessions.parent, "--wait", "--strategy", "full")
    assert code == 0 and {each["verified"] for each in told["sources"]} == {10, 3}


def test_a_copy_beside_the_store_adds_nothing(daemon: DaemonProcess, tmp_path: Path) -> None:
    home = tmp_path / "memory"
    home.mkdir()
    stores.small_store(home / "graph.sqlite")
    shutil.copyfile(home / "graph.sqlite", home / "graph_backup.sqlite")
    with closing(sqlite3.connect(home / "graph_backup.sqlite")) as backup:
        backup.execute("DELETE FROM memory_nodes WHERE id > 3")
        backup.commit()
    code, told = nimactl(daemon, "migrate", home, "--strategy", "full", "--wait")
    assert code == 0 and [each["name"] for each in told["sources"]] == ["graph"]
    held = daemon.call("status")["memories"]
    code, told = nimactl(daemon, "migrate", home / "graph_backup.sqlite", "--dry-run")
    assert code == 0 and told["name"] == "graph"
    assert any("it adds nothing" in note for note in told["report"]["notes"])
    (gone, *_) = [each["id"] for each in daemon.call("export")["memories"]]
    daemon.call("forget", ids=[gone], purge=True)
    migrate(daemon, home)
    assert daemon.call("status")["memories"] == held - 1, "what was purged does not come back"
    with closing(sqlite3.connect(home / "graph_backup.sqlite")) as backup:
        backup.execute("UPDATE memory_nodes SET text = text || ' Or not.' WHERE id = 2")
        backup.commit()
    migrate(daemon, home / "graph_backup.sqlite")
    assert daemon.call("status")["memories"] > held - 1, "what differs is another store"


def test_a_directory_of_which_nothing_comes_in(daemon: DaemonProcess, tmp_path: Path) -> None:
    home = tmp_path / "memory"
    home.mkdir()
    path = home / "sparse_memory.json"
    path.write_bytes(b'\xef\xbb\xbf[{"raw_text": "x"}]')
    for option in ([], ["--name", "mine"], ["--wait"], ["--dry-run"]):
        code, told = nimactl(daemon, "migrate", home, *option)
        assert code == 65 and "begins like no" in json.dumps(told)
    path.write_bytes(b'\xef\xbb\xbf{"metadata": [{"raw_text": "x"}]}')
    assert migrate(daemon, home)["total"] == 1
