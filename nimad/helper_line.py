"""A line of JSON each way over a Unix socket: how nimad asks its helper processes.

nimad-embedder and nimad-sync are separate programs, because the daemon opens no network socket.
"""

from __future__ import annotations

import json
import socket
import time
from typing import Any


def ask(place: str, request: Any, seconds: float, most: int) -> Any:
    """What the helper at a socket answers, as JSON.

    Raises OSError, of it TimeoutError after `seconds` and ConnectionResetError when the helper hung
    up or sent more than `most` bytes; ValueError when the answer is no JSON.
    """
    deadline = time.monotonic() + seconds
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as helper:
        helper.settimeout(seconds)
        helper.connect(place)
        helper.sendall(json.dumps(request).encode() + b"\n")
        return json.loads(read_line(helper, most, deadline))


def read_line(peer: socket.socket, most: int, deadline: float) -> bytes:
    """The line that comes next, until a deadline on the monotonic clock; raises as `ask`."""
    line = bytearray()
    while not line.endswith(b"\n"):
        peer.settimeout(max(deadline - time.monotonic(), 0.001))
        more = peer.recv(1 << 16)
        if not more or len(line) > most:
            raise ConnectionResetError("the other side hung up, or sent too much")
        line += more
    return bytes(line)
