"""`nimactl backup` and `restore` with a real daemon: written beside 50 writes a second, restored
elsewhere, rotated, refused, on a full disk, with nimactl killed; and `export --all`, its text."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests import forked
from tests.process import DaemonProcess
from tests.system.test_nimactl import Tool
from tests.threads import Background, setting

CONFIG = "embedder: hash\ngraph.engine: none\n"


@pytest.fixture
def tool(tmp_path: Path) -> Iterator[Tool]:
    """nimactl, and a daemon with 200 memories."""
    daemon = DaemonProcess(tmp_path, CONFIG, fork=True)
    try:
        daemon.start()
        lines = (json.dumps({"text": f"note {n} about the garden"}) for n in range(200))
        (tmp_path / "all.jsonl").write_text("\n".join(lines))
        tool = Tool(daemon)
        tool.run("import", tmp_path / "all.jsonl")
        yield tool
    finally:
        daemon.finish()


def exported(daemon: DaemonProcess) -> list[dict[str, Any]]:
    found, after = [], 0
    while after is not None:
        page = daemon.call("export", after=after)
        found += page["memories"]
        after = page["next"]
    return found


def restored(tool: Tool, backup: Path, place: Path) -> DaemonProcess:
    """A daemon on what `nimactl restore --into` made."""
    daemon = DaemonProcess(place, CONFIG, fork=True)
    told = tool.json("restore", backup, "--into", daemon.state, "--config", daemon.config_file)
    assert told["problems"] == []
    return daemon


def test_what_is_restored_is_what_was_there_at_the_backups_sequence(
    tool: Tool, tmp_path: Path
) -> None:
    stop = threading.Event()

    def write() -> None:
        with tool.daemon.client() as client:
            while not stop.wait(0.02):
                client.call("remember", text="the kettle whistles", session="now")

    with Background(write), setting(stop):
        time.sleep(0.2)
        made = tool.json("backup", tmp_path / "b.tar.gz")
        time.sleep(0.2)
    assert (tmp_path / "b.tar.gz").stat().st_mode & 0o777 == 0o600
    assert made["bytes"] == (tmp_path / "b.tar.gz").stat().st_size
    assert "is whole" in tool.run("backup", "--verify", tmp_path / "b.tar.gz")
    (tmp_path / "new").mkdir()
    other = restored(tool, tmp_path / "b.tar.gz", tmp_path / "new")
    try:
        other.start()
        before = exported(tool.daemon)
        assert 200 < made["memories"] < len(before)
        assert exported(other) == before[: made["memories"]]
        assert other.call("doctor")["problems"] == []
    finally:
        other.finish()


def test_backups_in_a_directory_are_rotated_and_a_purge_names_those_left(
    tool: Tool, tmp_path: Path
) -> None:
    place = tmp_path / "backups"
    place.mkdir()
    old = ["nimad-20200101T000000Z.tar.gz", "nimad-20200102T000000Z.tar.gz"]
    for name in (*old, "nimad-20200103T000000Z.tar.gz.tmp", "notes.tar.gz", "nimad-x.tar.gz"):
        (place / name).touch()
        os.utime(place / name, (0, 0))
    (place / "nimad-20190101T000000Z.tar.gz").mkdir()
    made = tool.json("backup", f"{place}/", "--keep", 2)
    assert made["deleted"] == [str(place / old[0])]
    assert Path(made["file"]).parent == place
    assert tool.daemon.call("status")["backup"] == {"path": made["file"], "made": made["made"]}
    assert f"backup      just now, {made['file']}" in tool.run("status")
    kept = {path.name for path in place.iterdir()} - {Path(made["file"]).name}
    assert kept == {old[1], "notes.tar.gz", "nimad-x.tar.gz", "nimad-20190101T000000Z.tar.gz"}
    told = tool.run("forget", 7, "--purge")
    assert f"{made['file']} of 20" in told and "may still hold it" in told
    assert tool.daemon.call("backup.forget", paths=[made["file"]]) == {"forgotten": 1}
    assert tool.json("forget", 8, "--purge")["backups"] == []
    assert (tmp_path / "fresh").exists() is False
    tool.run("backup", f"{tmp_path / 'fresh'}/")
    assert (tmp_path / "fresh").stat().st_mode & 0o777 == 0o700


def test_the_last_backup_in_which_a_memory_is_sound_is_never_rotated_away(
    tool: Tool, tmp_path: Path
) -> None:
    place = tmp_path / "backups"
    place.mkdir()
    older, sound, damaged = (place / f"nimad-2020010{n}T000000Z.tar.gz" for n in (1, 2, 3))
    for path in (older, sound):
        assert tool.json("backup", path)["damaged"] == []
    with closing(sqlite3.connect(tool.daemon.state / "records.sqlite")) as outside:
        outside.execute("UPDATE memories SET text = 'x' || text WHERE id IN (5, 6)")
        outside.commit()
    assert tool.json("backup", damaged)["damaged"] == ["memory 5", "memory 6"]
    assert "what was damaged before: memory 5" in tool.run("backup", "--verify", damaged)
    told = tool.run("backup", f"{place}/", "--keep", 1)
    assert "it holds what is damaged: memory 5" in told
    assert f"kept {sound}, the last one in which this is sound: memory 5" in told
    assert sound.exists() and not older.exists() and not damaged.exists()
    tool.run("forget", 5, 6)
    made = tool.json("backup", f"{place}/", "--keep", 1)
    assert (made["damaged"], made["spared"]) == ([], []) and str(sound) in made["deleted"]
    assert len(list(place.iterdir())) == 1


@pytest.mark.slow
def test_what_is_refused(tool: Tool, tmp_path: Path) -> None:
    tool.run("backup", code=64)
    tool.run("backup", tmp_path / "f", "--keep", 3, code=64)
    tool.run("backup", "--verify", tmp_path / "none", code=66)
    tool.run("restore", tmp_path / "none", "--into", tmp_path / "new", code=66)
    (tmp_path / "f").write_bytes(b"something else")
    assert "not a backup" in tool.run("backup", "--verify", tmp_path / "f", code=65)
    tool.run("restore", tmp_path / "f", "--into", tmp_path / "new", code=65)
    tool.run("backup", tmp_path / "f")
    data = bytearray((tmp_path / "f").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "g").write_bytes(data)
    assert "/g is not a backup of nimad as it was" in tool.run(
        "backup", "--verify", tmp_path / "g", code=65
    )
    told = tool.run("restore", tmp_path / "f", "--into", tool.daemon.state, code=75)
    assert "systemctl stop" in told
    tool.daemon.stop()
    told = tool.run("restore", tmp_path / "f", "--into", tool.daemon.state, code=73)
    assert "memories in" in told
    tool.run("backup", tmp_path / "f", code=69)
    assert "is whole" in tool.run("backup", "--verify", tmp_path / "f")  # the old one is


@pytest.mark.slow
def test_it_goes_through_a_pipe(tool: Tool, tmp_path: Path) -> None:
    nimactl = [sys.executable, "-m", "nimad.ctl.main", "--json", "--socket", tool.daemon.socket]
    new = ["--into", tmp_path / "new", "--config", tool.daemon.config_file]
    with forked.Popen([*nimactl, "backup", "-"], stdout=subprocess.PIPE) as writing:
        told = forked.run(
            [*nimactl, "restore", "-", *new], stdin=writing.stdout, capture_output=True, check=True
        )
    assert writing.returncode == 0
    assert json.loads(told.stdout)["memories"] == 200


@pytest.mark.slow
def test_a_drill_tells_a_good_backup_from_another(tool: Tool, tmp_path: Path) -> None:
    scratch = tmp_path / "s"  # a socket lies in it, and its path has room for 107 bytes
    scratch.mkdir()

    def drill(*args: object) -> tuple[int, dict[str, Any]]:
        nimactl = [sys.executable, "-m", "nimad.ctl.main", "--json", "--socket", tool.daemon.socket]
        done = forked.run(
            [str(part) for part in (*nimactl, "backup", "--drill", *args)],
            env={**os.environ, "TMPDIR": str(scratch)},
            capture_output=True,
        )
        return done.returncode, json.loads(done.stdout)

    code, told = drill()
    assert (code, told["good"], told["identical"], told["asked"]) == (0, True, 200, 20)
    assert told["alike"] == 20 and told["seconds"].keys() == {"backup", "restore"}
    tool.run("backup", tmp_path / "b")
    tool.daemon.call("forget", ids=[9])
    tool.daemon.call("remember", text="something new")
    code, told = drill(tmp_path / "b")
    assert (code, told["identical"], told["newer"], told["forgotten_since"]) == (0, 199, 1, 1)
    assert list(scratch.iterdir()) == []


@pytest.mark.slow
def test_a_drill_with_a_backup_of_another_store_fails(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = DaemonProcess(tmp_path / "other", CONFIG, fork=True)
    try:
        other.start()
        lines = [json.dumps({"text": "of another store"})] * 250
        (tmp_path / "more.jsonl").write_text("\n".join(lines))
        Tool(other).run("import", tmp_path / "more.jsonl")
        other.call("forget", ids=[5])
        Tool(other).run("backup", tmp_path / "c")
    finally:
        other.finish()
    told = json.loads(tool.run("--json", "backup", "--drill", tmp_path / "c", code=1))
    assert (told["good"], told["lost"], told["identical"]) == (False, [5], 0)
    assert len(told["differing"]) == 20


def test_a_full_disk_leaves_no_partial_file(tool: Tool, tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root may mount a disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no disk may be mounted here")
    try:
        noise = os.urandom(100_000).hex()
        tool.daemon.call("remember", text=noise[:150_000])
        told = tool.run("backup", disk / "b.tar.gz", code=74)
        assert "disk is full" in told
        assert list(disk.iterdir()) == []
        tool.run("backup", tmp_path / "b.tar.gz")
        assert len(tool.json("forget", 3, "--purge")["backups"]) == 1
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=False)


@pytest.mark.slow
def test_nimactl_killed_leaves_the_old_backup(tool: Tool, tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    tool.run("backup", path)
    before = path.read_bytes()
    tool.daemon.call("remember", text="more")
    killed = forked.run(
        [sys.executable, "-m", "nimad.ctl.main", "--socket", tool.daemon.socket, "backup", path],
        env={**os.environ, "NIMAD_CRASH_AT": "durable.before_rename"},
    )
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    assert tool.json("backup", path)["memories"] == 201
    assert [each.name for each in tmp_path.glob("b.tar*")] == ["b.tar.gz"]


def test_everything_goes_through_a_pipe_into_another_store_and_nothing_twice(
    tool: Tool, tmp_path: Path
) -> None:
    tool.daemon.call("goal.add", text="x" * 150_000 + "paint the shed", priority=0.5)
    turn = {"session": "s", "turn": "1", "input": "hello", "output": "good morning"}
    tool.daemon.call("capture", turns=[turn])
    whole = tool.run("export", "--all")
    assert whole.splitlines()[0].startswith('{"kind":"export","format":2,')
    told = tool.json("export", "--all", "--output", tmp_path / "all.jsonl")
    assert told["exported"] == {"memory": 203, "turn": 1, "relation": 1}
    assert (tmp_path / "all.jsonl").read_text().splitlines()[1:] == whole.splitlines()[1:]
    (tmp_path / "new").mkdir()
    other = DaemonProcess(tmp_path / "new", CONFIG, fork=True)
    try:
        new = Tool(other)
        other.start()
        nimactl = [sys.executable, "-m", "nimad.ctl.main", "--json", "--socket", other.socket]
        piped = forked.run(
            [*nimactl, "import", "-"], input=whole.encode(), capture_output=True, check=True
        )
        assert json.loads(piped.stdout)["imported"] == told["exported"]
        assert "here already: 203 memories" in new.run("import", tmp_path / "all.jsonl")
        checked = [each.call("doctor")["checked"] for each in (other, tool.daemon)]
        for kind in ("memories", "turns", "relations"):
            assert checked[0][kind] == checked[1][kind] > 0
        assert [g["priority"] for g in other.call("goal.list")["results"]] == [0.5]
        lines = whole.splitlines()
        (tmp_path / "cut").write_text("\n".join([*lines[:5], "{", *lines[5:]]))
        assert "line 6: " in new.run("import", tmp_path / "cut", code=65)
        new.run("import", tmp_path / "all.jsonl", "--namespace", "x", code=64)
        new.run("export", "--all", "--agent", "x", code=64)
    finally:
        other.finish()
