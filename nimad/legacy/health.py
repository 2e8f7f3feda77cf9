"""What a NIMA graph database holds and how it fares, told from a copy: the source is only read.

Standard library only, like all of `legacy`; behind `python -m nimad.health_check`.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from nimad.legacy.schema import EDGES, NODES, TURNS, open_source, sqlite_errors
from nimad.legacy.scratch import private_directory, scratch_directory
from nimad.legacy.snapshot import take_snapshot
from nimad.legacy.sqlite import LegacyGraph
from nimad.times import local_zone, read

DAY_MS = 86_400_000
CONTRIBUTORS = 5
"""People who are named with the number of their memories."""


def examine(path: Path, now_ms: int, verbose: bool) -> tuple[str, dict[str, Any]]:
    """Look at every row of the database at `path`; its absolute path, and what was found.

    Found are the `stats` of the legacy tool's JSON, and edges, damage and schema besides.
    The size is that of the database with its write-ahead log; times are epoch milliseconds, None in
    an empty store; unreadable rows and dangling edges are within the counts.

    Raises SourceNotRecognised, SourceCorrupt, SourceUnreadable, SourceChanged, DiskFull.  Cost: the
    file is copied, and the copy read twice.
    """
    with (
        take_snapshot(path) as snapshot,
        private_directory(scratch_directory()) as scratch,
    ):
        copy = scratch / "copy.sqlite"
        with os.fdopen(os.dup(snapshot.fd), "rb") as file, copy.open("wb") as target:
            file.seek(0)
            shutil.copyfileobj(file, target)
        with LegacyGraph.open(copy) as graph:
            totals = graph.survey()
        parts = [Path(snapshot.origin + suffix) for suffix in ("", "-wal")]
        size = sum(part.stat().st_size for part in parts if part.exists())
        with sqlite_errors(path), closing(open_source(copy, "mode=ro")) as connection:
            first, last, recent = _times(connection, now_ms)
            tables, full_text = _tables(connection)
            stats: dict[str, Any] = {
                "nodes": totals.nodes,
                "turns": totals.turns,
                "edges": totals.edges,
                "layers": totals.by_layer,
                "recent_24h": recent,
                "db_size_bytes": size,
                "db_size_mb": round(size / (1 << 20), 2),
                "tables": tables,
                "fts_enabled": full_text,
                "first_memory": first,
                "last_memory": last,
                "schema": snapshot.schema,
                "unreadable": totals.unreadable,
                "dangling_edges": totals.dangling,
            }
            if verbose:
                stats |= _contributors(connection)
    return snapshot.origin, stats


def _times(connection: sqlite3.Connection, now_ms: int) -> tuple[int | None, int | None, int]:
    """The first and the last time, and how many memories are of the last day."""
    found: list[int] = []
    for (value,) in connection.execute(f"SELECT timestamp FROM {NODES}"):
        with suppress(ValueError):
            if (at := read(value, local_zone()).at) is not None:
                found.append(at)
    recent = sum(now_ms - DAY_MS < at <= now_ms for at in found)
    return min(found, default=None), max(found, default=None), recent


def _tables(connection: sqlite3.Connection) -> tuple[list[str], bool]:
    """The tables, NIMA's first, without those that serve a text index; whether there is one."""
    names = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'")
    made = {str(name): str(sql or "").lower() for name, sql in names}
    virtual = [f"{name}_" for name, sql in made.items() if sql.startswith("create virtual")]
    hidden = ("sqlite_", *virtual)
    shown = sorted(name for name in made if not name.startswith(hidden))
    ours = [name for name in shown if name in (NODES, EDGES, TURNS)]
    others = [name for name in shown if name not in ours]
    return ours + others, any("using fts5" in sql for sql in made.values())


def _contributors(connection: sqlite3.Connection) -> dict[str, Any]:
    """Who said most, and the mean score."""
    columns = {row[1] for row in connection.execute(f"PRAGMA table_info({NODES})")}
    found: dict[str, Any] = {"top_contributors": [], "avg_fe_score": None}
    if "who" in columns:
        sql = (
            f"SELECT coalesce(nullif(who, ''), 'unknown'), count(*) FROM {NODES} GROUP BY 1"
            " ORDER BY 2 DESC, 1 LIMIT ?"
        )
        rows = connection.execute(sql, (CONTRIBUTORS,))
        found["top_contributors"] = [{"who": who, "memories": count} for who, count in rows]
    if "fe_score" in columns:
        sql = f"SELECT avg(fe_score) FROM {NODES} WHERE typeof(fe_score) IN ('real', 'integer')"
        score = connection.execute(sql).fetchone()[0]
        found["avg_fe_score"] = None if score is None else round(score, 3)
    return found
