"""What people are told of a source before it is taken over: the dry run's report."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nimad.core import segments
from nimad.core.status import disk
from nimad.core.store import MemoryStore
from nimad.dense.training import RATIO
from nimad.disk.durable import size_of
from nimad.index.blocks import BlockIndex
from nimad.legacy.hostile_reader import in_steps
from nimad.legacy.source import LegacyNode, LegacySource, Totals
from nimad.migrate.batcher import Batcher, bounds
from nimad.migrate.run import WEIGHTS, WORDS
from nimad.migrate.snapshots import MARGIN_BYTES
from nimad.model import Stage
from nimad.probe import memory
from nimad.store.analysis import Analysis
from nimad.store.records import Records
from nimad.store.sources import Source
from nimad.words import writer

SAMPLE_SHARE = 0.1
LEAST_SAMPLE, LARGEST_SAMPLE = 200, 1000
SAMPLE_PLACES = 10
SHARED_MEMORY = Path("/dev/shm")
WORDS_CHARS = 100_000
"""Length of the texts whose words are written as a sample [characters]."""
RELATION_BYTES = 115
TURN_BYTES = 150
"""Disk that a relation and a turn take in records and graph; the 4,038 and 1,346 of a real store
took 112 and 143 (`nimactl status` before and after)."""
NOTES = 50
"""Notes and refused files told of a source."""
COUNTED = ("turns", "unreadable", "dangling", "text_bytes", "vectors", "dimension")
"""What the report shows of a survey as it is."""


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
    sampled, seconds, needed = measure(store, graph, totals, due)
    needed += relations * RELATION_BYTES + totals.turns * TURN_BYTES + backup_bytes
    needed += int(totals.vectors * 4 * totals.dimension / RATIO)
    free = disk(store)["free"] + backup_bytes  # the copy is there already, and within `needed`
    return {
        "schema": graph.schema,
        "memories": totals.nodes,
        "relations": relations,
        "layers": totals.by_layer,
        "already": already,
        **{name: getattr(totals, name) for name in COUNTED},
        "batch_size": size,
        "batches": -(-totals.nodes // size),
        "sample": sampled,
        "estimate_seconds": round(seconds, 1),
        "backup_bytes": backup_bytes,
        "estimate_bytes": needed,
        "free_bytes": free,
        "fits": free >= needed + MARGIN_BYTES,
        "free_memory_bytes": memory.available_memory(),
        "refusals": [asdict(row) for row in totals.refusals],
        "notes": totals.notes[:NOTES],
        "refused_files": [
            {"name": name, "code": error.code, "reason": error.message}
            for name, error in totals.refused[:NOTES]
        ],
    }


def measure(
    store: MemoryStore, graph: LegacySource, totals: Totals, due: int
) -> tuple[int, float, int]:
    """Move a sample into a scratch store and weigh it: the rows that were moved, and what all that
    are `due` will take [seconds] and on the disk [bytes].  Raises SourceCorrupt.

    The sample is a tenth of them, within bounds.  The scratch store lies in
    memory where there is room (/dev/shm), so a dry run does not wear the card; a crash leaves it
    there until the machine restarts, with what the source's owner may read anyway, readable by
    nimad alone.
    """
    wanted = min(LARGEST_SAMPLE, max(LEAST_SAMPLE, int(due * SAMPLE_SHARE)))
    rows = spread(graph, totals, wanted) if due else []
    if not rows:
        return 0, 0.0, 0
    place = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else store.state
    with tempfile.TemporaryDirectory(prefix="nimad-sample-", suffix=".tmp", dir=place) as name:
        scratch = Path(name)
        (scratch / "blocks").mkdir()
        with closing(Records.open(scratch / "records.sqlite")) as records:
            records.checkpoint()
            before, began = size_of(scratch), time.perf_counter()
            memories = [row.memory for row in in_steps(rows, store.give_way)]
            with records.write() as tx:
                tx.pause = store.give_way
                ids = tx.add_memories(memories)
            texts = [memory.text for memory in memories]
            encoded = segments.encode(store.embedder, texts)
            index = BlockIndex(scratch / "blocks", store.embedder.dims)
            index.write_segment("sample", np.array(ids, np.int64), encoded, store.give_way)
            records.checkpoint()
            took, grown = time.perf_counter() - began, size_of(scratch) - before
            grown += words_bytes(texts, scratch / "words", store.give_way)
    all_stages = took / (WEIGHTS[Stage.COPIED] * (1 - WORDS) + WEIGHTS[Stage.ENCODED])
    return len(rows), due * all_stages / len(rows), due * grown // len(rows)


def words_bytes(texts: Sequence[str], path: Path, give_way: Callable[[], object]) -> int:
    """What the words of some texts take: those of the first WORDS_CHARS are written to a file.
    `give_way` is called now and then."""
    ends = np.cumsum([len(text) for text in texts])
    some = texts[: 1 + int(np.searchsorted(ends, WORDS_CHARS))]
    with closing(Analysis()) as analysis:
        terms, lengths = zip(*analysis.of_texts(in_steps(some, give_way)), strict=True)
    writer.write_file(path, writer.of_texts(range(len(some)), terms, lengths))
    return int(size_of(path) * ends[-1] / max(ends[len(some) - 1], 1))


def spread(graph: LegacySource, totals: Totals, wanted: int) -> list[LegacyNode]:
    """About `wanted` readable memories from places that lie evenly between first and last key."""
    mapper = graph.mapper("")
    keys = totals.last_key - totals.first_key + 1
    found: dict[int, LegacyNode] = {}
    for place in range(SAMPLE_PLACES):
        after = totals.first_key - 1 + place * keys // SAMPLE_PLACES
        page = graph.nodes(mapper, after, -(-wanted // SAMPLE_PLACES))
        found.update((row.key, row) for row in page if isinstance(row, LegacyNode))
    return list(found.values())
