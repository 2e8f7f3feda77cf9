"""What people are told of a source meanwhile; apart from the report, for each start asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nimad.core.store import MemoryStore
from nimad.migrate.batcher import Batcher, bounds
from nimad.model import Stage
from nimad.store import sources
from nimad.store.sources import Source

if TYPE_CHECKING:
    from nimad.migrate.run import Run

SHOWN = 20
"""Rows of the quarantine in a status."""
TOLD = (
    *("name", "kind", "path", "strategy", "state", "stage", "error", "started", "finished"),
    *("total", "converted", "total_dense", "linked", "relations", "turns"),
)
"""What the status shows of a source as it is."""


def status_of(store: MemoryStore, source: Source, run: Run | None) -> dict[str, Any]:
    """One source as docs/protocol.md, migrate.status, has it; `run` when it is under work."""
    progress = run.progress if run is not None and source.is_due else None
    verified = source.verified
    if progress is not None and source.stage == Stage.LINKED:
        verified = progress.done(source, Stage.VERIFIED)
    ended = source.stage in (Stage.VERIFIED, Stage.ROLLED_BACK)
    eta = None if progress is None else progress.eta(source)
    limits = bounds(store.config, gated=not source.at_once)
    batcher = Batcher(limits, source.batch_size) if run is None else run.batcher
    return {
        **{name: getattr(source, name) for name in TOLD},
        "copied": min(source.copied, source.total),
        "encoded": min(source.encoded, source.total),
        "verified": verified,
        "quarantined": sources.count_quarantined(store.records, source.id),
        **sources.count_notes(store.records, source.id),
        "batch_size": batcher.size,
        "batch_reason": batcher.reason,
        "now": bool(source.note("now")),
        "eta_seconds": 0 if ended else eta and round(eta, 1),
        "followed": source.follow or None,
        "rows_per_second": round(progress.rows_per_second(source), 1) if progress else 0.0,
        "quarantine": sources.quarantine_rows(store.records, source.id, SHOWN),
    }
