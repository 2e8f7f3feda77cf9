"""What systemd is told and what it hands over; the one user of sdnotify.

Everything is a no-op for a process that systemd did not start.  Source: sd_notify(3),
sd_listen_fds(3), systemd.exec(5).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from collections.abc import MutableMapping, Sequence
from typing import TextIO

from nimad.errors import NimadError, UsageError

FIRST_FD = 3
FINAL_EXITS = frozenset({64, 65, 78})
"""Exit codes after which the unit is not started again (RestartPreventExitStatus=)."""
NOTIFY_SECONDS = 1.0
"""Longest wait for a service manager that does not read [seconds]."""


class Notifier:
    """Tells the service manager how we are.  `watchdog_seconds` is how often it wants to hear
    `watchdog()`, halved as sd_watchdog_enabled(3) advises; None when it does not watch."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        self._manager = None
        if environ.get("NOTIFY_SOCKET"):
            import sdnotify  # nimactl, which is handed a socket, has the standard library only

            self._manager = sdnotify.SystemdNotifier()
            if self._manager.socket is not None:
                self._manager.socket.settimeout(NOTIFY_SECONDS)
        pid, interval = environ.get("WATCHDOG_PID"), environ.get("WATCHDOG_USEC", "")
        ours = pid in (None, "", str(os.getpid())) and interval.isdecimal() and interval != "0"
        self.watchdog_seconds = int(interval) / 2_000_000 if ours else None
        self._told = ""

    def ready(self, status: str) -> None:
        """Requests are answered from now on."""
        self._tell("READY=1", _status(status))

    def status(self, status: str) -> None:
        """One true line for `systemctl status`; told only when it changed."""
        if status != self._told:
            self._told = status
            self._tell(_status(status))

    def extend_start(self, seconds: float) -> None:
        """The start may take so much longer than was foreseen."""
        self._tell(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def reloading(self) -> None:
        """The configuration is read again; `ready` ends it."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def watchdog(self) -> None:
        """The serving path has just proved itself."""
        self._tell("WATCHDOG=1")

    def stopping(self, status: str) -> None:
        """The end has begun."""
        self._tell("STOPPING=1", _status(status))

    def _tell(self, *lines: str) -> None:
        if self._manager is not None:
            text = "\n".join(lines)
            # sdnotify encodes Latin-1; UTF-8 bytes dressed as Latin-1 arrive as UTF-8
            self._manager.notify(text.encode("utf-8").decode("latin-1"))


def _status(line: str) -> str:
    return "STATUS=" + " ".join(line.split())


def listening_sockets(
    environ: MutableMapping[str, str] = os.environ, family: socket.AddressFamily = socket.AF_UNIX
) -> list[socket.socket]:
    """The sockets of socket activation, ours to close; [] when we are to listen ourselves.

    Raises UsageError for a descriptor that is no listening stream socket of the family.  The
    variables are removed, so that no child takes them for its own.
    """
    given = environ.pop("LISTEN_FDS", "")
    pid = environ.pop("LISTEN_PID", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not given.isdecimal():
        return []
    found: list[socket.socket] = []
    for fd in range(FIRST_FD, FIRST_FD + int(given)):
        os.set_inheritable(fd, False)
        try:
            sock = socket.socket(fileno=fd)
            listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            raise UsageError(detail=f"descriptor {fd} is no socket ({error.strerror})") from error
        if sock.family != family or sock.type != socket.SOCK_STREAM or not listens:
            kind = "Unix" if family == socket.AF_UNIX else "TCP"
            raise UsageError(detail=f"descriptor {fd} is no listening {kind} stream socket")
        found.append(sock)
    return found


def answer_callers(sockets: Sequence[socket.socket], error: NimadError, seconds: float) -> None:
    """For some time, tell all who connect why nothing can be answered now."""
    reply = {"jsonrpc": "2.0", "id": None, "error": error.to_wire()}
    line = json.dumps(reply).encode() + b"\n"
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        for sock in select.select(sockets, [], [], left)[0]:
            with contextlib.suppress(OSError), sock.accept()[0] as caller:
                caller.settimeout(NOTIFY_SECONDS)
                caller.sendall(line)
                caller.shutdown(socket.SHUT_WR)
                caller.recv(1 << 16)  # what is unread would take the answer with it


def turn_callers_away() -> None:
    """Close the connections that wait on the sockets of socket activation.

    For a start that fails in a way that no other start will mend: while a connection waits,
    systemd would start the unit again at once, and again.
    """
    with contextlib.suppress(UsageError):
        for sock in listening_sockets():
            with contextlib.suppress(OSError), sock:
                sock.setblocking(False)
                while True:
                    sock.accept()[0].close()


def in_journal(stream: TextIO, environ: MutableMapping[str, str] = os.environ) -> bool:
    """True when what is written to `stream` goes to the journal (JOURNAL_STREAM names it)."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
