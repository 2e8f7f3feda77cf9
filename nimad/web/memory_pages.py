"""One memory with what is around it, and the way to forget it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nimad.client.client import Client
from nimad.errors import NimadError, UsageError
from nimad.human import count
from nimad.model import FIELDS
from nimad.web.charts import MAX_AROUND, Around, graph
from nimad.web.exchange import Page, Request, is_number, link_to
from nimad.web.html import Child, Html, tag
from nimad.web.layout import (
    answered_without,
    card,
    empty,
    facts,
    marks,
    moment,
    note,
    panel,
    score,
    who_of,
)

SIMILAR = 6
MAX_IDS = 500
"""Number of memories that are forgotten at once [memories]."""
SAME_TURN = "same_turn"
SHOWN_ELSEWHERE = frozenset({"text", "who", "timestamp", "blobs"})
LONGEST_VALUE = 4000
"""Length of a field's value on the page [characters]."""


def show_memory(request: Request, daemon: Client) -> Page:
    """One memory: its text, its fields, a drawing of what is around it, and lists of the same."""
    number = int(request.parts["id"])
    found = daemon.call("get", id=number, context=True)
    memory = found["memory"]
    related = daemon.call("related", id=number, limit=50)["results"]
    try:
        similar = daemon.call("similar", id=number, k=SIMILAR)
    except NimadError as error:  # meaning is out of service
        similar = {"results": [], "notes": [error.message]}
    head = tag(
        "p", who_of(memory), moment(memory["timestamp"], long=True), marks(memory), class_="about"
    )
    text = tag("div", memory["text"] or tag("i", "no text"), class_="text whole", dir="auto")
    cut = (
        note("Only the beginning of its long values is shown.", "warn") if "cut" in memory else None
    )
    ask = tag("a", "Forget it …", href=link_to("forget", id=number), class_="button danger")
    around = [
        tag("div", card(one), class_="here" if one["id"] == number else None)
        for one in found["results"]
    ]
    content: list[Child] = [
        tag("section", head, text, cut, tag("p", ask), class_="panel"),
        tag("div", _drawing(memory, related, similar["results"]), _fields(memory), class_="two"),
        # its turn and its neighbours in the session, in the order of time
        panel("What stood around it", around) if len(around) > 1 else None,
        _relations(related),
        panel(
            "Near in meaning",
            answered_without(similar),
            [card(one, lead=score(one, "cosine")) for one in similar["results"]]
            or empty("Nothing is near to it."),
        ),
    ]
    return Page(f"Memory {number}", content, at="search")


def _drawing(
    memory: Mapping[str, Any], related: Sequence[dict[str, Any]], similar: Sequence[dict[str, Any]]
) -> Html:
    around: dict[int, Around] = {}
    for one in related:
        kind = "turn" if one["relation"] == SAME_TURN else "relation"
        around.setdefault(one["id"], _around(one, kind, one["relation"].replace("_", " ")))
    for one in similar:
        around.setdefault(one["id"], _around(one, "near", f"near, cosine {one['score']:.2f}"))
    if not around:
        return panel("Around it", empty("Nothing is connected with it."))
    legend = tag("p", "Arrows are relations, dashes nearness in meaning.", class_="dim")
    more = len(around) - MAX_AROUND
    rest = tag("p", f"{count(more)} more are listed below.", class_="dim") if more > 0 else None
    drawn = graph(_around(memory, "", ""), list(around.values()))
    return panel("Around it", drawn, legend, rest)


def _around(one: Mapping[str, Any], kind: str, label: str) -> Around:
    incoming = one.get("direction") == "in"
    return Around(one["id"], kind, label, incoming, one["layer"], one["who"] or "")


def _fields(memory: Mapping[str, Any]) -> Html:
    """All else that is known of it."""
    rows: dict[str, Child] = {}
    for name, field in FIELDS.items():
        value = memory.get(name)
        if name in SHOWN_ELSEWHERE or value in (None, "", [], {}, 0):
            continue
        label = name.replace("_", " ")
        if field.kind == "moment":
            rows[label] = moment(value)
        elif field.kind == "source":
            link = tag("a", value["name"], href="sources")
            rows[label] = [link, f", row {value['id']}"]
        elif field.kind == "json":
            rows[label] = tag(
                "pre", json.dumps(value, ensure_ascii=False, indent=1)[:LONGEST_VALUE]
            )
        else:
            shown = ", ".join(value) if field.kind == "tags" else str(value)
            rows[label] = tag("bdi", shown[:LONGEST_VALUE])
    return panel("Fields", facts(rows))


def _relations(related: Sequence[dict[str, Any]]) -> Html | None:
    """Memories that relations connect with it."""
    edges = [one for one in related if one["relation"] != SAME_TURN]
    if not edges:
        return None
    shown = []
    for one in edges:
        arrow = "←" if one["direction"] == "in" else "→"
        weight = "" if one["weight"] in (None, 1.0) else f" {one['weight']:.2f}"
        lead = tag("bdi", f"{arrow} {one['relation']}{weight}", class_="score")
        shown.append(card(one, lead=lead))
    return panel("Relations", shown)


# --- forget ---------------------------------------------------------------------------------------


def ask_to_forget(request: Request, daemon: Client) -> Page:
    """What would go, and the question whether it shall."""
    ids = _ids(request.query.get("id", ()))
    receipt = daemon.call("forget", ids=ids, dry_run=True)
    there = receipt["forgotten"]
    shown = [daemon.call("get", id=number)["memory"] for number in there[:5]]
    hidden = [tag("input", type="hidden", name="id", value=number) for number in there]
    purge = tag(
        "label",
        tag("input", type="checkbox", name="purge", value="1"),
        tag(
            "span",
            "Purge: leave no trace of it in nimad's files. It takes longer, and reaches what was"
            " forgotten before, too.",
        ),
        class_="check",
    )
    buttons = tag(
        "p",
        tag("button", f"Forget {count(len(there), 'memory')}", class_="danger"),
        tag(
            "a",
            "Keep it" if len(there) == 1 else "Keep them",
            href=f"memory/{ids[0]}",
            class_="button",
        ),
        class_="buttons",
    )
    content: list[Child] = [
        _missing(receipt),
        [card(one) for one in shown],
        tag("p", f"and {count(len(there) - 5)} more", class_="dim") if len(there) > 5 else None,
        tag("p", "This cannot be undone."),
        request.form_to("forget", hidden, purge, buttons) if there else None,
    ]
    return Page("Forget?", content, at="search")


def forget(request: Request, daemon: Client) -> Page:
    """Do it; the receipt."""
    purge = request.sent("purge") == "1"
    receipt = daemon.call("forget", ids=_ids(request.form.get("id", ())), purge=purge)
    gone = receipt["forgotten"]
    rows: dict[str, Child] = {name: count(n) for name, n in receipt["removed"].items() if n}
    rows |= {"forgotten before": count(len(receipt["forgotten_before"])) or None} if purge else {}
    content: list[Child] = [
        note(f"{count(len(gone), 'memory')} forgotten.", "good"),
        _missing(receipt),
        note("No trace of it is left in nimad's files.", "good") if receipt["purged"] else None,
        [
            note(
                [tag("b", f"{step} is not finished. "), why, " It is tried again by itself."],
                "warn",
            )
            for step, why in receipt["unfinished"].items()
        ],
        [
            note(
                [
                    tag("bdi", backup.get("path", "a backup")),
                    " of ",
                    moment(backup["made"]),
                    " may still hold it: delete that yourself.",
                ],
                "warn",
            )
            for backup in receipt["backups"]
        ],
        [
            note([tag("bdi", path), " is not nimad's and may still hold it: move it away."], "warn")
            for path in receipt["strangers"]
        ],
        panel("Removed", facts(rows)),
        tag("p", tag("a", "Back to the feed", href="feed")),
    ]
    return Page("Forgotten", content, at="search")


def _missing(receipt: Mapping[str, Any]) -> Html | None:
    missing = receipt["missing"]
    return note(f"{count(len(missing), 'memory')} did not exist.", "warn") if missing else None


def _ids(given: Sequence[str]) -> list[int]:
    ids = [int(text) for text in given if is_number(text) and int(text) > 0]
    if not ids or len(ids) != len(given) or len(ids) > MAX_IDS:
        raise UsageError(detail=f"Forgetting needs the ids of 1 to {MAX_IDS} memories.")
    return list(dict.fromkeys(ids))
