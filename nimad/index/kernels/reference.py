"""The kernels in plain numpy: the definition that every other form must equal bit for bit.

Why equality is possible at all: the rotation adds, subtracts and flips signs, each rounded once by
IEEE 754 in a fixed order; everything after it is whole numbers.  Dot products use the float32
matrix product and are exact all the same: each partial sum is a whole number below 2^24
(127 * 127 * 1024 = 16,516,096), whatever order the library adds in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.embed.hashes import PythonHashes
from nimad.embed.vocabulary import Vocabulary
from nimad.index.kernels.contract import (
    BITS,
    FARTHEST,
    LANES,
    MOST_COUNTED,
    PLANES,
    ROUNDS,
    SAMPLED,
    STEPS,
    TOP_LEVEL,
    WORDS,
    Bounds,
    Codes,
    Counts,
    Marks,
    Numbers,
    Parted,
    Picks,
    Rows,
    Space,
    groups,
    rotation_signs,
)
from nimad.index.kernels.tokens import TokenTable
from nimad.index.rowsets import Ranks, distinct, highest_rows, joined, marked, spread
from nimad.index.varints import unpack

_SIGNS = rotation_signs()
_BATCH = 128
_SPLIT = 128


def rotate(columns: NDArray[np.float32]) -> NDArray[np.float32]:
    """Three rounds of signs and Hadamard butterflies, not scaled; `columns: float32[512, n]`.

    Stage h combines rows that lie h apart, h = 1, 2, 4 .. 256: (a, b) becomes (a + b, a - b).  The
    order of the stages is part of the definition, for it decides how sums are rounded.
    """
    width = columns.shape[1]
    here, there = columns.copy(), np.empty_like(columns)
    for round_ in range(ROUNDS):
        here *= _SIGNS[round_][:, None]
        span = 1
        while span < BITS:
            a = here.reshape(-1, 2, span * width)
            b = there.reshape(-1, 2, span * width)
            np.add(a[:, 0], a[:, 1], out=b[:, 0])
            np.subtract(a[:, 0], a[:, 1], out=b[:, 1])
            here, there = there, here
            span *= 2
    return here


def centred(values: NDArray[np.integer], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """x - |x| mean, one column per row of `values: int[n, d]`, folded: float32[512, n]."""
    n, dims = values.shape
    wide = values.astype(np.int64)
    norms = np.sqrt(np.einsum("ij,ij->i", wide, wide).astype(np.float64)).astype(np.float32)
    out = np.zeros((BITS, n), np.float32)
    moved = values.T.astype(np.float32) - mean[:, None] * norms
    out[: min(dims, BITS)] = moved[:BITS]
    if dims > BITS:
        out[: dims - BITS] += moved[BITS:] * _SIGNS[ROUNDS - 1, : dims - BITS, None]
    return out


class Reference(PythonHashes):
    """See `nimad.index.kernels.contract.Kernels` for what each method means."""

    name = "numpy"

    def encode(self, rows: Rows, mean: NDArray[np.float32]) -> Codes:
        n = len(rows)
        packed = np.zeros((groups(n) * LANES, WORDS), np.uint64)
        for first in range(0, n, _BATCH):
            turned = rotate(centred(rows[first : first + _BATCH], mean))
            bits = np.packbits(turned.T > 0, axis=1, bitorder="little")
            packed[first : first + len(bits)] = np.ascontiguousarray(bits).view("<u8")
        return np.ascontiguousarray(packed.reshape(-1, LANES, WORDS).transpose(0, 2, 1))

    def planes(self, query: NDArray[np.int16], mean: NDArray[np.float32]) -> NDArray[np.uint64]:
        turned = rotate(centred(query[None, :], mean))[:, 0]
        top = np.float32(TOP_LEVEL)
        step = np.abs(turned).max() / top
        if step == 0:
            return np.zeros((PLANES, WORDS), np.uint64)
        raised = np.rint((turned / step + top) / np.float32(2))
        levels = np.clip(raised, 0, TOP_LEVEL).astype(np.uint8)
        bits = (levels[None, :] >> np.arange(PLANES, dtype=np.uint8)[:, None]) & 1
        return np.packbits(bits, axis=1, bitorder="little").view("<u8")

    def distances(self, codes: Codes, n: int, planes: NDArray[np.uint64]) -> NDArray[np.int32]:
        total = np.zeros((len(codes), LANES), np.uint16)
        for number, plane in enumerate(planes):
            counts = np.bitwise_count(codes ^ plane[None, :, None])
            total += counts.sum(axis=1, dtype=np.uint16) << np.uint16(number)
        return total.reshape(-1)[:n].astype(np.int32)

    def scan(
        self,
        codes: Codes,
        spans: NDArray[np.int64],
        planes: NDArray[np.uint64],
        marks: NDArray[np.uint8] | None,
        k: int,
    ) -> Picks:
        rows, distances = self._spans(codes, spans, planes)
        if marks is not None:
            kept = marked(marks, rows)
            rows, distances = rows[kept], distances[kept]
        if len(rows) <= k:
            return rows
        bar = np.partition(distances, k - 1)[k - 1]
        near = np.flatnonzero(distances < bar)
        tied = np.flatnonzero(distances == bar)[: k - len(near)]
        nearest: Picks = rows[np.sort(np.concatenate([near, tied]))]
        return nearest

    def _spans(
        self, codes: Codes, spans: NDArray[np.int64], planes: NDArray[np.uint64]
    ) -> tuple[Picks, NDArray[np.int32]]:
        """Rows of the spans, ascending, and their distances; whole groups are scored at a time."""
        if len(spans) == 1:
            first, end = (int(edge) for edge in spans[0])
            group = first // LANES
            found = self.distances(codes[group : groups(end)], end - group * LANES, planes)
            return np.arange(first, end), found[first - group * LANES :]
        rows = spread(spans[:, 0], spans[:, 1])
        wanted = distinct(rows // LANES)
        place = np.searchsorted(wanted, rows // LANES) * LANES + rows % LANES
        return rows, self.distances(codes[wanted], len(wanted) * LANES, planes)[place]

    def dots(
        self, rows: Rows, picks: Picks, query: NDArray[np.int16]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        taken = rows[picks].astype(np.float32)
        high = query // _SPLIT
        halves = np.stack([high, query - high * _SPLIT], axis=1).astype(np.float32)
        products = (taken @ halves).astype(np.int32)
        norms = np.einsum("ij,ij->i", taken, taken).astype(np.int32)
        return products[:, 0] * np.int32(_SPLIT) + products[:, 1], norms

    def ranked(
        self,
        words: NDArray[np.uint64],
        before: NDArray[np.uint32],
        order: NDArray[np.uint32] | None,
        numbers: Picks,
    ) -> Picks:
        bits = np.unpackbits(words.view(np.uint8), bitorder="little").view(np.bool_)
        inside = (numbers >= 0) & (numbers < len(bits))
        inside[inside] = bits[numbers[inside]]
        ranks = Ranks(words, before).of_each(numbers[inside].astype(np.uint64))
        out = np.full(len(numbers), -1, np.int64)
        out[inside] = ranks if order is None else order[ranks]
        return out

    def cosines(self, vectors: Rows, rows: Picks, query: NDArray[np.int16]) -> NDArray[np.float32]:
        out: NDArray[np.float32] = np.where(rows < 0, np.float32(np.nan), np.float32(0))
        there = (rows >= 0) & (rows < len(vectors))
        out[there] = self._cosines(vectors, rows[there], query)
        return out

    def _cosines(
        self, vectors: Rows, picks: Picks, query: NDArray[np.int16]
    ) -> NDArray[np.float32]:
        dots, norms = self.dots(vectors, picks, query)
        wide = query.astype(np.int64)
        length = np.sqrt(np.float64(max(int(wide @ wide), 1)))
        found: NDArray[np.float32] = (dots / (_lengths(norms) * length)).astype(np.float32)
        return found

    def find(
        self,
        space: Space,
        query: NDArray[np.int16],
        marks: Marks | None,
        probes: int,
        wanted: int,
        k: int,
        bounds: Bounds = Bounds(),  # noqa: B008
    ) -> tuple[Picks, NDArray[np.float32]]:
        planes = self.planes(query, space.mean)
        weights = (space.cell_start if marks is None else marks.weights).astype(np.int64)
        if len(space.blocks) and wanted < weights[-1]:
            spans = self._chosen(space, weights, query, planes, probes, wanted, bounds)
        else:
            spans = np.array([[0, len(space.vectors)]])
        bits = None if marks is None else marks.bits
        picks = self.scan(space.codes, spans, planes, bits, k)
        if len(picks) > bounds.few:
            distances = self._spans(space.codes, np.stack([picks, picks + 1], 1), planes)[1]
            last = np.partition(distances, bounds.few - 1)[bounds.few - 1]
            picks = picks[distances <= last + bounds.margin]
        return picks, self._cosines(space.vectors, picks, query)

    def begin_find(
        self, *asked: Any
    ) -> tuple[Callable[[], Any], Callable[[Any], tuple[Picks, NDArray[np.float32]]]]:
        return partial(self.find, *asked), lambda found: found

    def _chosen(
        self,
        space: Space,
        weights: NDArray[np.int64],
        query: NDArray[np.int16],
        planes: NDArray[np.uint64],
        probes: int,
        wanted: int,
        bounds: Bounds,
    ) -> NDArray[np.int64]:
        every = np.arange(len(space.blocks))
        dots, norms = self.dots(space.blocks, every, query)
        away = FARTHEST - (dots / _lengths(norms)).astype(np.int64)
        active = np.sort(np.lexsort((every, away))[:probes])
        starts, edges = space.block_start.astype(np.int64), space.cell_start.astype(np.int64)
        cells = spread(starts[active], starts[active + 1])
        distances = self.distances(space.cell_codes, len(edges) - 1, planes)[cells]
        order = np.lexsort((cells, distances >> 2))
        near, bins = cells[order], distances[order] >> 2
        sizes = weights[near + 1] - weights[near]
        total = np.cumsum(sizes)
        enough = int(np.searchsorted(total, wanted)) + 1
        if len(counting := bins[sizes > 0]):
            nearer = np.append(0, total)[np.searchsorted(bins, bins)]
            within = (bins <= counting[0] + bounds.reach) | (nearer < bounds.least)
            enough = min(enough, int(np.count_nonzero(within)))
        chosen = np.sort(near[:enough][sizes[:enough] > 0])
        return joined(edges[chosen], edges[chosen + 1])

    def postings(
        self,
        gaps: NDArray[np.uint8],
        more: NDArray[np.uint8],
        count: int,
        first: int,
        limit: int,
    ) -> tuple[Numbers, Counts]:
        numbers, extra = unpack(gaps)[:count], unpack(more)
        documents = np.cumsum((numbers >> 1) + 1) - 1
        often = numbers & 1
        unsound = np.flatnonzero((documents >= limit) | (often * np.cumsum(often) > len(extra)))
        sound = unsound[0] if len(unsound) else len(numbers)
        documents, often = documents[:sound], often[:sound]
        counts = np.ones(len(documents), np.uint16)
        counts[often == 1] = np.minimum(extra[: np.count_nonzero(often)] + 2, MOST_COUNTED)
        return (first + documents).astype(np.uint32), counts

    def weigh(
        self,
        own: NDArray[np.float32],
        terms: Sequence[tuple[Numbers, Counts]],
        words: Parted,
        rarities: Sequence[float],
        weights: Sequence[float],
    ) -> Numbers:
        above, k1, fixed, share, average = np.array(weights, np.float32)
        fresh = [np.zeros(0, np.uint32)]
        for (rows, counts), rarity in zip(terms, np.array(rarities, np.float32), strict=True):
            length = words.at(rows.astype(np.int64)).astype(np.float32)
            sizes = k1 * (fixed + share * length / average)
            fresh.append(rows[own[rows] == 0])
            held = counts.astype(np.float32)
            own[rows] += rarity * held * above / (held + sizes)
        return np.concatenate(fresh)

    def cover(
        self, holders: Sequence[Numbers], values: Sequence[float], rows: Picks
    ) -> NDArray[np.float32]:
        out = np.zeros(len(rows), np.float32)
        for held, value in zip(holders, np.array(values, np.float32), strict=True):
            out[np.isin(rows, held)] += value
        return out

    def seek(
        self, values: NDArray[np.int64], order: NDArray[np.uint32], wanted: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        inside = values[order]
        sides = [np.searchsorted(inside, wanted, "left"), np.searchsorted(inside, wanted, "right")]
        return np.stack(sides, axis=1)

    def text_sums(
        self, texts: Sequence[bytes], vocabulary: Vocabulary, sums: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Leaves every text: what they are read as is defined by nimad/embed/languages.py."""
        return np.zeros(len(texts), np.bool_)

    def cut(
        self, texts: bytes, ends: NDArray[np.int64], table: TokenTable
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        written = texts.translate(table.letters.tobytes())
        found = [written[first:end].split() for first, end in pairwise([0, *ends.tolist()])]
        numbers = [table.number(token) for tokens in found for token in tokens]
        return np.array(numbers, np.int32), np.array([*map(len, found)], np.int64)

    def shares(
        self,
        own: NDArray[np.float32],
        rows: Picks,
        before: Parted,
        after: Parted,
        weights: Sequence[float],
    ) -> NDArray[np.float32]:
        near, beyond, other = np.array(weights, np.float32)
        out: NDArray[np.float32] = own[rows]
        for chain, share in ((before, near), (after, other)):
            beside, places = rows, np.arange(len(rows))
            for factor in (share, beyond):
                beside = chain.at(beside).astype(np.int64)
                there = (beside >= 0) & (beside < len(own))
                beside, places = beside[there], places[there]
                out[places] += factor * own[beside]
        return out

    def leaders(
        self,
        own: NDArray[np.float32],
        rows: Numbers,
        before: Parted,
        after: Parted,
        weights: Sequence[float],
        mask: NDArray[np.bool_] | None,
        wide: int,
        k: int,
    ) -> tuple[Picks, NDArray[np.float32]]:
        if len(rows) > wide:
            scale = np.float32(STEPS - 1) / own[rows[::SAMPLED]].max()
            steps = (own[rows] * scale).astype(np.int64)
            sampled = np.sort(steps[::SAMPLED])[::-1]
            least = sampled[wide // SAMPLED :][:1]
            rows = rows[steps >= least] if len(least) else rows
        near = [rows.astype(np.int64)]
        for chain in (before, after):
            beside = near[0]
            for _ in range(2):
                beside = chain.at(beside).astype(np.int64)
                beside = beside[(beside >= 0) & (beside < len(own))]
                near.append(beside)
        found = distinct(np.concatenate(near))
        shared = self.shares(own, found, before, after, weights)
        kept = shared > 0 if mask is None else (shared > 0) & mask[found]
        return highest_rows(found[kept], shared[kept], k)


def _lengths(squares: NDArray[np.int32]) -> NDArray[np.float64]:
    return np.sqrt(np.maximum(squares, 1).astype(np.float64))
