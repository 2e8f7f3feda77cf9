"""The second stage: texts become vectors in sealed segments.

What was accessed comes first (`warm`), then the rest in the order of ids; a memory that has its
vector already, because a query found it meanwhile (see encode_on_hit.py), is passed over.  A source
whose strategy is `lazy` leaves it at that: only encode_on_hit.py encodes its memories.

Vectors gather in memory until there are enough for a segment, or no more texts: few large segments
search faster than many small ones.  A segment is written, then listed in the transaction that moves
the cursor (see core/segments).  A crash before that loses the gathered vectors, which the next
start computes again; what is listed is never encoded twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field

import numpy as np
from numpy.typing import NDArray

from nimad.core import segments
from nimad.core.store import MemoryStore
from nimad.dataclass import dataclass
from nimad.disk.durable import crash_point
from nimad.embed.base import Embedder
from nimad.index.quantise import quantise_rows
from nimad.migrate.run import Run
from nimad.model import Stage
from nimad.store import sources
from nimad.store.transaction import Transaction

SEGMENT_ROWS = 16_384
"""A segment is sealed at this size: 4 MiB of vectors in memory at 256 dimensions."""
GATED_ROWS = 4096
"""And at this one where others are to be spared: sealing takes 40 ms.  Upkeep merges them."""


def encode(run: Run) -> Iterator[None]:
    """Encode what has no vector, one batch at a time."""
    embedder: Embedder | None = None
    if run.source().strategy != "lazy":
        recount(run.store, run.source_id)
        while run.store.embedder is not embedder:  # a rebuild swapped it, and moved the cursor
            embedder = run.store.embedder
            yield from _encode(run, embedder)
    yield
    sources.change(run.store.records, run.source_id, stage=Stage.ENCODED)


@dataclass
class _Gathered:
    """Vectors that no segment holds yet; `cursor` moves when they are sealed (None: it stays)."""

    ids: list[int] = field(default_factory=list)
    parts: list[NDArray[np.int8]] = field(default_factory=list)
    """As a segment has them: a quarter of the room."""
    cursor: int | None = None

    def add(self, run: Run, embedder: Embedder, ids: NDArray[np.int64]) -> None:
        """Encode the memories that have no vector yet, sealed, hot or gathered."""
        done = run.store.blocks.holds(ids) | np.isin(ids, np.array(self.ids, np.int64))
        kept, rows = segments.encode_memories(
            run.store.records, embedder, ids[~done].tolist(), run.give_way
        )
        self.parts.append(quantise_rows(rows))
        self.ids += kept


def _encode(run: Run, embedder: Embedder) -> Iterator[None]:
    """All batches, or those before another embedder took over."""
    most = min(SEGMENT_ROWS, GATED_ROWS) if run.gated else SEGMENT_ROWS
    gathered = _Gathered()
    for ids, cursor in _pages(run):
        if run.store.embedder is not embedder:
            return
        with run.batch(len(ids), Stage.ENCODED):
            gathered.add(run, embedder, ids)
            gathered.cursor = gathered.cursor if cursor is None else cursor
            run.progress.ahead[Stage.ENCODED] = len(gathered.ids)
        if len(gathered.ids) >= most:
            _seal(run, embedder, gathered)
            gathered = _Gathered()
        yield
    _seal(run, embedder, gathered)


def _pages(run: Run) -> Iterator[tuple[NDArray[np.int64], int | None]]:
    """Ids a batch at a time, and where the cursor is once they are encoded."""
    records, source = run.store.records, run.source()
    first = warm(run.store, source.id, source.encode_cursor)
    while len(first):
        size = run.batcher.next_size()
        yield first[:size], None
        first = first[size:]
    # all at once, 8 bytes each: SQLite would sort what is left for each page of them
    every = sources.all_memory_ids(records, source.id)
    every = every[every > source.encode_cursor]
    while len(every):
        size = run.batcher.next_size()
        yield every[:size], int(every[:size][-1])
        every = every[size:]


def warm(store: MemoryStore, source: int, after: int) -> NDArray[np.int64]:
    """int64[n]: the memories of a source with ids above `after` that will be asked for soonest.

    Those that were accessed, in the source or here, the latest first; where no access is known, the
    youngest quarter.
    """
    mine = "FROM memories WHERE source = ? AND id > ?"
    latest = f"SELECT id {mine} AND last_accessed > 0 ORDER BY last_accessed DESC, id"
    ids = store.records.ids_of(latest, (source, after))
    if not len(ids):
        quarter = f"(SELECT (count(*) + 3) / 4 {mine})"
        youngest = f"SELECT id {mine} ORDER BY timestamp DESC, id LIMIT {quarter}"
        ids = store.records.ids_of(youngest, (source, after, source, after))
    return ids[~store.blocks.holds(ids)]


def _seal(run: Run, embedder: Embedder, gathered: _Gathered) -> None:
    store = run.store
    with store.maintenance:  # so that no rebuild swaps the embedder in between
        if store.embedder is not embedder:
            return
        ids = np.array(gathered.ids, np.int64)
        fresh = ~store.blocks.holds(ids)

        def move_cursor(tx: Transaction) -> None:
            if gathered.cursor is not None:
                sources.update(tx, run.source_id, encode_cursor=gathered.cursor)
            sources.advance(tx, run.source_id, encoded=int(fresh.sum()))

        if fresh.any():
            rows = np.concatenate(gathered.parts)
            gathered.parts.clear()
            if not fresh.all():
                ids, rows = ids[fresh], rows[fresh]
            store.semantic.seal(ids, rows, within=move_cursor)
        else:
            with store.records.write() as tx:
                move_cursor(tx)
    run.progress.ahead.clear()
    crash_point("migrate.encoded")


def recount(store: MemoryStore, source: int) -> int:
    """Set `encoded` to the memories that have a vector (a damaged segment takes some away).

    Returns how many have none.
    """
    ids = sources.all_memory_ids(store.records, source)
    encoded = int(store.blocks.holds(ids).sum())
    sources.change(store.records, source, encoded=encoded)
    return len(ids) - encoded
