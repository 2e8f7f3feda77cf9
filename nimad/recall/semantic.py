"""The semantic side: cosines of memories that carry a little of their neighbours in the chain.

What is compared is `v + a before + b after`, at length 1.  Only the plain vectors are stored;
the mixture's cosine is the mixture of the cosines, over a length that is computed once and kept in
the columns.  The lengths come of whole numbers, so they are the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.embed.base import Embedder
from nimad.index.blocks import BlockIndex
from nimad.index.located import Located
from nimad.index.quantise import Query
from nimad.index.rowsets import distinct, highest_rows
from nimad.recall.columns import NONE, Columns, Floats, Rows
from nimad.recall.helper_thread import HelperThread, Part
from nimad.recall.lexical import LexicalScores
from nimad.recall.query_context import Stopwatch
from nimad.recall.scopes import Scope
from nimad.recall.weights import Weights
from nimad.store.records import Records

LATE_ROWS = 32
"""Unencoded memories that are embedded during one query (best lexical matches first): 1.5 ms."""
FAR_EFFORT = 1.0
"""Search effort (share of normal) for the far end.  With 0.25, .05 ms less at 100,000 memories,
.9915 of the ten best are those of scoring every row instead of .996 (`whole_path`)."""
NEAR_EFFORT = 0.3
"""Search effort (share of normal) where words have found candidates, too: half of the time at
100,000 memories, and the same ten best."""
BESIDE = 300_000
"""Memories from which on those with most words among the memories of a subject are looked for
beside the others: below, two threads that wait for each other's Python lose as much [memories]."""
_BATCH = 256
"""Rows whose lengths are computed at once: so many stay in a processor's cache, which halves the
time of 4096."""
_STRIDE = 16
"""Values for each one that is sampled to set the bar of `highest`."""
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class SemanticScores:
    """Attributes:
    rows: int64[m], ascending: the memories that were scored.
    plain: float32[m], their own cosines.
    mixed: float32[m], with the neighbours; nan where there is no vector.
    low, high: between which the mixed ones of the whole store lie.
    usual, spread: the mean and the standard deviation of the store's own cosines, of a sample.
    gaps: whether there is a nan.
    """

    rows: Rows
    plain: Floats
    mixed: Floats
    low: float
    high: float
    usual: float = 0.0
    spread: float = 0.0
    gaps: bool = True


@dataclass(frozen=True, slots=True)
class SemanticBonus:
    """What rows are worth besides their words.

    Attributes:
        leaders: for each reason, those of the rows concerned, as many as asked, with most words.
        worth: what rows are worth, in the unit of words.
    """

    leaders: Callable[[int], Sequence[Rows]]
    worth: Callable[[Rows], Floats]


@dataclass(frozen=True, slots=True)
class SemanticQuery:
    """What is compared with the memories.

    Attributes:
        words: the lexical scores.
        same: rows to be scored in any case.
        shares: of the vectors of the one before and the one after, for the embedder in use.
        late: the cosines of memories, by id, whose vectors are not stored yet; None: too slow.
        extra: what rows of a large store are worth besides their words, when the best by both are
            picked to be compared; a row without words is not picked for it.
        wanted: how many memories are asked for.
        begun: what `SemanticScorer.begin` gave.
    """

    query: Query
    scope: Scope
    words: LexicalScores
    same: Rows
    shares: tuple[float, float]
    late: Callable[[Rows], Floats] | None = None
    extra: SemanticBonus | None = None
    wanted: int = 10
    begun: Part | None = None


def late_cosines(
    records: Records, embedder: Embedder, query: Floats
) -> Callable[[Rows], Floats] | None:
    """What compares memories that are not encoded yet with a query, where that takes no time."""
    if not embedder.quick:
        return None

    def cosines(ids: Rows) -> Floats:
        near = np.zeros(len(ids), np.float32)
        for part in records.texts_of(ids.tolist()):
            rows = embedder.embed([text for _, text in part])
            near[np.isin(ids, [number for number, _ in part])] = rows @ query
        return near

    return cosines


class SemanticScorer:
    """Scores rows of the columns by the blocks.  For several threads, as long as nothing changes
    the columns or swaps the blocks."""

    def __init__(self, columns: Columns, weights: Weights) -> None:
        self._columns = columns
        self._weights = weights
        self._every: Located | None = None
        self._measured: tuple[Located, int] | None = None
        self.helper = HelperThread()

    def drop_segments(self, blocks: BlockIndex) -> None:
        """Let go of segments that the index no longer has: their files are gone."""
        if self._every is not None and not blocks.has_segments_of(self._every):
            self._every = self._measured = None

    def _is_picked(self, scope: Scope) -> bool:
        """Whether only some rows of a scope are scored."""
        most = self._weights.exact_rows
        return self._columns.count > most and scope.count > most // 4

    def begin(self, blocks: BlockIndex, asked: Query, scope: Scope, wanted: int) -> Part | None:
        """Begin to search for the nearest, as where words find candidates, too, and the furthest,
        beside what else the query does; None where all rows are scored.  The furthest are for the
        low end only, but scoring them as well does no harm."""
        if not self._is_picked(scope):
            return None
        few, most = max(self._weights.nearest, 2 * wanted), self._weights.furthest
        opposite = Query(-asked.values, asked.norm)
        searches = [
            blocks.begin_search(asked, few, scope.ids, NEAR_EFFORT),
            blocks.begin_search(opposite, most, scope.ids, FAR_EFFORT),
        ]
        return self.helper.begin(
            lambda: [search.work() for search in searches],
            lambda made: [s.result(one)[0] for s, one in zip(searches, made, strict=True)],
        )

    def score(self, blocks: BlockIndex, about: SemanticQuery, watch: Stopwatch) -> SemanticScores:
        """Score every row in the scope; of a large store the nearest, and the best by words."""
        columns, asked = self._columns, about.query
        if columns.count <= self._weights.exact_rows:
            every = self._every = blocks.locate(columns.every_id, self._every)
            if self._measured != (every, columns.version):  # some lengths are not known yet
                unknown = np.flatnonzero((columns.length == 0) & columns.alive[:])
                unknown = unknown[every.present(unknown)]
                for start in range(0, len(unknown), _BATCH):
                    self._measure_rows(unknown[start : start + _BATCH], every, about.shares)
                self._measured = (every, columns.version)
            watch.lap("blocks")
            whole = about.scope.whole
            rows = np.arange(columns.count) if whole else about.scope.rows
            cosines = every.with_none(asked)  # the last for no neighbour
            gaps = not every.complete
            if gaps:
                self._encode_late(cosines[:-1], np.arange(columns.count), about)
            picked = slice(columns.count) if whole else rows
            sample = cosines[about.scope.sample]
            plain, lengths = cosines[picked], columns.length[picked]
            sides = [cosines.take(chain[picked]) for chain in (columns.before, columns.after)]
        else:
            rows = self._picked(blocks, about, watch)
            beside = [chain.take(rows) for chain in (columns.before, columns.after)]
            among = np.concatenate([rows, *beside, about.scope.sample])
            cosines = blocks.scores(asked, columns.id.take(among))
            some, among = cosines[: 3 * len(rows)], among[: 3 * len(rows)]
            some[among == NONE] = 0
            gaps = math.isnan(some.sum())
            if gaps:
                self._encode_late(some, among, about)
            lengths = columns.length.take(rows)
            if not lengths.all():
                unknown = rows[lengths == 0]
                near = self._with_neighbours(unknown)
                self._measure_rows(unknown, blocks.locate(columns.id[near]), about.shares, near)
                lengths = columns.length.take(rows)
            plain, *sides = some.reshape(3, -1)
            sample = cosines[len(some) :]
        mixed, low, high = _mix(plain, sides, about.shares, lengths, gaps)
        total = float(sample.sum())
        if math.isnan(total):  # some of them have no vector yet
            sample = sample[~np.isnan(sample)]
            total = float(sample.sum())
        watch.lap("cosines")
        usual = spread = 0.0
        if len(sample):
            usual = total / len(sample)
            variance = float(sample @ sample) / len(sample) - usual**2
            spread = math.sqrt(max(variance, 0.0))
        return SemanticScores(rows, plain, mixed, low, high, usual, spread, gaps)

    def _encode_late(self, cosines: Floats, rows: Rows, about: SemanticQuery) -> None:
        """What is found by its words and has no vector yet is compared all the same; `cosines` of
        some rows, one of which may come several times."""
        waiting = np.flatnonzero(np.isnan(cosines))
        if about.late is None or not len(waiting):
            return
        mine = distinct(rows[waiting].astype(np.int64))
        best = highest(about.words.shared_by(mine), LATE_ROWS)
        if len(best):
            found = np.full(len(mine), np.nan, np.float32)
            found[best] = about.late(self._columns.id[mine[best]])
            cosines[waiting] = found[mine.searchsorted(rows[waiting])]

    def _picked(self, blocks: BlockIndex, about: SemanticQuery, watch: Stopwatch) -> Rows:
        """The rows of a large store that are scored, ascending."""
        columns, weights, scope = self._columns, self._weights, about.scope
        if not self._is_picked(scope):
            return scope.rows
        most, few = (max(n, 2 * about.wanted) for n in (about.words.most, weights.nearest))
        effort = NEAR_EFFORT if len(about.words.rows) else 1.0
        begun = about.begun or self.begin(blocks, about.query, scope, about.wanted)
        assert begun is not None, "only some rows are scored"
        extra = None
        if about.extra is not None:
            work = partial(about.extra.leaders, most)
            extra = self.helper.begin(work) if columns.count >= BESIDE else Part(work)
        sets = [about.words.leaders(most)[0]]
        if extra is not None:
            sets += extra.result()
        best = self._most_promising(distinct(np.concatenate(sets)), about, most)
        more = best
        while len(more) >= most and not self._say(best, 2 * about.wanted):
            others = np.flatnonzero(about.words.shared)
            others = others[~np.isin(columns.print[others], columns.print[best])]
            more = self._most_promising(others, about, most)
            best = np.concatenate([best, more])
        watch.lap("words")
        near, far = begun.result()
        if effort == 1.0:  # no word was met
            few = most
            near, _ = blocks.search(about.query, few, scope.ids)
        while len(near) == few and not self._say(columns.rows_of(np.sort(near)), about.wanted):
            few *= 8
            near, _ = blocks.search(about.query, few, scope.ids, effort=effort)
        watch.lap("blocks")
        found = columns.rows_of(np.sort(np.concatenate([near, far])))
        return distinct(np.concatenate([found[scope.mask[found]], best, about.same]))

    def _most_promising(self, rows: Rows, about: SemanticQuery, most: int) -> Rows:
        """The best of some rows, ascending, by words and what they are worth besides; and a few of
        the best by words alone, which the others may outnumber."""
        if len(rows) <= most:
            return rows
        shared = about.words.shared_by(rows)
        if about.extra is None:
            return highest_rows(rows, shared, most)[0]
        both, _ = highest_rows(rows, shared + about.extra.worth(rows), most)
        return distinct(np.concatenate([both, highest_rows(rows, shared, most // 8)[0]]))

    def _say(self, rows: Rows, count: int) -> bool:
        """Whether rows have so many different texts: a sentence that was said often hides the
        others.  Nearly always the first of them tell."""
        prints = self._columns.print
        return any(len(set(prints[some].tolist())) >= count for some in (rows[: 2 * count], rows))

    def _with_neighbours(self, rows: Rows) -> Rows:
        """`rows` and their neighbours, ascending."""
        columns = self._columns
        if len(rows) * _STRIDE < columns.count:
            beside = np.concatenate([columns.before[rows], columns.after[rows]]).astype(np.int64)
            return distinct(np.concatenate([rows, beside[beside != NONE]]))
        wanted = np.zeros(columns.count + 1, np.bool_)  # the last one for row -1, no neighbour
        for found in (rows, columns.before[rows], columns.after[rows]):
            wanted[found] = True
        return np.flatnonzero(wanted[:-1])

    def _measure_rows(
        self,
        rows: Rows,
        every: Located,
        near_by: tuple[float, float],
        within: Rows | None = None,
    ) -> None:
        """Keep |v + a before + b after| of `rows`; `every` has all rows, or those `within`."""
        if not len(rows):
            return
        columns = self._columns
        near = self._with_neighbours(rows)
        picks = near if within is None else within.searchsorted(near)
        vectors = np.vstack([every.rows(picks), np.zeros((1, every.dims), np.float32)])
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors).astype(np.float64))
        places = [  # among `near`; behind them for no neighbour
            np.where(found == NONE, len(near), near.searchsorted(found))
            for found in (rows, columns.before[rows], columns.after[rows])
        ]
        shares = (1.0, *near_by)
        square = np.zeros(len(rows), np.float64)
        for n, (one, a) in enumerate(zip(places, shares, strict=True)):
            square += a * a * (norms[one] > 0)
            for other, b in zip(places[n + 1 :], shares[n + 1 :], strict=True):
                # whole numbers below 2**24: exact in float32, in any order
                dots = np.einsum("ij,ij->i", vectors[one], vectors[other]).astype(np.float64)
                square += 2 * a * b * dots / np.maximum(norms[one] * norms[other], 1)
        missing = np.zeros(len(rows), np.bool_)
        present = np.append(every.present(picks), True)
        for one in places:  # a vector that is still to come would change the length
            missing |= ~present[one]
        lengths = np.sqrt(np.maximum(square, 1e-6)).astype(np.float32)
        lengths[missing] = 0
        columns.length[rows] = lengths


def _mix(
    plain: Floats,
    sides: Sequence[Floats],
    shares: tuple[float, float],
    lengths: Floats,
    gaps: bool,
) -> tuple[Floats, float, float]:
    """The mixed cosines of rows, and the lowest and the highest of them.

    Of the cosines of rows, nan without a vector, and of their neighbours, 0 without one, which are
    overwritten; `gaps`: whether there may be a nan.
    """
    if gaps:
        sides = [np.where(np.isnan(side), np.float32(0), side) for side in sides]
    mixed, other = sides
    mixed *= np.float32(shares[0])
    mixed += plain
    other *= np.float32(shares[1])
    mixed += other
    mixed /= lengths if lengths.all() else np.where(lengths == 0, np.float32(1), lengths)
    if len(mixed) and not gaps:
        return mixed, float(mixed.min()), float(mixed.max())
    low = float(np.fmin.reduce(mixed, initial=np.nan))  # nan counts only where all are
    if math.isnan(low):
        return mixed, 0.0, 0.0
    return mixed, low, float(np.fmax.reduce(mixed))


def kth_highest(values: Floats, k: int) -> np.float32:
    """Of at least k values; a bar that every 16th suggests spares most of the sorting."""
    sample, rank = values[::_STRIDE], 2 * k // _STRIDE + 8
    if len(sample) > 4 * rank:
        bar = np.partition(sample, len(sample) - rank)[len(sample) - rank]
        high = values[values >= bar]
        if len(high) >= k:
            values = high
    found: np.float32 = np.partition(values, len(values) - k)[len(values) - k]
    return found


def highest(values: Floats, k: int) -> Rows:
    """The places, ascending, of the k highest values above 0; of equal ones the first.

    A bar that every 16th value suggests spares sorting the low ones; where it was too high, all
    above 0 are looked at.
    """
    sample = values[::_STRIDE]
    rank = 2 * k // _STRIDE + 8
    if len(sample) > 4 * rank:
        bar = float(np.partition(sample, len(sample) - rank)[len(sample) - rank])
        places = np.flatnonzero(values >= max(bar, _TINY))
        if len(places) >= k:
            return highest_rows(places, values[places], k)[0]
    places = np.flatnonzero(values > 0)
    return highest_rows(places, values[places], k)[0]


def best_places(score: NDArray[Any], k: int) -> Rows:
    """The places of the k highest scores, highest first, equal ones in order."""
    if len(score) <= k:
        return np.lexsort((np.arange(len(score)), -score))
    bar = np.partition(score, len(score) - k)[len(score) - k]
    places = np.flatnonzero(score >= bar)
    return places[np.lexsort((places, -score[places]))][:k]
