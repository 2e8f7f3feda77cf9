"""nimactl's connection: sockets that are missing, dead, forbidden, slow, closing or wrong."""

from __future__ import annotations

import grp
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nimad import config
from nimad.client import connection as client_module
from nimad.client import places
from nimad.client.places import candidates
from nimad.ctl.client import Client
from nimad.errors import (
    DaemonAbsent,
    NimadError,
    NoAnswer,
    NotFound,
    NotPermitted,
    OwnerOnly,
    RemoteError,
    UsageError,
)
from tests.fake_daemon import FakeDaemon
from tests.threads import Callers


def raw_server(path: Path, talk: Callable[[socket.socket], None]) -> Callers:
    """Let `talk` do as it likes with each connection."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(1)
    return Callers(listener, talk)


def test_results_errors_and_parameters_travel(tmp_path: Path) -> None:
    def get(params: dict[str, Any]) -> Any:
        raise NotFound(kind="memory", id=params["id"])

    daemon = FakeDaemon(tmp_path / "s", query=lambda p: {"given": p}, get=get)
    with daemon, Client(str(daemon.path)) as client:
        assert client.call("query", text="ä\u2028", k=None) == {"given": {"text": "ä\u2028"}}
        with pytest.raises(RemoteError, match="There is no memory 3") as caught:
            client.call("get", id=3)
        assert (caught.value.code, caught.value.exit) == ("not_found", 1)
        assert client.call("ping") == {"state": "ready"}


def test_large_answers_come_whole(tmp_path: Path) -> None:
    text = "ß" * 400_000
    with FakeDaemon(tmp_path / "s", get={"text": text}) as daemon, Client(str(daemon.path)) as c:
        assert c.call("get")["text"] == text


def test_a_missing_socket(tmp_path: Path) -> None:
    with pytest.raises(DaemonAbsent, match="no such socket"):
        Client(str(tmp_path / "s")).call("ping")


def test_a_dead_socket(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(tmp_path / "s"))
    left.close()
    with pytest.raises(DaemonAbsent, match="no daemon behind it"):
        Client(str(tmp_path / "s")).call("ping")


def test_a_file_that_is_no_socket(tmp_path: Path) -> None:
    (tmp_path / "s").touch()
    with pytest.raises(DaemonAbsent):
        Client(str(tmp_path / "s")).call("ping")


def test_a_path_that_is_too_long() -> None:
    with pytest.raises(UsageError, match="107 bytes"):
        Client("/" + "x" * 108).call("ping")


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the kernel refused this user: the tests may run as root."""

    def refused(path: str, deadline: float | None) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(client_module, "_open", refused)


def test_a_forbidden_system_socket_names_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    forbid(monkeypatch)
    with pytest.raises(NotPermitted, match="may not use /run/nimad") as caught:
        Client(places.SYSTEM_SOCKET).call("ping")
    assert "usermod -aG nimad" in caught.value.next_step
    assert caught.value.exit == 77


def test_a_forbidden_socket_of_someone_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with FakeDaemon(tmp_path / "s") as daemon:
        forbid(monkeypatch)
        daemon.path.chmod(0o600)
        with pytest.raises(OwnerOnly):
            Client(str(daemon.path)).call("ping")
        daemon.path.chmod(0o660)
        with pytest.raises(OwnerOnly):  # nobody should be told to join root, or a person's group
            Client(str(daemon.path)).call("ping")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket to a group")
def test_a_forbidden_socket_of_a_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with FakeDaemon(tmp_path / "s") as daemon:
        forbid(monkeypatch)
        os.chown(daemon.path, 0, grp.getgrnam("audio").gr_gid)
        daemon.path.chmod(0o660)
        with pytest.raises(NotPermitted) as caught:
            Client(str(daemon.path)).call("ping")
        assert "usermod -aG audio" in caught.value.next_step


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become someone else")
def test_the_kernel_refuses_strangers(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path / "s") as daemon:
        daemon.path.chmod(0o600)
        tmp_path.chmod(0o755)
        child = os.fork()
        if child == 0:
            try:
                os.setegid(65534)
                os.seteuid(65534)
                Client(str(daemon.path)).call("ping")
            except NimadError as error:
                os._exit(error.exit)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 77


def test_a_daemon_that_does_not_answer(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path / "s", query=FakeDaemon.HANG) as daemon:
        with pytest.raises(NoAnswer, match=r"within 0\.2 seconds") as caught:
            Client(str(daemon.path), timeout=0.2).call("query")
        assert caught.value.exit == 75


def test_a_full_queue_of_callers(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(0)
        waiting = []
        try:
            for _ in range(8):
                caller = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                caller.setblocking(False)
                waiting.append(caller)
                caller.connect(str(tmp_path / "s"))
        except BlockingIOError:
            pass
        with pytest.raises(DaemonAbsent, match="too many callers"):
            Client(str(tmp_path / "s"), timeout=0.2).call("ping")
        for caller in waiting:
            caller.close()


def test_a_connection_that_breaks(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path / "s", remember=FakeDaemon.DROP) as daemon:
        client = Client(str(daemon.path))
        with pytest.raises(DaemonAbsent, match="broke before it answered"):
            client.call("remember", text="x")
        assert client.call("ping") == {"state": "ready"}, "the next call connects anew"


def test_a_connection_closed_meanwhile_is_made_anew(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path / "s", last=FakeDaemon.DROP)
    with daemon, Client(str(daemon.path)) as client:
        client.call("ping")
        assert client._socket is not None
        other = Client(str(daemon.path))
        other._socket, client._socket = client._socket, None
        with pytest.raises(DaemonAbsent):
            other.call("last")
        client.call("ping")
        client._socket.shutdown(socket.SHUT_RD)  # what an idle timeout looks like from here
        assert client.call("ping") == {"state": "ready"}


@pytest.mark.parametrize("answer", [b"not json\n", b"x" * (3 << 20), b"\xff\n"])
def test_nonsense_is_an_error(tmp_path: Path, answer: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(answer)

    with raw_server(tmp_path / "s", talk), pytest.raises(DaemonAbsent):
        Client(str(tmp_path / "s")).call("ping")


def test_a_refusal_before_the_request_was_read_is_told(tmp_path: Path) -> None:
    def talk(connection: socket.socket) -> None:
        error = {"code": -32001, "message": "no", "data": {"code": "x", "exit": 76, "hint": "y"}}
        connection.sendall(json.dumps({"id": None, "error": error}).encode() + b"\n")

    with raw_server(tmp_path / "s", talk), pytest.raises(RemoteError, match="no"):
        Client(str(tmp_path / "s")).call("remember", text="x" * 900_000)


def test_text_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path / "s") as daemon, pytest.raises(UsageError, match="UTF-8"):
        Client(str(daemon.path)).call("remember", text="\udcff")


def test_where_the_daemon_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NIMAD_SOCKET", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/5")
    monkeypatch.setenv("XDG_STATE_HOME", "/home/x/.state")
    found = candidates(None)
    assert found == [
        "/run/nimad/nimad.sock",
        "/run/user/5/nimad.sock",
        "/home/x/.state/nimad/nimad.sock",
    ]
    monkeypatch.setenv("NIMAD_SOCKET", "/a")
    assert candidates(None) == ["/a"]
    assert candidates("/b") == ["/b"]


def test_the_users_socket_is_tried_without_xdg_runtime_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents start nimactl with few variables."""
    for name in ("NIMAD_SOCKET", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert candidates(None)[1] == f"/run/user/{os.geteuid()}/nimad.sock"


@pytest.mark.parametrize("variable", ["XDG_RUNTIME_DIR", "XDG_STATE_HOME", "HOME"])
@pytest.mark.parametrize("user", [0, 1000])
def test_the_daemons_own_default_is_among_them(
    monkeypatch: pytest.MonkeyPatch, variable: str, user: int
) -> None:
    for name in ("NIMAD_SOCKET", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "/somewhere")
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert str(config.default_socket()) in candidates(None)


def test_the_first_that_answers_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NIMAD_SOCKET", raising=False)
    monkeypatch.setattr(places, "SYSTEM_SOCKET", str(tmp_path / "absent.sock"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with FakeDaemon(tmp_path / "nimad.sock"), Client(None) as client:
        client.call("ping")
        assert client.path == str(tmp_path / "nimad.sock")
