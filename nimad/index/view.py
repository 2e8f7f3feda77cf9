"""One immutable state of the index and the search over it.

Readers take the current view once and never wait: a change makes a new view, and what only the old
one refers to (mapped files, chunks, bitmaps) goes with its last reader.

An id is live in one place, except between a segment's publishing and the trimming of the hot rows
it was made from: then both copies have the same score, and one is returned.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nimad.index.filters import FilterCache
from nimad.index.hot import Hot
from nimad.index.kernels.contract import Kernels, Marks
from nimad.index.params import BlockParams
from nimad.index.quantise import Query, cosines
from nimad.index.rowsets import marked
from nimad.index.segment import Segment

Ids = NDArray[np.int64]
Scores = NDArray[np.float32]
Found = tuple[Ids, Scores]

_NO_IDS: Ids = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Sealed:
    """A segment and which of its rows are live.

    Attributes:
        alive: bitmap over the rows, bit (row % 8) of byte row // 8; None: all of them.
        dead: how many are not.
    """

    segment: Segment
    alive: NDArray[np.uint8] | None = None
    dead: int = 0

    @functools.cached_property
    def marks(self) -> Marks | None:
        """The live rows with a direction as the kernels want them; None: all."""
        if self.alive is None:
            return None
        scored = self.segment.meta.scored
        alive = np.unpackbits(self.alive, bitorder="little", count=scored).view(np.bool_)
        return Marks.of(self.segment.space, alive)

    def live(self, rows: Ids) -> Ids:
        """Those of `rows` that exist (not -1) and are live."""
        rows = rows[rows >= 0]
        if self.alive is None:
            return rows
        return rows[marked(self.alive, rows)]

    def every(self) -> Ids:
        """All live rows, ascending."""
        return self.live(np.arange(self.segment.meta.rows))

    def without(self, ids: Ids) -> Sealed:
        """With the rows of these ids (ascending) struck out; copies one bit a row."""
        meta = self.segment.meta
        if not len(ids) or ids[0] > meta.last or ids[-1] < meta.first:
            return self
        rows = self.live(self.segment.rows_of(ids))
        if not len(rows):
            return self
        size = -(-meta.rows // 8)
        alive = np.full(size, 0xFF, np.uint8) if self.alive is None else self.alive.copy()
        np.bitwise_and.at(alive, rows >> 3, ~(np.uint8(1) << (rows & 7).astype(np.uint8)))
        return Sealed(self.segment, alive, self.dead + len(rows))


@dataclass(frozen=True)
class View:
    """Segments (in the order they were published), hot rows, and the ids never to be returned.

    Attributes:
        removed: int64[r], ascending.
    """

    sealed: tuple[Sealed, ...] = ()
    hot: Hot = field(default_factory=Hot)
    removed: Ids = field(default_factory=lambda: _NO_IDS)

    def ids(self) -> Ids:
        """The live ids, ascending: int64[n], a copy."""
        pieces = [sealed.segment.ids_at(sealed.every()) for sealed in self.sealed]
        return np.unique(np.concatenate([self.hot.ids(), *pieces]))

    def joined_by(self, fresh: Sequence[Sealed]) -> View:
        """With more segments: without what was removed, each id in its newest segment."""
        sealed = list(self.sealed)
        for new in fresh:
            segment = new.segment
            first, last = segment.meta.first, segment.meta.last
            for number, old in enumerate(sealed):
                if old.segment.meta.first <= last and first <= old.segment.meta.last:
                    sealed[number] = old.without(np.sort(segment.ids()))
            sealed.append(new.without(self.removed))
        return View(tuple(sealed), self.hot, self.removed)

    def stats(self) -> dict[str, int]:
        """See BlockIndex.stats."""
        hot = len(self.hot.ids())
        bitmaps = sum(s.alive.nbytes for s in self.sealed if s.alive is not None)
        codes = sum(s.segment.codes.nbytes + s.segment.cell_codes.nbytes for s in self.sealed)
        return {
            "rows": hot + sum(s.segment.meta.rows - s.dead for s in self.sealed),
            "hot": hot,
            "tombstones": sum(s.dead for s in self.sealed),
            "segments": len(self.sealed),
            "disk_bytes": sum(s.segment.container.bytes for s in self.sealed),
            "resident_bytes": self.hot.bytes + bitmaps + codes,
        }


@dataclass(frozen=True)
class Search:
    """One question to one view; `effort`: the share of the usual scan, where nothing filters."""

    kernels: Kernels
    params: BlockParams
    query: Query
    k: int
    allowed: Ids | None
    filters: FilterCache = field(default_factory=FilterCache)
    effort: float = 1.0

    def run(self, view: View) -> Found:
        """The k best by (score descending, id ascending)."""
        pieces = [self._sealed(sealed) for sealed in view.sealed]
        if view.hot.parts or not pieces:
            pieces.append(self._hot(view.hot))
        if len(pieces) == 1:
            return self._ordered(*pieces[0])
        ids = np.concatenate([ids for ids, _ in pieces])
        scores = np.concatenate([scores for _, scores in pieces])
        ids, scores = self._ordered(ids, scores, len(ids))
        first = np.ones(len(ids), np.bool_)
        first[1:] = ids[1:] != ids[:-1]
        return ids[first][: self.k], scores[first][: self.k]

    def _ordered(self, ids: Ids, scores: Scores, most: int = 0) -> Found:
        order = np.lexsort((ids, -scores))[: most or self.k]
        return ids[order], scores[order]

    def _hot(self, hot: Hot) -> Found:
        pieces = []
        for part in hot:
            slots = part.live() if self.allowed is None else part.slots_of(self.allowed)[0]
            dots, norms = self.kernels.dots(part.chunk.rows, slots, self.query.values)
            directed = norms > 0
            scores = cosines(dots[directed], norms[directed], self.query)
            pieces.append(best(part.chunk.ids[slots[directed]], scores, self.k))
        if not pieces:
            return _NO_IDS, np.zeros(0, np.float32)
        return np.concatenate([p[0] for p in pieces]), np.concatenate([p[1] for p in pieces])

    def _sealed(self, sealed: Sealed) -> Found:
        scored, cells = sealed.segment.meta.scored, sealed.segment.meta.cells
        if self.allowed is not None:
            few = self.params.exact_filter
            allowed = self.filters.of(sealed, self.allowed, few)
            if allowed.rows is not None:
                return self._exact(sealed.segment, allowed.rows)
            # What is allowed may lie in any block, so all of them are active.
            admitted = self.params.admitted(scored, cells, allowed.count)
            wanted = Marks.weight(scored, allowed.count, admitted)
            return self._found(sealed.segment, allowed.marks, sealed.segment.meta.blocks, wanted)
        if scored - sealed.dead <= self.params.exact_rows:
            return self._exact(sealed.segment, sealed.live(np.arange(scored)))
        wanted = self.params.scanned(scored, cells)
        if sealed.marks is not None:
            wanted = Marks.weight(scored, scored - sealed.dead, wanted)
        probes = int(self.params.probes * self.effort)
        return self._found(sealed.segment, sealed.marks, probes, max(1, int(wanted * self.effort)))

    def _exact(self, segment: Segment, rows: Ids) -> Found:
        dots, norms = self.kernels.dots(segment.vectors, rows, self.query.values)
        scores = cosines(dots, norms, self.query)
        return best(segment.ids_at(rows), scores, self.k)

    def _found(self, segment: Segment, marks: Marks | None, probes: int, wanted: int) -> Found:
        """The rows that are nearest by their codes, rescored."""
        rows, scores = self.kernels.find(
            *(segment.space, self.query.values, marks),
            *(max(probes, 1), wanted, self.params.rescored(self.k, segment.meta.scored)),
        )
        return best(segment.ids_at(rows), scores, self.k)


def scores_of(view: View, kernels: Kernels, query: Query | None, ids: Ids) -> Scores:
    """The cosine of each of `ids` (ascending): nan without a live row, 0 without a direction."""
    out = np.full(len(ids), np.nan, np.float32)
    for sealed in view.sealed:
        rows = sealed.segment.rows_of(ids)
        mine = np.flatnonzero(rows >= 0)
        mine = mine[np.isin(rows[mine], sealed.live(rows[mine]))]
        out[mine] = 0.0
        if query is not None:
            mine = mine[rows[mine] < sealed.segment.meta.scored]
            dots, norms = kernels.dots(sealed.segment.vectors, rows[mine], query.values)
            out[mine] = cosines(dots, norms, query)
    for part in view.hot:
        slots, place = part.slots_of(ids)
        out[place] = 0.0
        if query is not None:
            dots, norms = kernels.dots(part.chunk.rows, slots, query.values)
            out[place] = cosines(dots, norms, query)
    return out


def vector_of(view: View, number: int) -> Scores | None:
    """The row of an id, as numbers: float32[d]; None without a live row that has a direction."""
    wanted = np.array([number], np.int64)
    for part in view.hot:
        slots, _ = part.slots_of(wanted)
        if len(slots):
            row = part.chunk.rows[slots[0]]
            return row.astype(np.float32) if row.any() else None
    for sealed in reversed(view.sealed):
        rows = sealed.live(sealed.segment.rows_of(wanted))
        if len(rows):
            scored = rows[0] < sealed.segment.meta.scored
            return sealed.segment.vectors[rows[0]].astype(np.float32) if scored else None
    return None


def best(ids: Ids, scores: Scores, k: int) -> Found:
    """Everything that may be among the k best: the best k and what is equal to the last of them."""
    if len(scores) <= k:
        return ids, scores
    bar = np.partition(scores, len(scores) - k)[len(scores) - k]
    kept = scores >= bar
    return ids[kept], scores[kept]
