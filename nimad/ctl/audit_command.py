"""The commands that keep a store tidy: audit, redate."""

from __future__ import annotations

import argparse

from nimad.ctl.arguments import (
    DATES,
    Commands,
    add_command,
    add_time_zone,
    first_moment,
    memory_id,
    number,
)
from nimad.ctl.client import Client
from nimad.ctl.screen import BOLD, DIM, GREEN, Screen
from nimad.ctl.terminal_text import one_line
from nimad.ctl.under_way import shown_under_way
from nimad.human import count, date, took
from nimad.limits import MAX_FINDINGS
from nimad.times import name_to_hand_over

TITLES = {
    "duplicate": "Said more than once, word for word",
    "near_duplicate": "Said more than once, nearly",
    "junk": "Nothing that anybody will look for",
    "contradiction": "Only one of these can be true; the later one likely is",
    "undated": "Without a date",
    "large": "The largest",
    "never_found": "Old, and in no answer so far",
}
"""Each kind of finding, and the line above its findings."""


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    audit = add_command(
        commands,
        "audit",
        run_audit,
        "tell what could be tidied up, and the command for each",
        "Duplicates (one speaker's, in one namespace), junk, statements that contradict each other,"
        " memories without a date, the largest, and old ones that were in no answer. Nothing is"
        " changed: run the commands that are right.",
    )
    audit.add_argument(
        "--kind",
        metavar="KIND",
        action="append",
        choices=tuple(TITLES),
        help=f"only these: {', '.join(TITLES)}; may be repeated",
    )
    audit.add_argument(
        "--limit",
        metavar="N",
        type=number(1, MAX_FINDINGS),
        help="most findings of a kind; default 20",
    )
    add_time_zone(audit)
    redate = add_command(
        commands,
        "redate",
        run_redate,
        "give memories another date",
        "What they say stays as it is. `nimactl migrate --verify` tells of a migrated memory that"
        " it differs from its source then.",
        DATES,
    )
    redate.add_argument("when", metavar="DATE", help="when it happened")
    redate.add_argument(
        "ids", metavar="ID", type=memory_id, nargs="+", help="ids, as `nimactl audit` shows them"
    )
    add_time_zone(redate)


def run_audit(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl audit`."""
    zone = name_to_hand_over()
    with shown_under_way(args, screen, "audit"):
        result = client.call("audit", kinds=args.kind, limit=args.limit, time_zone=zone)
    if screen.json:
        return screen.result(result)
    for kind, number_found in result["counts"].items():
        found = [one for one in result["findings"] if one["kind"] == kind]
        if found:
            left = number_found - len(found)
            more = f"  (the first {len(found):,} of {number_found:,})" if left else ""
            title = TITLES.get(kind, one_line(kind))
            screen.line(screen.style(f"{title}{more}", BOLD))
            for finding in found:
                screen.paragraph(one_line(finding["what"]), "  ")
                screen.line(f"    {screen.style(one_line(finding['command']), DIM)}")
            screen.line()
    looked = f"{count(result['looked'], 'memory')} in {took(result['took_ms'])}"
    if not result["findings"]:
        screen.line(f"{screen.style('nothing to tidy up', GREEN)} ({looked})")
    else:
        screen.note(f"looked at {looked}; nothing was changed.")
    return 0


def run_redate(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl redate`."""
    result = client.call("redate", ids=args.ids, when=first_moment(args.when, "DATE"))
    which = ", ".join(map(str, result["ids"]))
    return screen.answer(result, f"{which}: {date(result['timestamp'])}")
