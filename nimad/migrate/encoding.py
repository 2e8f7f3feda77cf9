"""The second stage: texts become vectors in sealed segments.

Vectors gather in memory until there are enough for a segment, or no more texts: few large segments
search faster than many small ones.  A segment is written, then listed in the transaction that moves
the cursor (see core/vectors.seal).  A crash before that loses the gathered vectors, which the next
start computes again; what is listed is never encoded twice.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nimad.core import vectors
from nimad.disk.durable import crash_point
from nimad.migrate.run import Run
from nimad.store import sources
from nimad.store.transaction import Transaction

SEGMENT_ROWS = 16_384
"""A segment is sealed at this size: 16 MiB of vectors in memory at 256 dimensions."""
POLITE_ROWS = 256
"""So many texts are encoded between two looks at who is waiting: 5 ms."""


def encode(run: Run) -> Iterator[None]:
    """Encode the memories behind the cursor, one batch at a time."""
    store, source = run.store, run.source()
    gathered = _Gathered()
    after, embedder = source.encode_cursor, store.embedder
    while rows := sources.unencoded(store.records, source.id, after, run.batcher.next_size()):
        if store.embedder is not embedder:  # a rebuild swapped it, and moved the cursor
            gathered, after, embedder = _Gathered(), run.source().encode_cursor, store.embedder
            continue
        with run.batch(len(rows), "encoded"):
            for part in range(0, len(rows), POLITE_ROWS):
                run.give_way()
                ids, texts = zip(*rows[part : part + POLITE_ROWS], strict=True)
                gathered.add(list(ids), vectors.encode(embedder, texts))
            after = rows[-1][0]
            run.progress.ahead["encoded"] = len(gathered)
        if len(gathered) >= SEGMENT_ROWS:
            _seal(run, gathered)
            gathered = _Gathered()
        yield
    if len(gathered):
        _seal(run, gathered)
    yield
    with store.records.write() as tx:
        sources.update(tx, source.id, stage="encoded")


class _Gathered:
    """Vectors that no segment holds yet."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._parts: list[NDArray[np.float32]] = []

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: list[int], rows: NDArray[np.float32]) -> None:
        self._ids += ids
        self._parts.append(rows)

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        return np.array(self._ids, np.int64), np.concatenate(self._parts)


def _seal(run: Run, gathered: _Gathered) -> None:
    ids, rows = gathered.arrays()
    last = int(ids[-1])

    def move_cursor(tx: Transaction) -> None:
        sources.update(tx, run.source_id, encode_cursor=last)
        sources.advance(tx, run.source_id, encoded=len(ids))

    with run.store.maintenance:  # so that no rebuild swaps the embedder in between
        if rows.shape[1] == run.store.embedder.dims and run.source().encode_cursor < last:
            vectors.seal(run.store, ids, rows, within=move_cursor)
    run.progress.ahead.clear()
    crash_point("migrate.encoded")
