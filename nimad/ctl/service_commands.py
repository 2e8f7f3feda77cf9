"""The commands that look after the daemon: status, rebuild, doctor, and what they print."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from datetime import date, timedelta
from itertools import accumulate
from typing import Any

from nimad import __version__, openclaw
from nimad.ctl.arguments import Commands, add_command
from nimad.ctl.chart import BLOCKS, PLAIN, chart
from nimad.ctl.client import Client
from nimad.ctl.fleet_commands import lines as fleet_lines
from nimad.ctl.screen import BOLD, DIM, GREEN, RED, YELLOW, Screen, bar
from nimad.ctl.terminal_text import one_line, shorten
from nimad.ctl.under_way import shown_under_way
from nimad.errors import ConfigError
from nimad.human import ago, count, share, size, span, took

WIDEST = 100
"""Width of the widest chart [columns]."""
SERIES: tuple[tuple[str, str, int, Callable[[float], str]], ...] = (
    ("memories", "memories", 4, lambda value: count(int(value))),
    ("records", "bytes", 1, size),
    ("queries", "queries", 1, lambda value: f"{count(int(value))} a day"),
    ("answers", "median_ms", 1, took),
    ("slow ones", "slow_ms", 1, took),
)
"""What is drawn of the days: label, field, lines, and how a value is shown."""
PARTS = ("words", "blocks", "graph", "all")
UNWELL = 1
"""Exit code of doctor when there are problems."""
LABEL = 12
"""Width of the labels on the left [columns]."""
DISK_PARTS = {
    "records": "the memories",
    "words": "index of their words",
    "blocks": "index of their meaning",
    "dense": "legacy hypervectors, compact",
    "graph": "their relations",
    "snapshots": "backups of migrated sources",
    "aside": "damaged files, set aside",
    "log": "migration.log",
}
COLOURS = {"error": RED, "warning": YELLOW, "note": DIM}


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    status = add_command(
        commands,
        "status",
        run_status,
        "show what is stored, how each part is, and what it takes on the disk",
    )
    status.add_argument(
        "--history",
        action="store_true",
        help="show how memories, queries and answer times went, day by day (400 days at most)",
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
        "Every file is read whole and every rule between the parts is walked; OpenClaw's"
        " configuration, where there is one, is looked at for what keeps nimad's plugin from"
        " remembering. The exit code is 1 when there are problems; a note is not a problem.",
    )


def run_status(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl status`."""
    result = client.call("status", history=args.history or None)
    if screen.json:
        return screen.result(result)
    if args.history:
        return show_history(screen, result.get("history") or [])
    version = one_line(result["version"])
    head = f"nimad {version}, up for {span(result['uptime_seconds'])}, process {result['pid']}"
    screen.line(screen.style(head, BOLD))
    if version != __version__:
        screen.line(f"(nimactl is {__version__}: restart nimad to have both alike)")
    for part, reason in (result.get("degraded") or {}).items():
        screen.line()
        screen.line(screen.style(f"{one_line(part)} is out of service", RED, BOLD))
        screen.paragraph(reason, "  ")
        if not result.get("unread"):
            screen.line("  Queries go on without it. `nimactl doctor` tells what to do.")
    for work, reason in (result.get("waiting") or {}).items():
        screen.line()
        screen.line(screen.style(f"{one_line(work)} is not finished", BOLD))
        screen.paragraph(reason, "  ")
        screen.line("  It is tried again by itself.")
    if result.get("unread"):
        return 0
    screen.line()
    if result.get("bound"):  # to namespaces: it is told no more
        for name, number in result["namespaces"].items():
            screen.line(f"{one_line(name)}: {count(number, 'memory')}")
        return 0
    for label, text in _rows(result):
        screen.line(f"{label:<{LABEL}}{text}")
    screen.line()
    disk = dict(result["disk"])
    total, free = disk["total"], disk["free"]
    disk["records"] -= disk.get("words", 0)
    where = one_line(result["state_dir"])
    screen.line(screen.style(f"{size(total)} in {where}, {size(free)} free", BOLD))
    for part, about in DISK_PARTS.items():
        taken = disk.get(part, 0)
        if not taken:
            continue
        drawn = bar(taken / total if total else 0, 12)
        shown = f"  {part:<{LABEL - 2}}{size(taken):>10}  {share(taken, total):>5}  {drawn}  "
        screen.line(shorten(shown + about, screen.width))
    return 0


def show_history(screen: Screen, days: list[dict[str, Any]]) -> int:
    """How the days went, as charts."""
    if not days:
        screen.line("nothing is known of earlier days")
        return 0
    first, last = (date.fromisoformat(days[place]["day"]) for place in (0, -1))
    known = {day["day"]: day for day in days}
    every = [(first + timedelta(n)).isoformat() for n in range((last - first).days + 1)]
    width = min((screen.width or 80) - LABEL, WIDEST)
    signs = BLOCKS if screen.shows("█") else PLAIN
    for label, field, height, shown in SERIES:
        values = [known[day][field] if day in known else None for day in every]
        told = [value for value in values if value is not None]
        if not told:
            continue
        if field in ("memories", "bytes"):  # they stay while nothing is written
            values = list(accumulate(values, lambda before, now: before if now is None else now))
        lines = chart(values, width, height, signs)
        ends = dict.fromkeys((shown(min(told)), shown(max(told))))
        screen.line(f"{label:<{LABEL}}{' to '.join(ends)}")
        for line in lines:
            screen.line(f"{'':<{LABEL}}{line}".rstrip())
    screen.line(f"{'days':<{LABEL}}{first} to {last}")
    return 0


def run_rebuild(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl rebuild`."""
    with shown_under_way(args, screen, "rebuild"):
        result = client.call("rebuild", part=args.part)
    lines = []
    for part, made in result["rebuilt"].items():
        taken = f"in {took(made['seconds'] * 1000)}"
        lines.append(f"rebuilt {one_line(part)}: {count(made['rows'], 'memory')} {taken}")
    return screen.answer(result, *lines)


def run_doctor(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl doctor`."""
    with shown_under_way(args, screen, "doctor"):
        result = client.call("doctor")
    try:
        result["problems"] += openclaw.find_problems(openclaw.default_path())
    except ConfigError as error:
        about = {"what": error.message, "fix": "Mend the file: `openclaw doctor` helps."}
        result["problems"].append({"part": "openclaw", **about, "severity": "note"})
    serious = [p for p in result["problems"] if p["severity"] != "note"]
    if screen.json:
        screen.result(result)
        return UNWELL if serious else 0
    for problem in result["problems"]:
        severity = one_line(problem["severity"])
        label = screen.style(f"{severity}: {one_line(problem['part'])}", COLOURS.get(severity, RED))
        screen.line(label)
        screen.paragraph(problem["what"], "  ")
        screen.paragraph(f"Fix: {problem['fix']}", "  ")
        screen.line()
    checked = result["checked"]
    looked = ", ".join(
        count(number, re.sub("ies$", "y", one_line(name)).removesuffix("s"))
        for name, number in checked.items()
    )
    if serious:
        verdict = screen.style(count(len(serious), "problem"), RED, BOLD)
    else:
        verdict = screen.style("all well", GREEN, BOLD)
    screen.line(f"{verdict} ({looked} checked in {took(result['took_ms'])})")
    return UNWELL if serious else 0


def _rows(status: dict[str, Any]) -> list[tuple[str, str]]:
    names = status.get("namespaces") or {}
    memories = f"{count(status['memories'])}"
    if len(names) > 1:
        shown = ", ".join(f"{one_line(name)} {count(number)}" for name, number in names.items())
        memories += f" ({shown})"
    memory, sources, graph = status["memory"], count(status["sources"]), status["graph"]
    embedder, backlog = status["embedder"], status["blocks"].get("backlog", 0)
    meaning = f"{count(backlog)} still to encode" if backlog else "all encoded"
    meaning += f", embedder {one_line(embedder['name'])}, {embedder['dims']} dimensions"
    wanted = embedder.get("wanted", embedder["name"])
    if wanted != embedder["name"] or embedder.get("done") != embedder.get("total"):
        done, total = (count(embedder.get(key, 0)) for key in ("done", "total"))
        meaning += f"; {done} of {total} encoded with {one_line(wanted)}"
    drawn = one_line(graph["engine"])
    if drawn == "none":
        drawn = "off (graph.engine is none)"
    elif "memories" not in graph:
        drawn += ", made when it is asked"
    elif behind := graph.get("behind"):
        drawn += f", {count(behind, 'change')} behind"
    else:
        drawn += ", up to date"
    written = status.get("written_bytes") or 0
    last = status.get("backup")
    rows = [
        *(("clock", one_line(note)) for note in status.get("clock", {}).get("notes", [])),
        ("memories", memories),
        ("relations", count(status["relations"])),
        ("turns", count(status["turns"])),
        ("sources", sources + (" (nimactl migrate --status)" if status["sources"] else "")),
        ("meaning", meaning),
        ("graph", drawn),
        ("RAM", f"{size(memory['pss_bytes'])} used, {size(memory['available_bytes'])} available"),
        (
            "written",
            f"{size(written)} since the start" if (written := status.get("written_bytes")) else "",
        ),
        (
            "requests",
            f"{count(status['requests'])} so far, {count(status['clients'], 'client')} now",
        ),
        ("backup", f"{ago(last['made'])}, {one_line(last['path'])}" if last else ""),
        *(("fleet", line) for line in list(fleet_lines(status.get("fleet") or {}))[:1]),
        ("socket", one_line(status["socket"])),
    ]
    return [(label, text) for label, text in rows if text]
