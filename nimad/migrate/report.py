"""What people are told of a source: before (the dry run's report) and meanwhile (the status)."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from nimad import probe
from nimad.core import vectors
from nimad.core.status import disk
from nimad.core.store import MemoryStore
from nimad.legacy.source import LegacyNode, LegacySource, Totals
from nimad.migrate import ledger
from nimad.migrate.batcher import Batcher
from nimad.migrate.progress import WEIGHTS, Progress
from nimad.migrate.run import Run, bounds
from nimad.store.sources import Source

SAMPLE_ROWS = 200
"""Memories that are read and encoded to estimate how long all will take."""
ROW_BYTES = 900
"""Disk that a memory takes besides its text: index, vector, graph [bytes]."""


def describe(
    store: MemoryStore,
    graph: LegacySource,
    totals: Totals,
    known: Source | None,
    batch_size: int,
    backup_bytes: int,
) -> dict[str, Any]:
    """The report of docs/protocol.md, migrate.attach: counts, sizes, estimates, refusals.

    `backup_bytes` is the size of the snapshot, which is kept.
    """
    already = 0
    if known is not None and known.stage != "rolled_back":
        sql = "SELECT count(*) FROM memories WHERE source = ?"
        already = int(store.records.value(sql, (known.id,)))
    size = Batcher(bounds(store.config, gated=False), batch_size).next_size()
    return {
        "schema": graph.schema,
        "memories": totals.nodes,
        "relations": totals.edges - totals.dangling,
        "turns": totals.turns,
        "layers": totals.by_layer,
        "already": already,
        "unreadable": totals.unreadable,
        "dangling": totals.dangling,
        "text_bytes": totals.text_bytes,
        "batch_size": size,
        "batches": -(-totals.nodes // size),
        "estimate_seconds": round(_seconds(store, graph, totals.nodes), 1),
        "backup_bytes": backup_bytes,
        "estimate_bytes": totals.text_bytes * 2
        + totals.blob_bytes
        + totals.nodes * ROW_BYTES
        + backup_bytes,
        "free_bytes": disk(store)["free"],
        "free_memory_bytes": probe.available_memory(),
        "refusals": [asdict(row) for row in totals.refusals],
    }


def _seconds(store: MemoryStore, graph: LegacySource, rows: int) -> float:
    """How long all stages will take, from the time that encoding a sample takes here [seconds]."""
    page = graph.nodes(graph.mapper(""), None, SAMPLE_ROWS)
    texts = [row.memory.text for row in page if isinstance(row, LegacyNode)]
    if not texts:
        return 0.0
    began = time.perf_counter()
    vectors.encode(store.embedder, texts)
    return (time.perf_counter() - began) / len(texts) * rows / WEIGHTS["encoded"]


# --- the status ---------------------------------------------------------------------------------


def status_of(store: MemoryStore, source: Source, run: Run | None) -> dict[str, Any]:
    """One source as docs/protocol.md, migrate.status, has it; `run` when it is under work."""
    progress = run.progress if run is not None and ledger.is_due(source) else None
    verified = source.verified
    if progress is not None and source.stage == "linked":
        verified = progress.done(source, "verified")
    return {
        "name": source.name,
        "kind": source.kind,
        "path": source.path,
        "state": ledger.state(source),
        "stage": source.stage,
        "total": source.total,
        "copied": min(source.copied, source.total),
        "encoded": min(source.encoded, source.total),
        "converted": source.converted,
        "total_dense": source.total_dense,
        "linked": source.linked,
        "verified": verified,
        "quarantined": ledger.quarantined(store.records, source.id),
        **ledger.noted(store.records, source.id),
        "relations": source.relations,
        "turns": source.turns,
        "batch_size": run.batcher.size if run is not None else _batch_size(store, source),
        "eta_seconds": _eta(source, progress),
        "strategy": source.strategy,
        "error": source.error,
        "started": source.started,
        "finished": source.finished,
        "rows_per_second": round(progress.rows_per_second(source), 1) if progress else 0.0,
        "quarantine": ledger.quarantine_rows(store.records, source.id),
    }


def _batch_size(store: MemoryStore, source: Source) -> int:
    """What its first batch would have."""
    return Batcher(bounds(store.config, source.strategy != "full"), source.batch_size).size


def _eta(source: Source, progress: Progress | None) -> float | None:
    if source.stage in ("verified", "rolled_back"):
        return 0
    if progress is None:
        return None
    eta = progress.eta(source)
    return None if eta is None else round(eta, 1)
