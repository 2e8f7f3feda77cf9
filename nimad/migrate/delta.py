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

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from nimad.core.store import MemoryStore
from nimad.disk.durable import crash_point
from nimad.disk.handed_over import check_handed_over
from nimad.errors import SourceChanged, UsageError
from nimad.legacy.detect import GRAPH
from nimad.legacy.source import LegacyEdge, Row
from nimad.legacy.sqlite import LegacyGraph
from nimad.legacy.values import identical, pack, unpack
from nimad.migrate import snapshots
from nimad.migrate.copy_stage import CHANGED
from nimad.migrate.verification import REMOVED
from nimad.model import Stage, now_ms
from nimad.store import source_delta, sources
from nimad.store.sources import Source

MOST_BYTES = 16 << 20
"""Largest delta; what is more comes as a whole snapshot [bytes]."""
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
    if delta is None or source.kind != GRAPH or source.snapshot is None:
        return {"name": name, "taken": False, "whole": True, "rows": {}}
    path = snapshots.path_of(store, source)
    with LegacyGraph.open(path) as graph:
        if delta.columns != graph.columns():
            return {"name": name, "taken": False, "whole": True, "rows": {}}
        kept = DeltaPlan(store, source, graph, delta)
        kept.sort()
        kept.commit()
    told = {kind: len(rows) for kind, rows in kept.rows.items()}
    return {"name": name, "taken": True, "whole": kept.bytes > KEPT_BYTES, "rows": told}


# --- reading --------------------------------------------------------------------------------------


def read(store: MemoryStore, fd: int, sha256: str, size: int) -> Delta | None:
    """What stands in the file behind `fd`; None when that is too much.

    Raises UsageError (no file of that size, or not what a delta looks like), SourceChanged.
    """
    if size > MOST_BYTES:
        return None
    if check_handed_over(fd, "migrate.append", store.state) != size:
        raise UsageError(detail="migrate.append needs the descriptor of a file of that size")
    data = os.pread(fd, size, 0)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise SourceChanged(path="the delivery", detail="it differs from what was announced")
    delta = Delta(rows={kind: {} for kind in source_delta.KINDS})
    try:
        lines = [json.loads(line) for line in data.splitlines()]
        delta.columns = {kind: tuple(lines[0][kind]) for kind in source_delta.KINDS}
        if not all(isinstance(name, str) for names in delta.columns.values() for name in names):
            raise TypeError("a column must have a name")
        for kind, key, *row in lines[1:]:
            _take(delta, kind, key, row)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise UsageError(detail=f"that is no delivery of migrate.append: {error}") from None
    return delta


def _take(delta: Delta, kind: str, key: Any, row: list[Any]) -> None:
    if isinstance(key, bool) or not isinstance(key, int) or not -(1 << 63) <= key < 1 << 63:
        raise ValueError("a key must be a whole number of 64 bits")
    if kind == "gone":
        delta.gone.append(key)
        return
    values = tuple(_value(value) for value in row)
    if len(values) != len(delta.columns[kind]):
        raise ValueError("a row must have a value for each column")
    delta.rows[kind][key] = values


def _value(packed: Any) -> Any:
    value = unpack(packed)
    if isinstance(value, bool) or not isinstance(value, (str, int, float, bytes, type(None))):
        raise TypeError("a value must be one that SQLite has")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise ValueError("a number must have at most 64 bits")
    if isinstance(value, str):
        value.encode()  # a lone surrogate is a ValueError
    return value


# --- sorting it out -------------------------------------------------------------------------------


class DeltaPlan:
    """What of a delta is new, and what else is to be noted."""

    def __init__(
        self, store: MemoryStore, source: Source, graph: LegacyGraph, delta: Delta
    ) -> None:
        self._store, self._source, self._graph, self._delta = store, source, graph, delta
        self._mapper = graph.mapper(source.name)
        self.rows: dict[str, dict[int, Row]] = {kind: {} for kind in source_delta.KINDS}
        self._notes: list[tuple[str, str | int, str]] = []
        self._added = 0
        self.bytes = 0

    def sort(self) -> None:
        """Decide on every row."""
        self._sort_nodes()
        here = sources.relation_keys(self._store.records, self._source.id)
        for key, row in self._delta.rows["edge"].items():
            if key not in here:  # of one that is here the first version is kept
                self.rows["edge"][key] = row
        self.rows["turn"] = dict(self._delta.rows["turn"])

    def _sort_nodes(self) -> None:
        records, source = self._store.records, self._source
        nodes = self._delta.rows["node"]
        memories = sources.memories(records, source.id, nodes)
        gone = sources.memory_ids(records, source.id, self._delta.gone)
        forgotten = sources.quarantined_keys(records, source.id, "forgotten")
        known = source_delta.keys(records, source.id, "node")
        start = source.note("start_after")
        refused = sources.quarantined_keys(records, source.id, "node")
        for key, row in nodes.items():
            memory = memories.get(key)
            if memory is not None:
                if not identical(self._mapper.row(memory), row):
                    self._notes.append(("changed", key, CHANGED))
            elif key not in forgotten and (start is None or key > start):
                self.rows["node"][key] = row
                self._added += key not in known and key not in refused
        self._notes += [("removed", key, REMOVED) for key in gone]

    # --- the transaction ------------------------------------------------------------------------

    def commit(self) -> None:
        """Keep what is new, and send the source on its way; nothing else when nothing is."""
        source, packed = (
            self._source,
            [
                (kind, key, [pack(value) for value in row])
                for kind, rows in self.rows.items()
                for key, row in rows.items()
            ],
        )
        fields: dict[str, Any] = {"follow": now_ms()}
        if packed:
            fields |= self._moving()
        with self._store.records.write() as tx:
            source_delta.add(tx, source.id, packed)
            sources.quarantine(tx, source.id, self._notes)
            sources.update(tx, source.id, **fields)
            self.bytes = source_delta.size_bytes(tx, source.id)
        crash_point("migrate.appended")

    def _moving(self) -> dict[str, Any]:
        """The columns that begin another round."""
        source = self._source
        whole = source.stage not in (Stage.VERIFIED, Stage.LAZY) and not source.note("partial")
        report = source.with_notes(rerun=True, partial=None if whole else True)
        return {
            "stage": Stage.ATTACHED,
            "total": source.total + self._added,
            "total_edges": source.total_edges + len(self.rows["edge"]),
            "total_turns": max(source.total_turns, source.turns + len(self.rows["turn"])),
            "node_cursor": self._behind(source.node_cursor, self.rows["node"]),
            "edge_cursor": self._behind(source.edge_cursor, [*self.rows["edge"], *self._freed()]),
            "turn_cursor": self._behind(source.turn_cursor, self.rows["turn"]),
            "report": report,
        }

    def _behind(self, cursor: int, keys: Iterable[int]) -> int:
        return min([cursor, *(key - 1 for key in keys)])

    def _freed(self) -> Iterator[int]:
        """Edges that waited for a memory which comes now."""
        waiting = sorted(sources.quarantined_keys(self._store.records, self._source.id, "edge"))
        for key in waiting[:RETRIED]:
            for edge in self._graph.edges(key - 1, 1):
                if not isinstance(edge, LegacyEdge) or edge.key != key:
                    continue
                if {edge.source, edge.target} & self.rows["node"].keys():
                    yield key
