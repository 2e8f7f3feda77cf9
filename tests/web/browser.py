"""The pages of `nimactl web` in this process, and a browser as plain as can be to ask them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from html.parser import HTMLParser
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlencode

from nimad.client.client import Client
from nimad.web import address, routes
from nimad.web.guard import Guard
from nimad.web.server import WebServer
from tests.threads import PATIENCE, Background, hang_up

KEY = "k" * 43
FORM = "application/x-www-form-urlencoded"


class Pages:
    """A running WebServer in front of the daemon at `place`."""

    def __init__(self, place: Path, idle: float | None = None) -> None:
        self.guard = Guard(KEY)
        self._listener = address.listen(0)
        self.port: int = self._listener.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self._daemon = Client(str(place), timeout=PATIENCE)
        answer = partial(routes.answer, daemon=self._daemon, prefix=self.guard.prefix)
        server = WebServer(self._listener, self.guard, answer, idle)
        self.thread = Background(server.serve)
        self.thread.start()

    def close(self) -> None:
        hang_up(self._listener)
        self._listener.close()
        self.thread.finish()
        self._daemon.close()

    @property
    def usual(self) -> dict[str, str]:
        """The headers of a browser that was let in."""
        origin = f"http://{self.host}"
        return {"Host": self.host, "Origin": origin, "Cookie": f"nimad={self.guard.cookie}"}

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str | None] | None = None,
        form: Mapping[str, object] | None = None,
        whole: bool = False,
    ) -> tuple[HTTPResponse, str]:
        """The response to a path below the prefix (or a `whole` one), and its text.  `headers`
        change the usual ones; None leaves one out."""
        sent = {**self.usual, **(headers or {})}
        body = None
        if form is not None:
            body = urlencode({"seal": self.guard.seal, **form}, doseq=True).encode()
            sent = {"Content-Type": FORM, **sent}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.putrequest(method, path if whole else self.guard.prefix + path, skip_host=True)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response, text

    def page(self, path: str) -> Markup:
        """A page that must be there."""
        response, text = self.ask("GET", path)
        assert response.status == 200, text
        return Markup(text)


class Markup(HTMLParser):
    """What a page consists of: names of elements and attributes, the addresses, the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "action", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data
