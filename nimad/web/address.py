"""Where the pages are: the address with its key, and the file in which the unit leaves it."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from pathlib import Path

from nimad.systemd import listening_sockets
from nimad.web.guard import make_key

HOST, PORT = "127.0.0.1", 6462
"""Where the pages are, unless another port is named: "nima" on the keys of a telephone."""
UNIT_FOLDER = Path("/run/nimad-web")
"""RuntimeDirectory= of nimad-web.service; its group may read there."""
FILE = "address"
START_SECONDS = 10.0
"""Longest wait for the unit to start [seconds]."""
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/\?key=([\w-]{43})\n")


def address_of(port: int, key: str) -> str:
    """The address that lets a browser in."""
    return f"http://{HOST}:{port}/?key={key}"


def kept_key(folder: Path, port: int) -> str:
    """The key in a folder, made when there is none: so a browser stays let in when the unit, idle,
    ends and is started again.  The folder is on no disk and ends with the boot."""
    place = folder / FILE
    with contextlib.suppress(FileNotFoundError):
        if found := _ADDRESS.fullmatch(place.read_text(encoding="ascii")):
            return found[1]
    key = make_key()
    half = folder / f".{FILE}"
    half.unlink(missing_ok=True)
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{address_of(port, key)}\n")
        os.fchmod(file.fileno(), 0o640)
    half.rename(place)
    return key


def unit_address(port: int = PORT, folder: Path = UNIT_FOLDER) -> str | None:
    """The address of the unit's pages; it is started when only its socket is there.  None where
    nothing listens.  Raises PermissionError for a user who is not in its group."""
    try:
        socket.create_connection((HOST, port), START_SECONDS).close()
    except OSError:
        return None
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(FileNotFoundError):
            return (folder / FILE).read_text(encoding="ascii").strip()
        time.sleep(0.1)
    return None


def take_listener(port: int) -> tuple[socket.socket, str, bool]:
    """The listening socket, its key, and whether it is the unit's (systemd handed it over, and its
    key is left where its group finds it)."""
    given = listening_sockets(family=socket.AF_INET)
    folder = os.environ.get("RUNTIME_DIRECTORY")
    if not given:
        return listen(port), make_key(), False
    key = kept_key(Path(folder), given[0].getsockname()[1]) if folder else make_key()
    return given[0], key, True


def listen(port: int) -> socket.socket:
    """A listening socket on the loopback interface; OSError where the port is taken."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((HOST, port))
        made.listen(32)
    except OSError:
        made.close()
        raise
    return made
