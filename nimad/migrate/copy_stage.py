"""The first stage: rows of the snapshot become memories with their words.

Crash prose: a batch is one transaction: memories, words, quarantine, counters and the cursor commit
together or not at all.  A crash leaves whole batches; the next start goes on behind the cursor.

On a snapshot after the first one every row is looked at again.  A row that is here already stays as
it is; when the source has changed it since, that is noted, and the first version is kept.  A row
that was forgotten on request does not come back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from nimad.disk.durable import crash_point
from nimad.legacy.mapping import Mapper
from nimad.legacy.source import LegacyNode, Unreadable
from nimad.legacy.values import identical
from nimad.migrate.run import Run, cursor
from nimad.model import Memory, Stage
from nimad.store import sources
from nimad.store.sources import Source

CHANGED = "changed in the source after it was taken over; the first version is kept"

YIELD_EVERY = 64
"""Rows sorted out between two looks at whether a query waits: 2 ms."""

Page = Sequence[LegacyNode | Unreadable]


@dataclass
class _Batch:
    """A page, sorted out: what to add, what to note, what is no longer to be noted."""

    last_key: int
    memories: list[Memory] = field(default_factory=list)
    quarantine: list[tuple[str, str | int, str]] = field(default_factory=list)
    readable: list[int] = field(default_factory=list)


def copy(run: Run) -> Iterator[None]:
    """Copy the rows behind the cursor, one batch at a time."""
    graph = run.graph()
    source = run.source()
    mapper = graph.mapper(source.name)
    while page := graph.nodes(mapper, cursor(source.node_cursor), run.batcher.next_size()):
        with run.batch(len(page), Stage.COPIED):
            _commit(run, source, _sort_out(run, source, mapper, page))
        crash_point("migrate.copied")
        if run.gated:  # else the next query would have to
            run.store.recall.follow()
        yield
        source = run.source()
    sources.change(run.store.records, source.id, stage=Stage.COPIED)


def _sort_out(run: Run, source: Source, mapper: Mapper, page: Page) -> _Batch:
    batch = _Batch(page[-1].key)
    known: dict[int, Memory | None] = {}  # None: forgotten on request
    if source.note("rerun"):
        records = run.store.records
        known |= dict.fromkeys(sources.quarantined_keys(records, source.id, "forgotten"))
        known |= sources.memories(records, source.id, [row.key for row in page])
    for place, row in enumerate(page):
        if not place % YIELD_EVERY:
            run.give_way()
        if isinstance(row, Unreadable):
            batch.quarantine.append((row.kind, row.key, row.reason))
        elif row.key in known:
            memory = known[row.key]
            if memory is not None and not identical(mapper.row(memory), row.row):
                batch.quarantine.append(("changed", row.key, CHANGED))
        else:
            batch.memories.append(row.memory)
            batch.readable.append(row.key)
            batch.quarantine += [(column, row.key, reason) for column, reason in row.notes]
    return batch


def _commit(run: Run, source: Source, batch: _Batch) -> None:
    run.give_way()
    with run.store.records.write() as tx:
        if batch.memories:
            tx.add_memories(batch.memories, source.id)
        sources.quarantine(tx, source.id, batch.quarantine)
        if source.note("rerun"):
            sources.release_from_quarantine(tx, source.id, "node", batch.readable)
        sources.update(tx, source.id, node_cursor=batch.last_key)
        sources.advance(tx, source.id, copied=len(batch.memories))
