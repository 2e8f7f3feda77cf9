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
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nimad.errors import DiskFull, DiskReadOnly
from nimad.systemd import answer_callers
from tests.process import DaemonProcess
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
    is_answered_within(daemon, 60)
    assert "result" in write(1000, 3000)
    assert texts(daemon) == kept
    assert "damaged" not in daemon.log() and "Traceback" not in daemon.log()
    assert daemon.stop() == 0


@pytest.mark.parametrize("disk", ["ext4"], indirect=True)
def test_a_start_on_a_read_only_disk_waits_for_it(make_daemon: Daemons, disk: Path) -> None:
    daemon = make(make_daemon, disk).start()
    first = remember(daemon, "Maya planted basil")["result"]["id"]
    assert daemon.stop() == 0
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
