"""The commands complete and phi, and what they show."""

from __future__ import annotations

import argparse

from nimad.ctl.arguments import (
    Commands,
    add_command,
    add_filters,
    add_time_zone,
    memory_id,
    number,
    scope,
    seconds,
)
from nimad.ctl.client import Client
from nimad.ctl.screen import BOLD, DIM, Screen
from nimad.ctl.terminal_text import cut, one_line
from nimad.ctl.under_way import shown_under_way
from nimad.errors import UsageError
from nimad.human import count
from nimad.limits import MAX_RESULTS
from nimad.times import name_to_hand_over

ROLES = ("who", "what", "where", "when", "context", "emotion", "theme")
MOST_CANDIDATES = 100
SHOWN = 60
"""Length of a filler or a text in a line [characters]."""
ABOUT = {
    "who": "who said or did it",
    "what": "words of what was said or done",
    "where": "the place",
    "when": "a day, a month, a year or a moment",
    "context": "words of what stood around it",
    "emotion": "words of how it felt",
    "theme": "words of what it belongs to",
}


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    complete = add_command(
        commands,
        "complete",
        run_complete,
        "tell what is missing of an episode: who, when, where, ...",
        "Memories that have what is known are bundled as hypervectors, and the role that is asked"
        " for is unbound. Each candidate is shown with its margin and the memories that support it;"
        " nothing is shown where none stands out.",
    )
    for role in ROLES:
        complete.add_argument(f"--{role}", metavar=role.upper(), help=f"known: {ABOUT[role]}")
    complete.add_argument("--ask", choices=ROLES, required=True, help="the role that is asked for")
    complete.add_argument(
        "-k", metavar="N", type=number(1, MOST_CANDIDATES), help="most candidates to show"
    )
    add_filters(complete)
    add_time_zone(complete)
    phi = add_command(
        commands,
        "phi",
        run_phi,
        "tell how well a memory's hypervector comes apart into its roles",
        "1 is a clean episode, near 0 is noise. It measures the hypervector of the legacy store,"
        " or else the one that the memory's fields make; docs/hypervectors.md tells what it is"
        " not. Numbers are kept until the memory goes.",
    )
    phi.add_argument("id", metavar="ID", nargs="?", type=memory_id, help="the memory to measure")
    phi.add_argument(
        "--top",
        metavar="N",
        type=number(1, MAX_RESULTS),
        help="show the memories with the highest numbers instead",
    )
    phi.add_argument(
        "--seconds",
        metavar="S",
        type=seconds,
        help="with --top: how long to measure memories that have no number yet; default 0.1",
    )
    add_time_zone(phi)


def run_complete(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl complete`."""
    known = {role: getattr(args, role) for role in ROLES}
    result = client.call(
        "complete",
        **known,
        ask=args.ask,
        k=args.k,
        **scope(args),
        time_zone=name_to_hand_over(),
    )
    if screen.json:
        return screen.result(result)
    for each in result["candidates"]:
        filler = screen.style(cut(each["filler"], SHOWN), BOLD)
        ids = " ".join(map(str, each["ids"]))
        figures = screen.style(f"score {each['score']:.2f}  margin {each['margin']:.2f}", DIM)
        screen.line(f"{filler}  {figures}  [{ids}]")
    if not result["candidates"]:
        screen.line("Nothing stands out.")
    if parts := result["degraded"]:
        screen.note(f"answered without {' and '.join(map(one_line, parts))}.")
    return 0


def run_phi(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl phi`."""
    if (args.id is None) == (args.top is None):
        raise UsageError(detail="phi needs either an ID or --top N.")
    if args.id is not None and args.seconds is not None:
        raise UsageError(detail="--seconds means something only with `nimactl phi --top`.")
    with shown_under_way(args, screen, "phi"):
        result = client.call(
            "phi", id=args.id, top=args.top, seconds=args.seconds, time_zone=name_to_hand_over()
        )
    if screen.json:
        return screen.result(result)
    if args.id is not None:
        _show_one(screen, result)
        return 0
    for each in result["results"]:
        ident = screen.style(str(each["id"]), BOLD)
        screen.line(f"{ident}  phi {_phi(each)}  {cut(each['text'], SHOWN)}")
    left = f"{count(result['measured'], 'memory')} measured"
    if result["not_measurable"]:
        left += f", {result['not_measurable']:,} not measurable"
    if result["left"]:
        left += f", {result['left']:,} left (more --seconds measure them)"
    screen.note(f"{left}.")
    return 0


def _show_one(screen: Screen, result: dict[str, object]) -> None:
    """A measurement: Φ, and what was recovered of each role."""
    if result["phi"] is None:
        screen.line(f"phi is not measurable: {one_line(str(result['reason']))}.")
        return
    kind = "the legacy hypervector" if result["hypervector"] == "legacy" else "its fields"
    screen.line(f"phi {_phi(result)}  quality {result['quality']:.2f}, of {kind}")
    roles = result["roles"]
    assert isinstance(roles, list)
    for role in roles:
        figures = screen.style(f"drop {role['drop']:.2f}  margin {role['margin']:.2f}", DIM)
        screen.line(f"{one_line(role['role']):<8} {cut(role['filler'], SHOWN)}  {figures}")


def _phi(found: dict[str, object]) -> str:
    return f"{found['phi']:.3f} +- {found['uncertainty']:.3f}"
