"""Making a projection anew from the records while the old one serves (blocks: reencoding.py)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nimad.errors import Degraded, UsageError
from nimad.store import words

if TYPE_CHECKING:
    from nimad.core.store import MemoryStore

PARTS = ("words", "blocks", "graph")


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild made: rows, and how long it took [seconds]."""

    rows: int
    seconds: float


def rebuild(store: MemoryStore, part: str) -> dict[str, Rebuilt]:
    """Make "words", "blocks", "graph" or "all" anew. Raises UsageError, Degraded (no graph)."""
    if part not in (*PARTS, "all"):
        raise UsageError(detail=f"there is no part {part!r}; parts are {', '.join(PARTS)} and all")
    made: dict[str, Rebuilt] = {}
    for name in PARTS if part == "all" else (part,):
        if name == "graph" and store.graph is None and part == "all":
            continue
        began = time.perf_counter()
        rows = {"words": rebuild_words, "blocks": rebuild_blocks, "graph": rebuild_graph}[name](
            store
        )
        made[name] = Rebuilt(rows, round(time.perf_counter() - began, 3))
    return made


def rebuild_words(store: MemoryStore) -> int:
    """Index every memory's text again; the number of memories."""
    with store.maintenance:
        rows = words.rebuild(store.records)
        store.health.restore("words")
        return rows


def rebuild_graph(store: MemoryStore) -> int:
    """Project every memory into a new graph; the number of memories."""
    if store.graph is None:
        reason = store.health.reason("graph") or "graph.engine is none"
        raise Degraded(part="graph", detail=reason)
    with store.maintenance:
        store.graph.rebuild(store.records)
        store.health.restore("graph")
        return store.graph.counts()["memories"]


def rebuild_blocks(store: MemoryStore) -> int:
    """Encode every memory again, with the configured embedder; the number of memories.

    Goes on where an earlier one for the same embedder stopped; others may work between the steps.
    """
    if not store.embedder_due:
        store.reencoding = None
    return store.begin_reencoding().finish()
