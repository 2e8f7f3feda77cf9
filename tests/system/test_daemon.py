"""The daemon as a process: start, signals, reload, systemd's protocol, clean and unclean ends."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.client import Client, RemoteFailure
from tests.process import DaemonProcess
from tests.threads import PATIENCE

Make = Callable[..., DaemonProcess]


class Manager:
    """The receiving end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.environment = {"NOTIFY_SOCKET": str(path)}

    def next(self, seconds: float = PATIENCE) -> list[str]:
        self.sock.settimeout(seconds)
        return self.sock.recv(4096).decode("utf-8").split("\n")

    def until(self, line: str) -> list[list[str]]:
        """Every message up to the one with this line."""
        seen = [self.next()]
        while line not in seen[-1]:
            seen.append(self.next())
        return seen


@pytest.fixture
def make_daemon(make_daemon: Make) -> Make:
    """Starts are what is tested here."""
    return partial(make_daemon, fork=False)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify.sock")
    yield made
    made.sock.close()


# --- the command line -----------------------------------------------------------------------------


def nimad(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nimad.daemon", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_help_names_every_exit_code() -> None:
    shown = nimad("--help")
    assert shown.returncode == 0
    for code in (0, 64, 65, 70, 73, 74, 75, 78):
        assert f"  {code} " in shown.stdout


def test_a_wrong_command_line_and_a_wrong_configuration_are_told_apart(tmp_path: Path) -> None:
    assert nimad("--sockte").returncode == 64
    bad = tmp_path / "nimad.yaml"
    bad.write_text("server:\n  thread: 3\n")
    refused = nimad("--config", str(bad), "--check-config")
    assert refused.returncode == 78
    assert "server.thread" in refused.stderr and "server.threads" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    bad.write_text("server:\n  threads: 3\n")
    fine = nimad("--config", str(bad), "--check-config")
    assert fine.returncode == 0 and "server.threads: 3" in fine.stdout


def test_a_state_that_cannot_be_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = nimad("--state", str(tmp_path / "file"), "--socket", str(tmp_path / "s"))
    assert refused.returncode == 73 and str(tmp_path / "file") in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


# --- start and end --------------------------------------------------------------------------------


def test_it_serves_what_it_was_told_and_ends_cleanly(daemon: DaemonProcess) -> None:
    text = "The spare key hangs behind the barometer"
    made = daemon.call("remember", text=text, who="Maya")
    assert daemon.call("get", id=made["id"])["memory"]["text"] == text
    status = daemon.call("status")
    assert status["memories"] == 1 and status["pid"] == daemon.pid
    assert status["socket"] == str(daemon.socket) and status["clients"] == 1
    assert daemon.stop() == 0
    assert not daemon.socket.exists()
    assert daemon.restart().call("get", id=made["id"])["memory"]["who"] == "Maya"


def test_a_killed_daemon_leaves_a_socket_that_does_not_disturb(daemon: DaemonProcess) -> None:
    made = daemon.call("remember", text="The bees came back in April")
    daemon.kill()
    assert daemon.socket.exists()
    daemon.restart()
    assert daemon.call("get", id=made["id"])["memory"]["text"] == "The bees came back in April"


def test_one_process_owns_a_state_directory(daemon: DaemonProcess, tmp_path: Path) -> None:
    second = nimad("--state", str(daemon.state), "--socket", str(tmp_path / "other.sock"))
    assert second.returncode == 75
    (line,) = second.stderr.splitlines()
    assert str(daemon.pid) in line and str(daemon.state) in line
    assert not (tmp_path / "other.sock").exists()


def test_one_process_owns_a_socket(daemon: DaemonProcess, tmp_path: Path) -> None:
    second = nimad("--state", str(tmp_path / "other"), "--socket", str(daemon.socket))
    assert second.returncode == 75 and str(daemon.socket) in second.stderr
    assert daemon.call("ping")["pid"] == daemon.pid


def test_everything_acknowledged_before_a_stop_is_there_afterwards(daemon: DaemonProcess) -> None:
    with daemon.client() as client:
        for number in range(300):
            client.send("remember", text=f"Observation number {number} of the long night")
        acknowledged = [client.result()["id"] for _ in range(20)]
        daemon.signal(signal.SIGTERM)
        while (reply := client.reply()) is not None:
            acknowledged.append(reply["result"]["id"])
    assert daemon.wait() == 0
    daemon.restart()
    kept = {m["id"] for m in daemon.call("export", limit=1000)["memories"]}
    assert set(acknowledged) <= kept and len(kept) <= len(acknowledged) + 8


def test_a_second_signal_stops_at_once(daemon: DaemonProcess) -> None:
    texts = [{"text": str(number) + "x" * 190_000} for number in range(4)]
    daemon.call("import", memories=texts)
    before = daemon.call("status")["requests"]
    with daemon.client() as deaf:
        for _ in range(6):
            deaf.send("export")
        for asked in range(1, 1000):  # until all six have come
            if daemon.call("status")["requests"] - before >= 6 + asked:
                break
        time.sleep(0.3)
        daemon.signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            daemon.wait(0.7)
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 128 + signal.SIGTERM
    assert daemon.restart().call("status")["memories"] == 4


def test_a_closed_terminal_stops_it(make_daemon: Make) -> None:
    daemon = make_daemon()
    ours, theirs = pty.openpty()
    command = daemon.command
    daemon.process = subprocess.Popen(command, stderr=theirs, stdin=subprocess.DEVNULL)
    os.close(theirs)
    daemon.wait_ready()
    shown = ""
    while (
        "is ready" not in shown
    ):  # it may answer a moment before it says so; at its end this fails
        shown += os.read(ours, 4096).decode()
    os.close(ours)
    daemon.signal(signal.SIGHUP)
    assert daemon.wait() == 0


# --- reload ---------------------------------------------------------------------------------------


def test_hangup_applies_live_keys_and_names_those_that_need_a_restart(make_daemon: Make) -> None:
    daemon = make_daemon(config="recall:\n  results: 5\n").start()
    daemon.call("import", memories=[{"text": f"the gate squeaks, day {n}"} for n in range(9)])
    assert len(daemon.call("query", text="gate squeaks")["results"]) == 5
    daemon.config_file.write_text("recall:\n  results: 2\nserver:\n  threads: 1\n")
    reload(daemon, "read again")
    assert len(daemon.call("query", text="gate squeaks")["results"]) == 2
    assert "recall.results = 2" in daemon.log()
    assert "only a restart applies it: server.threads" in daemon.log()
    daemon.config_file.write_text("recall:\n  result: 7\n")
    reload(daemon, "stays as it was")
    assert "recall.result" in daemon.log()
    assert len(daemon.call("query", text="gate squeaks")["results"]) == 2


def reload(daemon: DaemonProcess, until: str) -> None:
    daemon.signal(signal.SIGHUP)
    deadline = time.monotonic() + PATIENCE
    while until not in daemon.log():
        assert time.monotonic() < deadline, daemon.log()
        time.sleep(0.02)


# --- systemd --------------------------------------------------------------------------------------


def test_it_says_ready_when_it_is_and_keeps_the_status_true(
    make_daemon: Make, manager: Manager
) -> None:
    daemon = make_daemon(environment=manager.environment)
    daemon.spawn()
    before = manager.until("READY=1")
    assert before[0][0].startswith("STATUS=opening")
    assert "STATUS=0 memories, idle" in before[-1]
    assert daemon.call("ping")["state"] == "ready", "no waiting after READY=1"
    daemon.call("remember", text="The ferry leaves at six")
    manager.until("STATUS=1 memory, idle")
    daemon.signal(signal.SIGHUP)
    reloading = manager.until("RELOADING=1")[-1]
    assert reloading[1].startswith("MONOTONIC_USEC=") and int(reloading[1].split("=")[1]) > 0
    manager.until("READY=1")
    daemon.signal(signal.SIGTERM)
    manager.until("STOPPING=1")
    assert daemon.wait() == 0


def test_a_failing_start_is_told_too(
    make_daemon: Make, manager: Manager, daemon: DaemonProcess
) -> None:
    second = make_daemon("second", environment=manager.environment)
    second.state = daemon.state
    second.spawn()
    assert second.wait() == 75
    told = [manager.next(), manager.next()]
    assert told[-1][0].startswith("STATUS=failed: Another nimad")


def test_it_feeds_the_watchdog_and_a_frozen_one_does_not(
    make_daemon: Make, manager: Manager
) -> None:
    daemon = make_daemon(environment={**manager.environment, "WATCHDOG_USEC": "200000"})
    daemon.spawn()
    manager.until("READY=1")
    for _ in range(3):
        assert manager.next() == ["WATCHDOG=1"]
    daemon.signal(signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        while True:
            manager.next(0.5)
    daemon.signal(signal.SIGCONT)
    assert manager.next() == ["WATCHDOG=1"]


def test_no_manager_no_watchdog(make_daemon: Make) -> None:
    daemon = make_daemon(environment={"WATCHDOG_USEC": "200000", "WATCHDOG_PID": "1"}).start()
    # Fed, it would be ten in each second; what follows a start ends.
    deadline = time.monotonic() + PATIENCE
    while wakeups(daemon, 1.0) > 2:
        assert time.monotonic() < deadline


def test_a_start_that_cannot_succeed_turns_callers_away(make_daemon: Make, tmp_path: Path) -> None:
    """Who waits on the socket would make systemd start it over and over."""
    daemon = make_daemon(config="embeder: static")
    path = tmp_path / "activated.sock"
    # a listener of the service manager's own stays open, as systemd's does
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(8)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
            caller.connect(str(path))
            inner = " ".join(f"'{part}'" for part in daemon.command)
            script = f"exec 3<&{listener.fileno()}; LISTEN_FDS=1 LISTEN_PID=$$ exec {inner}"
            command = ["bash", "-c", script]
            done = subprocess.run(
                command, pass_fds=[listener.fileno()], stderr=subprocess.DEVNULL, timeout=60
            )
            assert done.returncode == 78
            caller.settimeout(PATIENCE)
            assert caller.recv(1) == b""
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()  # nobody waits: no reason for another start


def test_socket_activation(make_daemon: Make, tmp_path: Path) -> None:
    daemon = make_daemon()
    path = tmp_path / "activated.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(8)
        early = Client(path)
        early.send("ping")  # waits in the kernel's queue
        inner = " ".join(f"'{part}'" for part in daemon.command)
        script = f"exec 3<&{listener.fileno()}; LISTEN_FDS=1 LISTEN_PID=$$ exec {inner}"
        with daemon.log_file.open("ab") as log:
            daemon.process = subprocess.Popen(
                ["bash", "-c", script], pass_fds=[listener.fileno()], stderr=log
            )
    assert early.result()["state"] == "ready"
    early.close()
    assert not daemon.socket.exists()
    daemon.socket = path
    assert daemon.call("status")["socket"] == str(path)
    assert daemon.stop() == 0
    assert path.exists(), "the socket is the service manager's"


# --- rest, memory, hostility ----------------------------------------------------------------------


def wakeups(daemon: DaemonProcess, seconds: float) -> int:
    """How often the threads of a process were scheduled in."""

    def switches() -> int:
        total = 0
        for task in Path(f"/proc/{daemon.pid}/task").iterdir():
            for line in (task / "status").read_text().splitlines():
                if "ctxt_switches" in line:
                    total += int(line.split()[1])
        return total

    before = switches()
    time.sleep(seconds)
    return switches() - before


def test_a_resting_daemon_sleeps_and_holds_no_compiler(make_daemon: Make) -> None:
    daemon = make_daemon(config="migration: {idle_seconds: 0.2}").start()
    daemon.call("remember", text="The lake was frozen over")
    daemon.call("query", text="was the lake frozen?")
    deadline = time.monotonic() + PATIENCE
    while wakeups(daemon, 0.8) > 0:
        assert time.monotonic() < deadline, "what follows a change ends"
    assert wakeups(daemon, 2.0) <= 2
    mapped = Path(f"/proc/{daemon.pid}/maps").read_text()
    assert "llvmlite" not in mapped and "numba" not in mapped
    assert Path(f"/proc/{daemon.pid}/comm").read_text().strip() == "nimad"


def test_only_those_who_may_are_served(make_daemon: Make) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    daemon = make_daemon(config='access: {read_group: "", control_group: daemon}\n').start()
    for directory in [daemon.socket.parent, *daemon.socket.parent.parents][:-2]:
        directory.chmod(directory.stat().st_mode | 0o011)
    strange = as_user(54321, [], daemon.socket)
    assert strange == ["ready", "not_permitted"]
    member = as_user(54321, [1], daemon.socket)
    assert member == ["ready", "stored"]


def as_user(uid: int, groups: list[int], path: Path) -> list[str]:
    """What ping and remember answer to a process of another user."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            with Client(path) as client:
                told = [client.call("ping")["state"]]
                try:
                    client.call("remember", text="May I?")
                    told.append("stored")
                except RemoteFailure as failure:
                    told.append(failure.code)
            os.write(writing, json.dumps(told).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return json.loads(told)


def hostile_frames(seed: int, number: int) -> Iterator[bytes]:
    """Frames of every bad kind: random bytes, near-JSON, wrong types, deep, wide, large."""
    chance = random.Random(seed)
    methods = [
        "ping",
        "query",
        "get",
        "remember",
        "import",
        "forget",
        "export",
        "related",
        "similar",
    ]
    methods += ["status", "migrate.attach", "migrate.status", "migrate.verify", "rebuild", "x"]
    values: list[Any] = [None, True, -1, 0, 2**70, 1e300, "", "\0", "ü" * 300, [], {}, [[]]]
    values += [{"id": 1}, ["x"] * 50, "9" * 400, -0.0, "2024-02-30", {"a": {"b": None}}]
    names = ["text", "id", "k", "ids", "memories", "mode", "after", "tags", "name", "path", "y"]
    for _ in range(number):
        kind = chance.randrange(8)
        if kind == 0:
            yield chance.randbytes(chance.randrange(200)).replace(b"\n", b"")
        elif kind == 1:
            yield b"[" * chance.randrange(5000) + b"{" * chance.randrange(50)
        elif kind == 2:
            good = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
            cut = bytearray(good)
            cut[chance.randrange(len(cut))] = chance.randrange(256)
            yield bytes(cut).replace(b"\n", b" ")
        elif kind == 3 and chance.random() < 0.03:
            yield b'{"jsonrpc":"2.0","id":1,"method":"' + b"a" * chance.randrange(1 << 21) + b'"}'
        else:
            params = {chance.choice(names): chance.choice(values) for _ in range(3)}
            request = {"jsonrpc": "2.0", "id": chance.choice(values), "params": params}
            yield json.dumps({**request, "method": chance.choice(methods)}).encode()


def storm(daemon: DaemonProcess, seed: int, number: int) -> None:
    """Send hostile frames over many connections, in random pieces, some left half open."""
    chance = random.Random(seed)
    frames = hostile_frames(seed, number)
    while chunk := list(zip(range(chance.randrange(1, 60)), frames, strict=False)):
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock,
            contextlib.suppress(BrokenPipeError, ConnectionResetError),  # a frame was too large
        ):
            sock.settimeout(PATIENCE)
            sock.connect(str(daemon.socket))
            sock.sendall(b"".join(frame + b"\n" for _, frame in chunk))
            end = chance.random()
            if end < 0.1:
                continue  # gone without a word
            if end < 0.3:
                sock.sendall(b'{"half": ')
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(1 << 16):
                pass


def test_ten_thousand_hostile_frames(daemon: DaemonProcess) -> None:
    """The daemon serves on, its store is sound, and its memory is stable."""
    kept = daemon.call("remember", text="The one true memory")["id"]
    storm(daemon, seed=1, number=2500)
    settled = daemon.resident()
    storm(daemon, seed=2, number=7500)
    grown = daemon.resident() - settled
    assert grown < 8 << 20, f"grew by {grown >> 10} KiB"
    assert daemon.call("get", id=kept)["memory"]["text"] == "The one true memory"
    deadline = time.monotonic() + PATIENCE
    while (status := daemon.call("status"))["clients"] > 1:  # it notices that they have gone
        assert time.monotonic() < deadline
    assert status["requests"] > 8000
    assert "failed:" not in daemon.log() and "Traceback" not in daemon.log()
    assert [p for p in daemon.call("doctor")["problems"] if p["severity"] == "error"] == []
    assert daemon.stop() == 0
