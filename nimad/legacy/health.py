"""What a NIMA graph database holds and how it fares, told from a copy: the source is only read.

Standard library only, like all of `legacy`; behind `python -m nimad.health_check`.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nimad.legacy.schema import EDGES, NODES, TURNS, open_source, sqlite_errors
from nimad.legacy.scratch import private_directory, scratch_directory
from nimad.legacy.snapshot import take_snapshot
from nimad.legacy.sqlite import LegacyGraph

DAY_MS = 86_400_000
CONTRIBUTORS = 5


@dataclass
class Health:
    """What was found.

    `size_bytes` is that of the database with its write-ahead log; `first` and `last` are epoch
    milliseconds, None in an empty store; `unreadable` rows and `dangling` edges are within the
    counts; `contributors` are (who, memories), most first; `fe_score` is the mean of the scores.
    """

    path: str
    size_bytes: int
    schema: int
    nodes: int = 0
    edges: int = 0
    turns: int = 0
    layers: dict[str, int] = field(default_factory=dict)
    unreadable: int = 0
    dangling: int = 0
    recent: int = 0
    first: int | None = None
    last: int | None = None
    tables: list[str] = field(default_factory=list)
    full_text: bool = False
    contributors: list[tuple[str, int]] = field(default_factory=list)
    fe_score: float | None = None


def examine(path: Path, now_ms: int) -> Health:
    """Look at every row of the database at `path`.

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
        found = Health(snapshot.origin, _size(Path(snapshot.origin)), snapshot.schema)
        with LegacyGraph.open(copy) as graph:
            totals = graph.survey()
        found.nodes, found.edges, found.turns = totals.nodes, totals.edges, totals.turns
        found.layers = totals.by_layer
        found.unreadable, found.dangling = totals.unreadable, totals.dangling
        with sqlite_errors(path), closing(open_source(copy, "mode=ro")) as connection:
            _ask(connection, found, now_ms)
    return found


def _size(path: Path) -> int:
    sizes = [Path(f"{path}{suffix}") for suffix in ("", "-wal")]
    return sum(part.stat().st_size for part in sizes if part.exists())


def _ask(connection: sqlite3.Connection, found: Health, now_ms: int) -> None:
    one = connection.execute(f"SELECT min(timestamp), max(timestamp) FROM {NODES}").fetchone()
    found.first, found.last = (value if isinstance(value, int) else None for value in one)
    sql = f"SELECT count(*) FROM {NODES} WHERE timestamp > ? AND timestamp <= ?"
    found.recent = connection.execute(sql, (now_ms - DAY_MS, now_ms)).fetchone()[0]
    names = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'")
    made = {str(name): str(sql or "") for name, sql in names}
    found.tables = sorted(name for name in made if not _shadow(name, made))
    found.full_text = any("using fts5" in sql.lower() for sql in made.values())
    columns = {row[1] for row in connection.execute(f"PRAGMA table_info({NODES})")}
    if "who" in columns:
        sql = (
            f"SELECT coalesce(nullif(who, ''), 'unknown'), count(*) FROM {NODES} GROUP BY 1"
            " ORDER BY 2 DESC, 1 LIMIT ?"
        )
        found.contributors = connection.execute(sql, (CONTRIBUTORS,)).fetchall()
    if "fe_score" in columns:
        sql = f"SELECT avg(fe_score) FROM {NODES} WHERE typeof(fe_score) IN ('real', 'integer')"
        found.fe_score = connection.execute(sql).fetchone()[0]


def _shadow(name: str, made: dict[str, str]) -> bool:
    """Whether a table only serves a virtual one, or SQLite itself."""
    parents = [other for other, sql in made.items() if sql.lower().startswith("create virtual")]
    return name.startswith("sqlite_") or any(name.startswith(f"{p}_") for p in parents)


def as_stats(found: Health, verbose: bool) -> dict[str, Any]:
    """The `stats` of the legacy tool's JSON, and what it did not know: edges, damage, schema."""
    stats: dict[str, Any] = {
        "nodes": found.nodes,
        "turns": found.turns,
        "edges": found.edges,
        "layers": found.layers,
        "recent_24h": found.recent,
        "db_size_bytes": found.size_bytes,
        "db_size_mb": round(found.size_bytes / (1 << 20), 2),
        "tables": [t for t in found.tables if t in (NODES, EDGES, TURNS)]
        + [t for t in found.tables if t not in (NODES, EDGES, TURNS)],
        "fts_enabled": found.full_text,
        "first_memory": found.first,
        "last_memory": found.last,
        "schema": found.schema,
        "unreadable": found.unreadable,
        "dangling_edges": found.dangling,
    }
    if verbose:
        stats["top_contributors"] = [{"who": w, "memories": n} for w, n in found.contributors]
        stats["avg_fe_score"] = None if found.fe_score is None else round(found.fe_score, 3)
    return stats
