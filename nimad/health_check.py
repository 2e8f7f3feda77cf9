"""`python -m nimad.health_check`: looks at a legacy graph.sqlite before or after it is migrated.

The options, the JSON keys and the two exit codes (0 healthy, 1 not) are those of the legacy tool of
this name; the store is only read, even while NIMA writes to it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from nimad.ctl.terminal_text import one_line
from nimad.errors import NimadError
from nimad.legacy.health import examine

DEFAULT_DB = Path("~/.nima/memory/graph.sqlite")


def health_check(db_path: str | Path = DEFAULT_DB, verbose: bool = False) -> dict[str, Any]:
    """`{"ok": True, "stats": {...}}`, or `{"ok": False, "error": ..., "path": ...}`.  A store with
    unreadable rows is not healthy; a few dangling edges are common and do no harm."""
    path = Path(db_path).expanduser()
    try:
        origin, stats = examine(path, time.time_ns() // 1_000_000, verbose)
    except NimadError as error:
        return {"ok": False, "error": error.message, "hint": error.next_step, "path": str(path)}
    for name in ("first_memory", "last_memory"):
        if (at := stats[name]) is not None:
            stats[name] = str(at)
            with suppress(OverflowError, OSError, ValueError):  # a time that no calendar has
                stats[name] = datetime.fromtimestamp(at / 1000).strftime("%Y-%m-%d %H:%M")
    answer: dict[str, Any] = {"ok": not stats["unreadable"], "path": origin, "stats": stats}
    if stats["unreadable"]:
        answer["error"] = f"{stats['unreadable']} rows cannot be read"
    return answer


def main(argv: Sequence[str] | None = None) -> int:
    """Look, print, and say by the exit code whether all is well."""
    parser = argparse.ArgumentParser(
        prog="python -m nimad.health_check",
        description="Look at a legacy NIMA graph.sqlite; it is only read.",
        epilog="exit codes: 0 the store is healthy, 1 it is not (the reason is printed)",
    )
    parser.add_argument(
        "--db", metavar="PATH", default=str(DEFAULT_DB), help="the database (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--verbose", action="store_true", help="who said how much, and the mean score"
    )
    args = parser.parse_args(argv)
    answer = health_check(args.db, args.verbose)
    if args.json:
        print(json.dumps(answer, ensure_ascii=False, indent=2))
    else:
        print("\n".join(one_line(line) for line in _lines(answer)))
    return 0 if answer["ok"] else 1


def _lines(answer: dict[str, Any]) -> list[str]:
    lines = [f"NIMA Memory Health Check: {'PASSED' if answer['ok'] else 'FAILED'}"]
    if "error" in answer:
        lines += [f"Error: {answer['error']}", *([answer["hint"]] if "hint" in answer else [])]
    if "stats" not in answer:
        return [*lines, f"Path: {answer['path']}"]
    stats = answer["stats"]
    lines += [
        "",
        "Database",
        f"  Location: {answer['path']} (schema {stats['schema']})",
        f"  Size: {stats['db_size_mb']:.1f} MB",
        f"  Nodes: {stats['nodes']:,}",
        f"  Turns: {stats['turns']:,}",
        f"  Edges: {stats['edges']:,} ({stats['dangling_edges']:,} to a memory that is not there)",
        f"  Recent (24h): {stats['recent_24h']:,}",
        "",
        "Layers",
    ]
    for layer, number in sorted(stats["layers"].items(), key=lambda item: -item[1]):
        lines.append(f"  {layer:<20} {number:>7,} ({100 * number / max(1, stats['nodes']):.1f}%)")
    lines += [
        "",
        f"First memory: {stats['first_memory'] or 'none'}",
        f"Last memory:  {stats['last_memory'] or 'none'}",
        f"Text index (FTS5): {'yes' if stats['fts_enabled'] else 'no'}",
    ]
    if "top_contributors" in stats:
        lines += ["", "Who said most"]
        lines += [f"  {row['who']:<20} {row['memories']:>7,}" for row in stats["top_contributors"]]
        score = stats["avg_fe_score"]
        lines.append(f"Mean fe_score: {'none' if score is None else score}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
