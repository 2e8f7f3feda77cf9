"""What a browser asks and what it gets: requests, responses, pages, and refusals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from urllib.parse import urlencode

from nimad.dataclass import dataclass
from nimad.web.html import Child, Html, tag

THEMES = ("auto", "light", "dark")


@dataclass(frozen=True)
class Request:
    """One request that was let in.

    `path` is below the prefix of the pages, without a slash in front; `query` and `form` hold what
    was asked and sent, by name; `parts` what the path says, by the names in its route.  `seal` is
    what every form must send back, `theme` one of THEMES.
    """

    method: str
    path: str
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    form: Mapping[str, Sequence[str]] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    seal: str = ""
    theme: str = "auto"

    def asked(self, name: str) -> str | None:
        """The last value of that name in the address, without blanks around; None when empty."""
        return _last(self.query, name)

    def sent(self, name: str) -> str | None:
        """The same of the form."""
        return _last(self.form, name)

    def number(self, name: str, most: int = 2**63 - 1) -> int | None:
        """A whole number from 1 to `most` in the address, else None."""
        text = self.asked(name) or ""
        return int(text) if is_number(text) and 1 <= int(text) <= most else None

    def form_to(self, action: str, *children: Child, class_: str | None = None) -> Html:
        """A form that is sent to a path, sealed."""
        seal = tag("input", type="hidden", name="seal", value=self.seal)
        return tag("form", seal, *children, action=action, method="post", class_=class_)


def _last(values: Mapping[str, Sequence[str]], name: str) -> str | None:
    found = values.get(name)
    return (found[-1].strip() or None) if found else None


def is_number(text: str) -> bool:
    """Whether a text is a whole number that fits in 64 bits or little more."""
    return text.isascii() and text.isdigit() and len(text) < 20


@dataclass(frozen=True)
class Response:
    """What goes back; `location` sends the browser on to a path of ours, `cookie` is (name, value),
    `refresh` asks for the same page again [seconds]."""

    body: bytes = b""
    status: int = 200
    kind: str = "text/html; charset=utf-8"
    location: str | None = None
    cookie: tuple[str, str] | None = None
    refresh: int | None = None


@dataclass(frozen=True)
class Page:
    """What a page shows below the navigation; `at` is the path of its entry there."""

    title: str
    content: Sequence[Child]
    at: str = ""
    status: int = 200
    refresh: int | None = None


class Refused(Exception):
    """A request that is not answered; `status` of HTTP and one sentence for the person."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def link_to(path: str, **query: str | int | None) -> str:
    """The address of a path of ours; what is None is left out."""
    given = urlencode({name: value for name, value in query.items() if value is not None})
    return f"{path}?{given}" if given else path
