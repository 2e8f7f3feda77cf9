"""What a source will take, measured: a sample of it is moved into a scratch store and weighed.

The sample is a tenth of the memories, but 200 at least and 1,000 at most, from ten places that lie
evenly in the source.  The scratch store lies in memory where there is room (/dev/shm), so a dry run
does not wear the card; a crash leaves it there until the machine restarts, with what the source's
owner may read anyway, readable by nimad alone.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nimad.core import segments
from nimad.core.store import MemoryStore
from nimad.disk.durable import size_of
from nimad.index.blocks import BlockIndex
from nimad.legacy.mapping import Mapper
from nimad.legacy.source import LegacyNode, LegacySource
from nimad.migrate.progress import WEIGHTS
from nimad.model import Stage
from nimad.store.records import Records

SHARE = 0.1
LEAST, MOST = 200, 1000
PLACES = 10
SHARED_MEMORY = Path("/dev/shm")
RELATION_BYTES = 115
TURN_BYTES = 150
"""Disk that a relation and a turn take in records and graph; the 4,038 and 1,346 of a real store
took 112 and 143 (`nimactl status` before and after)."""
KEY_LIMIT = 1 << 62


@dataclass(frozen=True)
class Sample:
    """What moving some memories took: seconds and bytes on the disk of each."""

    rows: int = 0
    seconds_per_row: float = 0.0
    bytes_per_row: float = 0.0

    def seconds(self, memories: int) -> float:
        """All stages of so many memories [seconds]; copying and encoding were measured."""
        return memories * self.seconds_per_row / (WEIGHTS[Stage.COPIED] + WEIGHTS[Stage.ENCODED])

    def bytes(self, memories: int, relations: int, turns: int) -> int:
        """What records, words, blocks and graph will take [bytes]."""
        rest = relations * RELATION_BYTES + turns * TURN_BYTES
        return int(memories * self.bytes_per_row) + rest


def measure(store: MemoryStore, graph: LegacySource, memories: int) -> Sample:
    """Move a sample into a scratch store and weigh it.  Raises SourceCorrupt."""
    wanted = min(MOST, max(LEAST, int(memories * SHARE)))
    rows = spread(graph, wanted)
    if not rows:
        return Sample()
    place = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else store.state
    with tempfile.TemporaryDirectory(prefix="nimad-sample-", suffix=".tmp", dir=place) as scratch:
        return _weigh(store, Path(scratch), rows)


def _weigh(store: MemoryStore, scratch: Path, rows: list[LegacyNode]) -> Sample:
    (scratch / "blocks").mkdir()
    records = Records.open(scratch / "records.sqlite")
    try:
        records.checkpoint()
        before, began = size_of(scratch), time.perf_counter()
        with records.write() as tx:
            ids = tx.add_memories([row.memory for row in rows])
        encoded = segments.encode(store.embedder, [row.memory.text for row in rows])
        index = BlockIndex(scratch / "blocks", store.embedder.dims)
        index.write_segment("sample", np.array(ids, np.int64), encoded)
        records.checkpoint()
        took = time.perf_counter() - began
        return Sample(len(rows), took / len(rows), (size_of(scratch) - before) / len(rows))
    finally:
        records.close()


def spread(graph: LegacySource, wanted: int) -> list[LegacyNode]:
    """About `wanted` readable memories from places that lie evenly between first and last key."""
    mapper = graph.mapper("")
    first = _key_after(graph, mapper, None)
    if first is None:
        return []
    last = _last_key(graph, mapper, first)
    found: dict[int, LegacyNode] = {}
    for place in range(PLACES):
        after = first - 1 + place * (last - first + 1) // PLACES
        page = graph.nodes(mapper, after, -(-wanted // PLACES))
        found.update((row.key, row) for row in page if isinstance(row, LegacyNode))
    return list(found.values())


def _key_after(graph: LegacySource, mapper: Mapper, after: int | None) -> int | None:
    page = graph.nodes(mapper, after, 1)
    return page[0].key if page else None


def _last_key(graph: LegacySource, mapper: Mapper, first: int) -> int:
    """The largest key there is, by doubling and halving: some forty looks at single rows."""
    low, step = first, 1
    while low + step < KEY_LIMIT and (found := _key_after(graph, mapper, low + step)) is not None:
        low, step = found, step * 2
    while step:
        found = _key_after(graph, mapper, low + step)
        low, step = (low, step // 2) if found is None else (found, step)
    found = _key_after(graph, mapper, low)
    return low if found is None else found
