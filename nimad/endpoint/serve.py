"""The helper's side of the Unix socket: a line of JSON in, a line of JSON out, then goodbye."""

from __future__ import annotations

import base64
import json
import logging
import socket
import sys
import threading
from array import array
from typing import Any

from nimad.endpoint.remote import Endpoint, EndpointError

log = logging.getLogger(__name__)

MOST_BYTES = 16 << 20
AT_ONCE = 4
"""Requests under way at the same time; more wait in the kernel's queue."""
PATIENCE = 10.0
"""How long a caller may take to say what it wants [seconds]."""


def serve(listener: socket.socket, endpoint: Endpoint) -> None:
    """Answer callers until the listener is closed."""
    free = threading.BoundedSemaphore(AT_ONCE)

    def answer(caller: socket.socket) -> None:
        try:
            with caller:
                caller.settimeout(PATIENCE)
                caller.sendall(json.dumps(_reply(_line(caller), endpoint)).encode() + b"\n")
        except OSError as error:
            log.info("a caller went away: %s", error)
        finally:
            free.release()

    while True:
        free.acquire()
        try:
            caller, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=answer, args=(caller,), daemon=True).start()


def _line(caller: socket.socket) -> bytes:
    found = bytearray()
    while not found.endswith(b"\n") and len(found) <= MOST_BYTES:
        more = caller.recv(1 << 16)
        if not more:
            break
        found += more
    return bytes(found)


def _reply(line: bytes, endpoint: Endpoint) -> dict[str, Any]:
    """{"dims", "vectors": base64 of little-endian float32} or {"error": words}."""
    try:
        request = json.loads(line)
        texts, seconds = request["texts"], float(request["seconds"])
        if not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError("texts must be a list of texts")
    except (ValueError, TypeError, KeyError) as error:
        return {"error": f"the request is not understood ({error!r})"}
    try:
        dims, values = endpoint.embed(texts, seconds)
    except EndpointError as error:
        log.warning("%s", error)
        return {"error": str(error)}
    return {"dims": dims, "vectors": base64.b64encode(_little(values).tobytes()).decode()}


def _little(values: array[float]) -> array[float]:
    if sys.byteorder == "big":
        values.byteswap()
    return values
