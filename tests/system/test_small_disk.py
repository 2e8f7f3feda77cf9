"""A real nimad on real small disks: filled to the last byte, read-only, and healthy again.

Disks are ext4 in a file and tmpfs, so they need root; a read-only disk in use is shown as the
kernel's emergency remount does: new opens fail, descriptors that are open go on.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nimad.errors import DiskFull, DiskReadOnly
from nimad.systemd import answer_callers
from tests.process import DaemonProcess
from tests.system.test_nimactl import Tool
from tests.threads import PATIENCE, Background

SIZE = 12 << 20
Daemons = Callable[..., DaemonProcess]


def run(*command: str | Path) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip(f"no small disk here: there is no {command[0]}")
    if done.returncode:
        pytest.skip(f"no small disk here: {' '.join(map(str, command))}: {done.stderr.strip()}")


@pytest.fixture(params=["ext4", "tmpfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A mounted disk of a few MB."""
    if os.geteuid():
        pytest.skip("only root may mount a disk")
    place = tmp_path / "disk"
    place.mkdir()
    if request.param == "ext4":
        image = tmp_path / "image"
        with image.open("wb") as file:
            file.truncate(SIZE)
        run("mkfs.ext4", "-q", "-F", "-m", "0", image)
        run("mount", "-o", "loop", image, place)
    else:
        run("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", place)
    yield place
    for _ in range(2):  # a read-only view may lie on it
        subprocess.run(["umount", "--lazy", place], capture_output=True, check=False)


def make(make_daemon: Daemons, disk: Path) -> DaemonProcess:
    assert os.path.ismount(disk)
    daemon = make_daemon()
    daemon.state = disk / "state"
    return daemon


def fill(disk: Path) -> None:
    """To the last byte."""
    assert os.path.ismount(disk) and os.statvfs(disk).f_blocks * 512 < 1 << 30
    with (disk / "filler").open("ab", buffering=0) as file:
        for size in (1 << 16, 4096, 64, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    pass


def reply_to(daemon: DaemonProcess, verb: str, parameters: dict[str, Any]) -> dict[str, Any]:
    with daemon.client() as client:
        client.send(verb, parameters)
        reply = client.reply()
    assert reply is not None
    return reply


def remember(daemon: DaemonProcess, text: str) -> dict[str, Any]:
    return reply_to(daemon, "remember", {"text": text})


def remember_soon(daemon: DaemonProcess, text: str) -> int:
    """The id of a memory that is stored once the disk takes it; the store is opened anew for that,
    and connections end as at a restart."""
    until = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError, AssertionError), daemon.client() as client:
            client.send("remember", {"text": text})
            reply = client.reply() or {}
            if "result" in reply:
                return int(reply["result"]["id"])
        assert time.monotonic() < until, daemon.log()
        time.sleep(0.1)


def is_answered_within(daemon: DaemonProcess, seconds: float) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            daemon.call("ping")
            return
        except (OSError, AssertionError):
            assert time.monotonic() < until, daemon.log()
            time.sleep(0.1)


def texts(daemon: DaemonProcess) -> dict[int, str]:
    return {m["id"]: m["text"] for m in daemon.call("export", {"limit": 5000})["memories"]}


@pytest.mark.slow
def test_a_disk_filled_to_the_last_byte(make_daemon: Daemons, disk: Path) -> None:
    """Stop, start, restart ten times; with room again it serves soon, with everything."""
    daemon = make(make_daemon, disk).start()
    kept: dict[int, str] = {}

    def write(number: int, length: int) -> dict[str, Any]:
        text = f"memory {number} " + "x" * length
        reply = remember(daemon, text)
        if "result" in reply:
            kept[reply["result"]["id"]] = text
        return reply

    for number in range(50):
        assert "result" in write(number, 100)
    fill(disk)
    refused = [write(number, 3000) for number in range(100)][-1]
    assert refused["error"]["data"]["code"] == DiskFull.code
    for number in range(10):
        if number % 3:
            daemon.kill()
        else:
            assert daemon.stop() in (0, -signal.SIGTERM)  # the latter while it waits
        fill(disk)
        daemon.spawn()
        time.sleep(1.5)
        assert daemon.process is not None and daemon.process.poll() is None, daemon.log()
        with contextlib.suppress(OSError):  # it may serve, or wait
            assert daemon.call("query", {"text": "memory"})["results"]
            write(number, 5000)
    (disk / "filler").unlink()
    kept[remember_soon(daemon, "there is room again")] = "there is room again"
    assert texts(daemon) == kept
    assert "damaged" not in daemon.log() and "Traceback" not in daemon.log()
    assert daemon.stop() == 0


WRITES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("remember", {"text": "x"}),
    ("capture", {"turns": [{"turn": "t", "session": "s", "input": "x"}]}),
    ("import", {"memories": [{"text": "x"}]}),
    ("forget", {"ids": [1]}),
    ("forget", {"ids": [1], "purge": True}),
    ("redate", {"ids": [1], "when": "2024-05-08"}),
    ("documents.put", {"documents": [{"namespace": "a", "key": "k", "value": {"x": 1}}]}),
    ("goal.add", {"text": "x"}),
    ("rebuild", {"part": "words"}),
    ("step", {}),
)
"""Verbs that write, and parameters."""
READS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("query", {"text": "Where is the basil?"}),
    ("query", {"text": "Where is the basil?", "mode": "meaning"}),
    ("get", {"id": 1}),
    ("related", {"id": 1}),
    ("similar", {"id": 1}),
    ("export", {}),
    ("status", {}),
    ("doctor", {}),
    ("metrics", {}),
    ("audit", {}),
    ("narrative", {}),
    ("timeline", {}),
    ("documents.find", {"namespace": "a"}),
    ("goal.list", {}),
    ("migrate.status", {}),
)


def close_mount(disk: Path) -> Callable[[], None]:
    run("mount", "-o", "remount,ro", disk)
    return lambda: run("mount", "-o", "remount,rw", disk)


def close_directory(disk: Path) -> Callable[[], None]:
    """As a missing permission would, which root has."""
    run("chattr", "+i", disk / "state")
    return lambda: run("chattr", "-i", disk / "state")


@pytest.mark.parametrize("disk", ["ext4"], indirect=True)
@pytest.mark.parametrize("close", [close_mount, close_directory])
@pytest.mark.parametrize("killed", [False, True])
def test_a_start_where_nothing_can_be_written(
    make_daemon: Daemons, disk: Path, close: Callable[[Path], Callable[[], None]], killed: bool
) -> None:
    """All that was acknowledged is served, with what only the WAL holds; each write is refused, and
    once it can be written nimad does it, without a restart."""
    daemon = make(make_daemon, disk).start()
    kept = {}
    for text in ("Maya planted basil", "Jonas repaired the brake", "Pilar called"):
        kept[remember(daemon, text)["result"]["id"]] = text
    if killed:
        daemon.kill()
    else:
        assert daemon.stop() == 0
    wal = disk / "state" / "records.sqlite-wal"
    assert (wal.exists() and wal.stat().st_size > 0) == killed
    files = {path: path.read_bytes() for path in (disk / "state").glob("records.sqlite*")}
    open_again = close(disk)
    try:
        daemon.spawn()
        daemon.wait_ready()
        replies = [(verb, reply_to(daemon, verb, given)) for verb, given in (*WRITES, *READS)]
        refused = [DiskReadOnly.code] * len(WRITES) + [None] * len(READS)
        for (verb, reply), code in zip(replies, refused, strict=True):
            assert reply.get("error", {}).get("data", {}).get("code") == code, (verb, reply)
        assert texts(daemon) == kept
        assert daemon.call("query", {"text": "Where is the basil?"})["results"][0]["id"] == 1
        assert list(daemon.call("status")["degraded"]) == ["disk"]
        assert {p["part"] for p in daemon.call("doctor")["problems"]} <= {"disk"}
        assert {path: path.read_bytes() for path in files} == files
        pid = daemon.pid
    finally:
        open_again()
    kept[remember_soon(daemon, "And now again")] = "And now again"
    assert daemon.pid == pid and daemon.call("status")["degraded"] == {}
    daemon.kill()
    daemon.start()
    assert texts(daemon) == kept
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


@pytest.mark.parametrize("disk", ["ext4"], indirect=True)
def test_a_start_on_a_read_only_disk_that_needs_an_upgrade_waits(
    make_daemon: Daemons, disk: Path
) -> None:
    daemon = make(make_daemon, disk).start()
    first = remember(daemon, "Maya planted basil")["result"]["id"]
    assert daemon.stop() == 0
    with contextlib.closing(sqlite3.connect(disk / "state" / "records.sqlite")) as records:
        records.execute("DELETE FROM meta WHERE key = 'text_form'")
        records.commit()
    run("mount", "-o", "remount,ro", disk)
    daemon.spawn()
    until = time.monotonic() + PATIENCE
    while "waiting: The disk is read-only" not in daemon.log():
        assert time.monotonic() < until
        time.sleep(0.05)
    assert daemon.process is not None and daemon.process.poll() is None
    run("mount", "-o", "remount,rw", disk)
    is_answered_within(daemon, 60)
    assert texts(daemon) == {first: "Maya planted basil"}


def test_a_disk_that_turns_read_only_in_use(make_daemon: Daemons, disk: Path) -> None:
    """It is told as that, questions are answered, and nothing needs a restart afterwards."""
    daemon = make(make_daemon, disk).start()
    first = remember(daemon, "Maya planted basil on the balcony")["result"]["id"]
    run("mount", "--bind", "-o", "ro", disk, disk)
    run("mount", "-o", "remount,bind,ro", disk)
    for verb, parameters in (
        ("remember", {"text": "x"}),
        ("import", {"memories": [{"text": "x"}]}),
        ("forget", {"ids": [first]}),
        ("forget", {"ids": [first], "purge": True}),
    ):
        reply = reply_to(daemon, verb, parameters)
        assert reply["error"]["data"]["code"] == DiskReadOnly.code, reply
        assert reply["error"]["data"]["exit"] == DiskReadOnly.exit
    found = daemon.call("query", {"text": "Where is the basil?"})
    assert [hit["id"] for hit in found["results"]] == [first] and "disk" in found["degraded"]
    assert daemon.call("get", {"id": first})["memory"]["text"].startswith("Maya")
    assert "read-only" in daemon.call("status")["degraded"]["disk"]
    told = daemon.call("doctor")["problems"]
    assert any("read-only" in problem["what"] for problem in told)
    assert not any("bug" in problem["fix"] for problem in told)
    backup = Tool(daemon).json("backup", daemon.log_file.with_name("kept.tar.gz"))
    assert backup["memories"] == 1 and not backup["noted"]
    run("umount", "--lazy", disk)
    assert remember(daemon, "Jonas repaired the brake")["result"]["id"] == first + 1
    assert daemon.call("status")["degraded"] == {}
    assert daemon.call("doctor")["problems"] == [] or os.statvfs(disk).f_bavail < 1 << 20
    assert daemon.stop() == 0


def test_callers_are_told_why_a_start_waits(tmp_path: Path) -> None:
    """Those of socket activation, whom nobody else would answer."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as caller:
        listener.bind(str(path))
        listener.listen()
        caller.connect(str(path))
        caller.sendall(b'{"jsonrpc": "2.0", "id": 7, "method": "status"}\n')
        error = DiskFull(detail="no room for records.sqlite-shm")
        with Background(answer_callers, [listener], error, 0.5):
            caller.settimeout(PATIENCE)
            reply = json.loads(caller.makefile().readline())
            caller.close()
    assert reply["error"]["data"]["code"] == DiskFull.code and "shm" in reply["error"]["message"]
