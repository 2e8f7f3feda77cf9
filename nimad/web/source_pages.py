"""The stores that were taken over: how far each is, what was left out, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nimad.client.client import Client
from nimad.human import clock, count, share
from nimad.model import COUNTED_STAGES, STATES_AT_REST, State, progress_of
from nimad.web.charts import bar
from nimad.web.exchange import Page, Request, Response
from nimad.web.html import Child, Html, tag
from nimad.web.layout import bar_row, empty, facts, follow_link, follows, moment, note, panel

KINDS = {State.VERIFIED: "good", State.FAILED: "bad", State.PAUSED: "warn"}
COMPARABLE = frozenset({"nima-sqlite", "nima-files"})
"""Kinds of sources of which a backup is kept: their rows can be compared again."""
COMPARED = ("expected", "found", "identical", "differing", "missing", "added")


def show_sources(request: Request, daemon: Client) -> Page:
    """Every source, those under way first."""
    status = daemon.call("migrate.status")
    sources = sorted(status["sources"], key=lambda one: one["state"] in STATES_AT_REST)
    moving = [one for one in sources if one["state"] not in STATES_AT_REST]
    content: list[Child] = []
    if moving and status.get("because"):
        content.append(note(f"Waits for a quiet moment: {status['because']}.", "warn"))
    content += [_source(request, one) for one in sources]
    if not sources:
        hint = tag("code", "nimactl migrate PATH")
        content.append(empty("Nothing was taken over yet.", hint, " does so."))
    return Page("Sources", [follow_link(request), *content], at="sources", refresh=follows(request))


def _source(request: Request, source: Mapping[str, Any]) -> Html:
    state, total = source["state"], source["total"]
    name = state.replace("_", " ")
    fraction = progress_of(source)
    head = tag(
        "p",
        tag("span", name, class_=f"mark {KINDS.get(state, '')}"),
        tag("bdi", source["path"], class_="path"),
        class_="about",
    )
    if state == State.ROLLED_BACK:
        return panel(source["name"], head)
    stages = [
        bar_row(stage, source[stage], total, f"{count(source[stage])} of {count(total)}")
        for stage in COUNTED_STAGES
    ]
    left = source.get("eta_seconds")
    speed = source.get("rows_per_second")
    rows: dict[str, Child] = {
        "memories": count(total),
        "relations": count(source["relations"]),
        "turns": count(source["turns"]),
        "kind": source["kind"],
        "strategy": source.get("strategy") if source["kind"] in COMPARABLE else None,
        "speed": f"{speed:,.0f} rows a second" if speed else None,
        "left": clock(left) if left and state not in STATES_AT_REST else None,
        "finished": moment(source["finished"], long=True) if source.get("finished") else None,
        "forgotten here": count(source["forgotten"]) if source.get("forgotten") else None,
        "changed there": count(source["changed"]) if source.get("changed") else None,
    }
    progress = (
        tag("p", f"{share(fraction, 1)} done", class_="dim"),
        tag("div", bar(fraction, f"{share(fraction, 1)} done"), class_="whole"),
        tag("ul", stages, class_="bars"),
    )
    return panel(
        source["name"],
        head,
        note(source["error"], "bad") if source.get("error") else None,
        None if state == State.VERIFIED else progress,
        facts(rows),
        _quarantine(source),
        _actions(request, source),
    )


def _quarantine(source: Mapping[str, Any]) -> Html | None:
    if not (number := source["quarantined"]):
        return None
    rows = [
        tag("li", f"{row['kind']} {row['key']}: ", tag("bdi", row["reason"]))
        for row in source.get("quarantine") or ()
    ]
    title = tag("summary", f"{count(number, 'row')} not taken over, or not whole")
    return tag("details", title, tag("ul", rows), open=True)


def _actions(request: Request, source: Mapping[str, Any]) -> Html:
    state, path = source["state"], f"sources/{source['name']}"
    buttons: list[Html] = []
    if state not in STATES_AT_REST:
        buttons += [_button(request, path, "now"), _button(request, path, "pause")]
    if state in (State.PAUSED, State.FAILED):
        buttons.append(_button(request, path, "resume"))
    if state in (State.VERIFIED, State.LAZY) and source["kind"] in COMPARABLE:
        buttons.append(_button(request, path, "verify"))
    back = tag("a", "Roll back …", href=f"{path}/rollback", class_="button danger")
    return tag("div", buttons, back, class_="buttons")


def _button(request: Request, path: str, act: str) -> Html:
    labels = {"now": "Do not wait", "pause": "Pause", "resume": "Go on", "verify": "Compare again"}
    return request.form_to(f"{path}/{act}", tag("button", labels[act]))


def steer(act: str, request: Request, daemon: Client) -> Response:
    """Pause a source, go on with it, or let it wait for nothing; back to the list."""
    daemon.call(f"migrate.{act}", name=request.parts["name"])
    return Response(status=303, location="sources")


def verify(request: Request, daemon: Client) -> Page:
    """Compare every row with the source again; what was found."""
    name = request.parts["name"]
    found = daemon.call("migrate.verify", name=name)
    kinds = [kind for kind in ("memories", "relations", "turns", "hypervectors") if kind in found]
    head = tag("tr", tag("th", "rows", scope="col"), [tag("th", c, scope="col") for c in COMPARED])
    lines = [
        tag(
            "tr",
            tag("th", kind, scope="row"),
            [tag("td", count(found[kind].get(c, 0))) for c in COMPARED],
        )
        for kind in kinds
    ]
    verdict = ("Identical with its source.", "good") if found["ok"] else ("It differs.", "bad")
    table = tag("table", tag("thead", head), tag("tbody", lines))
    differences = [
        tag("li", f"{one['kind']} {one['id']}: {one['field']}: ", tag("bdi", one["detail"]))
        for one in found["differences"]
    ]
    content = [
        note(*verdict),
        tag("div", table, class_="wide", tabindex=0, role="region", aria_label="Comparison"),
        tag("ul", differences),
        _back(),
    ]
    return Page(f"{name} compared", content, at="sources")


def ask_to_roll_back(request: Request, daemon: Client) -> Page:
    """What would go, and the question whether it shall."""
    name = request.parts["name"]
    (source,) = daemon.call("migrate.status", name=name)["sources"]
    button = tag("button", "Roll back", class_="danger")
    keep = tag("a", "Keep it", href="sources", class_="button")
    content = [
        note(
            f"{count(source['copied'], 'memory')}, {count(source['relations'], 'relation')} and"
            f" {count(source['turns'], 'turn')} that came from there will be removed. The source"
            " itself is not touched, nor is what was remembered here.",
            "warn",
        ),
        request.form_to(f"sources/{name}/rollback", tag("div", button, keep, class_="buttons")),
    ]
    return Page(f"Roll back {name}?", content, at="sources")


def roll_back(request: Request, daemon: Client) -> Page:
    """Do it; what went."""
    name = request.parts["name"]
    removed = daemon.call("migrate.rollback", name=name)["removed"]
    rows: dict[str, Child] = {what: count(number) for what, number in removed.items()}
    content = [note(f"{name} is rolled back.", "good"), panel("Removed", facts(rows)), _back()]
    return Page("Rolled back", content, at="sources")


def _back() -> Html:
    return tag("p", tag("a", "Back to the sources", href="sources"))
