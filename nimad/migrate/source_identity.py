"""Tells whether a snapshot is of a source that is known already, and so may not come in twice.

- the same path, and most of the memories that both have are the same, or
- another path (the file was moved), and nearly all memories that we have are in it unchanged.

A new store at an old path, whose ids begin at 1 again, is another source; so is a store that only
begins like one we know.

Checkpoints need more care: stores in different directories may hold the same episodes in other
forms, and each is a source of its own.  Another path is the same source there when it is a file of
the same directory (`latest.pt`, and later the directory itself) with vectors of the same form, or
when exactly the same memories were moved.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from nimad.core.store import MemoryStore
from nimad.errors import UsageError
from nimad.legacy.detect import FILES
from nimad.legacy.episodes import key_time
from nimad.legacy.hostile_reader import pages
from nimad.legacy.mapping import Mapper
from nimad.legacy.snapshot_kinds import open_snapshot
from nimad.legacy.source import LegacyNode, LegacySource, Row, Totals
from nimad.legacy.values import Value
from nimad.model import AttachRequest, Stage
from nimad.store import sources
from nimad.store.sources import Source

FINGERPRINT_ROWS = 16
SAMPLE_ROWS = 200
"""Memories looked at to tell whether a store is one we know."""
MOVED_SHARE = 0.9
"""Share of our memories that must be in a file at another path for it to be the same store."""
PAGE = 500


def known_source(
    store: MemoryStore, graph: LegacySource, totals: Totals, asked: AttachRequest
) -> Source | None:
    """The source that this snapshot is of, when it is known already.

    Raises UsageError when another name was asked for.
    """
    fingerprint = fingerprint_of(graph)

    def is_of(source: Source) -> bool:
        if source.note("sent") == asked.sha256:
            return True
        same_start = source.fingerprint == fingerprint
        if source.path == asked.path:
            return same_start or _overlap(store, graph, source)[0] >= 0.5
        if source.kind == FILES:
            return _same_files(store, graph, totals, source, asked.path)
        return same_start and source.snapshot is not None and _moved(store, graph, source)

    everything = [each for each in sources.all_sources(store.records) if each.kind == asked.kind]
    everything.sort(key=lambda source: (source.path != asked.path, -source.id))
    known = next(filter(is_of, everything), None)
    if known is not None and asked.name not in (None, known.name):
        raise UsageError(detail=f"that source is known already, as {known.name}")
    return known


def adds_nothing(
    store: MemoryStore, graph: LegacySource, known: Source | None, asked: AttachRequest
) -> bool:
    """Whether a snapshot is but a part of a source that is here whole, such as an archived file."""
    if known is None or known.kind != FILES or known.stage == Stage.ROLLED_BACK:
        return False
    if known.path == asked.path or known.note("sent") == asked.sha256:
        return False
    return _all_here(store, graph, known)


def fingerprint_of(graph: LegacySource) -> str:
    """What does not change while a store is in use: its first memories."""
    digest = hashlib.sha256()
    mapper = graph.mapper("")
    for row in graph.nodes(mapper, None, FINGERPRINT_ROWS):
        digest.update(str(row.key).encode())
        if isinstance(row, LegacyNode):
            time = _time_of(mapper, row.row)
            digest.update(f"|{time}|{row.memory.text}\n".encode())
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


def _same_files(
    store: MemoryStore, graph: LegacySource, totals: Totals, source: Source, path: str
) -> bool:
    if form_of(graph) != source.note("form"):
        return False
    if _home(source.path) == _home(path):
        return _moved(store, graph, source) or _all_here(store, graph, source)
    if not source.copied or not _all_here(store, graph, source):
        return False
    return totals.nodes == source.total and min(_overlap(store, graph, source)) == 1.0


def _home(path: str) -> Path:
    """The directory of a store, whether it was named itself or by one of its files."""
    found = Path(path)
    home = found.parent if found.suffix else found
    return home.parent if home.name == "archive" else home


def _moved(store: MemoryStore, graph: LegacySource, source: Source) -> bool:
    return min(_overlap(store, graph, source)) >= MOVED_SHARE


def _all_here(store: MemoryStore, graph: LegacySource, source: Source) -> bool:
    """Whether every memory of a snapshot is known to a source."""
    noted = sources.quarantined_keys(store.records, source.id, "forgotten", "node")
    mapper: Any = graph.mapper("")
    after: int | None = None
    while page := graph.nodes(mapper, after, PAGE):
        keys = [row.key for row in page if row.key not in noted]
        if len(sources.memory_ids(store.records, source.id, keys)) < len(keys):
            return False
        after = page[-1].key
    return True


def _overlap(store: MemoryStore, graph: LegacySource, source: Source) -> tuple[float, float]:
    """Of a sample of our memories of a source: the share that is the same in the snapshot, among
    those that are in it at all, and the share that is in it at all."""
    ours = _from_snapshot(store, source) if source.stage == Stage.ATTACHED else None
    mapper: Any = graph.mapper(source.name)
    if ours is None:
        ours = _from_records(store, source, mapper)
    same = there = 0
    for key, said in ours.items():
        for row in graph.nodes(mapper, key - 1, 1):
            if isinstance(row, LegacyNode) and row.key == key:
                there += 1
                same += said == _said(mapper, row.row)
    return same / max(1, there), there / max(1, len(ours))


def _said(mapper: Mapper, row: Row) -> tuple[Value, ...]:
    """Text and time of a row as they stand in the source."""
    names = ("text", "raw_text", "what", "context", "timestamp")
    columns = zip(mapper.columns, row, strict=True)
    return tuple(value for name, value in columns if name.lower() in names)


def _from_records(
    store: MemoryStore, source: Source, mapper: Mapper
) -> dict[int, tuple[Value, ...]]:
    """Key -> what a sample of our memories of a source said there."""
    sql = "SELECT source_key, id FROM memories WHERE source = ? AND id % ? = 0 LIMIT ?"
    stride = max(1, source.copied // SAMPLE_ROWS)
    ours = dict(store.records.rows(sql, (source.id, stride, 2 * SAMPLE_ROWS)))
    memories = store.records.get(list(ours.values()))
    found = ((int(key), memories.get(number)) for key, number in ours.items())
    kept = {key: memory for key, memory in found if memory is not None}
    store.records.with_blobs(list(kept.values()))
    return {key: _said(mapper, mapper.row(memory)) for key, memory in kept.items()}


def _from_snapshot(store: MemoryStore, source: Source) -> dict[int, tuple[Value, ...]] | None:
    """The same of a source that is not here whole yet, from its snapshot; None without one."""
    path = store.state / "snapshots" / (source.snapshot or "-")
    if not path.exists():
        return None
    stride = max(1, source.total // SAMPLE_ROWS)
    with open_snapshot(source.kind, path) as kept:
        mapper: Any = kept.mapper(source.name)
        rows = pages(lambda at: kept.nodes(mapper, at, PAGE), lambda row: row.key)
        return {
            row.key: _said(mapper, row.row)
            for number, row in enumerate(rows)
            if number % stride == 0 and isinstance(row, LegacyNode)
        }
