"""A snapshot of a NIMA graph database as memories, edges and turns; what it holds is hostile.

How the file is kept from doing harm is told in hostile_reader.py; how a row becomes a memory in
mapping.py.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, TypeGuard

from nimad import times
from nimad.closing import Closing
from nimad.legacy.hostile_reader import RowReader, in_steps, open_reader, pages
from nimad.legacy.mapping import Mapped, NodeMapper, text_problem
from nimad.legacy.schema import EDGES, NODES, TURNS, Shape
from nimad.legacy.source import (
    DenseRows,
    LegacyEdge,
    LegacyNode,
    LegacyTurn,
    Row,
    Totals,
    Unreadable,
)
from nimad.legacy.values import Value, pack
from nimad.model import Memory

EMBEDDING_BYTES = 384 * 4
"""Length of a whole embedding: 384 float32 [bytes]."""
EDGE_COLUMNS = ("source_id", "target_id", "relation", "weight")
TURN_COLUMNS = (
    "turn_id",
    "input_node_id",
    "contemplation_node_id",
    "output_node_id",
    "timestamp",
    "affect_json",
)
PAGE = 250
MAX_LAYERS = 32
"""Layers that are counted by name at most; a hostile file may have one in each row."""


class LegacyGraph(Closing):
    """A snapshot, open for reading by its `reader`.  Used by one thread at a time."""

    zone: tzinfo = UTC

    def __init__(self, reader: RowReader, shape: Shape) -> None:
        self.reader, self.shape = reader, shape
        edges, turns = shape.edges, shape.turns
        self._more_of_edges = _unmodelled(edges, EDGE_COLUMNS)
        self._more_of_turns = _unmodelled(turns, TURN_COLUMNS)
        self._tables = {
            "node": (NODES, shape.nodes, shape.nodes),
            "edge": (EDGES, edges, EDGE_COLUMNS + self._more_of_edges if edges else ()),
            "turn": (TURNS, turns, TURN_COLUMNS + self._more_of_turns if turns else ()),
        }

    @classmethod
    def open(cls, path: Path) -> LegacyGraph:
        """Open a snapshot (a database without a write-ahead log, as `take_snapshot` makes it).

        Raises SourceNotRecognised and SourceCorrupt.
        """
        return LegacyGraph(*open_reader(path))

    def close(self) -> None:
        """Close the file."""
        self.reader.close()

    @property
    def schema(self) -> int:
        """1 or 3."""
        return self.shape.schema

    def dense(self) -> DenseRows | None:
        """A graph database holds no hypervectors: its embeddings come over with their rows."""
        return None

    def mapper(self, name: str) -> NodeMapper:
        """What turns this store's rows into memories of the source `name`, and back."""
        made = NodeMapper(self.shape.nodes, name, EMBEDDING_BYTES)
        made.zone = self.zone
        return made

    def nodes(
        self, mapper: NodeMapper, after: int | None, limit: int
    ) -> list[LegacyNode | Unreadable]:
        """Up to `limit` memories after the id `after` (None: the first), by id.

        Only an empty page is the end.  Raises SourceCorrupt, and MemoryError when a page of this
        size does not fit.
        """
        found: list[LegacyNode | Unreadable] = []
        for key, row in in_steps(self.raw_rows("node", after, limit), self.reader.give_way):
            if isinstance(row, str):
                found.append(Unreadable("node", key, row))
            elif problem := mapper.problem(row):
                found.append(Unreadable("node", key, problem))
            else:
                found.append(_Node(mapper, key, row))
        return found

    def edges(self, after: int | None, limit: int) -> list[LegacyEdge | Unreadable]:
        """Up to `limit` edges after the id `after`; otherwise as `nodes`."""
        rows = in_steps(self.raw_rows("edge", after, limit), self.reader.give_way)
        return [_edge(key, row, self._more_of_edges) for key, row in rows]

    def turns(self, after: int | None, limit: int) -> list[LegacyTurn | Unreadable]:
        """Up to `limit` turns after the id `after`; otherwise as `nodes`."""
        rows = in_steps(self.raw_rows("turn", after, limit), self.reader.give_way)
        return [_turn(key, row, self._more_of_turns, self.zone) for key, row in rows]

    def columns(self) -> dict[str, tuple[str, ...]]:
        """Kind -> the columns of its raw rows, in order; none for a table that is missing."""
        return {kind: columns for kind, (_, _, columns) in self._tables.items()}

    def raw_rows(self, kind: str, after: int | None, limit: int) -> list[tuple[int, Row | str]]:
        """As `nodes`, but (id, the row itself or why SQLite could not hand it over) of a kind."""
        table, stored, columns = self._tables[kind]
        return self.reader.page(table, stored, columns, after, limit) if columns else []

    def survey(self) -> Totals:
        """Count what it holds by reading every row once: damage shows before anything comes over.

        Rows are looked at but not turned into memories: half the time.  Raises SourceCorrupt.
        Cost: the whole file, 8 bytes a memory.
        """
        totals = Totals()
        ids = self._survey_nodes(totals)
        for edge in pages(lambda after: self.edges(after, PAGE), lambda row: row.key):
            totals.edges += 1
            if isinstance(edge, Unreadable):
                totals.count_unreadable(edge)
                continue
            ends = (edge.source, edge.target)
            # a look-up in an ascending array: a slice of one, or of none
            missing = [k for k in ends if k not in ids[(at := bisect_left(ids, k)) : at + 1]]
            if missing:
                totals.dangling += 1
                totals.refuse(Unreadable("edge", edge.key, f"memory {missing[0]} does not exist"))
        for turn in pages(lambda after: self.turns(after, PAGE), lambda row: row.key):
            totals.turns += 1
            if isinstance(turn, Unreadable):
                totals.count_unreadable(turn)
        return totals

    def _survey_nodes(self, totals: Totals) -> array[int]:
        """Count the memories; the ids of the readable ones, sorted because they come so."""
        names = [name.lower() for name in self.shape.nodes]
        text_at, layer_at, time_at = map(names.index, ("text", "layer", "timestamp"))
        layers: Counter[str] = Counter()
        ids = array("q")
        rows = pages(lambda after: self.raw_rows("node", after, PAGE), lambda r: r[0])
        for key, row in in_steps(rows, self.reader.give_way):
            totals.nodes += 1
            if reason := row if isinstance(row, str) else text_problem(row[text_at]):
                totals.count_unreadable(Unreadable("node", key, reason))
                continue
            ids.append(key)
            totals.count_time(row[time_at], self.zone)
            layer, text = str(row[layer_at]), row[text_at]
            layers[layer if layer in layers or len(layers) < MAX_LAYERS else "(others)"] += 1
            if isinstance(text, str):
                totals.text_bytes += len(text) if text.isascii() else len(text.encode())
            totals.blob_bytes += sum([len(value) for value in row if isinstance(value, bytes)])
        totals.by_layer = dict(sorted(layers.items()))
        if ids:
            totals.first_key, totals.last_key = ids[0], ids[-1]
        return ids


class Overlay(LegacyGraph):
    """A snapshot, and over it the rows that came later: read as one source.

    `later` are (kind "node", "edge" or "turn", key, row), the rows in the order of `columns`; each
    takes the place of the snapshot's row with its key.  `alone`: only the later rows are read.
    Its survey is that of the snapshot.  Closing it closes the snapshot.
    """

    def __init__(
        self, snapshot: LegacyGraph, later: Iterable[tuple[str, int, Row]], alone: bool = False
    ) -> None:
        super().__init__(snapshot.reader, snapshot.shape)
        self.zone = snapshot.zone
        self._snapshot, self._alone = snapshot, alone
        self._rows: dict[str, dict[int, Row]] = {kind: {} for kind in self._tables}
        for kind, key, row in later:
            self._rows[kind][key] = row
        self._keys = {kind: sorted(rows) for kind, rows in self._rows.items()}

    def survey(self) -> Totals:
        """See above."""
        return self._snapshot.survey()

    def raw_rows(self, kind: str, after: int | None, limit: int) -> list[tuple[int, Row | str]]:
        """As `LegacyGraph.raw_rows`."""
        page = [] if self._alone else self._snapshot.raw_rows(kind, after, limit)
        keys, rows = self._keys[kind], self._rows[kind]
        first = 0 if after is None else bisect_right(keys, after)
        last = bisect_right(keys, page[-1][0]) if page else len(keys)
        merged: dict[int, Row | str] = dict(page)
        merged.update((key, rows[key]) for key in keys[first:last])
        return sorted(merged.items())[:limit]


# --- rows ---------------------------------------------------------------------------------------


class _Node(LegacyNode):
    """A node whose memory is made when it is asked for: comparing rows does without."""

    __slots__ = ("_mapped", "_mapper")
    _mapper: NodeMapper
    _mapped: Mapped | None

    def __init__(self, mapper: NodeMapper, key: int, row: Row) -> None:
        put = object.__setattr__
        put(self, "key", key)
        put(self, "row", row)
        put(self, "_mapper", mapper)
        put(self, "_mapped", None)

    def _made(self) -> Mapped:
        mapped = self._mapped
        if mapped is None:
            mapped = self._mapper.memory(self.row)
            object.__setattr__(self, "_mapped", mapped)
        return mapped

    @property
    def memory(self) -> Memory:
        return self._made().memory

    @property
    def notes(self) -> list[tuple[str, str]]:
        return self._made().notes


def _unmodelled(stored: tuple[str, ...], modelled: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of a table that go to `extra`; `id` is the row's key."""
    return tuple(name for name in stored if name.lower() not in (*modelled, "id"))


def _extra(names: tuple[str, ...], values: list[Value]) -> dict[str, Any] | None:
    if not names:
        return None
    kept = zip(names, values, strict=True)
    return {name: pack(value) for name, value in kept if value is not None} or None


def _edge(key: int, row: Row | str, more: tuple[str, ...]) -> LegacyEdge | Unreadable:
    if isinstance(row, str):
        return Unreadable("edge", key, row)
    source, target, relation, weight, *others = row
    if not isinstance(source, int) or not isinstance(target, int):
        return Unreadable("edge", key, "its ends are not two ids")
    if not isinstance(relation, str):
        return Unreadable("edge", key, "its relation is not readable text")
    if weight is not None and not isinstance(weight, (int, float)):
        return Unreadable("edge", key, "its weight is not a number")
    strength = None if weight is None else float(weight)
    return LegacyEdge(key, source, target, relation, strength, _extra(more, others))


def _is_member(value: Value) -> TypeGuard[int | None]:
    return value is None or isinstance(value, int)


def _turn(key: int, row: Row | str, more: tuple[str, ...], zone: tzinfo) -> LegacyTurn | Unreadable:
    if isinstance(row, str):
        return Unreadable("turn", key, row)
    name, first, second, third, timestamp, affect, *others = row
    if not isinstance(name, str):
        return Unreadable("turn", key, "its turn_id is not readable text")
    if not (_is_member(first) and _is_member(second) and _is_member(third)):
        return Unreadable("turn", key, "one of its members is not an id")
    try:
        at = 0 if timestamp == 0 else times.read(timestamp, zone).at
    except ValueError:
        return Unreadable("turn", key, "its timestamp is no time")
    if affect is not None and not isinstance(affect, str):
        return Unreadable("turn", key, "its affect is not readable text")
    if at != timestamp:
        more, others = (*more, "timestamp"), [*others, timestamp]
    extra = _extra(more, others)
    return LegacyTurn(key, name, first, second, third, at, affect, extra)
