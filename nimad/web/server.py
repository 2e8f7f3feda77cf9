"""The HTTP server: bounded in every way, one request a connection, ends when nobody asks.

`http.server` of the standard library reads the requests: it is what bottle and its like stand on,
and a table of routes is all that they would add here (docs/web.md has the figures).
"""

from __future__ import annotations

import contextlib
import io
import logging
import select
import socket
import threading
import time
import traceback
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, unquote, urlsplit

from nimad.web.exchange import THEMES, Refused, Request, Response
from nimad.web.guard import COOKIE, cookies_of

if TYPE_CHECKING:
    from nimad.web.guard import Guard

log = logging.getLogger("nimad.web")

MAX_CONNECTIONS = 16
"""Number of connections at a time; further ones wait in the kernel [connections]."""
MAX_REQUEST = 128 << 10
"""Length of a whole request [bytes]."""
MAX_ADDRESS = 8 << 10
"""Length of a request's address [bytes]."""
MAX_FORM = 64 << 10
"""Length of a form [bytes]."""
MAX_FIELDS = 2000
"""Number of fields of an address or a form [fields]."""
READ_SECONDS = 10.0
"""Time limit of a request's arrival, to its last byte [seconds]."""
SEND_SECONDS = 30.0
"""Time limit of a response, to its last byte [seconds]."""
LINGER_SECONDS = 1.0
"""Wait for the browser to take a response before the connection is cut [seconds]."""
PAUSE = 0.1
"""Pause after a connection that could not be taken [seconds]."""
FORM = "application/x-www-form-urlencoded"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self';"
    " form-action 'self'; base-uri 'self'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Sent with every response.  No script may run, whatever a page holds.  The referrer is not
"no-referrer": forms would then be sent with the origin null."""
_STRICT = "HttpOnly; SameSite=Strict"


class WebServer:
    """Serves a listening socket until it is idle for `idle` seconds; None: for ever.

    `answer` is asked for each request that the guard lets in, from several threads at once.
    """

    def __init__(
        self,
        listener: socket.socket,
        guard: Guard,
        answer: Callable[[Request], Response],
        idle: float | None = None,
    ) -> None:
        self.guard, self.answer = guard, answer
        self._listener, self._idle = listener, idle
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._lock = threading.Lock()
        self._open, self._last = 0, time.monotonic()

    def serve(self) -> None:
        """Answer until it is idle, or the listener is closed."""
        while (left := self._seconds_left()) is None or left > 0:
            try:
                if not select.select([self._listener], [], [], left)[0]:
                    continue
            except (OSError, ValueError):  # closed
                return
            self._free.acquire()
            try:
                browser, _ = self._listener.accept()
            except OSError as error:  # it went away again, or there are no descriptors left
                log.warning("a browser was not let in: %s", error)
                self._free.release()
                time.sleep(PAUSE)
                continue
            with self._lock:
                self._open += 1
            threading.Thread(target=self._talk, args=(browser,), daemon=True).start()

    def _seconds_left(self) -> float | None:
        with self._lock:
            if self._idle is None or self._open:
                return self._idle
            return self._last + self._idle - time.monotonic()

    def _talk(self, browser: socket.socket) -> None:
        try:
            with browser, contextlib.suppress(OSError):
                _Handler(browser, ("", 0), self)  # type: ignore[arg-type]
        finally:
            self._free.release()
            with self._lock:
                self._open, self._last = self._open - 1, time.monotonic()


class _PatientReader(io.RawIOBase):
    """What a browser sends, until a moment and up to a length; then TimeoutError, or the end."""

    def __init__(self, browser: socket.socket) -> None:
        self._browser = browser
        self._until = time.monotonic() + READ_SECONDS
        self._room = MAX_REQUEST

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Some more bytes."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._browser.settimeout(left)
        size = self._browser.recv_into(buffer, min(len(buffer), self._room)) if self._room else 0
        self._room -= size
        return size


class _Handler(BaseHTTPRequestHandler):
    """One request.  Nothing is logged: an address holds what was searched for."""

    server: WebServer  # type: ignore[assignment]
    request: socket.socket
    default_request_version = "HTTP/1.0"

    def setup(self) -> None:
        """Read with patience, and write at the end."""
        self.connection = self.request
        self.rfile = io.BufferedReader(_PatientReader(self.connection))
        self.wfile = self._out = io.BytesIO()

    def finish(self) -> None:
        """Send the response; read what is left, so that the kernel does not take it back."""
        self.connection.settimeout(SEND_SECONDS)
        self.connection.sendall(self._out.getvalue())
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(LINGER_SECONDS)
        for _ in range(MAX_REQUEST >> 16):
            if not self.connection.recv(1 << 16):
                break

    def do_GET(self) -> None:
        """A page, or why there is none."""
        try:
            response = self._response()
        except Refused as refused:
            response = _plain(refused.status, str(refused))
        except OSError:  # the browser is gone, or too slow
            raise
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            # without the message: it may hold what a memory says
            log.error("%s in %s, line %s", type(error).__name__, frame.filename, frame.lineno)
            response = _plain(500, "This is a bug of nimad. Its log says where; please report it.")
        self._send(response)

    do_HEAD = do_POST = do_GET  # noqa: N815

    def _response(self) -> Response:
        guard = self.server.guard
        guard.check_origin(self.command, self.headers)
        if len(self.path) > MAX_ADDRESS:
            raise Refused(414, "The address is too long.")
        try:
            address = urlsplit(self.path)
        except ValueError:
            raise Refused(400, "The address is not understood.") from None
        query = _fields(address.query)
        if (
            address.path == "/"
            and self.command != "POST"
            and guard.is_key(query.get("key", [""])[0])
        ):
            return Response(status=303, location="", cookie=(COOKIE, guard.cookie))
        guard.check_cookie(address.path, self.headers)
        form = self._form() if self.command == "POST" else {}
        if self.command == "POST":
            guard.check_seal(form.get("seal", [None])[0])
        path = unquote(address.path.removeprefix(guard.prefix))
        theme = cookies_of(self.headers).get("theme", ["auto"])[0]
        theme = theme if theme in THEMES else "auto"
        method = "GET" if self.command == "HEAD" else self.command
        return self.server.answer(Request(method, path, query, form, {}, guard.seal, theme))

    def _form(self) -> dict[str, list[str]]:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or "Transfer-Encoding" in self.headers:
            raise Refused(411, "A form must tell its length.")
        if len(length) > 9 or int(length) > MAX_FORM:
            raise Refused(413, "The form is too large.")
        if self.headers.get_content_type() != FORM:
            raise Refused(415, "Only forms are taken.")
        return _fields(self.rfile.read(int(length)).decode("utf-8", "replace"))

    def _send(self, response: Response) -> None:
        self.send_response_only(response.status)
        headers: dict[str, object] = {
            **HEADERS,
            "Content-Type": response.kind,
            "Content-Length": len(response.body),
        }
        if response.location is not None:
            headers["Location"] = self.server.guard.prefix + quote(response.location, "/?&=%+")
        if response.cookie:
            name, value = response.cookie
            headers["Set-Cookie"] = f"{name}={value}; Path={self.server.guard.prefix}; {_STRICT}"
        if response.refresh:
            headers["Refresh"] = response.refresh
        for each, sent in headers.items():
            self.send_header(each, str(sent))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server refuses by itself, in our form."""
        self.close_connection = True
        self._send(_plain(code, HTTPStatus(code).description or HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def _fields(text: str) -> dict[str, list[str]]:
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Refused(400, "There are too many fields.") from None


def _plain(status: int, sentence: str) -> Response:
    return Response(f"{sentence}\n".encode(), status, "text/plain; charset=utf-8")
