"""The commands that change single memories: remember, forget."""

from __future__ import annotations

import argparse
from typing import Any

from nimad.ctl.arguments import (
    DATES,
    Commands,
    add_command,
    add_time_zone,
    first_moment,
    fraction,
    memory_id,
    standard_input,
    text_of,
)
from nimad.ctl.client import Client
from nimad.ctl.fleet_commands import told_of_purge
from nimad.ctl.screen import Screen
from nimad.ctl.terminal_text import one_line
from nimad.ctl.under_way import shown_under_way
from nimad.errors import UsageError
from nimad.human import count, date
from nimad.model import FIELDS
from nimad.times import name_to_hand_over

SOME_MISSING = 1
"""Exit code when an id that was to be forgotten did not exist."""


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    remember = add_command(
        commands,
        "remember",
        run_remember,
        "store a memory and print its id",
        "It is durable when the command returns.",
        DATES,
    )
    remember.add_argument(
        "text", metavar="TEXT", nargs="+", help="what to remember; - reads standard input"
    )
    for name, field in FIELDS.items():
        if not field.flag:
            continue
        parsed: dict[str, Any] = {"tags": {"action": "append"}, "share": {"type": fraction}}
        remember.add_argument(
            field.flag,
            dest=name,
            metavar=field.metavar,
            help=field.about,
            **parsed.get(field.kind, {}),
        )
    add_time_zone(remember)
    forget = add_command(
        commands,
        "forget",
        run_forget,
        "delete memories",
        "A receipt tells what went. An id that does not exist makes the exit code 1; the others"
        " are forgotten all the same.",
    )
    forget.add_argument(
        "ids", metavar="ID", type=memory_id, nargs="*", help="ids, as `nimactl query` shows them"
    )
    forget.add_argument(
        "--purge",
        action="store_true",
        help="leave no trace of them on the disk, in the indexes and the sources' backups, too;"
        " also of memories that were forgotten before",
    )
    forget.add_argument(
        "--all-forgotten",
        action="store_true",
        help="with --purge: also of all memories that were forgotten before",
    )
    forget.add_argument(
        "--where",
        metavar="RULE",
        help='instead of ids: what a rule names, such as "layer=contemplation and before=90d";'
        " the fields are who, where, layer, namespace, agent, origin, tag, before, after,"
        " stored_before, and found=never; goals and documents stay",
    )
    add_time_zone(forget)
    more = "with --purge: tell which other boards have purged them, too"
    forget.add_argument("--fleet", action="store_true", help=more)
    forget.add_argument("--dry-run", action="store_true", help="only tell what would go")


def run_remember(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl remember`."""
    text = [standard_input()] if args.text == ["-"] else args.text
    given: dict[str, Any] = {
        name: first_moment(value, field.flag) if field.kind == "moment" else value
        for name, field in FIELDS.items()
        if field.flag and (value := getattr(args, name)) is not None
    }
    result = client.call("remember", text=text_of(text), **given)
    return screen.answer(result, f"remembered as {result['id']}")


def run_forget(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl forget`."""
    if args.fleet and not args.purge:
        raise UsageError(detail="--fleet goes with --purge.")
    with shown_under_way(args, screen, "forget"):
        receipt = client.call(
            "forget",
            ids=args.ids or None,
            where=args.where,
            time_zone=name_to_hand_over() if args.where else None,
            purge=args.purge or None,
            dry_run=args.dry_run or None,
            all_forgotten=args.all_forgotten or None,
        )
    told = []
    if receipt["forgotten"]:
        verb = "purged" if receipt["purged"] else "forgot"
        verb = "would forget" if receipt["dry_run"] else verb
        which = count(receipt["count"], "memory") if args.where else _listed(receipt["forgotten"])
        told.append(f"{verb} {which}")
        removed = receipt.get("removed") or {}
        parts = [
            count(removed[part], thing)
            for part, thing in (("relations", "relation"), ("turns", "turn"))
            if removed.get(part)
        ]
        if parts:
            told.append(f"with {' and '.join(parts)}")
        if removed.get("snapshots"):
            told.append(f"and {count(removed['snapshots'], 'row')} of the sources' backups")
    if before := receipt.get("forgotten_before"):
        verb = "purged" if receipt["purged"] else "would purge" if receipt["dry_run"] else "purges"
        told.append(f"{verb} {_listed(before)}, forgotten before")
    if args.where and not receipt["forgotten"]:
        told.append("the rule names no memory")
    for step, reason in (receipt.get("unfinished") or {}).items():
        told.append(f"the purge of {step} is tried again by itself: {reason}")
    for backup in receipt.get("backups") or []:
        named = backup.get("path", "a backup")
        told.append(f"{named} of {date(backup['made'])} may still hold it: delete that yourself")
    for path in receipt.get("strangers") or []:
        told.append(f"{path} is not nimad's and may still hold it: move it away, or delete it")
    if receipt["missing"]:
        told.append(f"there is no memory {_listed(receipt['missing'])}")
    if args.fleet and not args.dry_run:
        receipt["fleet"] = told_of_purge(client)
        told += receipt["fleet"]
    screen.answer(receipt, *map(one_line, told))
    return SOME_MISSING if receipt["missing"] else 0


def _listed(ids: list[int]) -> str:
    return ", ".join(str(ident) for ident in ids)
