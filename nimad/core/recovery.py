"""What a start puts right before the daemon says READY.

| a crash left | what is done |
|---|---|
| temporary files anywhere in the state directory | removed |
| a segment file that no row names | removed: its rows are still in `hot` or behind a cursor |
| an index half made anew | goes on when the same embedder is still wanted, else removed |
| a listed segment, damaged or missing | set aside; its memories are encoded again when idle |
| a graph that does not open | set aside and rebuilt in idle time |
| a purge that was not finished | finished in idle time (core/purge) |
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nimad.config import Config
from nimad.core import segments
from nimad.disk.durable import set_aside, sweep_temporary
from nimad.embed.absent import AbsentEmbedder
from nimad.embed.base import Embedder, signature
from nimad.embed.registry import get_embedder
from nimad.errors import EmbedderMissing, NimadError, TableDamaged
from nimad.graph.engine import GraphLimits
from nimad.graph.projection import GraphProjection
from nimad.index.blocks import BlockIndex, Damage
from nimad.probe import memory
from nimad.store import staged_segments
from nimad.store.records import Records

if TYPE_CHECKING:
    from nimad.core.store import MemoryStore

log = logging.getLogger(__name__)


def sweep(state: Path) -> None:
    """Remove temporary files that a crash left."""
    parts = ("blocks", "dense", "graph", "snapshots")
    for directory in (state, *(state / part for part in parts)):
        for name in sweep_temporary(directory):
            log.info("removed %s, which an interrupted write had left", name)


def wanted_embedder(store: MemoryStore) -> Embedder:
    """The configured embedder.  One that is not there does not keep the memories from being found:
    the vectors that it made stay, and queries go by words; those of another serve on.

    Raises EmbedderMissing, TableDamaged: in a store that has no vectors yet.
    """
    name = store.config["embedder"]
    try:
        return get_embedder(name, store.config)
    except (EmbedderMissing, TableDamaged) as error:
        stored = store.records.meta("embedder")
        if stored is None:
            raise
        reason = f"{error.message}. {error.next_step}"
        log.error("%s", reason)
        if str(stored).partition(":")[0] == name:
            return AbsentEmbedder(stored, reason)
        serving = get_embedder(str(stored).partition(":")[0], store.config)
        store.health.fail("embedder", reason)
        return serving


def open_embedder(records: Records, wanted: Embedder, config: Config) -> tuple[Embedder, bool]:
    """The embedder that fits the stored vectors, and whether they are to be made anew.

    While the configured one differs, the old one serves until the rebuild; when the old one does
    not exist any more, its vectors cannot be compared with anything.
    """
    stored = records.meta("embedder")
    if stored is None:
        with records.write() as tx:
            tx.set_meta("embedder", signature(wanted))
        return wanted, False
    if stored == signature(wanted):
        return wanted, False
    try:
        old = get_embedder(str(stored).split(":", 1)[0], config)
    except NimadError:
        return wanted, True
    return (old if signature(old) == stored else wanted), True


def open_blocks(store: MemoryStore, embedder: Embedder) -> BlockIndex:
    """Map the listed segments, load the hot vectors, lay the tombstones.

    Damage is set aside and told to `store.health`; it never stops the start.
    """
    records, index = store.records, BlockIndex(store.state / "blocks", embedder.dims)
    stale = records.meta("embedder") != signature(embedder)
    names = records.segment_names()
    if stale:  # vectors of an embedder that is gone: kept on disk until the rebuild replaces them
        store.health.fail("blocks", "the vectors are of another embedder; a rebuild is due")
        index.open([])
        return index
    damaged = index.open(names)
    for damage in damaged:
        log.error("segment %s: %s", damage.name, damage.error.message)
        path = index.path(damage.name)
        if path.exists():
            set_aside(path, store.state / "aside")
    if damaged:
        store.health.fail("blocks", f"{len(damaged)} damaged segment(s) are being made anew")
        with records.write() as tx:
            tx.unlist_segments([damage.name for damage in damaged])
    spared = _spared(store)
    for path in index.unlisted():
        if path.stem in spared:
            continue
        log.info("removed %s, a segment that was never committed", path.name)
        path.unlink()
    index.append(*segments.from_hot(records.hot(), embedder.dims))
    index.remove(np.array(records.tombstones(), np.int64))
    return index


def _spared(store: MemoryStore) -> set[str]:
    """Segments of an index that is being made anew and goes on; other notes are forgotten."""
    wanted = signature(store.wanted_embedder) if store.embedder_due else None
    with store.records.write() as tx:
        staged_segments.forget_others(tx, wanted)
    return set(staged_segments.names(store.records))


def retire_damaged(store: MemoryStore) -> list[Damage]:
    """Read every byte of the segments; damaged ones are set aside and made anew in idle time.

    Queries go on with the rest.  Crash prose: a crash after the file was moved leaves a listed
    segment without a file, which the next start treats as damaged; one after the transaction
    leaves memories without a vector, which every start looks for.
    """
    with store.maintenance:
        damaged = store.blocks.verify()
        if not damaged:
            return []
        names = [damage.name for damage in damaged]
        for damage in damaged:
            log.error("segment %s: %s", damage.name, damage.error.message)
            set_aside(store.blocks.path(damage.name), store.state / "aside")
        store.health.fail("blocks", f"{len(names)} damaged segment(s) are being made anew")
        with store.records.write() as tx:
            tx.unlist_segments(names)
        store.blocks.publish([], names)
        store.lost_vectors = missing_vectors(store)
    store.on_change()
    return damaged


def missing_vectors(store: MemoryStore) -> list[int]:
    """Ids whose vector was lost: not in the blocks, and not waiting behind a source's cursor."""
    records = store.records
    lost = np.setdiff1d(records.ids(), store.blocks.ids(), assume_unique=True)
    for source, cursor in records.rows("SELECT id, encode_cursor FROM sources"):
        waiting = records.rows(
            "SELECT id FROM memories WHERE source = ? AND id > ?", (source, cursor)
        )
        lost = np.setdiff1d(lost, np.array([r[0] for r in waiting], np.int64))
    return [int(i) for i in lost]


def open_graph(store: MemoryStore) -> GraphProjection | None:
    """Open the graph; one that is damaged is set aside and a fresh one follows the records anew."""
    engine = store.config["graph.engine"]
    if engine == "none":
        return None
    graph = GraphProjection(store.state / "graph", engine, graph_limits(store.config))
    try:
        graph.open()
    except NimadError as error:
        if error.code != "graph_failed":
            store.health.fail("graph", error.message)
            log.error("%s %s", error.message, error.next_step)
            return None
        log.error("%s It is set aside and made anew.", error.message)
        for path in graph.files():
            set_aside(path, store.state / "aside")
        graph.open()
        store.health.fail("graph", "it was damaged and is being made anew")
    if graph.watermark < store.records.pruned_to() or graph.watermark > store.records.head():
        store.health.fail("graph", "it does not fit the records and is being made anew")
    return graph


def graph_limits(config: Config) -> GraphLimits:
    """Pool and address space from the configuration, sized to the board where it says 0."""
    pool = config["graph.buffer_pool_mb"] << 20
    limits = GraphLimits.for_memory(memory.total_memory())
    return GraphLimits(
        buffer_pool_bytes=pool or limits.buffer_pool_bytes,
        max_db_size_bytes=config["graph.max_db_size_mb"] << 20,
    )
