"""Attaches a source: says what is in a snapshot, whether we know it, and enters it in the ledger.

Crash prose: the snapshot is kept first (snapshots.keep), then one transaction enters the source or
turns an entered one to the new snapshot, then the old snapshot is deleted.  A crash in between
leaves a snapshot without a row, which the next start sweeps.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

from nimad import times
from nimad.core.store import MemoryStore
from nimad.disk.durable import crash_point
from nimad.errors import DiskFull, UsageError
from nimad.legacy.bundle import strip
from nimad.legacy.detect import FILES
from nimad.legacy.episodes import key_time
from nimad.legacy.hostile_reader import pages
from nimad.legacy.mapping import Mapper
from nimad.legacy.redact_database import scrub_snapshot
from nimad.legacy.snapshot_kinds import SUFFIXES, open_snapshot
from nimad.legacy.source import LegacyNode, LegacySource, Row, Totals, Unreadable
from nimad.legacy.sqlite import LegacyGraph
from nimad.legacy.values import FIRST_ID, identical
from nimad.migrate import snapshots
from nimad.migrate.encode_stage import recount
from nimad.migrate.report import describe
from nimad.migrate.rollback import CLEAN
from nimad.model import AttachRequest, Stage, now_ms
from nimad.store import source_delta, sources
from nimad.store.sources import Source

GENERIC = {"latest", "memories", "memory", "checkpoint"}
"""Names of files that say nothing: the source is called after the directory."""
FINGERPRINT_ROWS = 16
SAMPLE_ROWS = 200
"""Memories looked at to tell whether a store is one we know."""
MOVED_SHARE = 0.9
"""Share of our memories that must be in a file at another path for it to be the same store."""
PAGE = 500


def attach(
    store: MemoryStore, copy: Path, asked: AttachRequest
) -> tuple[Source | None, dict[str, Any]]:
    """Take over (or, on a dry run, only look at) a snapshot that was received.

    Returns the source, None on a dry run of a new one, and the reply of docs/protocol.md.  Raises
    SourceNotRecognised, SourceCorrupt, DiskFull, UsageError: then nothing was changed.
    """
    zone_name = asked.time_zone or times.name_to_hand_over() or ""
    zone = times.find_zone(zone_name) if zone_name else times.local_zone()
    with open_snapshot(asked.kind, copy, zone, check=True) as graph:
        if isinstance(graph, LegacyGraph):
            graph.reader.give_way = store.give_way
        totals = graph.survey()
        known = known_source(store, graph, totals, asked)
        new = known is None or known.stage == Stage.ROLLED_BACK
        name = known.name if known else _free_name(store, asked)
        start = _start_key(graph, asked.start_offset)
        told = times.sentences(totals.times, zone_name or "this machine's zone")
        totals.notes = [*told, *totals.notes]
        if nothing_new := adds_nothing(store, graph, known, asked):
            assert known is not None
            note = f"every memory of {asked.path} is in {known.path} as well: it adds nothing"
            totals.notes.append(note)
        report = describe(store, graph, totals, known, asked.batch_size or 0, asked.size)
        notes = {"sent": asked.sha256, "start_after": start, "form": form_of(graph)}
        notes["time_zone"] = zone_name
        fields = {**_columns(asked, totals, start), "fingerprint": fingerprint_of(graph)}
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
    if known is not None:
        _renew(store, copy, known, asked, fields, notes)
        return sources.by_id(store.records, known.id), reply
    fields |= {"name": name, "kind": asked.kind, "format": 1, "attached": now_ms()}
    fields["report"] = {key: value for key, value in notes.items() if value is not None}
    fields["snapshot"] = _keep(store, copy, name, asked.kind)
    with store.records.write() as tx:
        number = sources.insert(tx, **fields)
    crash_point("migrate.attached")
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


def _renew(
    store: MemoryStore,
    copy: Path,
    known: Source,
    asked: AttachRequest,
    fields: dict[str, Any],
    notes: dict[str, Any],
) -> None:
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
        return
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


# --- names and places ---------------------------------------------------------------------------


def _free_name(store: MemoryStore, asked: AttachRequest) -> str:
    if asked.name is not None:
        if sources.free_name(store.records, asked.name) != asked.name:
            raise UsageError(detail=f"the name {asked.name} belongs to another source")
        return asked.name
    path = Path(asked.path)
    said = path.parent.name if path.stem in GENERIC and path.parent.name else path.stem
    stem = re.sub(r"[^\w.@+-]+", "-", said).strip(".-")[:80] or "source"
    return sources.free_name(store.records, stem)


def _keep(store: MemoryStore, copy: Path, name: str, kind: str) -> str:
    """Give the copy a name that no snapshot has: NAME.sqlite, NAME.2.sqlite, ..."""
    directory, suffix = store.state / "snapshots", SUFFIXES[kind]
    names = chain([f"{name}{suffix}"], (f"{name}.{number}{suffix}" for number in count(2)))
    made = next(each for each in names if not (directory / each).exists())
    snapshots.keep(copy, directory / made)
    return made


def _start_key(graph: LegacySource, offset: int) -> int | None:
    """The id of the last row that `--start-offset` leaves out; None when it leaves none out."""
    if offset <= 0:
        return None
    for row in islice(_rows(graph, ""), offset - 1, None):
        return row.key
    raise UsageError(detail=f"--start-offset {offset}: the source has fewer memories")


# --- is it one that is known? -------------------------------------------------------------------


def known_source(
    store: MemoryStore, graph: LegacySource, totals: Totals, asked: AttachRequest
) -> Source | None:
    """The source that this snapshot is of, when it is known already, so that none comes in twice.

    - the same path, and most of the memories that both have are the same, or
    - another path (the file was moved), and nearly all memories that we have are in it, or
    - another path in the same directory, and it has only memories that the source has (a copy).

    A new store at an old path, whose ids begin at 1 again, is another source; so is a store that
    only begins like one we know.  Stores of checkpoints in different directories may hold the same
    episodes in other forms, and each is a source of its own: another path is the same source there
    when it is a file of the same directory (`latest.pt`, and later the directory itself) with
    vectors of the same form, or when exactly the same memories were moved.

    Raises UsageError when another name was asked for.
    """
    fingerprint = fingerprint_of(graph)

    def is_of(source: Source) -> bool:
        if source.note("sent") == asked.sha256:
            return True
        same_start = source.fingerprint == fingerprint
        if source.total < FINGERPRINT_ROWS:  # it has grown since
            same_start |= source.fingerprint == fingerprint_of(graph, source.total)
        if source.path == asked.path:
            return same_start or _overlap(store, graph, source)[0] >= 0.5
        if source.kind != FILES:
            if _is_copy(store, graph, source, asked):
                return True
            if not same_start or source.snapshot is None:
                return False
            return min(_overlap(store, graph, source)) >= MOVED_SHARE
        if form_of(graph) != source.note("form"):
            return False
        if _home(source.path) == _home(asked.path):
            moved = min(_overlap(store, graph, source)) >= MOVED_SHARE
            return moved or _all_here(store, graph, source)
        if not source.copied or totals.nodes != source.total:
            return False
        return _all_here(store, graph, source) and min(_overlap(store, graph, source)) == 1.0

    everything = [each for each in sources.all_sources(store.records) if each.kind == asked.kind]
    everything.sort(key=lambda source: (source.path != asked.path, -source.id))
    known = next(filter(is_of, everything), None)
    if known is not None and asked.name not in (None, known.name):
        raise UsageError(detail=f"that source is known already, as {known.name}")
    return known


def adds_nothing(
    store: MemoryStore, graph: LegacySource, known: Source | None, asked: AttachRequest
) -> bool:
    """Whether a snapshot is but a part of a source that is here whole: an archived file, or a copy
    of a database that its owner made beside it."""
    if known is None or known.stage == Stage.ROLLED_BACK:
        return False
    if known.path == asked.path or known.note("sent") == asked.sha256:
        return False
    if known.kind != FILES:
        return _is_copy(store, graph, known, asked)
    return _all_here(store, graph, known)


def _is_copy(store: MemoryStore, graph: LegacySource, source: Source, asked: AttachRequest) -> bool:
    """Whether a database beside that of a source has no memory that the source lacks, or has
    otherwise.  Ends at the first one; what was forgotten on request is not lacking."""
    beside = Path(source.path).parent == Path(asked.path).parent
    if not beside or source.path == asked.path or source.stage == Stage.ROLLED_BACK:
        return False
    noted = sources.quarantined_keys(store.records, source.id, "forgotten", "node")
    mapper = graph.mapper(source.name)
    path = store.state / "snapshots" / (source.snapshot or "-")
    with ExitStack() as opened:
        kept = opened.enter_context(open_snapshot(source.kind, path)) if path.is_file() else None
        if kept is not None and kept.mapper("").columns != mapper.columns:
            return False
        rows = _rows(graph, source.name)
        while page := list(islice(rows, PAGE)):
            due = [row for row in page if row.key not in noted]
            ours = sources.memories(store.records, source.id, [row.key for row in due])
            for row in due:
                if not isinstance(row, LegacyNode):
                    return False
                found = [mapper.row(ours[row.key])] if row.key in ours else []
                if not found and kept is not None:
                    found = [
                        other.row
                        for other in kept.nodes(mapper, row.key - 1, 1)
                        if isinstance(other, LegacyNode) and other.key == row.key
                    ]
                if not found or not identical(found[0], row.row):
                    return False
    return True


def fingerprint_of(graph: LegacySource, most: int = FINGERPRINT_ROWS) -> str:
    """What does not change while a store is in use: its first memories, `most` of them."""
    digest = hashlib.sha256()
    mapper = graph.mapper("")
    for row in graph.nodes(mapper, None, most):
        digest.update(str(row.key).encode())
        if isinstance(row, LegacyNode):
            digest.update(f"|{_time_of(mapper, row.row)}|{row.memory.text}\n".encode())
    return digest.hexdigest()


def _time_of(mapper: Mapper, row: Row) -> int:
    """A row's time as the first version read it, whatever zone is asked for now."""
    told = dict(zip(map(str.lower, mapper.columns), row, strict=True))
    time = told["timestamp"]
    if isinstance(time, int) and "when" not in told:  # a row of a graph
        return time
    return key_time(time) or key_time(told.get("when")) or 0


def form_of(graph: LegacySource) -> list[int | None] | None:
    """The form of a source's hypervectors, [dimension, block size], as JSON keeps it."""
    dense = graph.dense()
    return None if dense is None else [dense.dimension, dense.block_size]


def _home(path: str) -> Path:
    """The directory of a store, whether it was named itself or by one of its files."""
    found = Path(path)
    home = found.parent if found.suffix else found
    return home.parent if home.name == "archive" else home


def _all_here(store: MemoryStore, graph: LegacySource, source: Source) -> bool:
    """Whether every memory of a snapshot is known to a source."""
    noted = sources.quarantined_keys(store.records, source.id, "forgotten", "node")
    rows = _rows(graph, "")
    while page := list(islice(rows, PAGE)):
        keys = {row.key for row in page} - noted
        if len(sources.memory_ids(store.records, source.id, keys)) < len(keys):
            return False
    return True


def _rows(graph: LegacySource, name: str) -> Iterator[LegacyNode | Unreadable]:
    mapper = graph.mapper(name)
    return pages(lambda after: graph.nodes(mapper, after, PAGE), lambda row: row.key)


def _overlap(store: MemoryStore, graph: LegacySource, source: Source) -> tuple[float, float]:
    """Of a sample of our memories of a source: the share that is the same in the snapshot, among
    those that are in it at all, and the share that is in it at all.

    A source that is not here whole yet is looked at in its own snapshot.
    """
    mapper = graph.mapper(source.name)
    path = store.state / "snapshots" / (source.snapshot or "-")
    if source.stage == Stage.ATTACHED and path.is_file():
        with open_snapshot(source.kind, path) as kept:
            some = islice(_rows(kept, source.name), 0, None, max(1, source.total // SAMPLE_ROWS))
            readable = (row for row in some if isinstance(row, LegacyNode))
            theirs = kept.mapper(source.name)
            ours = {row.key: (row.memory.text, _time_of(theirs, row.row)) for row in readable}
    else:
        sql = "SELECT source_key FROM memories WHERE source = ? AND id % ? = 0 LIMIT ?"
        stride = max(1, source.copied // SAMPLE_ROWS)
        keys = store.records.rows(sql, (source.id, stride, 2 * SAMPLE_ROWS))
        found = sources.memories(store.records, source.id, [int(key) for (key,) in keys])
        ours = {key: (m.text, _time_of(mapper, mapper.row(m))) for key, m in found.items()}
    same = there = 0
    for key, said in ours.items():
        for row in graph.nodes(mapper, key - 1, 1):
            if isinstance(row, LegacyNode) and row.key == key:
                there += 1
                same += said == (row.memory.text, _time_of(mapper, row.row))
    return same / max(1, there), there / max(1, len(ours))
