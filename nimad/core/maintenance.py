"""The work that can wait: done in small steps, when the daemon is idle or told to.

Order of the steps, most urgent first: finish a purge; encode memories that lost their vector; make
the blocks anew for another embedder; let the graph follow; seal hot vectors; drop forgotten
hypervectors; merge segments; forget old changes; keep what ranking needs in a file; fold the WAL
into the file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from nimad import heap
from nimad.core import purge, rebuild, segments
from nimad.errors import Degraded, DiskFull, NimadError
from nimad.store import words

if TYPE_CHECKING:
    from nimad.core.store import MemoryStore

log = logging.getLogger(__name__)

KEEP_CHANGES = 10_000
"""Rows of the change log kept although the graph has applied them."""
FOLD_BYTES = 256 * 1024
"""A WAL smaller than this stays: folding it would only write the same pages again."""


def step(store: MemoryStore) -> bool:
    """Do the most urgent piece; False when there was nothing to do.

    Raises Degraded or DiskFull when all that is left to do waits for an embedder or for room.
    """
    waits: NimadError | None = None
    for work in STEPS:
        try:
            if work(store):
                return True
        except (Degraded, DiskFull) as error:
            waits = waits or error
    if waits is not None:
        raise waits
    return False


def rest(store: MemoryStore) -> None:
    """Nothing is left to do: give back the memory that the work took."""
    if store.graph is not None:
        store.graph.rest()
    store.embedder.rest()
    heap.give_back()


def finish(store: MemoryStore, stop: Callable[[], bool] = lambda: False) -> None:
    """Do everything there is, until `stop` says so."""
    while not stop() and step(store):
        pass


def _purge(store: MemoryStore) -> bool:
    if store.records.meta("purge") is None:
        return False
    purge.finish_purge(store)
    return True


def _lost_vectors(store: MemoryStore) -> bool:
    if store.embedder_due:
        return False
    if store.lost_vectors:
        if segments.repair(store):
            return True
        log.info("the blocks are whole again")
    return store.health.restore("blocks")


def _embedder(store: MemoryStore) -> bool:
    if not store.embedder_due:
        return False
    work = store.begin_reencoding()
    if not work.step():
        rows = work.finish()
        log.info("encoded %d memories with the embedder %s", rows, store.embedder.name)
    return True


def _graph(store: MemoryStore) -> bool:
    if store.graph is None:
        return False
    if store.health.reason("graph") or store.graph.watermark < store.records.head():
        store.catch_up_graph()
        return True
    if store.graph.sparse:  # rows that came one by one take up to eight times the room
        rebuild.rebuild_graph(store)
        return True
    return False


def _words(store: MemoryStore) -> bool:
    if store.health.reason("words") is None:
        return False
    words.rebuild(store.records)
    store.health.restore("words")
    return True


def _hot(store: MemoryStore) -> bool:
    if store.blocks.stats()["hot"] < store.config["blocks.flush_rows"]:
        return False
    return segments.flush(store) > 0


def _dense(store: MemoryStore) -> bool:
    return store.dense.drop_forgotten()


def _merge(store: MemoryStore) -> bool:
    return segments.merge_small(store)


def _changes(store: MemoryStore) -> bool:
    upto = store.records.head() if store.graph is None else store.graph.watermark
    if upto - store.records.pruned_to() < KEEP_CHANGES:
        return False
    with store.records.write() as tx:
        tx.prune_changes(upto)
    return True


def _columns(store: MemoryStore) -> bool:
    return store.recall.keep()


def _fold(store: MemoryStore) -> bool:
    wal = store.records.path.with_name(store.records.path.name + "-wal")
    if wal.exists() and wal.stat().st_size > FOLD_BYTES:
        store.records.release_space()
    return False  # folding again at once would not help: a reader may hold the WAL


STEPS = (
    *(_purge, _lost_vectors, _embedder, _words, _graph, _hot, _dense, _merge, _changes),
    *(_columns, _fold),
)
