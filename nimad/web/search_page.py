"""Search, with the reasons: what each score is made of, and whether there was enough to answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nimad.client.client import Client
from nimad.human import count
from nimad.model import LAYERS, ORIGINS, UNKNOWN
from nimad.web.charts import bar, stacked
from nimad.web.exchange import Page, Request, link_to
from nimad.web.html import Child, Html, tag
from nimad.web.layout import answered_without, card, empty, panel, score

MODES = ("hybrid", "meaning", "words")
ASKED = (
    "mode",
    "who",
    "where",
    "layer",
    "namespace",
    "agent",
    "origin",
    "after",
    "before",
    "as_of",
)
"""Parameters of a query that the form has, besides the text."""
RESULTS = 10
ABOUT_PARTS = {
    "lexical": "words",
    "semantic": "meaning",
    "subject": "said by whom the question names",
    "date": "of the date that the question names",
    "literal": "holds an identifier to the letter",
    "layer": "told by the user, or answered, as asked",
    "instruction": "a standing instruction",
    "asks": "it only asks",
    "importance": "importance",
    "recency": "recency",
    "exact": "it is the question, word for word",
    "goal": "near to a goal",
}
"""What each part of a score is; docs/protocol.md tells more."""


def show_search(request: Request, daemon: Client) -> Page:
    """The form, and what answers it."""
    text = request.asked("q")
    content: list[Child] = [_form(request)]
    if text is None:
        about = "Ask a question, or give words. Dates and names in it count."
        return Page("Search", [*content, empty(about)], at="search")
    given: dict[str, Any] = {name: request.asked(name) for name in ASKED}
    strictness = 0.0 if request.asked("all") else None
    result = daemon.call(
        "query", text=text, k=RESULTS, explain=True, strictness=strictness, **given
    )
    found = result["results"]
    content += answered_without(result)
    if not found:
        same = {name: value for name, value in given.items() if value}
        nearest = tag("a", "Show what is nearest", href=link_to("search", q=text, all=1, **same))
        none = "Nothing here answers that: too little speaks for any memory."
        content.append(empty(none, None if strictness == 0.0 else nearest))
    best = max((abs(one["score"]) for one in found), default=1.0) or 1.0
    content += [
        card(one, _reasons(one, best, place == 0), lead=score(one, "score"))
        for place, one in enumerate(found)
    ]
    if found:
        keys = (("lexical", "words"), ("semantic", "meaning"), ("more", "all else"))
        legend = [
            [tag("span", tag("i", class_=f"key {kind}"), name, class_="legend"), " "]
            for kind, name in keys
        ]
        taken = f"{count(len(found), 'result')} in {result['took_ms']:.1f} ms. "
        content.insert(1, tag("p", taken, legend, class_="dim"))
    content.append(_evidence(result))
    return Page("Search", content, at="search")


def _reasons(found: Mapping[str, Any], best: float, first: bool) -> Html:
    """A score as one bar of its parts, and below a fold each by itself, the largest first."""
    parts = found.get("parts") or {}
    counted = {name: value for name, value in parts.items() if name != "cosine" and value}
    largest = sorted(counted.items(), key=lambda item: -abs(item[1]))
    rows = [
        tag(
            "li",
            tag("span", ABOUT_PARTS.get(name, name)),
            bar(value / best, f"{value:.3f}", kind_of(name)),
            tag("span", f"{value:+.3f}", class_="figure"),
        )
        for name, value in largest
    ]
    cosine = f", cosine {parts['cosine']:.2f}" if "cosine" in parts else ""
    shares = [(kind_of(name), value) for name, value in largest]
    whole = stacked(shares, best, f"score {found['score']:.2f} of the best one's {best:.2f}")
    title = tag("summary", tag("span", f"Why{cosine}"), whole)
    return tag("details", title, tag("ul", rows, class_="bars"), open=first, class_="why")


def kind_of(part: str) -> str:
    """The colour of a part of a score."""
    return part if part in ("lexical", "semantic") else "more"


def _evidence(result: Mapping[str, Any]) -> Html | None:
    """What decided whether anything is shown."""
    found = result.get("evidence")
    if not found:
        return None
    least, met = found["least"], found["met"]
    scale = max(map(abs, (least, met, *found["parts"].values()))) or 1.0
    enough = "enough" if met >= least else "not enough"
    head = f"{met:.2f} was met, {least:.2f} is needed: {enough}."
    if found["strange"]:
        head += " It names what no memory knows."
    rows = [
        tag(
            "li",
            tag("span", name.replace("_", " ")),
            bar(value / scale, f"{value:.2f}"),
            tag("span", f"{value:+.2f}", class_="figure"),
        )
        for name, value in sorted(found["parts"].items(), key=lambda item: -abs(item[1]))
    ]
    steps = [
        f"{name.removesuffix('_ms')} {taken:.1f}"
        for name, taken in (result.get("timings") or {}).items()
    ]
    timings = tag("p", f"Milliseconds: {', '.join(steps)}", class_="dim") if steps else None
    return panel("Is there an answer?", tag("p", head), tag("ul", rows, class_="bars"), timings)


def _form(request: Request) -> Html:
    """The question, and below a fold what narrows it."""
    text = tag(
        "input",
        type="search",
        name="q",
        value=request.asked("q") or "",
        aria_label="Question or words",
        placeholder="who mended the kettle?",
        autofocus=request.asked("q") is None,
    )
    origins = (*ORIGINS, UNKNOWN)
    fields = [
        choice_of(request, "mode", MODES),
        *(field_of(request, name) for name in ("who", "where")),
        choice_of(request, "layer", ("", *LAYERS)),
        *(field_of(request, name) for name in ("namespace", "agent")),
        choice_of(request, "origin", ("", *origins)),
        *(field_of(request, name) for name in ("after", "before", "as_of")),
    ]
    narrowed = any(request.asked(name) for name in ASKED[1:])
    more = tag(
        "details", tag("summary", "Narrow it"), tag("div", fields, class_="fields"), open=narrowed
    )
    line = tag("div", text, tag("button", "Search"), class_="line")
    return tag("form", line, more, action="search", method="get", role="search", class_="ask")


def field_of(request: Request, name: str) -> Html:
    """A line of text with its name above."""
    line = tag("input", type="text", name=name, value=request.asked(name) or "")
    return tag("label", name.replace("_", " "), line)


def choice_of(request: Request, name: str, choices: tuple[str, ...]) -> Html:
    """A choice with its name above; an empty one is "any"."""
    asked = request.asked(name) or ""
    options = [tag("option", c or "any", value=c, selected=c == asked) for c in choices]
    return tag("label", name, tag("select", options, name=name))
