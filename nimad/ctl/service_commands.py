"""The commands that look after the daemon: status, rebuild, doctor."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nimad.ctl.arguments import add_command

if TYPE_CHECKING:
    from nimad.ctl.arguments import Commands
    from nimad.ctl.client import Client
    from nimad.ctl.screen import Screen

PARTS = ("words", "blocks", "graph", "all")
UNWELL = 1
"""Exit code of doctor when there are problems."""


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    add_command(
        commands,
        "status",
        run_status,
        "show what is stored, how each part is, and what it takes on the disk",
    )
    rebuild = add_command(
        commands,
        "rebuild",
        run_rebuild,
        "make an index anew from the records",
        "The old one serves until the new one is ready; no memory is touched.",
    )
    rebuild.add_argument(
        "part",
        metavar="PART",
        nargs="?",
        choices=PARTS,
        default="all",
        help="words, blocks, graph or all (the default)",
    )
    add_command(
        commands,
        "doctor",
        run_doctor,
        "check everything, and name the fix for each problem",
        "Every file is read whole and every rule between the parts is walked. The exit code is 1"
        " when there are problems; a note is not a problem.",
    )


def run_status(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl status`."""
    result = client.call("status")
    if screen.json:
        return screen.result(result)
    from nimad.ctl.status_text import overview

    overview(screen, result)
    return 0


def run_rebuild(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl rebuild`."""
    result = client.call("rebuild", part=args.part)
    if screen.json:
        return screen.result(result)
    from nimad.ctl.human import count, took
    from nimad.ctl.terminal_text import one_line

    for part, made in result["rebuilt"].items():
        taken = f"in {took(made['seconds'] * 1000)}"
        screen.line(f"rebuilt {one_line(part)}: {count(made['rows'], 'memory')} {taken}")
    return 0


def run_doctor(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl doctor`."""
    result = client.call("doctor")
    if screen.json:
        screen.result(result)
    else:
        from nimad.ctl.status_text import findings

        findings(screen, result)
    return UNWELL if any(p["severity"] != "note" for p in result["problems"]) else 0
