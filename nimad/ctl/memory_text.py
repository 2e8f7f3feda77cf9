"""Memories as text: results of a query, neighbours in the graph, one memory whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from nimad.ctl.human import ago, date
from nimad.ctl.screen import BOLD, DIM, YELLOW, Screen
from nimad.ctl.terminal_text import columns, one_line, safe, wrap

MOST_LINES = 8
"""Number of lines of one memory's text in a list on a terminal [lines]."""
LABEL = 14
"""Width of the field names in `whole` [columns]."""


def results(screen: Screen, found: Sequence[dict[str, Any]]) -> None:
    """The answers to a query, best first, each with its id and score."""
    if not found:
        screen.line("Nothing relevant was found.")
        return
    margin = _margin(found)
    for place, memory in enumerate(found):
        if place:
            screen.line()
        score = screen.style(f"score {memory['score']:.2f}", DIM)
        _heading(screen, memory, margin, [score])
        _body(screen, memory, margin)
        if parts := memory.get("parts"):
            shown = "  ".join(f"{one_line(name)} {value:.3f}" for name, value in parts.items())
            for line in wrap(shown, _room(screen, margin)):
                screen.line(" " * margin + screen.style(line, DIM))


def timings(screen: Screen, reply: dict[str, Any]) -> None:
    """What the daemon spent its time on, where the reply tells."""
    if spent := reply.get("timings"):
        steps = "  ".join(f"{one_line(n.removesuffix('_ms'))} {ms:.2f}" for n, ms in spent.items())
        screen.line()
        screen.line(screen.style(f"{reply['took_ms']:.2f} ms: {steps}", DIM))


def prompt(screen: Screen, found: Sequence[dict[str, Any]]) -> None:
    """The answers as text for a prompt: a block for each, a line for each memory, no decoration."""
    from nimad.prompt import line

    if not found:
        screen.note("nothing relevant was found.")
    for place, result in enumerate(found):
        if place:
            screen.line()
        for memory in result["context"]["memories"] if "context" in result else [result]:
            parts = (memory["text"], memory["who"], memory["layer"], memory["timestamp"])
            screen.line(safe(line(*parts)))


def neighbours(screen: Screen, found: Sequence[dict[str, Any]], origin: int) -> None:
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
        how = screen.style(", ".join(_way(one) for one in reached), BOLD)
        distance = reached[0].get("distance", 1)
        about = [screen.style(f"{distance} steps away", DIM)] if distance > 1 else []
        _heading(screen, reached[0], margin, about, how)
        _body(screen, reached[0], margin)


def _way(reached: dict[str, Any]) -> str:
    """`-> responded_to 0.8`: one relation that leads to a memory, with its weight."""
    arrow = "<-" if reached["direction"] == "in" else "->"
    weight = reached.get("weight")
    shown = f"{arrow} {one_line(str(reached['relation']))}"
    return shown if weight in (None, 1.0) else f"{shown} {weight:.2f}"


def whole(screen: Screen, memory: dict[str, Any]) -> None:
    """One memory with everything that is known about it."""
    margin = _margin([memory])
    _heading(screen, memory, margin, [])
    screen.line()
    screen.paragraph(memory["text"], " " * margin)
    screen.line()
    for name, value in _fields(memory):
        label = one_line(name)
        padding = " " * max(LABEL - columns(label), 1)
        first, *rest = wrap(safe(value), _room(screen, LABEL))
        screen.line(f"{screen.style(label, DIM)}{padding}{first}".rstrip())
        for line in rest:
            screen.line(f"{' ' * LABEL}{line}".rstrip())


def evidence(screen: Screen, found: dict[str, Any] | None) -> None:
    """What decided whether anything is shown, as --explain tells it."""
    if found:
        about = ", which names a stranger" if found["strange"] else ""
        floor = f"the floor of this question{about} is {found['least']:.2f}"
        screen.note(f"evidence {found['met']:.2f}; {floor}")


def cut(screen: Screen, result: dict[str, Any]) -> None:
    """Say that the last results did not fit in the reply."""
    if result.get("cut"):
        screen.note("not all results fit in one answer; fewer (-k) show the rest of each.")


def degraded(screen: Screen, parts: Sequence[str]) -> None:
    """Say that some parts could not help with the answer."""
    if parts:
        named = " and ".join(one_line(part) for part in parts)
        screen.note(f"answered without {named}. `nimactl doctor` tells why.")


# --- pieces ---------------------------------------------------------------------------------------


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


HEADING = frozenset({"text", "who", "where", "layer", "tags"})
"""Fields that are shown elsewhere than in the list of `whole`."""


def _fields(memory: dict[str, Any]) -> list[tuple[str, str]]:
    """Every field that says something, but those of the heading; moments first, `extra` last."""
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
    return found
