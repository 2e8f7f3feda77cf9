"""One connection to the daemon: where it listens, a request, its reply, or why there is none."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import time
from pathlib import Path
from typing import Any

from nimad.client.places import SYSTEM_SOCKET, candidates
from nimad.closing import Closing
from nimad.errors import (
    DaemonAbsent,
    FrameTooLarge,
    NimadError,
    NoAnswer,
    NotPermitted,
    OwnerOnly,
    RemoteError,
    UsageError,
)
from nimad.limits import MAX_FRAME, UNHURRIED

PATIENCE = 60.0
"""Time limit of an ordinary answer [seconds]."""
SYSTEM_GROUP = "nimad"
PAUSE = 0.05
"""Pause between two attempts while the daemon's queue of callers is full [seconds]."""


class Connection(Closing):
    """Calls the daemon's verbs over one connection, made when it is first needed.  After an error
    of the connection the next call makes a new one.  Use it in `with`."""

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
        """The daemon's result; parameters that are None are left out, bytes are JSON already, `fd`
        rides along.

        Raises RemoteError for what the daemon refused, and DaemonAbsent, NotPermitted, OwnerOnly,
        NoAnswer, FrameTooLarge, UsageError for what did not get there.
        """
        frame = self._frame(verb, params)
        limit = self._timeout or (None if verb in UNHURRIED else PATIENCE)
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
        ready = {n: given.pop(n) for n in [*given] if isinstance(given[n], bytes)}
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
        if ready:  # "params" is the last member
            more = b",".join(b'"%s":%s' % (name.encode(), value) for name, value in ready.items())
            frame = b"%s%s%s}}" % (frame[:-2], b"," if given else b"", more)
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
            _limit(self._socket, deadline)
            # a descriptor rides on the first bytes
            sent = 0 if fd is None else socket.send_fds(self._socket, [frame], [fd])
            _limit(self._socket, deadline)
            self._socket.sendall(frame[sent:])
        except (BrokenPipeError, ConnectionResetError) as error:
            broken = error  # a daemon that closes may have said why first
        try:
            return self._reply(self._socket, deadline)
        except ConnectionError as error:
            raise broken or error from None

    def _reply(self, sock: socket.socket, deadline: float | None) -> dict[str, Any]:
        """The next reply: ours, or one without an id, which refuses the whole connection."""
        while True:
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
            try:
                reply = json.loads(line)
            except ValueError as error:
                raise OSError(f"the answer is not JSON: {error}") from error
            if isinstance(reply, dict) and reply.get("id") in (self._ident, None):
                return reply


def _was_closed(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _limit(sock: socket.socket, deadline: float | None) -> None:
    if deadline is None:
        sock.settimeout(None)
        return
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    sock.settimeout(left)


# --- connecting ---------------------------------------------------------------------------------


def connect(paths: list[str], deadline: float | None) -> tuple[socket.socket, str]:
    """The first that answers; `deadline` is on the monotonic clock.  Raises NotPermitted or
    OwnerOnly when one exists that this user may not use, else DaemonAbsent."""
    refusals: list[tuple[str, OSError]] = []
    for path in paths:
        try:
            return _open(path, deadline), path
        except OSError as error:
            refusals.append((path, error))
    for path, refusal in refusals:  # a forbidden socket tells more than a dead one
        if isinstance(refusal, PermissionError):
            raise _forbidden(path)
    for path, refusal in refusals:
        if not isinstance(refusal, (FileNotFoundError, NotADirectoryError)):
            detail = refusal.strerror or str(refusal)
            if isinstance(refusal, ConnectionRefusedError):
                detail = "the socket is there, but no daemon behind it (killed, or starting)"
            elif isinstance(refusal, (BlockingIOError, TimeoutError)):
                detail = "too many callers are waiting already"
            elif refusal.errno == errno.ENOTSOCK:
                detail = "it is not a socket"
            raise DaemonAbsent(socket=path, detail=detail)
    named = " or ".join(path for path, _ in refusals)
    raise DaemonAbsent(socket=named, detail="there is no such socket")


def _open(path: str, deadline: float | None) -> socket.socket:
    if len(os.fsencode(path)) > 107:
        raise UsageError(detail=f"the socket path {path} is longer than 107 bytes")
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Without a time limit connect() waits while the queue is full; with one it returns EAGAIN.
        while True:
            made.settimeout(None if deadline is None else max(deadline - time.monotonic(), 0.001))
            try:
                made.connect(path)
                return made
            except BlockingIOError:
                if deadline is None or time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE)
    except BaseException:
        made.close()
        raise


def _forbidden(path: str) -> NimadError:
    """Name the group to join, when there is one for the purpose: not root's, not a person's own."""
    uid, verb = os.geteuid(), f"use {path}"
    if path == SYSTEM_SOCKET:
        return NotPermitted(uid=uid, verb=verb, group=SYSTEM_GROUP)
    try:
        status = Path(path).stat()
        if status.st_mode & stat.S_IWGRP and status.st_gid not in (0, status.st_uid):
            import grp

            return NotPermitted(uid=uid, verb=verb, group=grp.getgrgid(status.st_gid).gr_name)
    except (OSError, KeyError):  # a directory that is closed to us, a group without a name
        pass
    return OwnerOnly(uid=uid, verb=verb, key="access.control_group")
