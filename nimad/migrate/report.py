"""What people are told of a source: before (the dry run's report) and meanwhile (the status)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nimad.core.status import disk
from nimad.core.store import MemoryStore
from nimad.dense.training import RATIO
from nimad.legacy.source import LegacySource, Totals
from nimad.migrate.batcher import Batcher
from nimad.migrate.progress import Progress
from nimad.migrate.run import Run, bounds
from nimad.migrate.sampling import Sample, measure
from nimad.migrate.snapshots import MARGIN_BYTES
from nimad.model import Stage
from nimad.probe import memory
from nimad.store import sources
from nimad.store.sources import Source

NOTES = 50
"""Notes and refused files told of a source."""
SHOWN = 20
"""Rows of the quarantine in a status."""


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
    if known is not None and known.stage != Stage.ROLLED_BACK:
        sql = "SELECT count(*) FROM memories WHERE source = ?"
        already = int(store.records.value(sql, (known.id,)))
    size = Batcher(bounds(store.config, gated=False), batch_size).next_size()
    relations, due = totals.edges - totals.dangling, max(0, totals.nodes - already)
    sample = measure(store, graph, due) if due else Sample()
    needed = sample.bytes(due, relations, totals.turns) + backup_bytes
    needed += int(totals.vectors * 4 * totals.dimension / RATIO)
    free = disk(store)["free"] + backup_bytes  # the copy is there already, and within `needed`
    return {
        "schema": graph.schema,
        "memories": totals.nodes,
        "relations": relations,
        "turns": totals.turns,
        "layers": totals.by_layer,
        "already": already,
        "unreadable": totals.unreadable,
        "dangling": totals.dangling,
        "text_bytes": totals.text_bytes,
        "batch_size": size,
        "batches": -(-totals.nodes // size),
        "sample": sample.rows,
        "estimate_seconds": round(sample.seconds(due), 1),
        "backup_bytes": backup_bytes,
        "estimate_bytes": needed,
        "free_bytes": free,
        "fits": free >= needed + MARGIN_BYTES,
        "free_memory_bytes": memory.available_memory(),
        "refusals": [asdict(row) for row in totals.refusals],
        "vectors": totals.vectors,
        "dimension": totals.dimension,
        "notes": totals.notes[:NOTES],
        "refused_files": [
            {"name": name, "code": error.code, "reason": error.message}
            for name, error in totals.refused[:NOTES]
        ],
    }


# --- the status ---------------------------------------------------------------------------------


def status_of(store: MemoryStore, source: Source, run: Run | None) -> dict[str, Any]:
    """One source as docs/protocol.md, migrate.status, has it; `run` when it is under work."""
    progress = run.progress if run is not None and source.is_due else None
    verified = source.verified
    if progress is not None and source.stage == Stage.LINKED:
        verified = progress.done(source, Stage.VERIFIED)
    return {
        "name": source.name,
        "kind": source.kind,
        "path": source.path,
        "state": source.state,
        "stage": source.stage,
        "total": source.total,
        "copied": min(source.copied, source.total),
        "encoded": min(source.encoded, source.total),
        "converted": source.converted,
        "total_dense": source.total_dense,
        "linked": source.linked,
        "verified": verified,
        "quarantined": sources.count_quarantined(store.records, source.id),
        **sources.count_notes(store.records, source.id),
        "relations": source.relations,
        "turns": source.turns,
        **_batch(store, source, run),
        "eta_seconds": _eta(source, progress),
        "strategy": source.strategy,
        "followed": source.follow or None,
        "error": source.error,
        "started": source.started,
        "finished": source.finished,
        "rows_per_second": round(progress.rows_per_second(source), 1) if progress else 0.0,
        "quarantine": sources.quarantine_rows(store.records, source.id, SHOWN),
    }


def _batch(store: MemoryStore, source: Source, run: Run | None) -> dict[str, Any]:
    """Rows of a batch, and why so many; without a run, what its first batch would have."""
    if run is not None:
        batcher = run.batcher
    else:
        batcher = Batcher(bounds(store.config, not source.at_once), source.batch_size)
    return {
        "batch_size": batcher.size,
        "batch_reason": batcher.reason,
        "now": bool(source.note("now")),
    }


def _eta(source: Source, progress: Progress | None) -> float | None:
    if source.stage in (Stage.VERIFIED, Stage.ROLLED_BACK):
        return 0
    if progress is None:
        return None
    eta = progress.eta(source)
    return None if eta is None else round(eta, 1)
