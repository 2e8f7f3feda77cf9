"""Where the daemon listens, and a connection to it, or why there is none."""

from __future__ import annotations

import errno
import os
import socket
import stat
import time
from pathlib import Path

from nimad.errors import DaemonAbsent, NimadError, NotPermitted, OwnerOnly, UsageError

SYSTEM_SOCKET = "/run/nimad/nimad.sock"
SYSTEM_GROUP = "nimad"
PAUSE = 0.05
"""Between two attempts when the daemon's queue of callers is full [seconds]."""


def candidates(given: str | None) -> list[str]:
    """The sockets to try, in order: the one that was named, or those a daemon may have made.

    That is --socket, else $NIMAD_SOCKET, else /run/nimad/nimad.sock, $XDG_RUNTIME_DIR/nimad.sock
    and nimad/nimad.sock in the user's state directory.
    """
    if named := given or os.environ.get("NIMAD_SOCKET"):
        return [named]
    found = [SYSTEM_SOCKET]
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        found.append(f"{runtime}/nimad.sock")
    state = os.environ.get("XDG_STATE_HOME") or f"{Path.home()}/.local/state"
    return [*found, f"{state}/nimad/nimad.sock"]


def connect(paths: list[str], deadline: float | None) -> tuple[socket.socket, str]:
    """The first that answers; `deadline` is on the monotonic clock.

    Raises NotPermitted or OwnerOnly when one exists that this user may not use, else DaemonAbsent.
    """
    refusals: list[tuple[str, OSError]] = []
    for path in paths:
        try:
            return _open(path, deadline), path
        except OSError as error:
            refusals.append((path, error))
    raise _refusal(refusals)


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


def _refusal(refusals: list[tuple[str, OSError]]) -> NimadError:
    """The one error for all attempts: a forbidden socket tells more than a dead one."""
    for path, error in refusals:
        if isinstance(error, PermissionError):
            return _forbidden(path)
    for path, error in refusals:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            return DaemonAbsent(socket=path, detail=_reason(error))
    named = " or ".join(path for path, _ in refusals)
    return DaemonAbsent(socket=named, detail="there is no such socket")


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "the socket is there, but no daemon behind it (it was killed, or is starting)"
    if isinstance(error, (BlockingIOError, TimeoutError)):
        return "too many callers are waiting already"
    if error.errno == errno.ENOTSOCK:
        return "it is not a socket"
    return error.strerror or str(error)


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
