"""Attaches a source: says what is in a snapshot, whether we know it, and enters it in the ledger.

Whether a snapshot is of a source that is known already, and so may not come in twice:

- the same path, and most of the memories that both have are the same, or
- another path (the file was moved), and nearly all memories that we have are in it unchanged.

A new store at an old path, whose ids begin at 1 again, is another source; so is a store that only
begins like one we know.

Crash prose: the snapshot is kept first (receive.keep), then one transaction enters the source or
turns an entered one to the new snapshot, then the old snapshot is deleted.  A crash in between
leaves a snapshot without a row, which the next start sweeps.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nimad.core.store import MemoryStore
from nimad.disk.durable import crash_point
from nimad.errors import DiskFull, SourceUnsupported, UsageError
from nimad.legacy.opening import SUFFIXES, open_snapshot
from nimad.legacy.rows import FIRST_ID
from nimad.legacy.scrub import scrub_snapshot
from nimad.legacy.source import LegacyNode, LegacySource, Totals
from nimad.migrate import ledger, receive
from nimad.migrate.encoding import recount
from nimad.migrate.report import describe
from nimad.migrate.rollback import CLEAN, delete_snapshot
from nimad.model import now_ms
from nimad.store import sources
from nimad.store.sources import Source

FINGERPRINT_ROWS = 16
SAMPLE_ROWS = 200
"""Memories looked at to tell whether a store is one we know."""
MOVED_SHARE = 0.9
"""So many of our memories must be in a file at another path for it to be the same store, moved."""


@dataclass(frozen=True)
class Request:
    """What the client asks for; see docs/protocol.md, migrate.attach."""

    path: str
    kind: str
    sha256: str
    size: int
    strategy: str
    batch_size: int
    start_offset: int = 0
    name: str | None = None
    dry_run: bool = False


def attach(store: MemoryStore, fd: int, asked: Request) -> tuple[Source | None, dict[str, Any]]:
    """Take over (or, on a dry run, only look at) the snapshot behind `fd`.

    Returns the source, None on a dry run of a new one, and the reply of docs/protocol.md.  Raises
    SourceUnsupported, SourceNotRecognised, SourceCorrupt, SourceChanged, DiskFull, UsageError: then
    nothing was changed.
    """
    if asked.kind not in SUFFIXES:
        raise SourceUnsupported(path=asked.path, what=f"a source of the kind {asked.kind}")
    with receive.received(store, fd, asked.path, asked.size, asked.sha256) as copy:
        with open_snapshot(asked.kind, copy) as graph:
            totals = graph.survey()
            known = _known_source(store, graph, asked)
            name = known.name if known else _free_name(store, asked)
            fingerprint = _fingerprint(graph)
            start = _start_key(graph, asked.start_offset)
            report = describe(store, graph, totals, known, asked.batch_size, asked.size)
        new = known is None or known.stage == "rolled_back"
        reply = {"name": name, "new": new, "total": totals.nodes, "report": report}
        if asked.dry_run:
            return known, reply
        _check_fits(asked, report)
        entry = _Entry(asked, name, fingerprint, totals, start)
        if known is None:
            return _enter(store, copy, entry), reply
        return _turn_to(store, copy, entry, known), reply


def _check_fits(asked: Request, report: dict[str, Any]) -> None:
    """Refuse before anything is written what would not fit on the disk."""
    if not report["fits"]:
        needed, free = report["estimate_bytes"] >> 20, report["free_bytes"] >> 20
        raise DiskFull(
            detail=f"{asked.path} will take about {needed} MiB here, {free} MiB are free"
        )


@dataclass(frozen=True)
class _Entry:
    """What goes into the ledger of a snapshot."""

    asked: Request
    name: str
    fingerprint: str
    totals: Totals
    start: int | None

    def fields(self, snapshot: str, size: int, sha256: str) -> dict[str, Any]:
        """Columns of `sources` that a snapshot sets."""
        begin = FIRST_ID if self.start is None else self.start
        left_out = 0 if self.start is None else self.asked.start_offset
        return {
            "path": self.asked.path,
            "fingerprint": self.fingerprint,
            "snapshot": snapshot,
            "sha256": sha256,
            "bytes": size,
            "strategy": self.asked.strategy,
            "batch_size": self.asked.batch_size,
            "stage": "attached",
            "paused": 0,
            "error": None,
            "total": self.totals.nodes - left_out,
            "total_edges": self.totals.edges,
            "total_turns": self.totals.turns,
            "node_cursor": begin,
            "edge_cursor": FIRST_ID,
            "turn_cursor": FIRST_ID,
            "linked": 0,
            "verified": 0,
            "started": None,
            "finished": None,
        }


def _enter(store: MemoryStore, copy: Path, entry: _Entry) -> Source:
    """A source that was not known."""
    snapshot = _snapshot_name(store, entry.name, entry.asked.kind)
    receive.keep(copy, store.state / "snapshots" / snapshot)
    fields = entry.fields(snapshot, entry.asked.size, entry.asked.sha256)
    report = {"sent": entry.asked.sha256, "start_after": entry.start}
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
    return ledger.by_id(store.records, number)


def _turn_to(store: MemoryStore, copy: Path, entry: _Entry, known: Source) -> Source:
    """A source that is known: nothing to do, or rows that are new since the last snapshot."""
    same = ledger.note(known, "sent") == entry.asked.sha256 and known.snapshot is not None
    same = same and ledger.note(known, "start_after") == entry.start
    wishes: dict[str, Any] = {
        "strategy": entry.asked.strategy,
        "batch_size": entry.asked.batch_size,
    }
    if same and known.stage != "rolled_back":
        stage = known.stage
        if entry.asked.strategy != "lazy" and stage in ("encoded", "linked", "lazy"):
            # what it has not encoded while it was lazy is due now
            stage = "copied" if recount(store, known.id) else stage
        wishes |= {"stage": stage, "paused": 0, "error": None, "path": entry.asked.path}
        with store.records.write() as tx:
            sources.update(tx, known.id, **wishes)
        return ledger.by_id(store.records, known.id)
    gone = sorted(ledger.keys_of_kind(store.records, known.id, "forgotten"))
    size, sha256 = entry.asked.size, entry.asked.sha256
    if gone:  # what was forgotten on request does not come back with a new snapshot
        scrubbed = scrub_snapshot(copy, gone)
        size, sha256 = scrubbed.bytes, scrubbed.sha256
    snapshot = _snapshot_name(store, entry.name, entry.asked.kind)
    receive.keep(copy, store.state / "snapshots" / snapshot)
    fields = entry.fields(snapshot, size, sha256)
    notes = {"sent": entry.asked.sha256, "start_after": entry.start, "verification": None}
    rerun = True if known.stage != "rolled_back" else None
    with store.records.write() as tx:
        clean = {} if rerun else {key: CLEAN[key] for key in CLEAN if key not in fields}
        report = ledger.with_notes(known, **notes, rerun=rerun)
        sources.update(tx, known.id, **{**clean, **fields, "report": report})
    crash_point("migrate.turned")
    if known.snapshot is not None:
        delete_snapshot(store, known.snapshot)
    return ledger.by_id(store.records, known.id)


# --- which source is it -------------------------------------------------------------------------


def _known_source(store: MemoryStore, graph: LegacySource, asked: Request) -> Source | None:
    """The source that this snapshot is of, when it is known already."""
    fingerprint = _fingerprint(graph)
    everything = sources.all_sources(store.records)
    everything.sort(key=lambda source: (source.path != asked.path, -source.id))
    for source in everything:
        at_home = source.path == asked.path
        same = ledger.note(source, "sent") == asked.sha256
        if not same and at_home:
            same = source.fingerprint == fingerprint or _overlap(store, graph, source)[0] >= 0.5
        elif not same and source.fingerprint == fingerprint and source.copied:
            same = min(_overlap(store, graph, source)) >= MOVED_SHARE
        if same:
            if asked.name is not None and asked.name != source.name:
                raise UsageError(detail=f"that source is known already, as {source.name}")
            return source
    return None


def _fingerprint(graph: LegacySource) -> str:
    """What does not change while a store is in use: its first memories."""
    digest = hashlib.sha256()
    for row in graph.nodes(graph.mapper(""), None, FINGERPRINT_ROWS):
        digest.update(str(row.key).encode())
        if isinstance(row, LegacyNode):
            digest.update(f"|{row.memory.timestamp}|{row.memory.text}\n".encode())
    return digest.hexdigest()


def _overlap(store: MemoryStore, graph: LegacySource, source: Source) -> tuple[float, float]:
    """Of a sample of our memories of a source: the share that is the same in the snapshot, among
    those that are in it at all, and the share that is in it at all."""
    if not source.copied:
        return 1.0, 1.0
    sql = "SELECT source_key, id FROM memories WHERE source = ? AND id % ? = 0 LIMIT ?"
    stride = max(1, source.copied // SAMPLE_ROWS)
    ours = dict(store.records.rows(sql, (source.id, stride, 2 * SAMPLE_ROWS)))
    memories = store.records.get(list(ours.values()))
    mapper = graph.mapper(source.name)
    same = there = 0
    for key, number in ours.items():
        for row in graph.nodes(mapper, int(key) - 1, 1):
            if isinstance(row, LegacyNode) and row.key == key and number in memories:
                there += 1
                mine = memories[number]
                same += (mine.text, mine.timestamp) == (row.memory.text, row.memory.timestamp)
    return same / max(1, there), there / max(1, len(ours))


def _free_name(store: MemoryStore, asked: Request) -> str:
    taken = {source.name for source in sources.all_sources(store.records)}
    if asked.name is not None:
        if asked.name in taken:
            raise UsageError(detail=f"the name {asked.name} belongs to another source")
        return asked.name
    stem = re.sub(r"[^\w.@+-]+", "-", Path(asked.path).stem).strip(".-")[:80] or "source"
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
