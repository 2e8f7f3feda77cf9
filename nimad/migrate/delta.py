"""Takes over what a followed source got since: new rows, turns completed, what changed or went.

The client compares the source with what it handed over before and sends only the difference, so
nothing large is written.  New rows become part of the backup (table `later`), the cursors go back
where that is needed, and the source moves through its stages once more: copied, encoded, linked,
and compared as far as it is new.

Crash prose: everything is one transaction.  A client that got no answer may send
the same again: a row that is here already is compared, not added.

What comes is hostile: its size, its form and every value are checked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import field
from typing import Any

from nimad.core.store import MemoryStore
from nimad.dataclass import dataclass
from nimad.disk.durable import crash_point
from nimad.disk.handed_over import check_handed_over
from nimad.errors import SourceChanged, UsageError
from nimad.legacy.detect import GRAPH
from nimad.legacy.snapshot import digest_of
from nimad.legacy.source import LegacyEdge, Row
from nimad.legacy.sqlite import LegacyGraph
from nimad.legacy.values import FIRST_ID, Value, identical, unpack
from nimad.migrate import snapshots
from nimad.migrate.copy_stage import CHANGED
from nimad.migrate.verification import REMOVED
from nimad.model import Stage, now_ms
from nimad.store import source_delta, sources
from nimad.store.sources import Source

MOST_BYTES = 16 << 20
"""Largest delta; what is more comes as a whole snapshot [bytes]."""
LONG_LINE, MOST_NESTED, MOST_CELLS = 1 << 20, 10_000, 400_000
"""Length of a line from which brackets in it are counted [bytes]; how many there may be; values in
a delta.  What is more comes as a whole snapshot."""
KEPT_BYTES = 8 << 20
"""Appended rows of a source; beyond it the next delivery is to be a whole snapshot [bytes]."""
RETRIED = 1000
"""Edges without a memory that are looked at again when memories come."""


@dataclass
class Delta:
    """What the client sent: rows by key, and keys that are gone."""

    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rows: dict[str, dict[int, Row]] = field(default_factory=dict)
    gone: list[int] = field(default_factory=list)


def apply_delta(store: MemoryStore, delta: Delta | None, name: str) -> dict[str, Any]:
    """Take a delta over (None: it was too large); the reply of docs/protocol.md, migrate.append.

    Raises NotFound, UsageError (rolled back).
    """
    source = sources.by_name(store.records, name)
    if source.stage in (Stage.ROLLED_BACK, Stage.ROLLING_BACK):
        raise UsageError(detail=f"{name} was rolled back: migrate it again first")
    whole = {"name": name, "taken": False, "whole": True, "rows": {}}
    if delta is None or source.kind != GRAPH or source.snapshot is None:
        return whole
    path = snapshots.path_of(store, source)
    with LegacyGraph.open(path) as graph:
        if delta.columns != graph.columns():
            return whole
        notes, added = _keep_what_is_new(store, source, graph, delta)
        moving = _next_round(store, source, graph, delta, added) if any(delta.rows.values()) else {}
    with store.records.write() as tx:
        source_delta.add(tx, source.id, delta.rows)
        sources.quarantine(tx, source.id, notes)
        sources.update(tx, source.id, follow=now_ms(), **moving)
        kept = source_delta.size_bytes(tx, source.id)
    crash_point("migrate.appended")
    told = {kind: len(rows) for kind, rows in delta.rows.items()}
    return {"name": name, "taken": True, "whole": kept > KEPT_BYTES, "rows": told}


def read(store: MemoryStore, fd: int, sha256: str, size: int) -> Delta | None:
    """What stands in the file behind `fd`; None when that is too much.

    Raises UsageError (no file of that size, or not what a delta looks like), SourceChanged.
    """
    if size > MOST_BYTES:
        return None
    if check_handed_over(fd, "migrate.append", store.state) != size:
        raise UsageError(detail="migrate.append needs the descriptor of a file of that size")
    if digest_of(fd) != (sha256, size):
        raise SourceChanged(path="the delivery", detail="it differs from what was announced")
    delta, cells = Delta(rows={kind: {} for kind in source_delta.KINDS}), 0
    try:
        with os.fdopen(os.dup(fd), "rb") as file:
            file.seek(0)
            _add(delta, json.loads(file.readline(size)), is_head=True)
            # line by line, because lists may take a hundred times their bytes
            while line := file.readline(size):
                nested = len(line) > LONG_LINE and line.count(b"[") + line.count(b"{") > MOST_NESTED
                if nested or cells > MOST_CELLS:
                    return None
                cells += _add(delta, json.loads(line), is_head=False)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise UsageError(detail=f"that is no delivery of migrate.append: {error}") from None
    return delta


def _add(delta: Delta, line: Any, is_head: bool) -> int:
    """Enter a line of a delivery; how many values it has.  Raises ValueError and the like."""
    if is_head:
        delta.columns = {kind: tuple(line[kind]) for kind in source_delta.KINDS}
        if not all(isinstance(name, str) for names in delta.columns.values() for name in names):
            raise TypeError("a column must have a name")
        return 0
    kind, key, *row = line
    if isinstance(key, bool) or not isinstance(key, int) or not _fits(key):
        raise ValueError("a key must be a whole number of 64 bits")
    if kind == "gone":
        delta.gone.append(key)
        return 1
    delta.rows[kind][key] = tuple(map(_value, row))
    if len(row) != len(delta.columns[kind]):
        raise ValueError("a row must have a value for each column")
    return len(row)


def _fits(number: int) -> bool:
    return -(1 << 63) <= number < 1 << 63


def _value(packed: Any) -> Value:
    value = unpack(packed)
    if isinstance(value, bool) or not isinstance(value, (str, int, float, bytes, type(None))):
        raise TypeError("a value must be one that SQLite has")
    if isinstance(value, int) and not _fits(value):
        raise ValueError("a number must have at most 64 bits")
    if isinstance(value, str):
        value.encode()  # a lone surrogate is a ValueError
    return value


def _keep_what_is_new(
    store: MemoryStore, source: Source, graph: LegacyGraph, delta: Delta
) -> tuple[list[tuple[str, str | int, str]], int]:
    """Leave only new rows in a delta; what is to be noted, and how many memories are more.

    Of a memory and of an edge that is here the first version is kept; turns are completed.
    """
    records, mapper = store.records, graph.mapper(source.name)
    nodes, edges = delta.rows["node"], delta.rows["edge"]
    memories = sources.memories(records, source.id, nodes)
    notes: list[tuple[str, str | int, str]] = [
        ("changed", key, CHANGED)
        for key, memory in memories.items()
        if not identical(mapper.row(memory), nodes[key])
    ]
    gone = sources.memory_ids(records, source.id, delta.gone)
    notes += [("removed", key, REMOVED) for key in gone]
    unwanted = memories.keys() | sources.quarantined_keys(records, source.id, "forgotten")
    start = source.note("start_after", FIRST_ID - 1)
    delta.rows["node"] = nodes = {
        key: row for key, row in nodes.items() if key not in unwanted and key > start
    }
    here = sources.relation_keys(records, source.id)
    delta.rows["edge"] = {key: row for key, row in edges.items() if key not in here}
    counted = source_delta.keys(records, source.id, "node")
    counted |= sources.quarantined_keys(records, source.id, "node")
    return notes, len(nodes.keys() - counted)


def _next_round(
    store: MemoryStore, source: Source, graph: LegacyGraph, delta: Delta, added: int
) -> dict[str, Any]:
    """The columns that begin another round: each cursor stands before the first new row.

    Edges that waited for a memory which comes now are looked at again.
    """
    nodes, edges, turns = (delta.rows[kind] for kind in source_delta.KINDS)
    waiting = sorted(sources.quarantined_keys(store.records, source.id, "edge"))[:RETRIED]
    freed = [
        key
        for key in waiting
        for edge in graph.edges(key - 1, 1)
        if isinstance(edge, LegacyEdge)
        and edge.key == key
        and not nodes.keys().isdisjoint((edge.source, edge.target))
    ]

    def before(cursor: int, keys: Iterable[int]) -> int:
        return max(FIRST_ID, min([cursor, *(key - 1 for key in keys)]))

    whole = source.stage not in (Stage.VERIFIED, Stage.LAZY) and not source.note("partial")
    return {
        "stage": Stage.ATTACHED,
        "total": source.total + added,
        "total_edges": source.total_edges + len(edges),
        "total_turns": max(source.total_turns, source.turns + len(turns)),
        "node_cursor": before(source.node_cursor, nodes),
        "edge_cursor": before(source.edge_cursor, [*edges, *freed]),
        "turn_cursor": before(source.turn_cursor, turns),
        "report": source.with_notes(rerun=True, partial=None if whole else True),
    }
