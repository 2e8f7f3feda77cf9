"""The commands about what memories say together: narrative, goal, person, connect, step, dream."""

from __future__ import annotations

import argparse
from typing import Any

from nimad.ctl.arguments import (
    DATES,
    Commands,
    add_command,
    add_filters,
    add_time_zone,
    fraction,
    keep_to_actions,
    memory_id,
    number,
    scope,
    seconds,
    suggestion_number,
    text_of,
)
from nimad.ctl.client import Client
from nimad.ctl.screen import BOLD, DIM, Screen
from nimad.ctl.terminal_text import cut, one_line
from nimad.ctl.under_way import shown_under_way
from nimad.errors import UsageError
from nimad.human import count, date
from nimad.limits import MAX_BUDGET
from nimad.times import name_to_hand_over

AFFECTS = ("SEEKING", "RAGE", "FEAR", "LUST", "CARE", "PANIC", "PLAY")
SHOWN = 100
"""Length of a memory's text in a list [characters]."""


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    narrative = add_command(
        commands,
        "narrative",
        run_narrative,
        "tell what the memories say: of a day, of a person, or of all",
        "Sentences are quoted from memories, or count them, and end in the ids that they rest on.",
        DATES,
    )
    narrative.add_argument("--day", metavar="DAY", help="only of this day (or month, or year)")
    narrative.add_argument("--who", metavar="WHO", help="what this person said, of themselves too")
    narrative.add_argument("--since", metavar="DATE", help="only since then")
    narrative.add_argument(
        "--budget",
        metavar="N",
        type=number(1, MAX_BUDGET),
        help="most tokens to print; default 600",
    )
    add_filters(narrative)
    add_time_zone(narrative)
    _register_goal(commands)
    _register_dream(commands)
    _register_person_and_connect(commands)
    step = add_command(
        commands,
        "step",
        run_step,
        "show the memories that deserve attention now, one a step",
        "By importance, recency, novelty, open goals and tone; parts of the score are shown."
        " A memory that won lately does not win again while there are others.",
    )
    step.add_argument("-n", metavar="N", type=number(1, 50), help="steps; default 1")
    step.add_argument(
        "--affect",
        metavar="AFFECT",
        action="append",
        type=str.upper,
        choices=AFFECTS,
        help=f"what shifts the weights: {', '.join(AFFECTS).lower()}; may be repeated",
    )
    step.add_argument("--namespace", metavar="NAME", help="only what belongs to this namespace")
    step.add_argument(
        "--dry-run",
        action="store_true",
        help="do not note that they won: the next step is the same",
    )


def _register_dream(commands: Commands) -> None:
    dream = add_command(
        commands,
        "dream",
        run_dream,
        "look for memories that should be one, or be linked, and suggest it",
        "`dream` looks at what was not looked at yet, `dream list` shows what is suggested,"
        " `dream accept N` does it, `dream reject N` never suggests it again. Nothing is merged,"
        " linked or forgotten before it is accepted. Of a duplicate the newer one is forgotten.",
    )
    dream.add_argument(
        "do", choices=("list", "accept", "reject"), nargs="?", help="what to do; default: dream"
    )
    dream.add_argument(
        "number", metavar="N", nargs="*", type=suggestion_number, help="numbers of suggestions"
    )
    dream.add_argument("--dry-run", action="store_true", help="only tell what would be suggested")
    dream.add_argument("--seconds", metavar="S", type=seconds, help="how long to look; default 10")
    dream.add_argument(
        "-k", metavar="N", type=number(1, 100), help="with list: most suggestions; default 20"
    )
    dream.add_argument("--namespace", metavar="NAME", help="with list: only of this namespace")


def _register_person_and_connect(commands: Commands) -> None:
    person = add_command(
        commands,
        "person",
        run_person,
        "tell what is known of a person, from what that person said",
        "When they were heard, topics, tone, what they announced, quotations, and which memories of"
        " others name them. Whether they kept their word is not known here.",
    )
    person.add_argument("name", metavar="NAME", nargs="+", help="as in `who`, whatever its case")
    add_filters(person)
    add_time_zone(person)
    connect = add_command(
        commands,
        "connect",
        run_connect,
        "tell what connects two memories",
        "The shortest way over relations and turns, what both share, how near they are in meaning."
        " Nothing may be known.",
    )
    connect.add_argument("id", metavar="ID", type=memory_id, help="one memory")
    connect.add_argument("other", metavar="ID", type=memory_id, help="the other one")
    add_time_zone(connect)


def _register_goal(commands: Commands) -> None:
    goal = add_command(
        commands,
        "goal",
        run_goal,
        "set goals, and see how far they are",
        "`goal add TEXT` remembers a goal, `goal list` shows the open ones, `goal show ID` also"
        " what was remembered since that is near to it, `goal done ID` closes it: nothing is ever"
        " done by itself. A goal is a memory: `nimactl forget ID` forgets it.",
        DATES,
    )
    goal.add_argument("do", choices=("add", "list", "show", "done"), help="what to do")
    goal.add_argument("rest", metavar="TEXT|ID", nargs="*", help="the goal, in words, or its id")
    goal.add_argument(
        "--priority", metavar="X", type=fraction, help="with add: from 0 to 1; default 0.8"
    )
    goal.add_argument(
        "--due", metavar="DATE", help="with add: until when; a date ahead, or tomorrow"
    )
    goal.add_argument("--who", metavar="WHO", help="with add: whose goal it is")
    goal.add_argument(
        "--namespace", metavar="NAME", help="with add: its namespace; with list: only of this one"
    )
    goal.add_argument(
        "--by", metavar="ID", type=memory_id, help="with done: the memory that tells that it is"
    )
    goal.add_argument("--all", action="store_true", help="with list: those that are done, too")
    add_time_zone(goal)


def run_narrative(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl narrative`."""
    result = client.call(
        "narrative",
        day=args.day,
        who=args.who,
        since=args.since,
        budget=args.budget,
        **scope(args),
        time_zone=name_to_hand_over(),
    )
    return show_lines(screen, result)


def run_person(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl person`."""
    result = client.call(
        "person",
        name=text_of(args.name),
        **scope(args),
        time_zone=name_to_hand_over(),
    )
    return show_lines(screen, result)


def run_connect(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl connect`."""
    result = client.call("connect", id=args.id, other=args.other, time_zone=name_to_hand_over())
    return show_lines(screen, result)


def run_step(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl step`."""
    dry_run = args.dry_run or None
    result = client.call(
        "step", n=args.n, affect=args.affect, namespace=args.namespace, dry_run=dry_run
    )
    if screen.json:
        return screen.result(result)
    for each in result["results"]:
        parts = "  ".join(f"{one_line(name)} {value:.2f}" for name, value in each["parts"].items())
        who = f"{one_line(each['who'])}: " if each.get("who") else ""
        screen.line(f"{who}{cut(each['text'], SHOWN)} [{each['id']}]")
        screen.line("  " + screen.style(f"score {each['score']:.2f}  {parts}", DIM))
    if not result["results"]:
        screen.line("Nothing asks for attention.")
    return 0


def run_dream(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl dream`."""
    keep_to_actions(args, {"dry_run": None, "seconds": None, "k": "list", "namespace": "list"})
    if args.do in ("accept", "reject"):
        if not args.number:
            raise UsageError(detail=f"dream {args.do} needs the number of a suggestion.")
        done = [client.call(f"dream.{args.do}", id=number) for number in args.number]
        return screen.answer({"results": done}, *(_settled(args.do, each) for each in done))
    if args.number:
        raise UsageError(detail="only dream accept and dream reject take numbers.")
    if args.do == "list":
        result = client.call("dream.list", k=args.k, namespace=args.namespace)
    else:
        with shown_under_way(args, screen, "dream"):
            result = client.call("dream", seconds=args.seconds, dry_run=args.dry_run or None)
    if screen.json:
        return screen.result(result)
    for pair in result["results"]:
        name = screen.style(f"{pair['id']}  " if pair["id"] else "", BOLD)
        screen.line(f"{name}{one_line(pair['kind'])}  {pair['score']:.2f}")
        for memory in pair["memories"]:
            who = f"{one_line(memory['who'])}: " if memory.get("who") else ""
            screen.line(f"    {who}{cut(memory['text'], SHOWN)} [{memory['id']}]")
    if args.do == "list":
        if not result["results"]:
            screen.line("Nothing is suggested.")
    else:
        looked = f"looked at {count(result['looked'], 'memory')}, {result['left']:,} left"
        screen.note(f"{looked}; {count(result['new'], 'new suggestion')}.")
    return 0


def _settled(do: str, pair: dict[str, Any]) -> str:
    """What became of a suggestion, in a line."""
    both = f"{pair['first']} and {pair['second']}"
    if do == "reject":
        return f"{both} are not suggested again"
    if pair["forgotten"]:
        return f"forgot {pair['second']}, kept {pair['first']}"
    return f"{pair['second']} {one_line(pair['relation'])} {pair['first']}"


def show_lines(screen: Screen, result: dict[str, Any]) -> int:
    """The lines of a reflection, each with its ids."""
    if screen.json:
        return screen.result(result)
    for line in result["lines"]:
        ids = screen.style(f"[{' '.join(str(number) for number in line['ids'])}]", DIM)
        text = one_line(str(line["text"]))
        if line["kind"] == "quote":
            who = one_line(str(line.get("who") or ""))
            when = date(line["timestamp"]) if line.get("timestamp") else ""
            head = ", ".join(part for part in (when, who) if part)
            text = f'  {head}{": " if head else ""}"{text}"'
        elif line["kind"] == "promise":
            text = f'Announced: "{text}"'
        elif line["kind"] == "goal":
            due = f" until {date(line['due'])}" if line.get("due") else ""
            text = f'Open{due}: "{text}"'
        elif line["kind"] == "theme":
            text = screen.style(text, BOLD)
        screen.line(f"{text} {ids}" if line["ids"] else text)
    if parts := result.get("degraded"):
        screen.note(f"answered without {' and '.join(map(one_line, parts))}.")
    return 0


def run_goal(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl goal`."""
    keep_to_actions(
        args,
        dict.fromkeys(("priority", "due", "who"), "add") | {"by": "done", "all": "list"},
    )
    if args.namespace is not None and args.do not in ("add", "list"):
        told = f"`nimactl goal add` and `nimactl goal list`, not with `goal {args.do}`"
        raise UsageError(detail=f"--namespace means something only with {told}.")
    if args.do == "add":
        result = client.call(
            "goal.add",
            text=text_of(args.rest),
            priority=args.priority,
            due=args.due,
            who=args.who,
            namespace=args.namespace,
            time_zone=name_to_hand_over(),
        )
        return screen.answer(result, f"goal {result['id']}")
    if args.do == "list":
        if args.rest:
            raise UsageError(detail="goal list takes no text and no id.")
        result = client.call(
            "goal.list", state="all" if args.all else None, namespace=args.namespace
        )
        if screen.json:
            return screen.result(result)
        for goal in result["results"]:
            _show_goal(screen, goal)
        if not result["results"]:
            screen.line("There is no goal.")
        return 0
    if len(args.rest) != 1:
        raise UsageError(detail=f"goal {args.do} needs the id of a goal.")
    try:
        ident = memory_id(args.rest[0])
    except argparse.ArgumentTypeError as error:
        raise UsageError(detail=str(error)) from None
    result = client.call(f"goal.{args.do}", id=ident, by=args.by if args.do == "done" else None)
    if screen.json:
        return screen.result(result)
    _show_goal(screen, result["memory"])
    for near in result.get("results", ()):
        figure = screen.style(f"cosine {near['score']:.2f}", DIM)
        screen.line(f"  {cut(near['text'], SHOWN)}  {figure}  [{near['id']}]")
    if args.do == "show" and not result["results"]:
        screen.line("  Nothing that was remembered since is near to it.")
    return 0


def _show_goal(screen: Screen, goal: dict[str, Any]) -> None:
    """`17  open, priority 0.8, until 2026-12-01 00:00  Find a school.`"""
    known = [one_line(str(goal["state"])), f"priority {goal['priority']:g}"]
    if goal.get("due"):
        known.append(f"until {date(goal['due'])}")
    if goal.get("by"):
        known.append(f"by {goal['by']}")
    ident = screen.style(str(goal["id"]), BOLD)
    screen.line(f"{ident}  {cut(goal['text'], SHOWN)}  {screen.style(', '.join(known), DIM)}")
