"""Whatever clients send, in whatever pieces, and however they end: what must come comes, whole."""

from __future__ import annotations

import array
import asyncio
import contextlib
import itertools
import json
import os
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimad.dataclass import dataclass
from nimad.limits import MAX_FRAME
from nimad.serve import connection, dispatch
from nimad.serve.server import Limits
from nimad.serve.verbs import Verb
from tests.client import Client
from tests.system.test_server import Running, eventually, sum_of
from tests.threads import PATIENCE, side_by_side

BIG = 400_000
"""Length of a reply that no socket takes whole [bytes]."""
SIZE = 5
"""Size of the file whose descriptor is sent [bytes]."""


class First:
    """Counts who goes first, and that each has come to its end."""

    def __init__(self) -> None:
        self.now = self.all = 0

    def __enter__(self) -> None:
        self.now += 1
        self.all += 1

    def __exit__(self, *_: object) -> None:
        self.now -= 1


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """One on which a reply that is not taken at once is soon set aside."""
    monkeypatch.setattr(connection, "STUCK_SECONDS", 0.002)
    running = Running(tmp_path / "x.sock", Limits(threads=1))
    nap = Verb("doctor", "read", lambda call: time.sleep(0.003))
    running.server.dispatcher._verbs["doctor"] = nap
    running.server.dispatcher.first = First()
    yield running
    running.finish()


# --- what is sent, and what must come ---------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """A line, the descriptors that ride on it, and what its reply must hold; None: there is none.
    `turn`: it is answered behind the earlier ones of which that is true."""

    line: bytes
    answer: str | None
    fds: int = 0
    turn: bool = False


def line_of(number: int | None, method: str, **params: Any) -> bytes:
    ident = {} if number is None else {"id": number}
    return json.dumps({"jsonrpc": "2.0", **ident, "method": method, "params": params}).encode()


def make(kind: str, number: int) -> Sent:
    line = partial(line_of, number)
    match kind:
        case "echo":
            return Sent(line("echo", value=number), f"{number}: {number}", turn=True)
        case "parsed in a lane":
            value = "ä" * dispatch.SMALL
            return Sent(line("echo", value=value), f"{number}: {len(value)} long")
        case "larger than a read":
            value = "x" * (connection.READ_BYTES + 5000)
            return Sent(line("echo", value=value), f"{number}: {len(value)} long")
        case "big":
            return Sent(line("big", size=BIG), f"{number}: {BIG} long", turn=True)
        case "nap":
            return Sent(line("doctor"), f"{number}: None")
        case "error":
            return Sent(line("missing"), f"{number}: not_found", turn=True)
        case "unknown":
            return Sent(line("no such"), f"{number}: unknown_method")
        case "notification":
            return Sent(line_of(None, "echo", value=1), None)
        case "refused notification":
            return Sent(line_of(None, "no such"), None, fds=1)
        case "empty":
            return Sent(b"", "None: parse")
        case "broken":
            return Sent(b'{"jsonrpc": "2.0", "id"', "None: parse", fds=number % 2)
        case "descriptor":
            return Sent(line("size"), f"{number}: {SIZE}", fds=1)
        case "descriptor for nothing":
            return Sent(line("echo", value=1), f"{number}: 1", fds=1)
        case "descriptor in a lane":
            value = "x" * dispatch.SMALL
            return Sent(line("echo", value=value), f"{number}: {len(value)} long", fds=1)
        case "two descriptors":
            return Sent(line("size"), f"{number}: invalid_request", fds=2)
    raise AssertionError(kind)


KINDS = (
    *("echo", "parsed in a lane", "larger than a read", "big", "nap", "error", "unknown"),
    *("notification", "refused notification", "empty", "broken", "descriptor"),
    *("descriptor for nothing", "descriptor in a lane", "two descriptors"),
)
ENDS = ("closes its writing side", "ends within a line", "sends too long a line", "goes")


def short(reply: dict[str, Any]) -> str:
    told = reply["error"]["data"]["code"] if "error" in reply else reply["result"]
    if isinstance(told, str) and len(told) > 1000:
        told = f"{len(told)} long"
    return f"{reply['id']}: {told}"


@dataclass(frozen=True)
class Talk:
    """What one client does."""

    sent: list[Sent]
    cuts: list[int]
    late: bool
    """It reads when it cannot send any more."""
    end: str

    def pieces(self) -> Iterator[tuple[bytes, int]]:
        """What is sent at a time, with how many descriptors: one rides on the end of its line."""
        run = b""
        cuts = itertools.cycle(self.cuts or [1 << 30])
        for each in self.sent:
            run += each.line + b"\n"
            if each.fds:
                yield from self.cut(run[:-3], cuts)
                yield run[-3:], each.fds
                run = b""
        if self.end == "ends within a line":
            run += b'{"jsonrpc"'
        elif self.end == "sends too long a line":
            run += b"x" * (MAX_FRAME + 1)
        yield from self.cut(run, cuts)

    @staticmethod
    def cut(run: bytes, cuts: Iterator[int]) -> Iterator[tuple[bytes, int]]:
        while run:
            size = next(cuts)
            yield run[:size], 0
            run = run[size:]


TALKS = st.builds(
    Talk,
    st.lists(st.sampled_from(KINDS), max_size=25).map(
        lambda kinds: [make(kind, number) for number, kind in enumerate(kinds)]
    ),
    st.lists(st.sampled_from([50, 90, 400, 5000, 1 << 17]) | st.integers(20, 300), max_size=5),
    st.booleans(),
    st.sampled_from(ENDS),
)


def talk(server: Running, said: Talk, fd: int, told: list[bytes]) -> None:
    """Send all of it; what comes until the other side hangs up."""
    out = bytearray()
    with Client(server.path) as client, contextlib.suppress(ConnectionResetError):
        sock = client.sock
        sock.setblocking(False)
        pieces = deque(said.pieces())
        while pieces:
            data, fds = pieces[0]
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd] * fds))
            try:
                sent = sock.sendmsg([data], [rights] if fds else [])
            except BlockingIOError:
                sent = 0
            except BrokenPipeError:
                break
            pieces[0] = data[sent:], 0 if sent else fds
            if not pieces[0][0]:
                pieces.popleft()
            if not sent:
                select.select([sock], [sock], [], PATIENCE)
            if not sent or not said.late:
                with contextlib.suppress(BlockingIOError):
                    out += sock.recv(1 << 16)
        if said.end != "goes":
            sock.settimeout(PATIENCE)
            if said.end != "sends too long a line":
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_WR)
            while data := sock.recv(1 << 16):
                out += data
    told.append(bytes(out))


def check(said: Talk, came: bytes, *, whole: bool) -> None:
    """Each reply is whole and comes once; all of them come, or else those of the first lines."""
    *lines, rest = came.split(b"\n")
    replies = Counter(short(json.loads(line)) for line in lines)
    end = {"ends within a line": "None: parse", "sends too long a line": "None: frame_too_large"}
    expected = [*(each.answer for each in said.sent), end.get(said.end)]
    if said.end == "goes":
        assert replies <= Counter(filter(None, expected))
        return
    begun = [len(expected)] if whole else range(len(expected) + 1)
    assert any(replies == Counter(filter(None, expected[:number])) for number in begun)
    assert not rest
    turns = [each.answer for each in said.sent if each.turn and each.answer]
    assert [text for text in map(short, map(json.loads, lines)) if text in turns] == [
        text for text in turns if text in replies
    ]


def descriptors(file: Path) -> Counter[str]:
    """How many sockets this process has open, and descriptors of a file: others are of what earlier
    tests have left, which is closed at some time."""
    found = Counter[str]()
    for each in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{each}")  # noqa: PTH115
            if target == str(file) or target.startswith("socket:"):
                found[target.partition(":")[0]] += 1
    return found


def is_at_rest(server: Running, file: Path, before: Counter[str]) -> bool:
    """Nothing is left of any client, and no more descriptors are open than before."""
    dispatcher = server.server.dispatcher
    return (
        not (server.server.clients or dispatcher.working or dispatcher.waiting)
        and [sum_of(server, name) for name in ("stuck", "held", "requests")] == [0, 0, 0]
        and not server.server._accounts.of(os.geteuid()).waiting
        and dispatcher.first.now == 0  # type: ignore[attr-defined]
        and descriptors(file) == before
    )


def comes_to_rest(server: Running, file: Path, before: Counter[str]) -> None:
    with server.client() as client:  # which is accepted behind those that have gone
        client.call("ping")
    assert eventually(lambda: is_at_rest(server, file, before))


def test_what_must_come_comes(server: Running, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * SIZE)
    with server.client() as client:
        client.call("ping")  # threads and descriptors that stay
    with (tmp_path / "file").open("rb") as file:
        assert eventually(lambda: server.server.clients == 0)
        before = descriptors(tmp_path / "file")

        @settings(max_examples=60, deadline=None)
        @given(st.lists(TALKS, min_size=1, max_size=3))
        def holds(talks: list[Talk]) -> None:
            requests = server.server.requests
            came: list[list[bytes]] = [[] for _ in talks]
            with side_by_side(
                partial(talk, server, said, file.fileno(), told)
                for said, told in zip(talks, came, strict=True)
            ):
                pass
            for said, (told,) in zip(talks, came, strict=True):
                check(said, told, whole=said.end != "goes")
            comes_to_rest(server, tmp_path / "file", before)
            if all(said.end != "goes" for said in talks):
                expected = sum(len(each.sent) for each in talks) + 1
                assert server.server.requests - requests == expected

        holds()
    assert server.server.dispatcher.first.all > 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("at_once", [False, True])
def test_a_connection_that_is_stopped_loses_none_of_what_it_began(
    server: Running, tmp_path: Path, *, at_once: bool
) -> None:
    (tmp_path / "file").write_bytes(b"x" * SIZE)
    with server.client() as client:
        client.call("ping")
    with (tmp_path / "file").open("rb") as file:
        assert eventually(lambda: server.server.clients == 0)
        before = descriptors(tmp_path / "file")

        async def stop() -> None:
            for each in list(server.server._connections):
                each.stop(at_once=at_once)

        @settings(max_examples=30, deadline=None)
        @given(TALKS, st.integers(0, 20))
        def holds(said: Talk, turns: int) -> None:
            if said.end == "sends too long a line":
                return
            came: list[bytes] = []
            with side_by_side([partial(talk, server, said, file.fileno(), came)]):
                while not came and not server.server.clients:
                    time.sleep(0.0005)
                time.sleep(turns / 4000)
                asyncio.run_coroutine_threadsafe(stop(), server.loop).result(PATIENCE)
            if not at_once:
                check(said, came[0], whole=False)
            comes_to_rest(server, tmp_path / "file", before)

        holds()
