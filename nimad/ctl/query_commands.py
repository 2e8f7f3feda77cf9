"""The commands that ask: query, get, similar, related."""

from __future__ import annotations

import argparse
import json

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
from nimad.ctl.memories_text import show_memory, show_neighbours, show_notes, show_results
from nimad.ctl.screen import DIM, Screen
from nimad.ctl.terminal_text import one_line, safe
from nimad.limits import MAX_BUDGET, MAX_DEPTH, MAX_RESULTS
from nimad.times import name_to_hand_over

MODES = ("hybrid", "meaning", "words")


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
        "--fleet",
        action="store_true",
        help="ask the hub of the fleet, too, for what is not on this board; waits 2 s at most",
    )
    query.add_argument(
        "--explain",
        action="store_true",
        help="show the parts of each score, and the time of each step",
    )


def run_query(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl query`."""
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
        after=first_moment(args.after, "--after", args.as_of),
        before=first_moment(args.before, "--before", args.as_of),
        as_of=last_moment(args.as_of, "--as-of"),
        context=args.context or None,
        budget=args.budget,
        strictness=args.strictness,
        goal=args.goal,
        explain=args.explain or None,
        fleet=args.fleet or None,
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
        for one in result["results"]:
            one["id"] = one["id"] or one["source"]["name"]  # on the hub alone
        show_results(screen, result["results"])
        if spent := result.get("timings"):
            steps = (f"{one_line(n.removesuffix('_ms'))} {ms:.2f}" for n, ms in spent.items())
            screen.line()
            screen.line(screen.style(f"{result['took_ms']:.2f} ms: {'  '.join(steps)}", DIM))
    if why := (result.get("fleet") or {}).get("why"):
        screen.note(f"this board alone has answered. {one_line(why)}")
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
