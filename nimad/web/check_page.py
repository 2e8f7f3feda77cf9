"""What doctor and audit find, each with what mends it; nothing is changed from here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from nimad.client.client import Client
from nimad.errors import NimadError
from nimad.human import count, took
from nimad.web.exchange import Page, Request, link_to
from nimad.web.html import Child, Html, tag
from nimad.web.layout import empty, facts, note, panel

SHOWN_IDS = 20
"""Number of ids that a finding names [ids]."""
KINDS = {"error": "bad", "warning": "warn", "note": ""}


def show_checks(request: Request, daemon: Client) -> Page:
    """Both, once they are asked for: they read everything."""
    asked = request.asked("run")
    doctor = panel(
        "Doctor",
        tag("p", "Reads every file whole and walks every rule between the parts.", class_="dim"),
        _problems(daemon) if asked == "doctor" else _run("doctor", "Check everything"),
    )
    audit = panel(
        "Audit",
        tag(
            "p",
            "Looks for memories that are not worth keeping: duplicates, junk, what has no"
            " date, what contradicts itself.",
            class_="dim",
        ),
        _findings(daemon) if asked == "audit" else _run("audit", "Look for them"),
    )
    return Page("Checks", [doctor, audit], at="checks")


def _run(what: str, label: str) -> Html:
    return tag("p", tag("a", label, href=link_to("checks", run=what), class_="button"))


def _problems(daemon: Client) -> list[Child]:
    try:
        found = daemon.call("doctor")
    except NimadError as error:
        return [note(error.sentences, "bad")]
    looked = ", ".join(f"{count(number)} {name}" for name, number in found["checked"].items())
    told = [
        tag(
            "div",
            note([tag("b", f"{one['part']}: "), one["what"]], KINDS.get(one["severity"], "bad")),
            tag("p", "Fix: ", one["fix"]),
        )
        for one in found["problems"]
    ]
    well = [] if told else [note("All is well.", "good")]
    return [*told, *well, tag("p", f"{looked} in {took(found['took_ms'])}", class_="dim")]


def _findings(daemon: Client) -> list[Child]:
    try:
        found = daemon.call("audit")
    except NimadError as error:
        if error.code == "unknown_method":
            return [empty("This nimad knows no audit: it is of an earlier version.")]
        return [note(error.sentences, "bad")]
    told = [_finding(one) for one in found["findings"]]
    rows: dict[str, Child] = {
        kind.replace("_", " "): count(number) for kind, number in found["counts"].items() if number
    }
    looked = f"{count(found['looked'], 'memory')} in {took(found['took_ms'])}"
    return [
        facts(rows) if told else note("Nothing was found.", "good"),
        told,
        tag("p", looked, class_="dim"),
    ]


def _finding(found: Mapping[str, Any]) -> Html:
    ids = found["ids"]
    links = [[tag("a", number, href=f"memory/{number}"), " "] for number in ids[:SHOWN_IDS]]
    more = f"and {count(len(ids) - SHOWN_IDS)} more" if len(ids) > SHOWN_IDS else None
    command = found.get("command")
    ask = None
    if named := re.fullmatch(r"nimactl forget((?: \d{1,19}){1,100})", command or ""):
        to = f"forget?{urlencode([('id', number) for number in named[1].split()])}"
        ask = tag("a", "Look at them and forget …", href=to, class_="button danger")
    return tag(
        "article",
        tag(
            "header",
            tag("span", found["kind"].replace("_", " "), class_="mark"),
            f"{count(len(ids), 'memory')}",
        ),
        tag("p", tag("bdi", found["what"])),
        tag("p", links, more, class_="dim") if ids else None,
        tag("details", tag("summary", "Command"), tag("pre", command)) if command else None,
        tag("p", ask) if ask else None,
        class_="memory",
    )
