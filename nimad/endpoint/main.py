"""The command nimad-embedder: the helper process with a network and without the memories."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from nimad import __version__, config
from nimad.endpoint.remote import Endpoint
from nimad.endpoint.serve import serve
from nimad.errors import NimadError, SocketUnusable
from nimad.serve.listen import listen_at
from nimad.systemd import listening_sockets

log = logging.getLogger("nimad-embedder")

CREDENTIAL = "nimad-embedder.key"

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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        settings = config.load(options.config)
        endpoint = Endpoint(settings, read_key(settings["http.key_file"]))
        given = listening_sockets()
        listener = given[0] if given else listen(options.socket or Path(settings["http.socket"]))
    except (NimadError, OSError) as error:
        told = f"{error.message} {error.next_step}" if isinstance(error, NimadError) else error
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


if __name__ == "__main__":
    sys.exit(main())
