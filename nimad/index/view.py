"""One immutable state of the index and the search over it.

Readers take the current view once and never wait: a change makes a new view, and what only the old
one refers to (mapped files, chunks, bitmaps) goes with its last reader.

The next query mostly has the same filter (a namespace, a layer), and looking up 50,000 ids takes
longer than the search.  So the last filter is kept, one bitmap a segment.

An id is live in one place, except between a segment's publishing and the trimming of the hot rows
it was made from: then both copies have the same score, and one is returned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.index.hot import Hot, Part
from nimad.index.kernels.contract import Bounds, Kernels, Marks
from nimad.index.params import BlockParams
from nimad.index.quantise import Ids, Query, Scores, cosines
from nimad.index.rowsets import distinct, marked
from nimad.index.segment import Sealed, Segment

Found = tuple[Ids, Scores]
Step = tuple[Callable[[], Any], Callable[[Any], Found]]
"""Work in a segment or hot rows, and what makes of what it gave the nearest there."""

_NO_IDS: Ids = np.zeros(0, np.int64)


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
        ids = np.sort(np.concatenate([self.hot.ids(), *pieces]))  # 50 times faster than np.unique
        fresh = np.ones(len(ids), np.bool_)
        np.not_equal(ids[1:], ids[:-1], out=fresh[1:])
        return ids[fresh]

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

    def scores(self, kernels: Kernels, query: Query | None, ids: Ids, dims: int) -> Scores:
        """See BlockIndex.scores; for `query` None all that have a row get 0."""
        values = np.zeros(dims, np.int16) if query is None else query.values
        out = np.full(len(ids), np.nan, np.float32)
        for sealed in self.sealed:
            segment = sealed.segment
            rows = segment.rows_of(ids)
            if sealed.alive is not None:
                there = rows >= 0
                there[there] = marked(sealed.alive, rows[there])
                rows[~there] = -1
            found = kernels.cosines(segment.vectors, rows, values)
            if len(self.sealed) == 1:
                out = found
            else:
                np.copyto(out, found, where=rows >= 0)
        late = np.flatnonzero((ids >= self.hot.lowest) & (ids <= self.hot.highest))
        if len(late):
            mine = distinct(ids[late])
            hot = np.full(len(mine), np.nan, np.float32)
            for part in self.hot:
                slots, places = part.slots_of(mine)
                hot[places] = kernels.cosines(part.chunk.rows, slots, values)
            found = hot[mine.searchsorted(ids[late])]
            out[late] = np.where(np.isnan(found), out[late], found)
        return out

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
class Allowed:
    """The live rows with a direction that a filter allows in one segment.

    Attributes:
        count: how many.  rows: int64[count], ascending, where they are few; else None.
        marks: the same as a bitmap; None where they are few.
    """

    sealed: Sealed
    count: int
    rows: Ids | None
    marks: Marks | None

    @classmethod
    def of(cls, sealed: Sealed, ids: Ids, few: int) -> Allowed:
        """Look up `ids` (ascending): O(m) for few, O(n) for many."""
        segment = sealed.segment
        scored = segment.meta.scored
        if len(ids) <= few:
            rows = sealed.live(segment.rows_of(ids))
            rows = np.sort(rows[rows < scored])
            return cls(sealed, len(rows), rows, None)
        chosen = segment.has(ids)[:scored]
        if sealed.alive is not None:
            alive = np.unpackbits(sealed.alive, bitorder="little", count=scored)
            chosen &= alive.view(np.bool_)
        count = int(np.count_nonzero(chosen))
        if count <= few:
            return cls(sealed, count, np.flatnonzero(chosen), None)
        return cls(sealed, count, None, Marks.of(segment.space, chosen))


@dataclass(frozen=True)
class _Slot:
    ids: Ids
    few: int
    found: dict[int, Allowed] = field(default_factory=dict)

    def fits(self, ids: Ids, few: int) -> bool:
        return few == self.few and (
            (ids is self.ids and not ids.flags.writeable) or np.array_equal(ids, self.ids)
        )


class FilterCache:
    """The last filter; any thread may ask, a race costs one look-up more.  Holds 8 bytes an id and
    one bit a row, until another filter comes or `clear`."""

    def __init__(self) -> None:
        self._slot: _Slot | None = None

    def clear(self) -> None:
        """Let go of the segments: the view has changed."""
        self._slot = None

    def of(self, sealed: Sealed, ids: Ids, few: int) -> Allowed:
        """What `ids` (ascending) allow in a segment; as rows when there are at most `few`."""
        slot = self._slot
        if slot is None or not slot.fits(ids, few):
            slot = _Slot(ids.copy() if ids.flags.writeable else ids, few)
            self._slot = slot
        known = slot.found.get(id(sealed))
        if known is None or known.sealed is not sealed:
            known = Allowed.of(sealed, ids, few)
            slot.found[id(sealed)] = known
        return known


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

    def begin(self, view: View) -> BegunSearch:
        """Prepare the search of a view."""
        steps = [*map(self._sealed, view.sealed), *map(self._hot, view.hot)]
        return BegunSearch(self, steps)

    def finish(self, pieces: list[Found]) -> Found:
        """The k best by (score descending, id ascending), of what was found in the parts."""
        if len(pieces) == 1:
            return self._ordered(*pieces[0])
        ids = np.concatenate([_NO_IDS, *(ids for ids, _ in pieces)])
        scores = np.concatenate([np.zeros(0, np.float32), *(scores for _, scores in pieces)])
        ids, scores = self._ordered(ids, scores, len(ids))
        first = np.ones(len(ids), np.bool_)
        first[1:] = ids[1:] != ids[:-1]
        return ids[first][: self.k], scores[first][: self.k]

    def _ordered(self, ids: Ids, scores: Scores, most: int = 0) -> Found:
        order = np.lexsort((ids, -scores))[: most or self.k]
        return ids[order], scores[order]

    def _sealed(self, sealed: Sealed) -> Step:
        scored, cells = sealed.segment.meta.scored, sealed.segment.meta.cells
        if self.allowed is not None:
            few = self.params.exact_filter
            allowed = self.filters.of(sealed, self.allowed, few)
            if allowed.rows is not None:
                return self._exact(sealed.segment, allowed.rows)
            # What is allowed may lie in any block, so all of them are active.
            admitted = self.params.admitted(scored, cells, allowed.count)
            wanted = Marks.weight(scored, allowed.count, admitted)
            bounds = Bounds(few=self.k, margin=self.params.margin)
            blocks = sealed.segment.meta.blocks
            return self._found(sealed.segment, allowed.marks, blocks, wanted, bounds)
        if scored - sealed.dead <= self.params.exact_rows:
            return self._exact(sealed.segment, sealed.live(np.arange(scored)))
        wanted = self.params.scanned(scored, cells)
        if sealed.marks is not None:
            wanted = Marks.weight(scored, scored - sealed.dead, wanted)
        probes, wanted = int(self.params.probes * self.effort), int(wanted * self.effort)
        bounds = self.params.bounds(wanted, scored, self.k)
        return self._found(sealed.segment, sealed.marks, probes, wanted, bounds)

    def _hot(self, part: Part) -> Step:
        slots = part.live() if self.allowed is None else part.slots_of(self.allowed)[0]

        def scored(made: tuple[NDArray[np.int32], NDArray[np.int32]]) -> Found:
            dots, norms = made
            directed = norms > 0
            scores = cosines(dots[directed], norms[directed], self.query)
            return best(part.chunk.ids[slots[directed]], scores, self.k)

        return partial(self.kernels.dots, part.chunk.rows, slots, self.query.values), scored

    def _exact(self, segment: Segment, rows: Ids) -> Step:
        def scored(made: tuple[NDArray[np.int32], NDArray[np.int32]]) -> Found:
            return best(segment.ids_at(rows), cosines(*made, self.query), self.k)

        return partial(self.kernels.dots, segment.vectors, rows, self.query.values), scored

    def _found(
        self, segment: Segment, marks: Marks | None, probes: int, wanted: int, bounds: Bounds
    ) -> Step:
        """The rows that are nearest by their codes, rescored."""
        k, values = self.params.rescored(self.k, segment.meta.scored), self.query.values
        work, found = self.kernels.begin_find(
            segment.space, values, marks, max(probes, 1), max(wanted, 1), k, bounds
        )

        def nearest(made: Any) -> Found:
            rows, scores = found(made)
            return best(segment.ids_at(rows), scores, self.k)

        return work, nearest


class BegunSearch:
    """A search that is prepared: `work` is what takes most of its time, and may be done by any
    thread, mostly without the interpreter's lock; then `result` tells what it found."""

    def __init__(self, search: Search, steps: Sequence[Step]) -> None:
        self._search, self._steps = search, steps

    def work(self) -> list[Any]:
        """Do it; what it gave is for `result`."""
        return [work() for work, _ in self._steps]

    def result(self, made: list[Any]) -> Found:
        """The k best; to be asked once."""
        pieces = [found(one) for (_, found), one in zip(self._steps, made, strict=True)]
        return self._search.finish(pieces)


def best(ids: Ids, scores: Scores, k: int) -> Found:
    """Everything that may be among the k best: the best k and what is equal to the last of them."""
    if len(scores) <= k:
        return ids, scores
    bar = np.partition(scores, len(scores) - k)[len(scores) - k]
    kept = scores >= bar
    return ids[kept], scores[kept]
