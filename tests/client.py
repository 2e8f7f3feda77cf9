"""A plain blocking client of the protocol, for tests."""

from __future__ import annotations

import array
import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.threads import PATIENCE


class RemoteFailure(Exception):
    """The error object of a reply."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.wire = error["code"]
        self.code = error["data"]["code"]
        self.hint = error["data"]["hint"]


class Client:
    """One connection; `call` asks and waits, `send` and `reply` do the halves."""

    def __init__(self, path: Path, timeout: float = PATIENCE) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.sock.connect(str(path))
        self._lines = self.sock.makefile("rb")
        self._id = 0

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._lines.close()
        self.sock.close()

    def send(self, method: str, params: dict[str, Any] | None = None, **more: Any) -> int:
        """Send a request; its id.  `more` are further parameters."""
        self._id += 1
        given = {**(params or {}), **more}
        request = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": given}
        try:
            self.sock.sendall(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:  # a daemon that turns a peer away says why, and closes
            if not self._lines.peek(1):
                raise
        return self._id

    def send_with(self, fds: list[int], method: str, **params: Any) -> int:
        """Send a request with descriptors."""
        self._id += 1
        request = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
        self.sock.sendmsg([json.dumps(request).encode() + b"\n"], [rights])
        return self._id

    def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def reply(self) -> dict[str, Any] | None:
        """The next reply as it is; None at the end of the stream."""
        line = self._lines.readline()
        return json.loads(line) if line else None

    def result(self) -> Any:
        """The next reply's result; RemoteFailure when it is an error."""
        reply = self.reply()
        assert reply is not None, "the connection was closed"
        if "error" in reply:
            raise RemoteFailure(reply["error"])
        return reply["result"]

    def call(self, method: str, params: dict[str, Any] | None = None, **more: Any) -> Any:
        """Ask and wait for the result."""
        self.send(method, params, **more)
        return self.result()
