"""One connection to the daemon: a request goes out, its reply comes back, or a NimadError."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from nimad.closing import Closing
from nimad.ctl.locate import candidates, connect
from nimad.errors import DaemonAbsent, FrameTooLarge, NoAnswer, RemoteError, UsageError

MAX_FRAME = 1 << 20
"""Longest request and reply, newline not counted [bytes]."""
PATIENCE = 60.0
"""How long an ordinary answer may take [seconds]."""
LENGTHY = frozenset(
    {
        "import",
        "forget",
        "doctor",
        "rebuild",
        "migrate.attach",
        "migrate.append",
        "migrate.verify",
        "migrate.rollback",
        "migrate.forget_backup",
        "migrate.retry_quarantined",
        "migrate.restore",
    }
)
"""Verbs that take as long as they take: only --timeout limits them."""


class Client(Closing):
    """Calls the daemon's verbs over one connection, made when it is first needed.

    After an error of the connection the next call makes a new one.  Use it in `with`.
    """

    def __init__(self, given: str | None, timeout: float | None = None) -> None:
        self._paths = candidates(given)
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self.path = self._paths[0]
        self._ident = 0
        self._buffer = b""

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._buffer = b""

    def call(self, verb: str, fd: int | None = None, **params: Any) -> dict[str, Any]:
        """The daemon's result; parameters that are None are left out, `fd` rides along.

        Raises RemoteError for what the daemon refused, and DaemonAbsent, NotPermitted, OwnerOnly,
        NoAnswer, FrameTooLarge, UsageError for what did not get there.
        """
        frame = self._frame(verb, params)
        limit = self._timeout or (None if verb in LENGTHY else PATIENCE)
        deadline = None if limit is None else time.monotonic() + limit
        try:
            reply = self._exchange(frame, fd, deadline)
        except TimeoutError:
            self.close()
            raise NoAnswer(socket=self.path, seconds=f"{limit:g}") from None
        except OSError as error:
            self.close()
            detail = f"the connection broke before it answered ({error.strerror or error})"
            raise DaemonAbsent(socket=self.path, detail=detail) from error
        except BaseException:  # Ctrl-C: what comes next would answer the wrong request
            self.close()
            raise
        if (refused := reply.get("error")) is not None:
            raise RemoteError.from_wire(refused)
        result = reply.get("result")
        return result if isinstance(result, dict) else {}

    def call_in_pieces(self, verb: str, **params: Any) -> tuple[str | None, dict[str, Any]]:
        """The JSON of a memory that may be larger than a frame, and the last reply.

        For the verbs that take `offset`.  Begins anew when the memory changes meanwhile; None when
        there is no such memory.
        """
        text, crc32 = "", None
        while True:
            reply = self.call(verb, offset=len(text), **params)
            piece = reply["piece"]
            if piece is None:
                return None, reply
            if crc32 not in (None, piece["crc32"]):
                text, crc32 = "", None
                continue
            text, crc32 = text + piece["json"], piece["crc32"]
            if len(text) >= piece["length"]:
                return text, reply

    def _frame(self, verb: str, params: dict[str, Any]) -> bytes:
        self._ident += 1
        given = {name: value for name, value in params.items() if value is not None}
        request = {"jsonrpc": "2.0", "id": self._ident, "method": verb, "params": given}
        try:
            text = json.dumps(request, ensure_ascii=False, separators=(",", ":"))
            # In a locale without UTF-8, Python keeps an argument's bytes as surrogates: give back
            # what the user typed, and refuse what is not UTF-8.
            frame = text.encode("utf-8", "surrogateescape")
            if not text.isascii():
                frame.decode("utf-8")
        except UnicodeError:
            raise UsageError(detail="what was given is not valid UTF-8") from None
        if len(frame) > MAX_FRAME:
            raise FrameTooLarge(limit=MAX_FRAME)
        return frame + b"\n"

    def _exchange(self, frame: bytes, fd: int | None, deadline: float | None) -> dict[str, Any]:
        if self._socket is not None and _was_closed(self._socket):
            self.close()  # it was silent for too long, or the daemon was restarted
        if self._socket is None:
            self._socket, self.path = connect(self._paths, deadline)
        broken: OSError | None = None
        try:
            _send(self._socket, frame, fd, deadline)
        except (BrokenPipeError, ConnectionResetError) as error:
            broken = error  # a daemon that closes may have said why first
        try:
            return self._reply(self._socket, deadline)
        except ConnectionError as error:
            raise broken or error from None

    def _reply(self, sock: socket.socket, deadline: float | None) -> dict[str, Any]:
        """The next reply: ours, or one without an id, which refuses the whole connection."""
        while True:
            line = self._line(sock, deadline)
            try:
                reply = json.loads(line)
            except ValueError as error:
                raise OSError(f"the answer is not JSON: {error}") from error
            if isinstance(reply, dict) and reply.get("id") in (self._ident, None):
                return reply

    def _line(self, sock: socket.socket, deadline: float | None) -> bytes:
        chunks = [self._buffer]
        while b"\n" not in chunks[-1]:
            if sum(map(len, chunks)) > MAX_FRAME + 1:
                raise OSError("the answer is longer than a frame may be")
            _limit(sock, deadline)
            chunk = sock.recv(1 << 16)
            if not chunk:
                raise ConnectionResetError("it closed the connection")
            chunks.append(chunk)
        line, _, self._buffer = b"".join(chunks).partition(b"\n")
        return line


def _was_closed(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _send(sock: socket.socket, frame: bytes, fd: int | None, deadline: float | None) -> None:
    """Send all of a frame; the descriptor rides on its first bytes."""
    _limit(sock, deadline)
    if fd is None:
        sock.sendall(frame)
        return
    sent = socket.send_fds(sock, [frame], [fd])
    _limit(sock, deadline)
    sock.sendall(frame[sent:])


def _limit(sock: socket.socket, deadline: float | None) -> None:
    if deadline is None:
        sock.settimeout(None)
        return
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    sock.settimeout(left)
