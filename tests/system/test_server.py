"""The server with real sockets and threads: many clients, slow, broken and greedy ones."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nimad.errors import NotFound, OwnerOnly, SocketBusy, SocketUnusable
from nimad.limits import MAX_FRAME
from nimad.serve import accounts, connection, dispatch
from nimad.serve.access import Access, Peer
from nimad.serve.listen import group_of, listen_at
from nimad.serve.server import Limits, Server
from nimad.serve.verbs import Call, Verb
from tests.client import Client, RemoteFailure
from tests.threads import PATIENCE, Background, side_by_side


class Bench:
    """Verbs that show what the server does, and a gate that holds requests under way."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)
        self.kept: list[int] = []

    def verbs(self) -> list[Verb]:
        return [
            Verb("ping", "read", lambda call: {"state": "ready"}),
            Verb("thread", "read", lambda call: threading.current_thread().name),
            Verb("echo", "read", lambda call: call.params["value"]),
            Verb("big", "read", lambda call: "x" * call.params["size"]),
            Verb("peer", "read", lambda call: call.peer.pid),
            Verb("wait", "read", self.wait),
            Verb("rebuild", "control", self.wait),
            Verb("doctor", "read", self.wait),
            Verb("forget", "control", lambda call: threading.current_thread().name),
            Verb("write", "control", lambda call: threading.current_thread().name),
            Verb("missing", "read", self.missing),
            Verb("broken", "read", lambda call: {}[call.params["value"]]),
            Verb("exit", "read", lambda call: os.sys.exit(1)),  # type: ignore[attr-defined]
            Verb("size", "control", lambda call: os.fstat(call.fds[0]).st_size),
            Verb("keep", "control", lambda call: self.kept.append(call.fds.pop())),
        ]

    def wait(self, call: Call) -> str:
        self.entered.release()
        assert self.gate.wait(PATIENCE)
        return "done"

    def missing(self, call: Call) -> None:
        raise NotFound(kind="memory", id=7)


class Running:
    """A server in a thread of its own."""

    def __init__(self, path: Path, limits: Limits, access: Access | None = None) -> None:
        self.access = access or Access("", "root")
        self.bench = Bench()
        self.path = path
        self.listener = listen_at(path)
        self.started = threading.Event()
        self.limits = limits
        self.drained: bool | None = None
        self.thread = Background(lambda: asyncio.run(self._run()))
        self.thread.start()
        assert self.started.wait(PATIENCE)

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.end = asyncio.Event()
        self.server = Server(self.bench.verbs(), self.access, self.limits)
        self.server.start([self.listener.sock])
        self.started.set()
        await self.end.wait()
        self.drained = await self.server.drain()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.end.set)

    def finish(self) -> None:
        self.bench.gate.set()
        if self.thread.is_alive():
            self.stop()
        self.thread.finish()
        self.listener.remove()

    def client(self) -> Client:
        return Client(self.path)


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[Running] = []

    def begin(**limits: Any) -> Running:
        running.append(Running(tmp_path / f"{len(running)}.sock", Limits(**limits)))
        return running[-1]

    yield begin
    for server in running:
        server.finish()


def eventually(condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


# --- answering ------------------------------------------------------------------------------------


def test_a_request_gets_its_reply(start: Start) -> None:
    with start().client() as client:
        assert client.call("ping") == {"state": "ready"}
        assert client.call("echo", value=["ä", None, 1.5]) == ["ä", None, 1.5]
        assert client.call("peer") == os.getpid()


def test_replies_carry_their_ids_and_overtake_each_other(start: Start) -> None:
    server = start()
    with server.client() as client:
        waiting = client.send("wait")
        quick = client.send("ping")
        first = client.reply()
        server.bench.gate.set()
        second = client.reply()
    assert first and second and (first["id"], second["id"]) == (quick, waiting)


def test_a_notification_is_done_but_not_answered(start: Start) -> None:
    server = start()
    with server.client() as client:
        for method in (b"wait", b"no such", b"broken"):
            client.raw(b'{"jsonrpc": "2.0", "method": "%s"}\n' % method)
        assert server.bench.entered.acquire(timeout=PATIENCE)
        server.bench.gate.set()
        assert client.call("ping") == {"state": "ready"}


def test_errors_are_errors_and_the_connection_goes_on(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    with start().client() as client:
        for method, code in {"missing": "not_found", "nothing": "unknown_method"}.items():
            with pytest.raises(RemoteFailure) as caught:
                client.call(method)
            assert caught.value.code == code
        for method in ("broken", "exit"):
            with pytest.raises(RemoteFailure) as caught:
                client.call(method, value="secret words")
            assert caught.value.code == "internal" and caught.value.wire == -32603
        with pytest.raises(RemoteFailure) as caught:
            client.call("big", size=MAX_FRAME)
        assert caught.value.code == "reply_too_large"
        assert client.call("ping") == {"state": "ready"}
    assert "the verb broken failed: KeyError" in caplog.text and "test_server.py" in caplog.text
    assert "secret words" not in caplog.text, "a log must not hold what a memory may say"


def test_malformed_lines_get_an_error_and_the_next_line_counts(start: Start) -> None:
    with start().client() as client:
        for line in (b"", b"\0\0", b"\xff", b"[]", b"{", b"[" * 200_000, b'{"jsonrpc":"2.0"}'):
            client.raw(line + b"\n")
            reply = client.reply()
            assert reply and reply["id"] is None and reply["error"]["code"] in (-32700, -32600)
        assert client.call("ping") == {"state": "ready"}


def test_a_frame_beyond_the_limit_is_refused_and_the_connection_closed(start: Start) -> None:
    server = start()
    with server.client() as client, server.client() as other:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            client.raw(b"x" * (4 * MAX_FRAME))
        reply = client.reply()
        assert reply and reply["error"]["data"]["code"] == "frame_too_large"
        assert other.call("ping") == {"state": "ready"}


def test_a_frame_of_the_limit_goes_through_both_ways(start: Start) -> None:
    with start().client() as client:
        text = "x" * (MAX_FRAME - 200)
        assert client.call("echo", value=text) == text


def test_many_clients_at_once_each_get_their_own_answers(start: Start) -> None:
    server = start()

    def ask(number: int) -> None:
        with server.client() as client:
            for turn in range(50):
                assert client.call("echo", value=[number, turn]) == [number, turn]

    with side_by_side(partial(ask, number) for number in range(20)):
        pass
    assert server.server.requests == 1000
    assert eventually(lambda: server.server.clients == 0)


def test_reads_never_queue_behind_writes_nor_either_behind_lengthy_verbs(start: Start) -> None:
    server = start(threads=1)
    with server.client() as busy, server.client() as client:
        for _ in range(3):
            busy.send("rebuild")
        assert server.bench.entered.acquire(timeout=PATIENCE)
        assert client.call("thread").startswith("read")
        assert client.call("write").startswith("write")
        server.bench.gate.set()
        assert [busy.result() for _ in range(3)] == ["done"] * 3


def test_a_purge_queues_behind_no_other_work_of_its_user(start: Start) -> None:
    """Nor what writes behind what only reads, however many ask for it."""
    server = start()
    with server.client() as busy, server.client() as client:
        for verb in ("doctor", "doctor", "doctor", "rebuild", "doctor"):
            busy.send(verb)
        for _ in range(3):  # two doctors and the rebuild; two doctors wait for a thread
            assert server.bench.entered.acquire(timeout=PATIENCE)
        assert client.call("forget", ids=[1], purge=True).startswith("purge")
        assert client.call("forget", ids=[1]).startswith("write")
        server.bench.gate.set()
        assert [busy.result() for _ in range(5)] == ["done"] * 5


# --- clients that misbehave -----------------------------------------------------------------------


def test_a_half_closed_client_still_gets_its_replies(start: Start) -> None:
    server = start()
    with server.client() as client:
        client.send("wait")
        client.send("ping")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.result() == {"state": "ready"}
        server.bench.gate.set()
        assert client.result() == "done"
        assert client.reply() is None


def test_a_connection_that_ends_within_a_line_is_told_so(start: Start) -> None:
    with start().client() as client:
        client.raw(b'{"jsonrpc": "2.0", "id": 1')
        client.sock.shutdown(socket.SHUT_WR)
        reply = client.reply()
        assert reply and reply["error"]["data"]["code"] == "parse"
        assert client.reply() is None


def test_a_client_that_goes_away_leaves_nothing_behind(start: Start) -> None:
    server = start()
    before = open_fds()
    for _ in range(30):
        client = server.client()
        client.send("wait")
        client.close()
    server.bench.gate.set()
    assert eventually(lambda: server.server.clients == 0 and not server.server.dispatcher.working)
    assert eventually(lambda: open_fds() == before)


def test_one_client_has_a_bounded_number_of_requests_under_way(start: Start) -> None:
    server = start()
    with server.client() as greedy, server.client() as other:
        greedy.sock.setblocking(False)
        sent = 0
        line = b'{"jsonrpc":"2.0","id":1,"method":"rebuild","params":{"pad":"%s"}}\n' % (
            b"x" * 9000
        )
        with pytest.raises(BlockingIOError):
            while sent < 50_000_000:
                sent += greedy.sock.send(line)
        assert sent < 4_000_000, "what is not read waits at the client"
        assert eventually(lambda: len(server.server.dispatcher.waiting) == 8)
        assert other.call("ping") == {"state": "ready"}


def test_a_client_that_does_not_read_is_dropped(start: Start) -> None:
    server = start(send_seconds=0.3)
    with server.client() as deaf, server.client() as other:
        for _ in range(3):
            deaf.send("big", size=900_000)
        assert eventually(lambda: server.server.clients == 1)
        assert other.call("ping") == {"state": "ready"}


@pytest.mark.parametrize("size", [300_000, 900_000])
@pytest.mark.parametrize("deaf", [2, 6])
def test_programs_that_read_nothing_hold_up_no_other_of_their_user(
    start: Start, size: int, deaf: int
) -> None:
    server = start()
    with contextlib.ExitStack() as open_, server.client() as other:
        silent = [open_.enter_context(server.client()) for _ in range(deaf)]
        for client in silent:
            for _ in range(8):
                client.send("big", size=size)
        assert eventually(lambda: sum_of(server, "stuck") > 0)
        for _ in range(20):
            began = time.monotonic()
            assert other.call("ping") == {"state": "ready"}
            assert time.monotonic() - began < connection.SEND_SECONDS / 2
        assert sum_of(server, "stuck") + sum_of(server, "held") < 3 * accounts.USER_BYTES
        if deaf * 8 * size < accounts.USER_BYTES:  # late is not lost
            for client in silent:
                assert [len(client.result()) for _ in range(8)] == [size] * 8
                assert client.call("ping") == {"state": "ready"}
    assert eventually(lambda: server.server.clients == 0)
    assert [sum_of(server, name) for name in ("stuck", "held", "requests")] == [0, 0, 0]


def sum_of(server: Running, name: str) -> int:
    account = server.server._accounts.of(os.geteuid())
    return int(getattr(account, name))


def test_a_silent_client_is_closed_but_not_one_that_waits_for_its_answer(start: Start) -> None:
    server = start(idle_seconds=0.4)
    with server.client() as silent, server.client() as slow, server.client() as waiting:
        waiting.send("wait")
        began = time.monotonic()
        slow.raw(b'{"jsonrpc": ')
        assert silent.reply() is None and slow.reply() is None
        assert 0.3 < time.monotonic() - began < 30
        server.bench.gate.set()
        assert waiting.result() == "done"


def test_one_more_client_takes_the_place_of_the_longest_idle_one(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "YOUNG_SECONDS", 0.0)
    server = start(max_clients=2)
    with server.client() as first, server.client() as second:
        assert first.call("ping") == second.call("ping")
        with server.client() as third:
            assert third.call("ping") == {"state": "ready"}
            assert first.reply() is None, "it was idle for longest"
            assert second.call("ping") == {"state": "ready"}
            for busy in (second, third):
                busy.send("wait")
                assert server.bench.entered.acquire(timeout=PATIENCE)
            with server.client() as fourth:
                with pytest.raises(RemoteFailure) as caught:
                    fourth.result()
                assert caught.value.code == "busy", "there is no idle one"
            server.bench.gate.set()
            assert second.result() == third.result() == "done"


def test_a_line_that_does_not_end_is_closed_unless_nobody_reads_it(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FRAME_SECONDS", 0.3)
    server = start()
    with server.client() as half, server.client() as full:
        half.raw(b'{"jsonrpc": ')
        for _ in range(connection.IN_FLIGHT):
            full.send("rebuild")
        full.raw(b'{"jsonrpc": "2.0", "id": 99')
        assert "did not end" in half.reply()["error"]["message"]  # type: ignore[index]
        assert half.reply() is None
        time.sleep(0.4)
        monkeypatch.setattr(connection, "FRAME_SECONDS", PATIENCE)
        server.bench.gate.set()
        assert [full.result() for _ in range(connection.IN_FLIGHT)] == ["done"] * 8
        full.raw(b', "method": "ping"}\n')
        assert full.result() == {"state": "ready"}


def test_users_take_turns_and_one_thread_is_left_for_the_others(start: Start) -> None:
    """Peers are told apart by their uid: here two more are made up."""
    server = start(threads=1)
    order: list[tuple[int, int]] = []
    gate = threading.Event()

    def work(uid: int, number: int) -> None:
        order.append((uid, number))
        assert gate.wait(PATIENCE)

    async def ask() -> None:
        lane = server.server.dispatcher._lanes["read"]
        jobs = [asyncio.ensure_future(lane.run(1, partial(work, 1, n))) for n in range(4)]
        jobs += [asyncio.ensure_future(lane.run(2, partial(work, 2, n))) for n in range(3)]
        while len(order) < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert sorted(order) == [(1, 0), (2, 0)], "neither has both threads"
        gate.set()
        await asyncio.gather(*jobs)

    asyncio.run_coroutine_threadsafe(ask(), server.loop).result(PATIENCE)
    assert [n for uid, n in order if uid == 1] == [0, 1, 2, 3]
    assert [n for uid, n in order if uid == 2] == [0, 1, 2]


def test_what_comes_in_bulk_takes_few_threads_and_none_of_those_for_small_writes(
    start: Start,
) -> None:
    server = start()
    with server.client() as client:
        names = [client.call("write", {"value": "x" * size}) for size in (1, dispatch.LARGE)]
    assert [name.partition("_")[0] for name in names] == ["write", "bulk"]
    verb, ids = server.server.dispatcher._verbs["write"], [*range(dispatch.MANY + 1)]
    lanes = [
        dispatch.lane_of(verb, {"ids": some, "when": "x" * 99}, 999) for some in (ids[1:], ids)
    ]
    assert lanes == ["write", "bulk"]
    assert server.server.dispatcher._lanes["bulk"]._most < dispatch.WRITERS


# --- descriptors ----------------------------------------------------------------------------------


def test_a_descriptor_reaches_its_verb_and_is_closed_afterwards(
    start: Start, tmp_path: Path
) -> None:
    server = start()
    (tmp_path / "file").write_bytes(b"12345")
    with server.client() as client, (tmp_path / "file").open("rb") as file:
        client.call("ping")
        before = open_fds()
        for method in ("size", "ping", "no such verb"):
            client.send_with([file.fileno()], method)
        replies = [client.reply() for _ in range(3)]
        assert sorted(str(r.get("result")) for r in replies if r) == [
            "5",
            "None",
            "{'state': 'ready'}",
        ]
        assert eventually(lambda: open_fds() == before)


def test_a_verb_may_keep_its_descriptor(start: Start, tmp_path: Path) -> None:
    server = start()
    (tmp_path / "file").write_bytes(b"12345")
    with server.client() as client, (tmp_path / "file").open("rb") as file:
        client.send_with([file.fileno()], "keep")
        client.result()
        (kept,) = server.bench.kept
        assert os.read(kept, 9) == b"12345"
        os.close(kept)


def test_more_than_one_descriptor_is_refused(start: Start) -> None:
    with start().client() as client:
        client.send_with([0, 1, 2], "size")
        with pytest.raises(RemoteFailure) as caught:
            client.result()
        assert caught.value.code == "invalid_request"
        assert client.call("ping") == {"state": "ready"}


def test_a_flood_of_descriptors_is_harmless(start: Start) -> None:
    server = start()
    with server.client() as client:
        client.call("ping")
        before = open_fds()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, b"\0\0\0\0" * 250)]
        for _ in range(200):
            client.sock.sendmsg([b"x"], rights)
        assert eventually(lambda: open_fds() <= before + 2)
        assert open_fds() <= before + 2, "one descriptor for the open line, the others closed"
        client.raw(b"\n")
        assert client.reply()
        assert client.call("ping") == {"state": "ready"}
        assert open_fds() == before


def test_descriptors_of_a_client_that_dies_are_closed(start: Start) -> None:
    server = start()
    before = open_fds()
    for _ in range(20):
        client = server.client()
        client.sock.sendmsg([b"{"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, b"\0\0\0\0")])
        client.close()
    assert eventually(lambda: server.server.clients == 0 and open_fds() == before)


# --- the end --------------------------------------------------------------------------------------


def test_draining_finishes_what_is_under_way_and_takes_nothing_new(start: Start) -> None:
    server = start(drain_seconds=PATIENCE)
    with server.client() as client, server.client() as idle:
        idle.call("ping")
        client.send("wait")
        assert server.bench.entered.acquire(timeout=PATIENCE)
        server.stop()
        assert idle.reply() is None
        with pytest.raises(ConnectionRefusedError):
            server.client()
        server.bench.gate.set()
        assert client.result() == "done"
        assert client.reply() is None
    server.thread.finish()
    assert server.drained is True


def test_draining_refuses_what_does_not_finish_in_time(start: Start) -> None:
    server = start(drain_seconds=0.2)
    with server.client() as client:
        client.send("wait")
        assert server.bench.entered.acquire(timeout=PATIENCE)
        server.stop()
        with pytest.raises(RemoteFailure) as caught:
            client.result()
        assert caught.value.code == "busy"
        assert client.reply() is None
    assert eventually(lambda: server.drained is False), "a thread is still at work"


def test_the_self_query_tells_busy_from_hung(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start(threads=1)

    def query() -> bool:
        asked = asyncio.run_coroutine_threadsafe(server.server.dispatcher.self_query(), server.loop)
        return asked.result(PATIENCE)

    assert query()
    with server.client() as client:
        for _ in range(8):
            client.send("wait")
        assert server.bench.entered.acquire(timeout=PATIENCE)
        assert query(), "load is no reason to be killed"
        assert server.server.dispatcher.busy > 0
        monkeypatch.setattr(dispatch, "HUNG_SECONDS", 0.2)
        time.sleep(0.3)
        assert not query(), "a server whose workers are stuck must not vouch for itself"
        server.bench.gate.set()
        assert [client.result() for _ in range(8)] == ["done"] * 8
        assert eventually(query)


# --- the socket -----------------------------------------------------------------------------------


def test_the_socket_has_its_mode_and_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "made" / "x.sock"
    listener = listen_at(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    listener.sock.close()
    listener.remove()
    assert not path.exists()
    everyone = listen_at(path, group="")
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    everyone.sock.close()


@pytest.mark.parametrize(
    ("read", "control", "mode"),
    [("root", "root", 0o660), ("root", "", 0o660), ("", "root", 0o666), ("root", "adm", 0o666)],
)
def test_the_members_of_both_groups_can_connect(
    tmp_path: Path, read: str, control: str, mode: int
) -> None:
    listener = listen_at(tmp_path / "x.sock", group_of(read, control))
    assert stat.S_IMODE((tmp_path / "x.sock").stat().st_mode) == mode
    listener.sock.close()


def test_who_has_no_right_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    """Another user is made up: the daemon's own is somebody else, and no group is this user's."""

    class Nobody(Access):
        def check(self, peer: Peer, access: str, verb: str) -> None:
            raise OwnerOnly(uid=peer.uid, verb=verb, key=f"access.{access}_group")

    server = Running(tmp_path / "x.sock", Limits(), Nobody("", ""))
    try:
        with server.client() as client:
            with contextlib.suppress(OSError):
                client.raw(b"[" * 10)
            reply = client.reply()
            assert reply and reply["error"]["data"]["code"] == "owner_only"
            assert client.reply() is None
        assert server.server.requests == 0
    finally:
        server.finish()


def test_a_socket_that_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    dead = listen_at(path)
    dead.sock.close()
    alive = listen_at(path)
    dead.remove()
    assert path.exists(), "only one's own socket is removed"
    with pytest.raises(SocketBusy):
        listen_at(path)
    alive.sock.close()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    path.write_text("precious")
    with pytest.raises(SocketUnusable):
        listen_at(path)
    assert path.read_text() == "precious"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SocketUnusable):
        listen_at(path)
    assert path.is_symlink()


def test_a_path_that_the_kernel_cannot_take_is_refused_clearly(tmp_path: Path) -> None:
    with pytest.raises(SocketUnusable) as caught:
        listen_at(tmp_path / ("x" * 107))
    assert "107" in caught.value.message
    with pytest.raises(SocketUnusable):
        listen_at(Path("/proc/nowhere/x.sock"))


def test_json_of_a_client_in_another_language(start: Start) -> None:
    """Spaces, carriage returns and ids of any kind, as other programs write them."""
    with start().client() as client:
        client.raw(b' { "params" : { } , "id" : "a-1", "method":"ping","jsonrpc":"2.0"}\r\n')
        assert json.dumps(client.reply()) == (
            '{"jsonrpc": "2.0", "id": "a-1", "result": {"state": "ready"}}'
        )
