"""Counts what a snapshot holds, by reading all of it: damage shows before anything is taken over.

Rows are looked at but not turned into memories: half the time.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

from nimad.legacy.mapping import text_problem
from nimad.legacy.rows import pages
from nimad.legacy.source import LegacyEdge, LegacyTurn, Row, Totals, Unreadable

if TYPE_CHECKING:
    from nimad.legacy.sqlite import LegacyGraph

PAGE = 1000
MAX_LAYERS = 32
"""So many different layers are counted by name; a hostile file may have one per row."""


def survey(graph: LegacyGraph) -> Totals:
    """Read every row once.  Raises SourceCorrupt.  Cost: the whole file, 8 bytes a memory."""
    totals = Totals()
    ids = _nodes(graph, totals)
    for edge in pages(lambda after: graph.edges(after, PAGE), lambda row: row.key):
        totals.edges += 1
        if isinstance(edge, LegacyEdge):
            _check_ends(edge, ids, totals)
        else:
            _count_unreadable(edge, totals)
    for turn in pages(lambda after: graph.turns(after, PAGE), lambda row: row.key):
        totals.turns += 1
        if not isinstance(turn, LegacyTurn):
            _count_unreadable(turn, totals)
    return totals


def _nodes(graph: LegacyGraph, totals: Totals) -> array[int]:
    """Count the memories; the ids of the readable ones, sorted because they come so."""
    names = [name.lower() for name in graph.shape.nodes]
    text_at, layer_at = names.index("text"), names.index("layer")
    layers: Counter[str] = Counter()
    ids = array("q")
    for key, row in pages(lambda after: graph.raw_nodes(after, PAGE), lambda item: item[0]):
        totals.nodes += 1
        if reason := _reason(row, text_at):
            _count_unreadable(Unreadable("node", key, reason), totals)
            continue
        ids.append(key)
        layer, text = str(row[layer_at]), row[text_at]
        layers[layer if layer in layers or len(layers) < MAX_LAYERS else "(others)"] += 1
        totals.text_bytes += len(text.encode()) if isinstance(text, str) else 0
        totals.blob_bytes += sum(len(value) for value in row if isinstance(value, bytes))
    totals.by_layer = dict(sorted(layers.items()))
    return ids


def _reason(row: Row | str, text_at: int) -> str | None:
    return row if isinstance(row, str) else text_problem(row[text_at])


def _check_ends(edge: LegacyEdge, ids: array[int], totals: Totals) -> None:
    missing = next((key for key in (edge.source, edge.target) if not _has(ids, key)), None)
    if missing is not None:
        totals.dangling += 1
        totals.refuse(Unreadable("edge", edge.key, f"memory {missing} does not exist"))


def _has(ids: array[int], key: int) -> bool:
    at = bisect_left(ids, key)
    return at < len(ids) and ids[at] == key


def _count_unreadable(row: Unreadable, totals: Totals) -> None:
    totals.unreadable += 1
    totals.refuse(row)
