"""The table of all addresses, and how a request that was let in is answered."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.resources import files

from nimad.client.client import Client
from nimad.dataclass import dataclass
from nimad.errors import NimadError
from nimad.web import check_page, memory_pages, search_page, source_pages, status_page, time_pages
from nimad.web.exchange import THEMES, Page, Refused, Request, Response
from nimad.web.layout import frame, trouble_page

View = Callable[[Request, Client], Page | Response]
PARTS = {"id": r"[1-9]\d{0,18}", "name": r"[\w@+][\w.@+-]{0,99}"}
"""What may stand in the address for each name in braces."""
KINDS = {"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}


@dataclass(frozen=True)
class Route:
    """A method and a path below the prefix, and what answers it."""

    method: str
    path: str
    view: View

    def matches(self, path: str) -> dict[str, str] | None:
        """What a path says by the names in braces; None where it is another route's."""
        pattern = re.sub(r"\{(\w+)\}", lambda f: f"(?P<{f[1]}>{PARTS[f[1]]})", self.path)
        found = re.fullmatch(pattern, path, re.ASCII)
        return found.groupdict() if found else None


def _static(name: str, request: Request, daemon: Client) -> Response:
    body = files("nimad.web").joinpath("static", name).read_bytes()
    return Response(body, kind=KINDS[name])


def _set_theme(request: Request, daemon: Client) -> Response:
    theme = request.sent("theme")
    kept = theme if theme in THEMES else "auto"
    return Response(status=303, location=request.sent("back") or "", cookie=("theme", kept))


ROUTES = (
    *(Route("GET", f"static/{name}", partial(_static, name)) for name in KINDS),
    Route("POST", "theme", _set_theme),
    Route("GET", "", status_page.show_status),
    Route("GET", "search", search_page.show_search),
    Route("GET", "memory/{id}", memory_pages.show_memory),
    Route("GET", "forget", memory_pages.ask_to_forget),
    Route("POST", "forget", memory_pages.forget),
    Route("GET", "feed", time_pages.show_feed),
    Route("GET", "timeline", time_pages.show_timeline),
    Route("GET", "sources", source_pages.show_sources),
    *(
        Route("POST", f"sources/{{name}}/{act}", partial(source_pages.steer, act))
        for act in ("pause", "resume", "now")
    ),
    Route("POST", "sources/{name}/verify", source_pages.verify),
    Route("GET", "sources/{name}/rollback", source_pages.ask_to_roll_back),
    Route("POST", "sources/{name}/rollback", source_pages.roll_back),
    Route("GET", "checks", check_page.show_checks),
)


def answer(request: Request, daemon: Client, prefix: str) -> Response:
    """The response to a request; what goes wrong is told on a page."""
    try:
        for route in ROUTES:
            parts = route.matches(request.path)
            if parts is not None and route.method == request.method:
                made = route.view(replace(request, parts=parts), daemon)
                break
        else:
            methods = {r.method for r in ROUTES if r.matches(request.path) is not None}
            raise Refused(405 if methods else 404, "There is no such page.")
    except NimadError as error:
        made = trouble_page(error)
    if isinstance(made, Response):
        return made
    body = frame(made, request, prefix).encode("utf-8", "replace")
    return Response(body, made.status, refresh=made.refresh)
