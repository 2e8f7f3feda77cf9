"""Learned blocks and dimensions: which rows lie near each other, so that a query scans only those.

Blocks are spherical k-means over a sample; dimensions are spherical k-means within a block.  Random
directions in their place find .52 of what learned ones find (.92) for the same rows scanned.
Assignment uses the stored 8-bit directions, so a segment explains itself.

The result depends on the order in which the matrix product adds, so two kinds of machine may learn
slightly different cells.  That changes what is scanned, never a score.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.index.drift import Fit
from nimad.index.kernels.contract import Codes, Kernels
from nimad.index.params import BlockParams
from nimad.index.quantise import directions, quantise_rows

SAMPLE = 20_000
_SEED = 2_718_281
_BLOCK_ROUNDS, _DIM_ROUNDS = 8, 4
_ROWS_PER_DIM, _SAMPLE_PER_DIM = 40, 30
_BATCH = 1024
_GROUPS = 10


class RowSource(Protocol):
    """Rows to be sealed, wherever they are.

    Attributes:
        ids: int64[m], ascending, of the rows that have a direction.
        zero_ids: int64[z], ascending, of the rows of zeros.
        dims: d.
    """

    ids: NDArray[np.int64]
    zero_ids: NDArray[np.int64]
    dims: int

    def take(self, picks: NDArray[np.int64]) -> NDArray[np.int8]:
        """int8[k, d]: the rows at these positions of `ids`."""


@dataclass(frozen=True)
class Codebook:
    """What rows are coded and sorted by: b blocks with c cells (dimensions of all blocks) in all.

    Attributes:
        mean: float32[d].  blocks: int8[b, d].
        block_start: uint32[b + 1]; empty without blocks.  cell_codes: the codes of the c cells,
            those of a block together.
        cell_of: uint32[m], the cell of each row of the source.
        fit: how near rows lie to their block; None without blocks.
    """

    mean: NDArray[np.float32]
    blocks: NDArray[np.int8]
    block_start: NDArray[np.uint32]
    cell_codes: Codes
    cell_of: NDArray[np.uint32]
    fit: Fit | None = None

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return int(self.block_start[-1]) if len(self.block_start) else 0


def flat(source: RowSource, params: BlockParams, kernels: Kernels) -> Codebook:
    """No blocks: one range, all of it scanned."""
    nothing, mean = np.zeros((0, source.dims), np.int8), mean_direction(source)
    codes = kernels.encode(nothing, mean)
    cell_of = np.zeros(len(source.ids), np.uint32)
    return Codebook(mean, nothing, np.zeros(0, np.uint32), codes, cell_of)


def learn(source: RowSource, params: BlockParams, kernels: Kernels) -> Codebook:
    """Learn blocks and dimensions from the rows and assign each row to one of them.  Holds the
    sample (5 MB at 256 dimensions) or 9 bytes a row at a time."""
    sampled = source.take(sample(len(source.ids)))
    blocks = quantise_rows(spherical_means(sampled, params.blocks, _BLOCK_ROUNDS))
    del sampled
    block_of, cosines = nearest(source, np.arange(len(source.ids)), blocks)
    fit = Fit.of(len(source.ids), cosines[held_out(len(source.ids))])
    members, edges = grouped(block_of, len(blocks))
    cell_of = np.zeros(len(block_of), np.uint32)
    cells: list[NDArray[np.int8]] = []
    starts = [0]
    for block in range(len(blocks)):
        rows = members[edges[block] : edges[block + 1]]
        if len(rows):
            wanted = max(1, min(params.dims, len(rows) // _ROWS_PER_DIM))
            picked = source.take(rows[sample(len(rows), _SAMPLE_PER_DIM * wanted)])
            dims = quantise_rows(spherical_means(picked, wanted, _DIM_ROUNDS))
            cell_of[rows] = nearest(source, rows, dims)[0] + np.uint32(starts[-1])
            cells.append(dims)
        starts.append(starts[-1] + (len(cells[-1]) if len(rows) else 0))
    mean = mean_direction(source)
    codes = kernels.encode(np.concatenate(cells), mean)
    return Codebook(mean, blocks, np.array(starts, np.uint32), codes, cell_of, fit)


def grouped(
    group_of: NDArray[np.uint32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`order` and `edges`: the members of group g are order[edges[g] : edges[g + 1]], ascending."""
    order = np.argsort(group_of, kind="stable")
    return order, np.searchsorted(group_of[order], np.arange(count + 1))


def sample(rows: int, most: int = SAMPLE) -> NDArray[np.int64]:
    """At most `most` positions out of `rows`, evenly spread."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))


def held_out(rows: int) -> NDArray[np.int64]:
    """At most SAMPLE positions that blocks are not learned from; all, where these are few."""
    free = np.ones(rows, np.bool_)
    free[sample(rows)] = False
    rest = np.flatnonzero(free) if rows > SAMPLE * 5 // 4 else np.arange(rows)
    return rest[sample(len(rest))]


def mean_direction(source: RowSource) -> NDArray[np.float32]:
    """What rows are centred on: float32[d], the mean of a sample's directions."""
    if not len(source.ids):
        return np.zeros(source.dims, np.float32)
    picks = sample(len(source.ids))
    total = np.zeros(source.dims, np.float64)
    for first in range(0, len(picks), _BATCH):
        some = directions(source.take(picks[first : first + _BATCH]))
        total += some.sum(axis=0, dtype=np.float64)
    return np.asarray(total / len(picks), np.float32)


def nearest(
    source: RowSource, rows: NDArray[np.int64], centres: NDArray[np.int8]
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """The centre nearest to each of `rows` and its cosine: uint32[m], float32[m]."""
    parts = (source.take(rows[at : at + _BATCH]) for at in range(0, len(rows), _BATCH))
    return _nearest(parts, len(rows), directions(centres))


def _nearest(
    parts: Iterable[NDArray[np.int8]], count: int, centres: NDArray[np.float32]
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """The same of `count` rows, which come in parts; few of them are float32 at a time."""
    numbers, cosines, first = np.empty(count, np.uint32), np.empty(count, np.float32), 0
    for part in parts:
        likeness = directions(part) @ centres.T
        numbers[first : first + len(part)] = likeness.argmax(axis=1)
        cosines[first : first + len(part)] = likeness.max(axis=1)
        first += len(part)
    return numbers, cosines


def spherical_means(points: NDArray[np.int8], count: int, rounds: int) -> NDArray[np.float32]:
    """`count` unit directions near which `points: int8[n, d]` (no zeros) gather: float32[c, d].

    Lloyd's iteration on the sphere (Dhillon and Modha 2001), from seeded points of the sample; a
    centre that loses all its points starts again at the point that is farthest from its own centre.
    Fewer than `count` when there are fewer points.
    """
    count = min(count, len(points))
    chosen = np.random.Generator(np.random.PCG64(_SEED)).permutation(len(points))[:count]
    centres = directions(points[np.sort(chosen)])
    for _ in range(rounds):
        parts = (points[at : at + _BATCH] for at in range(0, len(points), _BATCH))
        nearest, cosines = _nearest(parts, len(points), centres)
        # the direction of each group's sum; a group without one keeps its centre
        order = np.argsort(nearest, kind="stable")
        present, firsts = np.unique(nearest[order], return_index=True)
        edges = np.append(firsts, len(order))
        sums = np.empty((len(present), points.shape[1]), np.float32)
        for at in range(0, len(present), _GROUPS):  # all at once would be a copy of the points
            mine = edges[at : at + _GROUPS + 1]
            part = directions(points[order[mine[0] : mine[-1]]])
            sums[at : at + _GROUPS] = np.add.reduceat(part, mine[:-1] - mine[0], axis=0)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        out = centres.copy()
        usable = lengths[:, 0] > 1e-6
        out[present[usable]] = sums[usable] / lengths[usable]
        centres = out
        empty = np.flatnonzero(np.bincount(nearest, minlength=count) == 0)
        farthest = np.argsort(cosines, kind="stable")
        centres[empty] = directions(points[farthest[: len(empty)]])
    return centres
