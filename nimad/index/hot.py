"""Hot rows: what was remembered since the last segment, in memory, scored exactly.

A few thousand rows at most (core seals them at `blocks.flush_rows`), so they have no codes: scoring
each row is exact and just as fast.  A state is immutable; a new one shares its chunks.  Appending
fills slots of the last chunk that older states do not look at, so nothing is copied.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass

CHUNK = 1024


class Chunk:
    """Room for 1,024 rows; slots are written once and never changed."""

    def __init__(self, dims: int) -> None:
        self.rows = np.zeros((CHUNK, dims), np.int8)
        self.ids = np.zeros(CHUNK, np.int64)

    def put(self, first: int, ids: NDArray[np.int64], rows: NDArray[np.int8]) -> None:
        """Fill the free slots from `first` on."""
        self.ids[first : first + len(ids)] = ids
        self.rows[first : first + len(ids)] = rows


@dataclass(frozen=True)
class Part:
    """The first `count` slots of a chunk, without those in `gone: bool[1024]`."""

    chunk: Chunk
    count: int
    gone: NDArray[np.bool_] | None = None

    def live(self) -> NDArray[np.int64]:
        """The slots in use, ascending."""
        if self.gone is None:
            return np.arange(self.count)
        return np.flatnonzero(~self.gone[: self.count])

    def slots_of(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The slots whose id is in `ids` (ascending), and where in `ids` it stands."""
        slots = self.live()
        mine = self.chunk.ids[slots]
        place = np.searchsorted(ids, mine)
        place[place == len(ids)] = 0
        hit = ids[place] == mine if len(ids) else np.zeros(len(mine), np.bool_)
        return slots[hit], place[hit]

    def without(self, ids: NDArray[np.int64]) -> Part:
        """With the rows of `ids` (ascending) struck out."""
        slots, _ = self.slots_of(ids)
        if not len(slots):
            return self
        gone = np.zeros(CHUNK, np.bool_) if self.gone is None else self.gone.copy()
        gone[slots] = True
        return Part(self.chunk, self.count, gone)


@dataclass(frozen=True)
class Hot:
    """The hot rows of one moment.

    Attributes:
        lowest, highest: no id lies outside; ids that do are new without looking.
    """

    parts: tuple[Part, ...] = ()
    lowest: int = 0
    highest: int = -1

    def __iter__(self) -> Iterator[Part]:
        return iter(self.parts)

    def ids(self) -> NDArray[np.int64]:
        """The ids of all rows, in no order."""
        pieces = [part.chunk.ids[part.live()] for part in self.parts]
        return np.concatenate([np.zeros(0, np.int64), *pieces])

    def plus(self, ids: NDArray[np.int64], rows: NDArray[np.int8]) -> Hot:
        """With these rows as well; only the owner's one writer may call it.  A few microseconds:
        two small arrays are written, the tuple of parts is copied."""
        if not len(ids):
            return self
        lowest, highest = int(ids.min()), int(ids.max())
        if self.parts:
            lowest, highest = min(lowest, self.lowest), max(highest, self.highest)
        parts = list(self.parts)
        done = 0
        while done < len(ids):
            if not parts or parts[-1].count == CHUNK:
                parts.append(Part(Chunk(rows.shape[1]), 0))
            last = parts[-1]
            fits = min(CHUNK - last.count, len(ids) - done)
            last.chunk.put(last.count, ids[done : done + fits], rows[done : done + fits])
            parts[-1] = Part(last.chunk, last.count + fits, last.gone)
            done += fits
        return Hot(tuple(parts), lowest, highest)

    def minus(self, ids: NDArray[np.int64]) -> Hot:
        """Without the rows of `ids` (ascending).  Copies the rest when most slots are empty."""
        if not len(ids) or ids[0] > self.highest or ids[-1] < self.lowest:
            return self
        parts = [part.without(ids) for part in self.parts]
        live = [part.live() for part in parts]
        if sum(map(len, live)) * 2 >= sum(part.count for part in parts):
            return Hot(tuple(parts), self.lowest, self.highest)
        fresh = Hot()
        for part, slots in zip(parts, live, strict=True):
            fresh = fresh.plus(part.chunk.ids[slots], part.chunk.rows[slots])
        return fresh

    @property
    def bytes(self) -> int:
        """Memory held by the chunks."""
        return sum(part.chunk.rows.nbytes + part.chunk.ids.nbytes for part in self.parts)
