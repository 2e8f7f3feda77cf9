"""Vectors of memories that only RAM holds for now; a start makes them again of the texts.

Those that come alone are written to `hot` some hundred at a time, a little later when others write
at the same time.  Those that come in bulk are never written there: they wait for their segment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from nimad.core import segments
from nimad.store.transaction import Transaction

LATE_ROWS = 256
"""Vectors that came alone, from which on they are written together; a start encodes their texts
again, which takes 10 ms [rows]."""
BULK = 64
"""Memories that are stored together from which on they are a bulk.  Queries are spared meanwhile:
they wait no longer than it takes to read and embed so many, 2 ms [memories]."""

Rows = NDArray[np.float32]


class UnwrittenVectors:
    """Those of one index, whose embedder is quick.

    Attributes:
        bulk: how many came in bulk and wait for a segment, at most.
    """

    def __init__(self) -> None:
        self._late: dict[int, bytes] = {}
        self.bulk = 0

    @property
    def due(self) -> bool:
        """Whether what came in bulk is worth a segment, although it is small."""
        return self.bulk >= LATE_ROWS

    def write(self, tx: Transaction, ids: Sequence[int], rows: Rows, *, quick: bool) -> set[int]:
        """Keep vectors in their transaction, with those that wait; the ids of those that are
        written now, to be given to `add`, which are none where they can wait."""
        late: dict[int, bytes] = {}
        if quick:
            if len(ids) >= BULK:
                return set()
            if not tx.joins:  # the part before it may have written them
                late = self._late
            if len(late) + len(ids) < (LATE_ROWS // 8 if tx.joins else LATE_ROWS):
                return set()
        due = {**late, **dict(segments.to_hot(ids, rows))}
        alive = tx.alive(due)
        tx.add_hot((number, due[number]) for number in alive)
        return set(due)

    def add(self, ids: Sequence[int], rows: Rows, written: Collection[int]) -> None:
        """Note committed vectors, all or none of which were written, with others that waited."""
        if written:
            for number in written:
                self._late.pop(number, None)
        elif len(ids) >= BULK:
            self.bulk += len(ids)
        else:
            self._late.update(segments.to_hot(ids, rows))

    def seal(self, ids: NDArray[np.int64], bulk: int) -> Callable[[Transaction], None]:
        """What joins the transaction that lists a segment of hot rows: `bulk` as it was before they
        were read.  The next writer would put its rows among the hot ones again, and one that is
        forgotten there gets no tombstone for its segment."""
        sealed = self._late.keys() & set(ids.tolist())

        def forget() -> None:
            self._late = {n: self._late[n] for n in self._late.keys() - sealed}
            self.bulk -= bulk

        return lambda tx: tx.after_commit(forget)
