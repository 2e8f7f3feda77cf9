"""Attaches a source: says what is in a snapshot, whether we know it, and enters it in the ledger.

Whether a snapshot is of a source that is known already is decided in source_identity.py.

Crash prose: the snapshot is kept first (snapshots.keep), then one transaction enters the source or
turns an entered one to the new snapshot, then the old snapshot is deleted.  A crash in between
leaves a snapshot without a row, which the next start sweeps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nimad.core.store import MemoryStore
from nimad.disk.durable import crash_point
from nimad.errors import DiskFull, SourceUnsupported, UsageError
from nimad.legacy.bundle import strip
from nimad.legacy.hostile_reader import FIRST_ID
from nimad.legacy.redact_database import scrub_snapshot
from nimad.legacy.snapshot_kinds import SUFFIXES, open_snapshot
from nimad.legacy.source import LegacySource, Totals
from nimad.migrate import snapshots
from nimad.migrate.encode_stage import recount
from nimad.migrate.report import describe
from nimad.migrate.rollback import CLEAN
from nimad.migrate.source_identity import adds_nothing, fingerprint_of, form_of, known_source
from nimad.model import AttachRequest, Stage, now_ms
from nimad.store import source_delta, sources
from nimad.store.sources import Source

GENERIC = {"latest", "memories", "memory", "checkpoint"}
"""Names of files that say nothing: the source is called after the directory."""


def attach(
    store: MemoryStore, fd: int, asked: AttachRequest
) -> tuple[Source | None, dict[str, Any]]:
    """Take over (or, on a dry run, only look at) the snapshot behind `fd`.

    Returns the source, None on a dry run of a new one, and the reply of docs/protocol.md.  Raises
    SourceUnsupported, SourceNotRecognised, SourceCorrupt, SourceChanged, DiskFull, UsageError: then
    nothing was changed.
    """
    if asked.kind not in SUFFIXES:
        raise SourceUnsupported(path=asked.path, what=f"a source of the kind {asked.kind}")
    with snapshots.received(store, fd, asked.path, asked.size, asked.sha256) as copy:
        with open_snapshot(asked.kind, copy) as graph:
            totals = graph.survey()
            known = _known(store, graph, asked)
            name = known.name if known else _free_name(store, asked)
            fingerprint = fingerprint_of(graph)
            start = _start_key(graph, asked.start_offset)
            report = describe(store, graph, totals, known, asked.batch_size or 0, asked.size)
            nothing_new = adds_nothing(store, graph, known, asked.path, asked.sha256)
            form = form_of(graph)
        new = known is None or known.stage == Stage.ROLLED_BACK
        reply = {"name": name, "new": new, "total": totals.nodes, "report": report}
        if asked.dry_run or nothing_new:
            return known, reply
        _check_fits(asked, report)
        size, sha256 = _without_refused(copy, asked, totals)
        entry = _Entry(asked, name, fingerprint, totals, start, size, sha256, form)
        if known is None:
            return _enter(store, copy, entry), reply
        return _turn_to(store, copy, entry, known), reply


def _check_fits(asked: AttachRequest, report: dict[str, Any]) -> None:
    """Refuse before anything is written what would not fit on the disk."""
    if not report["fits"]:
        needed, free = report["estimate_bytes"] >> 20, report["free_bytes"] >> 20
        raise DiskFull(
            detail=f"{asked.path} will take about {needed} MiB here, {free} MiB are free"
        )


@dataclass(frozen=True)
class _Entry:
    """What goes into the ledger of a snapshot."""

    asked: AttachRequest
    name: str
    fingerprint: str
    totals: Totals
    start: int | None
    size: int
    sha256: str
    form: list[int | None] | None

    def fields(self, snapshot: str, size: int, sha256: str) -> dict[str, Any]:
        """Columns of `sources` that a snapshot sets."""
        left_out = 0 if self.start is None else self.asked.start_offset
        return {
            **sources.BEGIN,
            "started": None,
            "finished": None,
            "path": self.asked.path,
            "fingerprint": self.fingerprint,
            "snapshot": snapshot,
            "sha256": sha256,
            "bytes": size,
            "strategy": self.asked.strategy,
            "batch_size": self.asked.batch_size,
            "total": self.totals.nodes - left_out,
            "total_edges": self.totals.edges,
            "total_turns": self.totals.turns,
            "node_cursor": FIRST_ID if self.start is None else self.start,
        }


def _known(store: MemoryStore, graph: LegacySource, asked: AttachRequest) -> Source | None:
    """The source that this snapshot is of.  Raises UsageError when it has another name."""
    known = known_source(store, graph, asked.kind, asked.path, asked.sha256)
    if known is not None and asked.name is not None and asked.name != known.name:
        raise UsageError(detail=f"that source is known already, as {known.name}")
    return known


def _without_refused(copy: Path, asked: AttachRequest, totals: Totals) -> tuple[int, str]:
    """Take the files that are not taken over out of the copy; its size and digest then."""
    if not totals.refused:
        return asked.size, asked.sha256
    strip(copy, [name for name, _ in totals.refused])
    return copy.stat().st_size, snapshots.digest_of(copy)


def _enter(store: MemoryStore, copy: Path, entry: _Entry) -> Source:
    """A source that was not known."""
    snapshot = _snapshot_name(store, entry.name, entry.asked.kind)
    snapshots.keep(copy, store.state / "snapshots" / snapshot)
    fields = entry.fields(snapshot, entry.size, entry.sha256)
    report = {"sent": entry.asked.sha256, "start_after": entry.start, "form": entry.form}
    with store.records.write() as tx:
        number = sources.insert(
            tx,
            name=entry.name,
            kind=entry.asked.kind,
            format=1,
            attached=now_ms(),
            report={key: value for key, value in report.items() if value is not None},
            **fields,
        )
    crash_point("migrate.attached")
    return sources.by_id(store.records, number)


def _turn_to(store: MemoryStore, copy: Path, entry: _Entry, known: Source) -> Source:
    """A source that is known: nothing to do, or rows that are new since the last snapshot."""
    same = known.note("sent") == entry.asked.sha256 and known.snapshot is not None
    same = same and known.note("start_after") == entry.start
    wishes: dict[str, Any] = {
        "strategy": entry.asked.strategy,
        "batch_size": entry.asked.batch_size,
    }
    if same and known.stage != Stage.ROLLED_BACK:
        stage = known.stage
        if entry.asked.strategy != "lazy" and stage in (Stage.ENCODED, Stage.LINKED, Stage.LAZY):
            # what it has not encoded while it was lazy is due now
            stage = Stage.COPIED if recount(store, known.id) else stage
        wishes |= {"stage": stage, "paused": 0, "error": None, "path": entry.asked.path}
        with store.records.write() as tx:
            sources.update(tx, known.id, **wishes)
        return sources.by_id(store.records, known.id)
    gone = sorted(sources.quarantined_keys(store.records, known.id, "forgotten"))
    size, sha256 = entry.size, entry.sha256
    if gone:  # what was forgotten on request does not come back with a new snapshot
        scrubbed = scrub_snapshot(copy, gone, entry.asked.kind)
        size, sha256 = scrubbed.bytes, scrubbed.sha256
    snapshot = _snapshot_name(store, entry.name, entry.asked.kind)
    snapshots.keep(copy, store.state / "snapshots" / snapshot)
    fields = entry.fields(snapshot, size, sha256)
    notes = {"sent": entry.asked.sha256, "start_after": entry.start, "form": entry.form}
    rerun = True if known.stage != Stage.ROLLED_BACK else None
    with store.records.write() as tx:
        clean = {} if rerun else {key: CLEAN[key] for key in CLEAN if key not in fields}
        report = known.with_notes(**notes, verification=None, rerun=rerun, partial=None)
        source_delta.forget(tx, known.id)  # the snapshot has those rows, too
        sources.update(tx, known.id, **{**clean, **fields, "report": report})
    crash_point("migrate.turned")
    if known.snapshot is not None:
        snapshots.delete(store, known.snapshot)
    return sources.by_id(store.records, known.id)


# --- names and places ---------------------------------------------------------------------------


def _free_name(store: MemoryStore, asked: AttachRequest) -> str:
    taken = {source.name for source in sources.all_sources(store.records)}
    if asked.name is not None:
        if asked.name in taken:
            raise UsageError(detail=f"the name {asked.name} belongs to another source")
        return asked.name
    path = Path(asked.path)
    said = path.parent.name if path.stem in GENERIC and path.parent.name else path.stem
    stem = re.sub(r"[^\w.@+-]+", "-", said).strip(".-")[:80] or "source"
    names = [stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def _snapshot_name(store: MemoryStore, name: str, kind: str) -> str:
    """A file name for a snapshot that nothing has: NAME.sqlite, NAME.2.sqlite, ..."""
    directory, number, suffix = store.state / "snapshots", 2, SUFFIXES[kind]
    made = f"{name}{suffix}"
    while (directory / made).exists():
        made, number = f"{name}.{number}{suffix}", number + 1
    return made


def _start_key(graph: LegacySource, offset: int) -> int | None:
    """The id of the last row that `--start-offset` leaves out; None when it leaves none out."""
    mapper, after, left = graph.mapper(""), None, offset
    while left > 0:
        page = graph.nodes(mapper, after, min(left, 1000))
        if not page:
            raise UsageError(detail=f"--start-offset {offset}: the source has fewer memories")
        left -= len(page)
        after = page[-1].key
    return after
