"""`nimactl mcp`: the Model Context Protocol on standard input and output, a thin bridge to nimad.

Both eras are served: revision 2026-07-28, where each request carries its version and nothing is
kept between requests, and the older ones with their `initialize` handshake.  One JSON-RPC message
a line; nothing else is ever written to standard output.  Each call of a tool has a thread and a
connection of its own, so that none waits for another; what reads is begun before anything of the
daemon's side is imported.  Source: the specification at https://modelcontextprotocol.io.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any, BinaryIO

from nimad import __version__
from nimad.closing import let_go
from nimad.ctl.agent_tools import INSTRUCTIONS, ToolRefused, Tools, told_by
from nimad.limits import refuse_constant, refuse_twice
from nimad.signals import heed

MODERN = "2026-07-28"
LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
_META = "io.modelcontextprotocol/"
MAX_LINE = 4 << 20
"""Length of the longest message [bytes]."""
MAX_CALLS = 8
"""Number of calls under way at once; a user has 16 in the daemon [calls]."""
PATIENCE = 30.0
"""Time limit of the daemon's answer: clients give up after 60 [seconds]."""
LAST_WAIT = 0.1
"""Time that calls under way still have when the client has gone [seconds]."""
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Pauses before a call is tried again when the daemon is busy with others [seconds]."""
WELL_KNOWN = {"ttlMs": 3_600_000, "cacheScope": "private"}
"""How long a client may keep what never changes while this process lives."""
PARSE_ERROR, INVALID_REQUEST, NO_METHOD, INVALID_PARAMS = -32700, -32600, -32601, -32602
UNSUPPORTED_VERSION = -32022

JSON = dict[str, Any]
SERVER: JSON = {"name": "nimad", "title": "nimad memory", "version": __version__}


class Refused(Exception):
    """A request that gets a JSON-RPC error."""

    def __init__(self, code: int, message: str, **data: Any) -> None:
        self.error: JSON = {"code": code, "message": message}
        if data:
            self.error["data"] = data


class Cancelled(Exception):
    """The client wants no answer any more."""


class Server:
    """Answers messages; `out` takes lines.  `socket` and `timeout` are as for `nimactl`."""

    def __init__(
        self, tools: Tools, out: BinaryIO, socket: str | None = None, timeout: float | None = None
    ) -> None:
        self._tools = tools
        self._out = out
        self._socket = socket
        self._timeout = timeout or PATIENCE
        self._lock = threading.Lock()
        self._calls: dict[Any, threading.Thread] = {}
        """Calls under way, by their id."""
        self._idle: list[Any] = []
        """Connections that no call uses."""

    def serve(self, lines: BinaryIO) -> None:
        """Answer until the input ends; calls under way then have LAST_WAIT left."""
        while line := lines.readline(MAX_LINE):
            if len(line) == MAX_LINE and not line.endswith(b"\n"):
                while line and not line.endswith(b"\n"):
                    line = lines.readline(MAX_LINE)
                self._write(_error(Refused(PARSE_ERROR, f"a message has at most {MAX_LINE} bytes")))
            elif line.strip():
                self._take(line)
        deadline = time.monotonic() + LAST_WAIT
        for thread in list(self._calls.values()):
            thread.join(max(deadline - time.monotonic(), 0))

    def _take(self, line: bytes) -> None:
        """Answer one message, or begin the call that it asks for."""
        ident = None
        try:
            message = _read(line)
            if message is None:
                return
            ident, method, params = message
            if ident is None:
                if method == "notifications/cancelled":
                    self._calls.pop(_key(params.get("requestId")), None)
                return
            modern = _check_era(method, params)
            if method == "tools/call":
                self._begin(ident, params, modern)
            else:
                self._write(_result(ident, self._answer(method, params), modern))
        except Refused as refused:
            self._write(_error(refused, ident))

    def _answer(self, method: str, params: JSON) -> JSON:
        """The result of any method but tools/call."""
        about = {"capabilities": {"tools": {}}, "instructions": INSTRUCTIONS}
        match method:
            case "server/discover":
                return {"supportedVersions": [MODERN, *LEGACY], **about, **WELL_KNOWN}
            case "initialize":
                asked = params.get("protocolVersion")
                version = asked if asked in LEGACY else LEGACY[0]
                return {"protocolVersion": version, "serverInfo": SERVER, **about}
            case "ping":
                return {}
            case "tools/list":
                return {"tools": self._tools.offered, **WELL_KNOWN}
        raise Refused(NO_METHOD, f"there is no method {method[:100]}")

    def _begin(self, ident: int | str, params: JSON, modern: bool) -> None:
        """Call a tool in a thread of its own."""
        name, given = params.get("name"), params.get("arguments")
        if not isinstance(name, str) or name not in self._tools:
            raise Refused(INVALID_PARAMS, f"there is no tool {str(name)[:100]!r}")
        if _key(ident) in self._calls:
            raise Refused(INVALID_REQUEST, f"the request {ident!r} is still under way")
        if len(self._calls) >= MAX_CALLS:
            self._write(_result(ident, _failed(f"{MAX_CALLS} calls are under way. Wait."), modern))
            return
        run = threading.Thread(target=self._call, args=(ident, name, given, modern), daemon=True)
        self._calls[_key(ident)] = run
        run.start()

    def _call(self, ident: int | str, name: str, given: Any, modern: bool) -> None:
        """Call a tool and write its result, unless the client has cancelled it meanwhile."""
        from nimad.ctl.client import Client
        from nimad.errors import NimadError

        client = self._idle.pop() if self._idle else Client(self._socket, self._timeout)
        mine = threading.current_thread()

        def ask(verb: str, **params: Any) -> JSON:
            if self._calls.get(_key(ident)) is not mine:
                raise Cancelled
            return _call_patiently(client, verb, params)

        try:
            found = self._tools.call(name, given, ask)
            text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
            content = [{"type": "text", "text": text}]
            result: JSON = {"content": content, "structuredContent": found, "isError": False}
        except Cancelled:
            return
        except ToolRefused as refused:
            result = _failed(str(refused))
        except NimadError as error:
            result = _failed(told_by(error))
        except Exception as error:  # a thread must not end without an answer
            result = _failed(f"A bug in nimactl mcp: {type(error).__name__}: {error}")
        finally:
            self._idle.append(client)
        if self._calls.get(_key(ident)) is mine:  # not cancelled, nor its id used again
            del self._calls[_key(ident)]
            self._write(_result(ident, result, modern))

    def _write(self, message: JSON) -> None:
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            self._out.write(line)
            self._out.flush()


def _read(line: bytes) -> tuple[int | str | None, str, JSON] | None:
    """The id, method and params of a message; None for the answer to a question never asked."""
    try:
        message = json.loads(line, parse_constant=refuse_constant, object_pairs_hook=refuse_twice)
    except (ValueError, RecursionError) as error:
        raise Refused(PARSE_ERROR, f"not one JSON message on a line: {error}") from None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise Refused(INVALID_REQUEST, "not a JSON-RPC 2.0 message")
    if "method" not in message and message.keys() & {"result", "error"}:
        return None
    ident, method, params = message.get("id"), message.get("method"), message.get("params", {})
    if "id" in message and (isinstance(ident, bool) or not isinstance(ident, int | str)):
        raise Refused(INVALID_REQUEST, "id must be a string or a whole number")
    if not isinstance(method, str) or not isinstance(params, dict):
        raise Refused(INVALID_REQUEST, "method must be a string, and params an object")
    return ident, method, params


def _check_era(method: str, params: JSON) -> bool:
    """Whether a request is of the revision without sessions.  Raises Refused where what that one
    needs is missing."""
    given = params.get("_meta")
    meta = given if isinstance(given, dict) else {}
    version = meta.get(f"{_META}protocolVersion")
    if method == "server/discover" and version is None:
        raise Refused(INVALID_PARAMS, f"_meta[{_META + 'protocolVersion'!r}] is missing")
    if version is None or method == "initialize":
        return False
    if version != MODERN:
        supported = [MODERN, *LEGACY]
        about = {"supported": supported, "requested": str(version)[:100]}
        raise Refused(UNSUPPORTED_VERSION, "Unsupported protocol version", **about)
    if not isinstance(meta.get(f"{_META}clientCapabilities"), dict):
        raise Refused(INVALID_PARAMS, f"_meta[{_META + 'clientCapabilities'!r}] is missing")
    if method == "ping":
        raise Refused(NO_METHOD, f"{MODERN} has no method ping")
    return True


def _key(ident: Any) -> tuple[str, str]:
    """An id as a key that tells 1 from "1"."""
    return type(ident).__name__, str(ident)


def _result(ident: int | str, result: JSON, modern: bool) -> JSON:
    if modern:
        result = {"resultType": "complete", **result, "_meta": {f"{_META}serverInfo": SERVER}}
    else:
        result = {name: one for name, one in result.items() if name not in WELL_KNOWN}
    return {"jsonrpc": "2.0", "id": ident, "result": result}


def _error(refused: Refused, ident: int | str | None = None) -> JSON:
    """An error; without an id where it could not be read."""
    return {"jsonrpc": "2.0", **({} if ident is None else {"id": ident}), "error": refused.error}


def _failed(text: str) -> JSON:
    """The result of a tool that could not do it: a text that the model can act on."""
    return {"content": [{"type": "text", "text": text}], "isError": True}


def _call_patiently(client: Any, verb: str, params: JSON) -> JSON:
    """Call a verb; again when the daemon has too many callers, and a reading one when the
    connection broke, which it does when the daemon was restarted, or gave it to another caller."""
    from nimad.errors import DaemonAbsent, RemoteError

    for pause in (*PAUSES, None):
        try:
            found: JSON = client.call(verb, **params)
            return found
        except RemoteError as error:
            if error.code != "busy" or pause is None:
                raise
        except DaemonAbsent as error:
            lost = "connection broke" in error.message and verb not in ("remember", "forget")
            if not lost or pause is None:
                raise
        time.sleep(pause * (0.5 + os.getpid() % 64 / 64))  # not all bridges at the same moment
    raise AssertionError("the last try returns or raises")


def run(options: dict[str, Any]) -> int:
    """Serve standard input until it ends.  `options` are those of the command; returns the exit
    code."""
    names = ("namespace", "agent", "read_only")
    tools = Tools(**{name: options[name] for name in names if name in options})
    server = Server(tools, sys.stdout.buffer, options.get("socket"), options.get("timeout"))
    heed()
    try:
        server.serve(sys.stdin.buffer)
    except BrokenPipeError:  # the client has gone
        let_go(sys.stdout)
    except KeyboardInterrupt:
        return 130
    return 0
