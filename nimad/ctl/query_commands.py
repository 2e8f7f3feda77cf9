"""The commands that ask, and what they show: query, get, similar, related."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from nimad import prompt
from nimad.ctl.arguments import (
    DATES,
    Commands,
    Parser,
    add_command,
    add_filters,
    add_time_zone,
    first_moment,
    fraction,
    last_moment,
    memory_id,
    number,
    text_of,
)
from nimad.ctl.client import Client
from nimad.ctl.screen import BOLD, DIM, YELLOW, Screen
from nimad.ctl.terminal_text import columns, one_line, safe, wrap
from nimad.human import ago, date
from nimad.limits import MAX_BUDGET, MAX_DEPTH, MAX_RESULTS
from nimad.times import name_to_hand_over

MODES = ("hybrid", "meaning", "words")
MOST_LINES = 8
"""Number of lines of one memory's text in a list on a terminal [lines]."""
LABEL = 14
"""Width of the field names in `show_memory` [columns]."""
HEADING = frozenset({"text", "who", "where", "layer", "tags"})
"""Fields that are shown elsewhere than in the list of `show_memory`."""


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    _register_query(commands)
    get = add_command(commands, "get", run_get, "show one memory, whole")
    get.add_argument("id", metavar="ID", type=memory_id, help="its id, as `nimactl query` shows it")
    similar = add_command(
        commands,
        "similar",
        run_similar,
        "show the memories nearest in meaning to one",
        "The nearest come first, each with its cosine; the memory itself is left out.",
    )
    similar.add_argument("id", metavar="ID", type=memory_id, help="the memory to compare with")
    similar.add_argument(
        "--dense",
        action="store_true",
        help="compare the hypervectors of the legacy store instead of the meaning",
    )
    similar.add_argument(
        "-k", metavar="N", type=number(1, MAX_RESULTS), help="most memories to show"
    )
    related = add_command(
        commands,
        "related",
        run_related,
        "show the memories that relations and turns connect with one",
        "Relations are followed in both directions; the nearest come first.",
    )
    related.add_argument("id", metavar="ID", type=memory_id, help="the memory to start from")
    related.add_argument(
        "--depth",
        metavar="N",
        type=number(1, MAX_DEPTH),
        help="relations to follow one after the other",
    )
    related.add_argument(
        "-k", metavar="N", type=number(1, MAX_RESULTS), dest="limit", help="most memories to show"
    )


def _register_query(commands: Commands) -> None:
    query = add_command(
        commands,
        "query",
        run_query,
        "find the memories that answer a text",
        "The best come first. Where nothing is relevant nothing is shown, and the exit code is 0"
        " all the same.",
        DATES,
    )
    query.add_argument("text", metavar="TEXT", nargs="+", help="a question, or words")
    query.add_argument("-k", metavar="N", type=number(1, MAX_RESULTS), help="most results to show")
    query.add_argument(
        "--mode", choices=MODES, help="search by meaning, by words, or both (the default)"
    )
    query.add_argument("--who", metavar="WHO", help="only what this person said")
    query.add_argument("--where", metavar="PLACE", help="only what belongs to this place")
    query.add_argument(
        "--layer",
        metavar="LAYER",
        help="only this layer: input, contemplation, output, legacy_vsa or note",
    )
    add_filters(query)
    query.add_argument(
        "--tag", metavar="TAG", action="append", help="only with this tag; may be repeated (all)"
    )
    query.add_argument("--after", metavar="DATE", help="only from this moment on")
    query.add_argument("--before", metavar="DATE", help="only before this moment")
    query.add_argument(
        "--as-of",
        metavar="DATE",
        help="as it was then: only what had happened by the end of that day, month or moment;"
        " yesterday and the like count from there",
    )
    add_time_zone(query)
    _add_ways_of_showing(query)


def _add_ways_of_showing(query: Parser) -> None:
    query.add_argument(
        "--context",
        action="store_true",
        help="show each result with its turn and its neighbours in the session, for a prompt;"
        " nothing untrusted, unless --origin asks for it",
    )
    query.add_argument(
        "--budget",
        metavar="TOKENS",
        type=number(1, MAX_BUDGET),
        help="show the best that fits in about this number of tokens of a prompt; nothing"
        " untrusted, unless --origin asks for it",
    )
    query.add_argument(
        "--strictness",
        metavar="SHARE",
        type=fraction,
        help="how much of the question must be met before anything is shown: 0 shows what is"
        " nearest, 1 only a memory that is the question (recall.strictness, 0.5)",
    )
    query.add_argument(
        "--goal",
        metavar="ID",
        nargs="?",
        const=True,
        type=memory_id,
        help="with a goal in mind, or without ID all open ones: what is near gains; after TEXT",
    )
    query.add_argument(
        "--explain",
        action="store_true",
        help="show the parts of each score, and the time of each step",
    )


def run_query(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl query`."""
    as_of = last_moment(args.as_of, "--as-of")
    result = client.call(
        "query",
        text=text_of(args.text),
        k=args.k,
        mode=args.mode,
        who=args.who,
        where=args.where,
        layer=args.layer,
        namespace=args.namespace,
        agent=args.agent,
        origin=args.origin,
        tags=args.tag,
        after=first_moment(args.after, "--after", as_of),
        before=first_moment(args.before, "--before", as_of),
        as_of=as_of,
        context=args.context or None,
        budget=args.budget,
        strictness=args.strictness,
        goal=args.goal,
        explain=args.explain or None,
        time_zone=name_to_hand_over(),
    )
    if screen.json:
        return screen.result(result)
    if args.context or args.budget is not None:
        found = result["results"]
        if not found:
            screen.note("nothing relevant was found.")
        for place, one in enumerate(found):  # a block each, a line a memory, no decoration
            if place:
                screen.line()
            for memory in one["context"]["memories"] if "context" in one else [one]:
                parts = (memory["text"], memory["who"], memory["layer"], memory["timestamp"])
                screen.line(safe(prompt.line(*parts)))
    else:
        show_results(screen, result["results"])
        if spent := result.get("timings"):
            steps = (f"{one_line(n.removesuffix('_ms'))} {ms:.2f}" for n, ms in spent.items())
            screen.line()
            screen.line(screen.style(f"{result['took_ms']:.2f} ms: {'  '.join(steps)}", DIM))
    return show_notes(screen, result)


def run_get(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl get`."""
    result = client.call("get", id=args.id)
    if result["memory"].get("cut"):  # it is larger than a frame
        document, _ = client.call_in_pieces("get", id=args.id)
        result = {"memory": json.loads(document or "")}
    if screen.json:
        return screen.result(result)
    show_memory(screen, result["memory"])
    return 0


def run_similar(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl similar`."""
    result = client.call("similar", id=args.id, k=args.k, dense=args.dense or None)
    if screen.json:
        return screen.result(result)
    show_results(screen, result["results"])
    return show_notes(screen, result)


def run_related(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl related`."""
    result = client.call("related", id=args.id, depth=args.depth, limit=args.limit)
    if screen.json:
        return screen.result(result)
    show_neighbours(screen, result["results"], args.id)
    return show_notes(screen, result)


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
