"""Attaches a source: says what is in a snapshot, whether we know it, and enters it in the ledger.

Whether a snapshot is of a source that is known already is decided in source_identity.py.

Crash prose: the snapshot is kept first (snapshots.keep), then one transaction enters the source or
turns an entered one to the new snapshot, then the old snapshot is deleted.  A crash in between
leaves a snapshot without a row, which the next start sweeps.
"""

from __future__ import annotations

import re
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
        with open_snapshot(asked.kind, copy, check=True) as graph:
            totals = graph.survey()
            known = known_source(store, graph, totals, asked)
            name = known.name if known else _free_name(store, asked)
            start = _start_key(graph, asked.start_offset)
            report = describe(store, graph, totals, known, asked.batch_size or 0, asked.size)
            nothing_new = adds_nothing(store, graph, known, asked)
            notes = {"sent": asked.sha256, "start_after": start, "form": form_of(graph)}
            fields = {**_columns(asked, totals, start), "fingerprint": fingerprint_of(graph)}
        new = known is None or known.stage == Stage.ROLLED_BACK
        reply = {"name": name, "new": new, "total": totals.nodes, "report": report}
        if asked.dry_run or nothing_new:
            return known, reply
        if not report["fits"]:  # refused before anything is written
            needed, free = report["estimate_bytes"] >> 20, report["free_bytes"] >> 20
            detail = f"{asked.path} will take about {needed} MiB here, {free} MiB are free"
            raise DiskFull(detail=detail)
        if totals.refused:  # files that are not taken over leave the copy, too
            strip(copy, [refused for refused, _ in totals.refused])
            fields |= {"bytes": copy.stat().st_size, "sha256": snapshots.digest_of(copy)}
        if known is None:
            number = _enter(store, copy, name, asked.kind, fields, notes)
        else:
            number = _renew(store, copy, known, asked, fields, notes)
        return sources.by_id(store.records, number), reply


def _columns(asked: AttachRequest, totals: Totals, start: int | None) -> dict[str, Any]:
    """Columns of `sources` that a snapshot sets."""
    return {
        **sources.BEGIN,
        "started": None,
        "finished": None,
        "path": asked.path,
        "sha256": asked.sha256,
        "bytes": asked.size,
        "strategy": asked.strategy,
        "batch_size": asked.batch_size,
        "total": totals.nodes - (0 if start is None else asked.start_offset),
        "total_edges": totals.edges,
        "total_turns": totals.turns,
        "node_cursor": FIRST_ID if start is None else start,
    }


def _enter(
    store: MemoryStore,
    copy: Path,
    name: str,
    kind: str,
    fields: dict[str, Any],
    notes: dict[str, Any],
) -> int:
    """A source that was not known."""
    fields |= {"name": name, "kind": kind, "format": 1, "attached": now_ms()}
    fields["report"] = {key: value for key, value in notes.items() if value is not None}
    fields["snapshot"] = _keep(store, copy, name, kind)
    with store.records.write() as tx:
        number = sources.insert(tx, **fields)
    crash_point("migrate.attached")
    return number


def _renew(
    store: MemoryStore,
    copy: Path,
    known: Source,
    asked: AttachRequest,
    fields: dict[str, Any],
    notes: dict[str, Any],
) -> int:
    """A source that is known: nothing to do, or rows that are new since the last snapshot."""
    rerun = True if known.stage != Stage.ROLLED_BACK else None
    same = all(known.note(name) == notes[name] for name in ("sent", "start_after"))
    if same and rerun and known.snapshot is not None:
        stage = known.stage
        if asked.strategy != "lazy" and stage in (Stage.ENCODED, Stage.LINKED, Stage.LAZY):
            # what it has not encoded while it was lazy is due now
            stage = Stage.COPIED if recount(store, known.id) else stage
        wishes = {name: fields[name] for name in ("strategy", "batch_size", "path")}
        sources.change(store.records, known.id, **wishes, stage=stage, paused=0, error=None)
        return known.id
    # what was forgotten on request does not come back with a new snapshot
    if gone := sorted(sources.quarantined_keys(store.records, known.id, "forgotten")):
        scrubbed = scrub_snapshot(copy, gone, asked.kind)
        fields |= {"bytes": scrubbed.bytes, "sha256": scrubbed.sha256}
    fields["snapshot"] = _keep(store, copy, known.name, asked.kind)
    fields["report"] = known.with_notes(**notes, verification=None, rerun=rerun, partial=None)
    with store.records.write() as tx:
        source_delta.forget(tx, known.id)  # the snapshot has those rows, too
        sources.update(tx, known.id, **{**({} if rerun else CLEAN), **fields})
    crash_point("migrate.turned")
    if known.snapshot is not None:
        snapshots.delete(store, known.snapshot)
    return known.id


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


def _keep(store: MemoryStore, copy: Path, name: str, kind: str) -> str:
    """Give the copy a name that no snapshot has: NAME.sqlite, NAME.2.sqlite, ..."""
    directory, number, suffix = store.state / "snapshots", 2, SUFFIXES[kind]
    made = f"{name}{suffix}"
    while (directory / made).exists():
        made, number = f"{name}.{number}{suffix}", number + 1
    snapshots.keep(copy, directory / made)
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
