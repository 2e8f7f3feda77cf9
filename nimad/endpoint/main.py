"""The command nimad-embedder: the helper process with a network and without the memories.

A caller on its Unix socket sends a line of JSON, gets a line of JSON, and is hung up on.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from nimad import __version__, config, helper_line
from nimad.endpoint.remote import Endpoint, EndpointError
from nimad.errors import NimadError, SocketUnusable
from nimad.serve.listen import listen_at
from nimad.signals import end_on_term
from nimad.systemd import listening_sockets

log = logging.getLogger("nimad-embedder")

CREDENTIAL = "nimad-embedder.key"
MOST_BYTES = 16 << 20
"""Largest request [bytes]."""
AT_ONCE = 4
"""Requests under way at the same time; further ones wait in the kernel's queue."""
PATIENCE = 10.0
"""Longest wait for a request [seconds]."""

DESCRIPTION = """\
Asks an OpenAI-compatible endpoint (http.url in nimad.yaml) for the vectors of texts, for a nimad
with embedder: http, which itself opens no network connection.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(64, f"nimad-embedder: {message}\nSee `nimad-embedder --help`.\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = _Parser(prog="nimad-embedder", description=DESCRIPTION)
    made.add_argument("--config", metavar="F", type=Path, help="read this nimad.yaml")
    made.add_argument("--socket", metavar="PATH", type=Path, help="listen here, not at http.socket")
    made.add_argument("--version", action="version", version=f"nimad-embedder {__version__}")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the helper; its exit code."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    os.umask(0o077)
    end_on_term()
    try:
        settings = config.load(options.config)
        endpoint = Endpoint(settings, read_key(settings["http.key_file"]))
        given = listening_sockets()
        listener = given[0] if given else listen(options.socket or Path(settings["http.socket"]))
    except (NimadError, OSError) as error:
        told = error.sentences if isinstance(error, NimadError) else error
        log.error("%s", told)
        return error.exit if isinstance(error, NimadError) else 73
    log.info("asks %s for model %s", endpoint.url.netloc, endpoint.model or "(none)")
    try:
        serve(listener, endpoint)
    except KeyboardInterrupt:
        return 130
    return 0


def read_key(named: str) -> str | None:
    """The key of the endpoint: systemd's credential, or the file that is named; or none."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    for place in (Path(folder) / CREDENTIAL if folder else None, Path(named) if named else None):
        if place is not None and place.exists():
            return place.read_text(encoding="utf-8").strip() or None
    return None


def listen(place: Path) -> socket.socket:
    """A listening socket that only this user reaches; one that a crash left is replaced.

    Raises SocketBusy when another process listens there, SocketUnusable when something else than
    a socket of this user is in its place.
    """
    with contextlib.suppress(FileNotFoundError):
        if place.lstat().st_uid != os.geteuid():
            raise SocketUnusable(socket=place, detail="what is there belongs to another user")
    listener = listen_at(place)
    place.chmod(0o600)
    return listener.sock


def serve(listener: socket.socket, endpoint: Endpoint) -> None:
    """Answer callers until the listener is closed."""
    free = threading.BoundedSemaphore(AT_ONCE)

    def answer(caller: socket.socket) -> None:
        try:
            with caller:
                line = helper_line.read_line(caller, MOST_BYTES, time.monotonic() + PATIENCE)
                caller.settimeout(PATIENCE)
                caller.sendall(json.dumps(_reply(line, endpoint)).encode() + b"\n")
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
    if sys.byteorder == "big":
        values.byteswap()
    return {"dims": dims, "vectors": base64.b64encode(values.tobytes()).decode()}


if __name__ == "__main__":
    sys.exit(main())
