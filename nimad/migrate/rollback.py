"""Undoes a migration: exactly what came from one source leaves records, words, blocks and graph.

Crash prose:

1. one transaction sets the stage to `rolling_back`: after a crash it goes on by itself;
2. memories leave in batches, each one transaction with its counter, words, vectors and relations;
3. one transaction deletes what is left of turns, notes and quarantine and sets `rolled_back`;
4. the snapshot is deleted; a crash before that leaves a file that no row names: swept at start;
5. segments that held the vectors are rewritten, the graph is dropped, free pages are cut off.

Memories that came by other ways stay, also those remembered while it runs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nimad.core.store import MemoryStore
from nimad.disk.durable import crash_point
from nimad.migrate import snapshots
from nimad.migrate.run import Run
from nimad.model import Stage
from nimad.store import hypervector_files, rows, source_delta, sources
from nimad.store.sources import Source

BATCH = 1000
"""Memories deleted in one transaction."""

_COUNTERS = ("copied", "relations", "turns", "encoded", "total_dense", "converted", "follow")
CLEAN = {
    **sources.BEGIN,
    **dict.fromkeys((*_COUNTERS, "encode_cursor", "dense_cursor"), 0),
    "stage": Stage.ROLLED_BACK,
    "snapshot": None,
    "report": None,
}
"""A source of which nothing is here."""


def begin(store: MemoryStore, source: Source) -> None:
    """Decide it: what follows survives a crash."""
    sources.change(store.records, source.id, stage=Stage.ROLLING_BACK, error=None, paused=0)
    crash_point("rollback.begun")


def roll_back(run: Run) -> Iterator[None]:
    """The stage `rolling_back`, one batch at a time."""
    store, source = run.store, run.source()
    some = "SELECT id FROM memories WHERE source = ? ORDER BY id LIMIT ?"
    while store.records.rows(some, (source.id, 1)):
        with store.records.exclusive():
            with store.records.write() as tx:
                ids = [number for (number,) in tx.rows(some, (source.id, BATCH))]
                tx.delete_memories(ids)
                sources.advance(tx, source.id, copied=-len(ids))
            store.blocks.remove(np.array(ids, np.int64))
        crash_point("rollback.batch")
        yield
    run.close()
    with store.records.write() as tx:
        turns = tx.rows("DELETE FROM turns WHERE source = ? RETURNING id", (source.id,))
        tx.note_spans("delete", "turn", rows.ranges(sorted(number for (number,) in turns)))
        source_delta.forget(tx, source.id)
        tx.execute("DELETE FROM quarantine WHERE source = ?", (source.id,))
        sources.update(tx, source.id, **CLEAN)
        dense = hypervector_files.remove(tx, source.id)
        hypervector_files.remove_items(tx, source.id)
    crash_point("rollback.emptied")
    store.dense.files.remove(dense)
    if source.snapshot is not None:
        snapshots.delete(store, source.snapshot)
    yield
    with store.maintenance:  # give the space back: vectors, the graph, words, pages
        store.semantic.rewrite_segments_with(store.records.tombstones())
        store.graph.drop()
        store.words.drop_forgotten()
        store.records.release_space()


def removed(store: MemoryStore, source: Source) -> dict[str, int]:
    """What a rollback would remove now."""
    count = store.records.value
    memories = count("SELECT count(*) FROM memories WHERE source = ?", (source.id,))
    relations = count("SELECT count(*) FROM relations WHERE source = ?", (source.id,))
    turns = count("SELECT count(*) FROM turns WHERE source = ? AND listed", (source.id,))
    return {"memories": int(memories), "relations": int(relations), "turns": int(turns)}
