"""Questions of the daemon for the hub: a line of JSON each way over a Unix socket."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nimad import helper_line
from nimad.errors import NimadError
from nimad.hub.session import Hub
from nimad.serve.access import peer_of
from nimad.serve.listen import listen_at

log = logging.getLogger("nimad-sync")

MOST_BYTES = 1 << 20
"""Largest question [bytes]."""
PATIENCE = 5.0
"""Longest wait for a caller [seconds]."""


class Questions:
    """Answers root and the daemon's user, one question after another, over a connection to the hub
    of its own.

    Attributes:
        uid: the daemon's user.
    """

    def __init__(self, place: Path, connect: Callable[[], Hub]) -> None:
        """Raises SocketBusy, SocketUnusable."""
        self.uid = os.geteuid()
        self._connect = connect
        self._hub: Hub | None = None
        self._names: dict[str, str] = {}
        self._listener = listen_at(place, "").sock  # who may ask is told by the kernel, below
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            caller, _ = self._listener.accept()
            with caller, contextlib.suppress(OSError):
                if peer_of(caller).uid not in (0, self.uid):
                    continue
                line = helper_line.read_line(caller, MOST_BYTES, time.monotonic() + PATIENCE)
                reply: dict[str, Any]
                try:
                    reply = {"found": self._find(json.loads(line))}
                except NimadError as error:
                    if self._hub is not None:
                        self._hub.close()
                    self._hub = None
                    reply = {"error": error.message}
                except (ValueError, TypeError, LookupError, AttributeError) as error:
                    reply = {"error": f"not understood ({type(error).__name__})"}
                caller.settimeout(PATIENCE)
                caller.sendall(json.dumps(reply).encode() + b"\n")

    def _find(self, asked: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """Namespaces, each with a row that has the name of its board."""
        if self._hub is None:
            self._hub = self._connect()
        packed = base64.b64decode(asked["vector"])
        vector = struct.unpack(f">{asked['dims']}e", packed)
        place = self._hub.vector_table(asked["signature"], asked["dims"]) if vector else None
        found = []
        for space in asked["namespaces"]:
            for store, body in self._hub.search(
                space, asked["terms"], place, vector, asked["most"]
            ):
                if store not in self._names:
                    self._names = self._hub.names()
                board = f"{self._names.get(store, 'board')[:100]}@{store[:8]}"
                found.append((space, {**json.loads(body), "board": board}))
        return found
