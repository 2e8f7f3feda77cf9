"""A socket that answers like the daemon with what a test gives it, and notes what it was sent."""

from __future__ import annotations

import array
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nimad.errors import NimadError, UnknownMethod
from tests.threads import Callers

Answer = Callable[[dict[str, Any]], Any]


class FakeDaemon:
    """Listens at `path`; `answers` maps a verb to its result, or to a function of its parameters.

    `calls` are (verb, parameters) in order; `files` what the descriptors that came held.  The
    answer `DROP` closes the connection instead of replying, `HANG` waits until the daemon stops.
    """

    DROP, HANG = object(), object()

    def __init__(self, path: Path, **answers: Any) -> None:
        self.path = path
        self.answers: dict[str, Any] = {"ping": {"state": "ready"}, **answers}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.files: list[bytes] = []
        self.frames: list[int] = []
        self._callers: Callers | None = None
        self._stopping = threading.Event()

    def __enter__(self) -> FakeDaemon:
        self.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    def start(self) -> None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.path))
        listener.listen(8)
        self._stopping.clear()
        self._callers = Callers(listener, self._serve).__enter__()

    def stop(self) -> None:
        assert self._callers is not None
        self.path.unlink(missing_ok=True)
        self._stopping.set()
        self._callers.__exit__()

    def sent(self, verb: str) -> list[dict[str, Any]]:
        """The parameters of each call of a verb."""
        return [params for name, params in self.calls if name == verb]

    def _serve(self, connection: socket.socket) -> None:
        for line, fds in _frames(connection):
            for fd in fds:
                self.files.append(os.pread(fd, 1 << 24, 0))
                os.close(fd)
            self.frames.append(len(line))
            request = json.loads(line)
            reply = self._reply(request)
            if reply is None:
                return
            reply = {"jsonrpc": "2.0", "id": request["id"], **reply}
            connection.sendall(_encoded(reply) + b"\n")

    def _reply(self, request: dict[str, Any]) -> dict[str, Any] | None:
        verb, params = request["method"], request["params"]
        self.calls.append((verb, params))
        try:
            if verb not in self.answers:
                raise UnknownMethod(method=verb)
            answer = self.answers[verb]
            result = answer(params) if callable(answer) else answer
        except NimadError as error:
            return {"error": error.to_wire()}
        if result is self.HANG:
            self._stopping.wait()
        return None if result in (self.DROP, self.HANG) else {"result": result}


def _encoded(reply: dict[str, Any]) -> bytes:
    try:
        return json.dumps(reply, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(reply).encode()


def _frames(connection: socket.socket) -> Iterator[tuple[bytes, list[int]]]:
    buffer = b""
    fds: list[int] = []
    while True:
        data, ancillary, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(64))
        for _, _, body in ancillary:
            fds += array.array("i", body[: len(body) // 4 * 4]).tolist()
        if not data:
            return
        buffer += data
        while b"\n" in buffer:
            line, _, buffer = buffer.partition(b"\n")
            yield line, fds
            fds = []


def memory(ident: int = 17, text: str = "The tomatoes moved.", **more: Any) -> dict[str, Any]:
    """A memory as the daemon sends it."""
    made: dict[str, Any] = {
        "id": ident,
        "text": text,
        "who": "Maya",
        "where": None,
        "timestamp": 1_683_554_160_000,
        "layer": "input",
        "importance": 0.4,
        "tags": [],
        "namespace": "default",
        "conversation": None,
        "session": None,
        "turn": None,
        "affect": None,
        "summary": None,
        "created": 1_760_000_000_000,
        "last_accessed": None,
        "access_count": 0,
        "source": {"name": "graph", "id": 12},
        "extra": None,
    }
    return {**made, **more}


def source(name: str = "graph", state: str = "verified", **more: Any) -> dict[str, Any]:
    """A source as migrate.status has it."""
    made: dict[str, Any] = {
        "name": name,
        "kind": "nima-sqlite",
        "path": "/home/maya/.nima/memory/graph.sqlite",
        "state": state,
        "stage": state,
        "total": 4112,
        "copied": 4112,
        "encoded": 4112,
        "linked": 4112,
        "verified": 4112,
        "quarantined": 0,
        "relations": 4038,
        "turns": 1346,
        "batch_size": 1000,
        "eta_seconds": 0,
        "strategy": "full",
        "error": None,
        "started": 0,
        "finished": 0,
        "rows_per_second": 0.0,
        "quarantine": [],
    }
    return {**made, **more}
