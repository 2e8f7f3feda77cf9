"""Making a projection anew from the records while the old one serves.

Crash prose of rebuilding the blocks: segments are written one after the other, unlisted; a crash
leaves files that the next start removes.  One transaction then lists the new ones, unlists the
old ones, re-encodes the hot rows and notes the embedder; after it the new blocks count.  Old files
are deleted last.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nimad.core import vectors
from nimad.core.recovery import signature
from nimad.disk.durable import crash_point
from nimad.embed.base import Embedder
from nimad.errors import Degraded, UsageError
from nimad.index.blocks import BlockIndex, SegmentInfo
from nimad.model import now_ms
from nimad.store import words
from nimad.store.transaction import Transaction

if TYPE_CHECKING:
    from nimad.core.store import MemoryStore

PARTS = ("words", "blocks", "graph")
PAGE = 2000
"""Memories read and encoded at a time."""


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
        store.out_of_service.pop("words", None)
        return rows


def rebuild_graph(store: MemoryStore) -> int:
    """Project every memory into a new graph; the number of memories."""
    if store.graph is None:
        reason = store.out_of_service.get("graph", "graph.engine is none")
        raise Degraded(part="graph", detail=reason)
    with store.maintenance:
        store.graph.rebuild(store.records)
        store.out_of_service.pop("graph", None)
        return store.graph.counts()["memories"]


def rebuild_blocks(store: MemoryStore) -> int:
    """Encode every memory again, with the configured embedder; the number of memories."""
    with store.maintenance:
        embedder = store.wanted_embedder
        index = BlockIndex(store.blocks.directory, embedder.dims)
        made, covered = _write_segments(store, embedder, index)
        crash_point("rebuild.written")
        old = store.records.segment_names()
        with store.records.exclusive():
            with store.records.write() as tx:
                tx.unlist_segments(old)
                for info in made:
                    tx.list_segment(info, now_ms())
                gone = _bury_all(tx, covered)
                late = _refill_hot(tx, embedder, int(covered[-1]) if len(covered) else 0)
                _catch_up_sources(tx, int(covered[-1]) if len(covered) else 0)
                tx.set_meta("embedder", signature(embedder))
            crash_point("rebuild.listed")
            index.open([info.name for info in made])
            index.append(*vectors.from_hot(late, embedder.dims))
            index.remove(np.array(gone, np.int64))
            store.blocks, store.embedder = index, embedder
            store.embedder_due = False
            store.lost_vectors = []
            store.out_of_service.pop("blocks", None)
        for name in old:
            index.path(name).unlink(missing_ok=True)
        return len(covered)


def _write_segments(
    store: MemoryStore, embedder: Embedder, index: BlockIndex
) -> tuple[list[SegmentInfo], np.ndarray]:
    """Write segments of every memory; their infos, and int64[n] ids covered, sorted."""
    made: list[SegmentInfo] = []
    covered: list[np.ndarray] = []
    first = int(vectors.new_segment_name(store.records, store.blocks).split("-")[1])
    pending: list[tuple[np.ndarray, np.ndarray]] = []
    after, rows = 0, 0
    while True:
        page = store.records.texts(after, PAGE)
        if page:
            after = page[-1][0]
            ids = np.array([i for i, _ in page], np.int64)
            pending.append((ids, vectors.encode(embedder, [text for _, text in page])))
            rows += len(page)
        if pending and (not page or rows >= vectors.SEAL_ROWS):
            ids = np.concatenate([part[0] for part in pending])
            name = f"seg-{first + len(made):08d}"
            made.append(index.write_segment(name, ids, np.concatenate([p[1] for p in pending])))
            covered.append(ids)
            pending, rows = [], 0
        if not page:
            return made, np.concatenate(covered) if covered else np.empty(0, np.int64)


def _bury_all(tx: Transaction, covered: np.ndarray) -> list[int]:
    """Only what was forgotten while the segments were written needs a tombstone."""
    alive = np.array([r[0] for r in tx.rows("SELECT id FROM memories ORDER BY id")], np.int64)
    gone = [int(i) for i in np.setdiff1d(covered, alive, assume_unique=True)]
    tx.execute("DELETE FROM tombstones")
    tx.many("INSERT INTO tombstones (id) VALUES (?)", [(i,) for i in gone])
    return gone


def _refill_hot(tx: Transaction, embedder: Embedder, covered: int) -> list[tuple[int, bytes]]:
    """Hot are the memories that came while the segments were written, in the new embedding."""
    late = tx.rows(
        "SELECT id, text FROM memories WHERE id > ? AND id IN (SELECT id FROM hot) ORDER BY id",
        (covered,),
    )
    tx.execute("DELETE FROM hot")
    hot = vectors.to_hot([i for i, _ in late], vectors.encode(embedder, [text for _, text in late]))
    tx.add_hot(hot)
    return hot


def _catch_up_sources(tx: Transaction, covered: int) -> None:
    """A source's memories up to `covered` are encoded now: its cursor must not do them again."""
    tx.execute(
        "UPDATE sources SET encode_cursor = max(encode_cursor, coalesce((SELECT max(id) FROM"
        " memories WHERE source = sources.id AND id <= ?1), 0)), encoded = (SELECT count(*) FROM"
        " memories WHERE source = sources.id AND (id <= max(encode_cursor, ?1)"
        " OR id IN (SELECT id FROM hot)))",
        (covered,),
    )
    tx.execute(  # whoever encoded only what was asked for has all now
        "UPDATE sources SET stage = 'verified', verified = encoded WHERE stage = 'lazy' AND"
        " encode_cursor >= (SELECT coalesce(max(id), 0) FROM memories WHERE source = sources.id)"
    )
