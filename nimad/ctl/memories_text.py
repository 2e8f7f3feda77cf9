"""Memories as people read them: results of a query, what is connected, one memory whole."""

from __future__ import annotations

from nimad.ctl.screen import BOLD, DIM, YELLOW, Screen
from nimad.ctl.terminal_text import columns, one_line, safe, wrap
from nimad.human import ago, date

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

MOST_LINES = 8
"""Number of lines of one memory's text in a list on a terminal [lines]."""
LABEL = 14
"""Width of the field names in `show_memory` [columns]."""
HEADING = frozenset({"text", "who", "where", "layer", "tags"})
"""Fields that are shown elsewhere than in the list of `show_memory`."""


def show_results(screen: Screen, found: Sequence[dict[str, Any]]) -> None:
    """The answers to a query, best first, each with its id and score."""
    if not found:
        screen.line("Nothing relevant was found.")
        return
    margin = _margin(found)
    for place, memory in enumerate(found):
        if place:
            screen.line()
        copies = f"  {memory['copies']} copies" if "copies" in memory else ""
        score = screen.style(f"score {memory['score']:.2f}{copies}", DIM)
        _heading(screen, memory, margin, [score])
        _body(screen, memory, margin)
        if parts := memory.get("parts"):
            shown = "  ".join(f"{one_line(name)} {value:.3f}" for name, value in parts.items())
            for line in wrap(shown, _room(screen, margin)):
                screen.line(" " * margin + screen.style(line, DIM))


def show_neighbours(screen: Screen, found: Sequence[dict[str, Any]], origin: int) -> None:
    """What the graph reached from a memory; `->` leads away from it, `<-` to it."""
    if not found:
        screen.line(f"Nothing is connected with {origin}.")
        return
    margin = _margin(found)
    ways: dict[int, list[dict[str, Any]]] = {}
    for memory in found:
        ways.setdefault(memory["id"], []).append(memory)
    for place, reached in enumerate(ways.values()):
        if place:
            screen.line()
        said = []
        for one in reached:  # `-> responded_to 0.8`: a relation that leads to it, with its weight
            arrow = "<-" if one["direction"] == "in" else "->"
            weight = "" if one.get("weight") in (None, 1.0) else f" {one['weight']:.2f}"
            said.append(f"{arrow} {one_line(str(one['relation']))}{weight}")
        how = screen.style(", ".join(said), BOLD)
        distance = reached[0].get("distance", 1)
        about = [screen.style(f"{distance} steps away", DIM)] if distance > 1 else []
        _heading(screen, reached[0], margin, about, how)
        _body(screen, reached[0], margin)


def show_memory(screen: Screen, memory: dict[str, Any]) -> None:
    """One memory with everything that is known about it."""
    margin = _margin([memory])
    _heading(screen, memory, margin, [])
    screen.line()
    screen.paragraph(memory["text"], " " * margin)
    screen.line()
    import json

    from nimad.model import FIELDS  # here, because a list of results does not need it

    order = sorted(FIELDS.items(), key=lambda item: (item[1].kind != "moment", item[0] == "extra"))
    found: list[tuple[str, str]] = []
    for name, field in order:
        value = memory.get(name)
        if name in HEADING or not (value or (value is not None and field.kind == "share")):
            continue
        label = name.replace("_", " ")
        if field.kind == "moment":
            found.append((label, f"{date(value)} ({ago(value)})"))
        elif field.kind == "share":
            found.append((label, f"{value:g}"))
        elif field.kind == "source":
            found.append((label, f"{value['name']}, row {value['id']}"))
        elif field.kind == "json":
            found += [
                (each, inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False))
                for each, inner in value.items()
            ]
        elif field.kind != "blobs":
            found.append((label, str(value)))
    for title, shown in found:
        label = one_line(title)
        padding = " " * max(LABEL - columns(label), 1)
        first, *rest = wrap(safe(shown), _room(screen, LABEL))
        screen.line(f"{screen.style(label, DIM)}{padding}{first}".rstrip())
        for line in rest:
            screen.line(f"{' ' * LABEL}{line}".rstrip())


def show_notes(screen: Screen, result: dict[str, Any]) -> int:
    """What did not fit in the reply, what decided what is shown, and which parts could not help."""
    if result.get("cut"):
        screen.note("not all results fit in one answer; fewer (-k) show the rest of each.")
    if found := result.get("evidence"):
        about = ", none of its names is known" if found["strange"] else ""
        shares = (f"{one_line(name)} {value:+.2f}" for name, value in found["parts"].items())
        met = f"evidence {found['met']:.2f} of {found['least']:.2f}{about}"
        screen.note(f"{met}: {', '.join(shares)}")
    if parts := result.get("degraded"):
        named = " and ".join(one_line(part) for part in parts)
        screen.note(f"answered without {named}. `nimactl doctor` tells why.")
    for note in result.get("notes", []):
        screen.note(f"{one_line(note)}.")
    return 0


def _margin(found: Sequence[dict[str, Any]]) -> int:
    return max(len(str(memory["id"])) for memory in found) + 2


def _room(screen: Screen, margin: int) -> int | None:
    """Columns for text beside a margin; None when nothing is wrapped."""
    return None if screen.width is None else max(screen.width - margin, 20)


def _heading(
    screen: Screen, memory: dict[str, Any], margin: int, more: list[str], lead: str = ""
) -> None:
    """`17  Maya, 3 months ago, input` and whatever more there is."""
    ident = screen.style(str(memory["id"]).rjust(margin - 2), BOLD)
    who = memory.get("who")
    known = [one_line(who)] if who else []
    when = memory.get("timestamp")
    known.append(ago(when) if when else "undated")
    known.append(one_line(memory["layer"]))
    if memory.get("where"):
        known.append(f"at {one_line(memory['where'])}")
    if memory.get("namespace", "default") != "default":
        known.append(f"in {one_line(memory['namespace'])}")
    if memory.get("origin") == "untrusted":
        known.append("untrusted")
    if memory.get("damaged"):
        known.append("damaged (`nimactl doctor` tells what to do)")
    known += [f"#{one_line(tag)}" for tag in memory.get("tags") or ()]
    screen.line("  ".join([ident, *([lead] if lead else []), ", ".join(known), *more]))


def _body(screen: Screen, memory: dict[str, Any], margin: int) -> None:
    """The text below its heading, cut short on a terminal."""
    text = safe(memory["text"])
    lines = wrap(text, _room(screen, margin)) if text.strip() else [screen.style("(no text)", DIM)]
    for line in lines[:MOST_LINES] if screen.terminal else lines:
        screen.line(f"{' ' * margin}{line}".rstrip())
    if screen.terminal and len(lines) > MOST_LINES:
        rest = f"... {len(lines) - MOST_LINES} more lines: nimactl get {memory['id']}"
        screen.line(" " * margin + screen.style(rest, YELLOW))
