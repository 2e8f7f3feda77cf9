"""The first stage: rows of the snapshot become memories with their words.

Crash prose: a batch is one transaction: memories, words, quarantine, counters and the cursor commit
together or not at all.  A crash leaves whole batches; the next start goes on behind the cursor.

On a snapshot after the first one every row is looked at again.  A row that is here already stays as
it is; when the source has changed it since, that is noted, and the first version is kept.  A row
that was forgotten on request does not come back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nimad.disk.durable import crash_point
from nimad.legacy.hostile_reader import in_steps
from nimad.legacy.mapping import Mapper
from nimad.legacy.source import LegacyNode, Unreadable
from nimad.legacy.values import identical
from nimad.migrate.run import Run, cursor
from nimad.model import Memory, Stage
from nimad.store import sources
from nimad.store.sources import Source

CHANGED = "changed in the source after it was taken over; the first version is kept"

MAX_KIND = 100
"""Length of the kind of a note, which ends with a column's name of the source's choice."""


def copy(run: Run) -> Iterator[None]:
    """Copy the rows behind the cursor, one batch at a time."""
    graph = run.graph()
    source = run.source()
    mapper = graph.mapper(source.name)
    while page := graph.nodes(mapper, cursor(source.node_cursor), run.batcher.next_size()):
        with run.batch(len(page), Stage.COPIED):
            memories = _commit(run, source, mapper, page)
        crash_point("migrate.copied")
        run.take_in(memories)
        yield
        source = run.source()
    sources.change(run.store.records, source.id, stage=Stage.COPIED)


def _commit(
    run: Run, source: Source, mapper: Mapper, page: Sequence[LegacyNode | Unreadable]
) -> list[Memory]:
    """Sort a page out, then write what is to be added and noted in one transaction; what was
    added."""
    records, rerun = run.store.records, source.note("rerun")
    memories: dict[int, Memory] = {}
    notes: list[tuple[str, str | int, str]] = []
    known: dict[int, Memory | None] = {}  # None: forgotten on request
    if rerun:
        known |= dict.fromkeys(sources.quarantined_keys(records, source.id, "forgotten"))
        known |= sources.memories(records, source.id, [row.key for row in page])
    for row in in_steps(page, run.give_way):
        if isinstance(row, Unreadable):
            notes.append((row.kind, row.key, row.reason))
        elif row.key in known:
            memory = known[row.key]
            if memory is not None and not identical(mapper.row(memory), row.row):
                notes.append(("changed", row.key, CHANGED))
        else:
            memories[row.key] = row.memory
            notes += [(f"field {name}"[:MAX_KIND], row.key, why) for name, why in row.notes]
    run.give_way()
    with run.adding() as tx:
        if memories:
            tx.add_memories(list(memories.values()), source.id)
        sources.quarantine(tx, source.id, notes)
        if rerun:
            sources.release_from_quarantine(tx, source.id, "node", list(memories))
        sources.update(tx, source.id, node_cursor=page[-1].key)
        sources.advance(tx, source.id, copied=len(memories))
    return [*memories.values()]
