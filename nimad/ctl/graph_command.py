"""The command graph: a question in Cypher, its answer as a table."""

from __future__ import annotations

import argparse
import json
from typing import Any

from nimad.ctl.arguments import Commands, add_command, number, standard_input
from nimad.ctl.client import Client
from nimad.ctl.screen import Screen
from nimad.ctl.terminal_text import columns, shorten
from nimad.ctl.under_way import shown_under_way
from nimad.errors import UsageError
from nimad.limits import MAX_ROWS

WIDEST = 60
"""Width of the widest column of a table on a terminal [columns]."""
SHARE = 0.8
"""Part of --timeout that the question itself is given; the rest is for the way."""


def register(commands: Commands) -> None:
    """Add the command of this file."""
    graph = add_command(
        commands,
        "graph",
        run_graph,
        "ask the graph of memories, turns and relations a question in Cypher",
        "The graph is only read. It is made when it is asked for the first time, and does not know"
        " what was stored since; a note tells how much that is.",
        "An example: nimactl graph 'MATCH (m:Memory)-[r]->(n) RETURN r.relation, count(*)'."
        " docs/graph.md has the tables and more questions.",
    )
    graph.add_argument("cypher", metavar="CYPHER", help="the question; - reads standard input")
    graph.add_argument(
        "--param",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a value for $NAME in the question: JSON, or else text; may be repeated",
    )
    graph.add_argument(
        "--limit", metavar="N", type=number(1, MAX_ROWS), help="most rows to show; default 1000"
    )
    graph.add_argument(
        "--fresh", action="store_true", help="make the graph anew first, when it is behind"
    )


def run_graph(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl graph`."""
    parameters: dict[str, Any] = {}
    for one in args.param:
        name, sign, value = one.partition("=")
        if not sign or not name.isidentifier():
            raise UsageError(detail=f"--param takes NAME=VALUE, not {one[:60]!r}")
        try:
            parameters[name] = json.loads(value)
        except ValueError:
            parameters[name] = value
    cypher = standard_input() if args.cypher == "-" else args.cypher
    with shown_under_way(args, screen, "graph"):
        result = client.call(
            "graph",
            cypher=cypher,
            parameters=parameters or None,
            limit=args.limit,
            fresh=args.fresh or None,
            seconds=None if args.timeout is None else min(600.0, args.timeout * SHARE),
        )
    if screen.json:
        return screen.result(result)
    names, rows = result["columns"], result["rows"]
    widest = WIDEST if screen.terminal else None
    cells = []
    for row in [names, *rows]:  # text as it is, nothing for null, the rest as JSON
        shown = ("" if value is None else value for value in row)
        texts = (
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for value in shown
        )
        cells.append([shorten(text, widest) for text in texts])
    widths = [max(columns(row[place]) for row in cells) for place in range(len(names))]
    for at, row in enumerate(cells):
        parts = []
        for place, text in enumerate(row):
            padding = " " * (widths[place] - columns(text))
            right = at > 0 and isinstance(rows[at - 1][place], (int, float))
            parts.append(padding + text if right else text + padding)
        line = "  ".join(parts).rstrip()
        screen.line(screen.style(line, "1") if at == 0 else line)
    if result["more"]:
        screen.note(f"these are the first {len(result['rows'])} rows; there are more.")
    if behind := result["behind"]:
        changes = "1 change" if behind == 1 else f"{behind:,} changes"
        screen.note(f"the graph does not know {changes} since it was made; --fresh makes it anew.")
    return 0
