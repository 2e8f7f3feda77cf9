"""What all pages share: the frame around them, and how a memory, a time and a note look."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any

from nimad import human, times
from nimad.errors import NimadError
from nimad.web.charts import bar
from nimad.web.exchange import Page, Request, link_to
from nimad.web.html import Child, Html, document, tag

SECTIONS = (
    ("", "Status"),
    ("search", "Search"),
    ("feed", "Feed"),
    ("timeline", "Timeline"),
    ("sources", "Sources"),
    ("checks", "Checks"),
)
"""Entries of the navigation: path, name."""
SHORT_TEXT = 1200
"""Length of a text in a list [characters]."""
FOLLOW_SECONDS = 3
"""Pause between two looks while a page is followed [seconds]."""


def frame(page: Page, request: Request, prefix: str) -> Html:
    """The whole document of a page."""
    here = f"{prefix}{request.path}"
    links = [
        tag("a", name, href=path or ".", aria_current="page" if path == page.at else None)
        for path, name in SECTIONS
    ]
    following = {"auto": "dark", "dark": "light", "light": "auto"}[request.theme]
    back = link_to(request.path, **{name: values[-1] for name, values in request.query.items()})
    switch = request.form_to(
        "theme",
        tag("input", type="hidden", name="theme", value=following),
        tag("input", type="hidden", name="back", value=back),
        tag("button", f"Theme: {request.theme}", title=f"Change it to {following}"),
        class_="theme",
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("base", href=prefix),
        tag("title", f"{page.title} · nimad"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("link", rel="stylesheet", href="static/style.css"),
        tag("link", rel="icon", href="static/icon.svg", type="image/svg+xml"),
    )
    top = tag(
        "header",
        tag("a", "nimad", href=".", class_="brand"),
        tag("nav", links, aria_label="Pages"),
        switch,
    )
    main = tag("main", tag("h1", page.title), page.content, id="main")
    skip = tag("a", "Skip to the content", href=f"{here}#main", class_="skip")
    body = tag("body", skip, top, main)
    return document(head, body, lang="en", data_theme=request.theme)


def panel(title: str, *content: Child, class_: str = "") -> Html:
    """A box with a heading."""
    return tag("section", tag("h2", title), content, class_=f"panel {class_}".strip())


def note(text: Child, kind: str = "") -> Html:
    """A sentence that stands out; `kind` is good, warn or bad."""
    return tag("p", text, class_=f"note {kind}".strip(), role="alert" if kind == "bad" else None)


def empty(text: str, *more: Child) -> Html:
    """What stands where there is nothing to show."""
    return tag("p", text, " ", more, class_="empty")


def facts(rows: Mapping[str, Child]) -> Html:
    """Names and values, a line each; without those that are None or empty."""
    shown = [(name, value) for name, value in rows.items() if value not in (None, "")]
    return tag("dl", [tag("div", tag("dt", n), tag("dd", v)) for n, v in shown], class_="facts")


def bar_row(name: Child, part: float, whole: float, figure: str, to: str | None = None) -> Html:
    """A line of a list of bars: a name, its share of the whole, its figure."""
    label = tag("a", name, href=to) if to else name
    drawn = bar(part / whole if whole else 0, human.share(part, whole))
    return tag("li", tag("span", label), drawn, tag("span", figure, class_="figure"))


def moment(milliseconds: int | None, *, long: bool = False) -> Html:
    """A time in the zone of this machine, or that there is none."""
    if milliseconds is None:
        return tag("span", "no date", class_="dim")
    exact = times.local(milliseconds, UTC).isoformat(timespec="seconds")
    local, away = human.date(milliseconds), human.ago(milliseconds)
    shown = f"{local} ({away})" if long else local
    return tag("time", shown, datetime=exact, title=away)


def who_of(memory: Mapping[str, Any]) -> Child:
    """Whose words they are."""
    return tag("bdi", memory["who"], class_="who") if memory.get("who") else None


def card(memory: Mapping[str, Any], *more: Child, lead: Child = None) -> Html:
    """A memory in a list: whose, when, its marks, its text; `more` stands below."""
    number, text = memory["id"], memory["text"]
    if len(text) > SHORT_TEXT:
        text = f"{text[:SHORT_TEXT].rstrip()} …"
    head = tag(
        "header",
        tag("a", f"#{number}", href=f"memory/{number}", class_="number"),
        lead,
        who_of(memory),
        moment(memory.get("timestamp")),
        marks(memory),
        tag(
            "a", "×", href=link_to("forget", id=number), aria_label=f"Forget {number}", class_="act"
        ),
    )
    shown = text if text.strip() else tag("i", "no text")
    body = tag("div", shown, class_="text", dir="auto")
    return tag("article", head, body, more, class_="memory")


def score(found: Mapping[str, Any], about: str) -> Html:
    """How well a memory fits, and how many say the same."""
    copies = f" · {found['copies']} copies" if "copies" in found else ""
    return tag("span", f"{found['score']:.2f}{copies}", class_="score", title=about)


def marks(memory: Mapping[str, Any]) -> list[Html]:
    """What else is told of a memory in a word each."""
    found = [tag("span", memory["layer"], class_=f"mark {memory['layer']}")]
    if memory.get("origin") == "untrusted":
        found.append(tag("span", "untrusted", class_="mark warn"))
    if memory.get("damaged"):
        found.append(tag("span", "damaged", class_="mark warn"))
    if memory.get("namespace", "default") != "default":
        found.append(tag("bdi", memory["namespace"], class_="mark"))
    if memory.get("where"):
        found.append(tag("bdi", f"at {memory['where']}", class_="mark"))
    found += [tag("bdi", f"#{name}", class_="mark") for name in memory.get("tags") or ()]
    return found


def follows(request: Request) -> int | None:
    """How often the page is asked for again, where the person wants that."""
    return FOLLOW_SECONDS if request.asked("follow") else None


def follow_link(request: Request) -> Html:
    """The switch for that."""
    on = bool(request.asked("follow"))
    kept = {name: values[-1] for name, values in request.query.items() if name != "follow"}
    to = link_to(request.path, **kept, follow=None if on else 1)
    label = "Stop following" if on else f"Follow (every {FOLLOW_SECONDS} s)"
    return tag("p", tag("a", label, href=to, class_="button"))


def answered_without(result: Mapping[str, Any]) -> list[Html]:
    """What an answer lacks, and what the daemon notes of it."""
    found = [note(f"{text}.", "warn") for text in result.get("notes") or ()]
    if parts := result.get("degraded"):
        checks = tag("a", "Checks", href="checks")
        found.append(note(["Answered without ", " and ".join(parts), ". ", checks], "warn"))
    return found


def trouble_page(error: NimadError) -> Page:
    """What stands in place of a page that the daemon could not fill."""
    statuses = {"not_found": 404, "usage": 400, "daemon_absent": 503, "no_answer": 504, "busy": 503}
    denied = {"not_permitted": 403, "owner_only": 403, "namespace_denied": 403}
    titles = {"not_found": "Not there", "usage": "Not understood", "daemon_absent": "nimad is away"}
    content = [
        note(error.message, "bad"),
        tag("p", error.next_step),
        tag("p", tag("a", "Back to the status", href=".")),
    ]
    status = (statuses | denied).get(error.code, 502)
    title = titles.get(error.code, "Not allowed" if status == 403 else "That did not work")
    return Page(title, content, at="?", status=status)
