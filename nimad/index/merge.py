"""Merging: the live rows of several segments as one source, and whether codebooks can stay.

Among the segments that are merged, the one with learned blocks that brings the most rows is the
heir.  Its codebooks (mean, blocks, dimensions) are kept while they fit: see
`nimad.index.drift`.  Then its rows stay in the lists they are in, only the others are assigned, and
the same rows give the same bytes.  In all other cases codebooks are learned anew from all rows.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nimad.index.cells import Codebook, grouped, nearest
from nimad.index.drift import Fit
from nimad.index.params import BlockParams
from nimad.index.quantise import directions, quantise_rows
from nimad.index.segment import Segment

log = logging.getLogger(__name__)

READ = 32_768
"""Rows of a file of which some are mapped at a time: 8 MB [rows]."""


class MergedRows:
    """A RowSource over the live rows of several segments, which stay mapped as long as it lives.

    Where an id is live in several, the later segment's row is taken.  Holds 14 bytes a row, and
    of the files few rows at a time.

    Attributes:
        part: uint16[m], the segment of each row with a direction.  place: uint32[m], its row there.
    """

    def __init__(
        self,
        parts: Sequence[tuple[Segment, NDArray[np.int64]]],
        dims: int,
        going_on: Callable[[], object],
    ) -> None:
        """`parts`: segments, each with its live rows, ascending.  `going_on` is called now and
        then, and may raise."""
        self.going_on = going_on
        self.segments = [segment for segment, _ in parts]
        self.dims = dims
        ids = [segment.ids_at(rows) for segment, rows in parts]
        every = np.concatenate([np.zeros(0, np.int64), *ids])
        part = np.repeat(np.arange(len(parts), dtype=np.uint16), [len(rows) for _, rows in parts])
        place = np.concatenate([np.zeros(0, np.uint32), *(r.astype(np.uint32) for _, r in parts)])
        order = np.lexsort((part, every))
        latest = order[np.append(every[order][1:] != every[order][:-1], True)[: len(order)]]
        scored = np.array([segment.meta.scored for segment in self.segments] or [0])
        directed = place[latest] < scored[part[latest]]
        self.ids, self.zero_ids = every[latest[directed]], every[latest[~directed]]
        self.part, self.place = part[latest[directed]], place[latest[directed]]

    def take(self, picks: NDArray[np.int64]) -> NDArray[np.int8]:
        self.going_on()
        out = np.empty((len(picks), self.dims), np.int8)
        where = self.part[picks].astype(np.int64) << 32 | self.place[picks]
        order = np.argsort(where, kind="stable")
        where = where[order]
        edges = np.flatnonzero(np.diff(where // READ, prepend=-1, append=-1)).tolist()
        for first, end in pairwise(edges):
            segment = self.segments[where[first] >> 32]
            out[order[first:end]] = segment.vectors[where[first:end] & 0xFFFFFFFF]
            segment.container.advise("rows", mmap.MADV_DONTNEED)
        return out

    def heir(self) -> tuple[int, Segment, Fit] | None:
        """The learned segment that brings the most rows: its number, itself, its fit."""
        brought = np.bincount(self.part, minlength=len(self.segments))
        for number in np.argsort(-brought, kind="stable"):
            fit = self.segments[number].fit
            if fit is not None and brought[number]:
                return int(number), self.segments[number], fit
        return None


def kept_book(source: MergedRows, params: BlockParams) -> Codebook | None:
    """The codebooks that the merged rows can keep, with all rows assigned; None: learn anew.

    Costs one comparison with the blocks, and one with the dimensions of a block, for each row that
    the heir does not bring.
    """
    heir = source.heir() if params.learns(len(source.ids)) else None
    if heir is None or heir[1].meta.blocks != params.blocks:
        return None
    number, segment, fit = heir
    foreign = np.flatnonzero(source.part != number)
    usable = np.flatnonzero(np.diff(segment.cell_start[segment.block_start]))
    places, cosines = nearest(source, foreign, segment.blocks[usable])
    fit = fit.plus(cosines)
    if fit.stale(len(source.ids), params.relearn_drift, params.relearn_growth):
        reason = "blocks are learned anew: drift %.3f over %d rows added to %d"
        log.info(reason, fit.drift, fit.count, fit.learned)
        return None
    own = source.part == number
    cell_of = np.empty(len(source.ids), np.uint32)
    cell_of[own] = np.searchsorted(segment.cell_start, source.place[own], side="right") - 1
    # the cell nearest to each foreign row within its block; a segment keeps only the codes
    # of its cells, whose directions are those of their rows' sums
    cells = np.empty(len(foreign), np.uint32)
    order, edges = grouped(usable[places].astype(np.uint32), segment.meta.blocks)
    for block in np.flatnonzero(np.diff(edges)):
        mine = order[edges[block] : edges[block + 1]]
        first, end = int(segment.block_start[block]), int(segment.block_start[block + 1])
        full = first + np.flatnonzero(np.diff(segment.cell_start[first : end + 1]))
        start, stop = (int(segment.cell_start[cell]) for cell in (first, end))
        held = directions(segment.vectors[start:stop])
        sums = np.add.reduceat(held, segment.cell_start[full] - np.uint32(start), axis=0)
        centres = quantise_rows(sums)
        cells[mine] = full[nearest(source, foreign[mine], centres)[0]]
    cell_of[foreign] = cells
    book = (segment.mean, segment.blocks, segment.block_start, segment.cell_codes)
    return Codebook(*book, cell_of, fit)
