"""The commands query, get and remember in their plainest form, without the parser and most else.

Agents start them by the dozen, and on a small board what a command imports takes longer than what
it asks.  Whatever is not plain, or goes wrong before anything was sent, is left to `main`, which
knows it all; nothing is sent twice.
"""

from __future__ import annotations

import _socket

from nimad import zone_name
from nimad.client.places import candidates
from nimad.ctl import light_json
from nimad.ctl.memories_text import show_memory, show_notes, show_results
from nimad.ctl.screen import Screen
from nimad.limits import MAX_FRAME, MAX_RESULTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PATIENCE = "60"
"""Time limit of a part of the answer, as an option gives it [seconds]."""


def run(options: dict[str, Any]) -> int | None:
    """Do a command; its exit code, or None where `main` is to do it."""
    command, words, path = options["command"], options["words"], options.get("socket")
    limit = options.get("timeout", PATIENCE)
    if not (limit.isascii() and limit.isdigit() and 0 < int(limit) < 10**9):
        return None
    if (params := _params(command, words, options)) is None:
        return None
    screen = Screen("json" in options)
    try:
        result = _ask(path, command, params, int(limit))
        if result is None or (command == "get" and result["memory"].get("cut")):
            return None
        if screen.json:
            screen.result(result)
        elif command == "get":
            show_memory(screen, result["memory"])
        elif command == "remember":
            screen.line(f"remembered as {result['id']}")
        else:
            show_results(screen, result["results"])
            show_notes(screen, result)
        screen.flush()
        return 0
    except (Exception, KeyboardInterrupt) as error:
        from nimad.ctl.main import tell

        return tell(error, screen, command)


def _params(command: str, words: list[str], options: dict[str, Any]) -> dict[str, Any] | None:
    """What the daemon is asked with; None where it takes the parser to know, or to refuse."""
    text = " ".join(words)
    if command == "get":
        plain = len(words) == 1 and text.isascii() and text.isdigit() and len(text) < 19
        return {"id": int(text)} if plain and int(text) else None
    named = ("who", "where", "namespace", "agent")
    params = {name: options[name] for name in named if name in options}
    if command == "query":
        zone, most = zone_name.local_name(), options.get("k", "1")
        if zone and not zone_name.is_installed(zone):
            return None
        if not (most.isascii() and most.isdigit() and 1 <= int(most) <= MAX_RESULTS):
            return None
        params |= {"time_zone": zone} if zone else {}
        params |= {"k": int(most)} if "k" in options else {}
    return {"text": text, **params} if text.strip() else None


def _ask(given: str | None, verb: str, params: dict[str, Any], limit: int) -> dict[str, Any] | None:
    """The daemon's result; None where nothing was sent.  Raises what Connection.call does."""
    request = {"jsonrpc": "2.0", "id": 1, "method": verb, "params": params}
    try:
        frame = light_json.dumps(request).encode()
    except UnicodeError:
        return None
    if len(frame) > MAX_FRAME:
        return None
    for path in candidates(given):
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        connection.settimeout(limit)
        try:
            connection.connect(path)
        except OSError:
            connection.close()
            continue
        try:
            reply = light_json.loads(_exchange(connection, frame))
        except TimeoutError:
            from nimad.errors import NoAnswer

            raise NoAnswer(socket=path, seconds=f"{limit:g}") from None
        except (OSError, ValueError) as error:
            from nimad.errors import DaemonAbsent

            reason = getattr(error, "strerror", None) or error
            detail = f"the connection broke before it answered ({reason})"
            raise DaemonAbsent(socket=path, detail=detail) from error
        if "error" in reply:
            from nimad.errors import RemoteError

            raise RemoteError.from_wire(reply["error"])
        result: dict[str, Any] = reply["result"]
        return result
    return None


def _exchange(connection: _socket.socket, frame: bytes) -> str:
    """Send a frame; the line that comes back."""
    broken: OSError | None = None
    try:
        connection.sendall(frame + b"\n")
    except (BrokenPipeError, ConnectionResetError) as error:
        broken = error  # a daemon that closes may have said why first
    parts, size = [b""], 0
    while b"\n" not in parts[-1]:
        parts.append(connection.recv(1 << 16))
        size += len(parts[-1])
        if not parts[-1] or size > MAX_FRAME + 1:
            raise broken or ConnectionResetError("it closed the connection")
    return b"".join(parts).partition(b"\n")[0].decode()
