"""The score of a query's candidates, from both sides of it; the formula stands in `ranking`.

One call looks at one version of the columns and changes nothing, so queries go side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.errors import Degraded, WordsDamaged
from nimad.index.blocks import BlockIndex
from nimad.index.quantise import Query
from nimad.index.rowsets import distinct
from nimad.recall import evidence, lexical
from nimad.recall.columns import NONE, Columns, Rows
from nimad.recall.dates import Flags, find_on_dates
from nimad.recall.evidence import Evidence, Sides
from nimad.recall.helper_thread import Part
from nimad.recall.layers import INPUT
from nimad.recall.lexical import LexicalScores
from nimad.recall.parsed_query import ParsedQuery, looked_at, parse_query
from nimad.recall.query_context import QueryContext
from nimad.recall.scopes import Scope
from nimad.recall.semantic import (
    SemanticBonus,
    SemanticQuery,
    SemanticScorer,
    SemanticScores,
    best_places,
    highest,
    kth_highest,
    late_cosines,
)
from nimad.recall.weights import Weights
from nimad.store.bounded import beginning
from nimad.store.records import Records
from nimad.text import signs, tokens
from nimad.words.index import TermIndex

BONUSES = ("subject", "date", "literal", "layer", "instruction")
"""Parts of the formula that only some memories have, whatever their words and vectors."""
AROUND = 0.25
"""Share of the whole of a long query in its vector, beside that of the part that says what is
wanted."""
SPARE = 4
"""Memories for each one asked for whose parts are looked at: some may say the same."""
_ROUNDED = 1e-4
"""More than sums in float32 are off."""
LEAST = np.float32(-1e30)
"""Below every score."""
EXACT = 2.0
"""Bonus of a memory that is the query, word for word: above the sum of everything else."""

Floats = NDArray[Any]
"""float32 or float64."""


@dataclass(frozen=True, slots=True)
class Bonus:
    """What some memories have, whatever their words and vectors.

    Attributes:
        worth: of it.
        of: which of some rows have it, or how much of it: bool[m] or float32[m].
        rows: int64[m] or uint32[m], ascending, where it is not 0.
        mask: bool[n], in place of the rows where many have it.
    """

    worth: np.float32
    of: Callable[[Rows], NDArray[Any]]
    rows: NDArray[Any] | None = None
    mask: Flags | None = None

    @classmethod
    def where(cls, worth: float, mine: NDArray[Any], rows: Rows | None = None) -> Bonus:
        """Of bool[n] or float32[n], which rows have it, or how much of it."""
        return cls(
            np.float32(worth), mine.__getitem__, np.flatnonzero(mine) if rows is None else rows
        )

    def leaders(self, words: LexicalScores, count: int) -> Rows:
        """Those of the rows with most words."""
        if self.rows is None:
            return words.leaders(count, self.mask)[0]
        rows = self.rows.astype(np.int64)
        return rows[highest(words.shared_by(rows), count)]


Bonuses = dict[str, Bonus]
"""By name."""


@dataclass(frozen=True, slots=True)
class _Scored:
    """Both sides of one query, before they are fused.

    Attributes:
        context: of the query; its mode is meaning where the words index is damaged.
        bonuses: those of the formula that any row can have.
        near: None where nothing is asked by meaning, or cannot be.
        same: the rows whose text is the query itself.
        on_dates: the rows in the scope that lie on what the query asks of dates, by its parts.
        on_date: bool[n], those that lie on every part of it; None where it names no definite date.
    """

    context: QueryContext
    query: ParsedQuery
    words: LexicalScores
    bonuses: Bonuses
    near: SemanticScores | None
    same: Rows
    on_dates: Mapping[str, Flags]
    on_date: Flags | None


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question as the index takes it; `begun`: the search for the nearest and the furthest, where
    one is needed."""

    vector: Floats
    query: Query
    begun: Part | None


@dataclass(frozen=True, slots=True)
class _Candidates:
    """rows: int64[m], with their own cosine and the mixed one: float32[m], nan for unknown, of
    which there are `gaps`; what they share of words: float32[m]; and whether each is a
    candidate."""

    rows: Rows
    plain: Floats
    mixed: Floats
    shared: Floats
    kept: Flags
    gaps: bool


class Scoring:
    """Weighs what a store holds against a query."""

    def __init__(
        self, records: Records, columns: Columns, terms: TermIndex, weights: Weights
    ) -> None:
        self._records = records
        self._columns = columns
        self._terms = terms
        self._weights = weights
        self._semantic = SemanticScorer(columns, weights)
        self.close = self._semantic.helper.close
        """Ends the thread that queries have beside their own."""

    def drop_segments(self, blocks: BlockIndex) -> None:
        """Let go of segments that the index no longer has: their files are gone."""
        self._semantic.drop_segments(blocks)

    def rest(self) -> None:
        """Give back what is kept for the next queries."""
        lexical.rest()

    def best(self, context: QueryContext) -> list[tuple[int, float, dict[str, float], list[int]]]:
        """(id, score, parts, ids of its copies) of the best `k`, best first; none when too little
        of it is met."""
        scored = self._score_sides(context)
        found = self._best_of(scored)
        scored.words.release()
        return found

    def _best_of(self, scored: _Scored) -> list[tuple[int, float, dict[str, float], list[int]]]:
        """The same, of both sides."""
        context = scored.context
        if not len(scored.same) and not self._weigh(scored).enough:
            return []
        found = self._find_candidates(scored)
        core = self._core_of(found, scored)
        most = SPARE * context.k
        while True:
            places = self._shortlist(core, most)
            if not len(places):
                return []
            rows = found.rows[places]
            parts = self._parts_of(rows, found.shared[places], found.mixed[places], scored)
            table = np.array([*parts.values(), found.plain[places]])
            score = sum(table[:-1], np.zeros(len(rows)))  # one after the other
            chosen = self._distinct(rows, score, min(most, len(rows)))[: context.k]
            if len(chosen) == context.k or most >= len(core):
                break
            most *= SPARE
        ids, names = self._columns.id, (*parts, "cosine")
        shown = [dict(zip(names, row, strict=True)) for row in table[:, chosen].T.tolist()]
        for one in shown if found.gaps else ():  # without what is unknown
            if math.isnan(one["cosine"]):
                del one["cosine"]
        copies = self._columns.copies(rows[chosen], context.scope.mask)
        others = [ids[same].tolist() if len(same) else [] for same in copies]
        best = ids[rows[chosen]].tolist(), score[chosen].tolist(), shown, others
        return list(zip(*best, strict=True))

    def _distinct(self, rows: Rows, score: Floats, most: int) -> Rows:
        """The places of the best `most`, best first, each sentence of a speaker once."""
        places = best_places(score, most)
        said = self._columns.said(rows[places])
        if len(set(said)) == len(said):
            return places
        return places[sorted({key: n for n, key in reversed(list(enumerate(said)))}.values())]

    @property
    def _is_large(self) -> bool:
        """Whether only candidates are compared by meaning."""
        return self._columns.count > self._weights.exact_rows

    def evidence(self, context: QueryContext) -> Evidence:
        """What `best` decides by whether to answer, with all signals."""
        scored = self._score_sides(context)
        found = self._weigh(scored, whole=True)
        scored.words.release()
        return found

    def _score_sides(self, context: QueryContext) -> _Scored:
        """Where the words index is damaged, the query is asked by meaning alone."""
        columns, scope = self._columns, context.scope
        same = columns.same_as(context.text)
        if (text := looked_at(context.text)) is not context.text:
            context = replace(context, text=text)
        query = parse_query(context.text, columns, self._terms, scope, context.now, context.zone)
        same = same[scope.mask[same]] if len(same) else same
        on_dates = find_on_dates(columns.time, query.dates, query.zone, scope.mask)
        on_date = None
        if query.dates.definite:
            on_date = np.logical_and.reduce(list(on_dates.values()))
        asked = self._ask_meaning(context, query) if context.mode != "words" else None
        words = None
        if context.mode != "meaning":
            words = self._score_words(context, query, on_dates)
        if words is None:
            if context.mode == "words":
                asked = self._ask_meaning(context, query)
            context = replace(context, mode="meaning")
            words = LexicalScores.nothing(columns, scope, self._weights)
        context.watch.lap("words")
        bonuses = self._find_bonuses(query, scope, words, on_date)
        near = self._score_meaning(context, query, asked, words, bonuses, same)
        return _Scored(context, query, words, bonuses, near, same, on_dates, on_date)

    def _score_words(
        self, context: QueryContext, query: ParsedQuery, on_dates: Mapping[str, Flags]
    ) -> LexicalScores | None:
        """None where the words index is damaged."""
        try:
            return lexical.score_words(
                query,
                self._columns,
                self._terms,
                context.scope,
                self._weights,
                context.watch,
                on_dates,
                self._records.texts_holding,
            )
        except WordsDamaged as error:
            self._terms.report_damage(error)
            return None

    def _find_bonuses(
        self, query: ParsedQuery, scope: Scope, words: LexicalScores, on_date: Flags | None
    ) -> Bonuses:
        """What each bonus that any row can have is worth, and to which rows, or how much of it;
        `on_date: bool[n]`, the rows whose time is what the query names, every part of it."""
        columns, weights = self._columns, self._weights
        found: Bonuses = {}
        if len(subjects := query.subjects):
            rows = scope.spoken_by(subjects) if self._is_large else None
            speaks = columns.spoken_by(subjects)
            found["subject"] = Bonus(np.float32(weights.subject), speaks, rows)
        if on_date is not None:
            found["date"] = Bonus.where(weights.on_date, on_date)
        if words.literal is not None:
            found["literal"] = Bonus.where(weights.literal, words.literal)
        if scope.instructions is not None:
            found["instruction"] = Bonus.where(weights.instruction, *scope.instructions)
        if query.layer in scope.layers:
            asked = columns.layer.equal(scope.layers[query.layer])
            found["layer"] = Bonus(np.float32(weights.layer), asked.__getitem__, mask=asked)
        return found

    def _ask_meaning(self, context: QueryContext, query: ParsedQuery) -> _Asked | None:
        """None without an embedder (words go on without it, and the reply says so), and for a
        query in which it knows nothing."""
        context.watch.lap("words")
        try:
            around = "" if query.around == query.meaning else query.around
            parts = context.embedder.embed([query.meaning, around] if around else [query.meaning])
        except Degraded:
            return None
        vector = parts[0]
        if around:  # what is wanted, and a little of what it is about
            mixed = parts[0] + AROUND * parts[1]
            vector = mixed / max(float(np.linalg.norm(mixed)), 1e-6)
        asked = Query.of(vector, context.blocks.dims)
        context.watch.lap("embed")
        if asked is None:
            return None
        begun = self._semantic.begin(context.blocks, asked, context.scope, context.k)
        return _Asked(vector, asked, begun)

    def _score_meaning(
        self,
        context: QueryContext,
        query: ParsedQuery,
        asked: _Asked | None,
        words: LexicalScores,
        bonuses: Bonuses,
        same: Rows,
    ) -> SemanticScores | None:
        """None where nothing is asked by meaning."""
        if asked is None:
            return None
        weights = self._weights
        extra = None
        if bonuses and self._is_large:
            rest = max(1 - self._share(context, query), 1e-6)
            extra = SemanticBonus(
                lambda count: [one.leaders(words, count) for one in bonuses.values()],
                # beside the words of a row, in their unit
                lambda rows: np.float32(words.top / rest) * worth_of(bonuses, bonuses, rows),
            )
        about = SemanticQuery(
            query=asked.query,
            scope=context.scope,
            words=words,
            same=same,
            shares=weights.shares_of(context.embedder),
            late=late_cosines(self._records, context.embedder, asked.vector),
            extra=extra,
            wanted=context.k,
            begun=asked.begun,
        )
        return self._semantic.score(context.blocks, about, context.watch)

    def _weigh(self, scored: _Scored, *, whole: bool = False) -> Evidence:
        """Whether enough of the query is met in this store to answer at all.

        A mode that ranks by one side looks at the other one, too, unless the first leaves no doubt.
        """
        context, near = scored.context, scored.near
        if scored.query.only_names:
            return evidence.CERTAIN
        if not (tokens(context.text) or signs(context.text)):  # marks of punctuation ask nothing
            return Evidence(-evidence.UNREACHED, evidence.threshold(context.strictness))
        words = None if context.mode == "meaning" else scored.words
        found = self._evidence_of(scored, Sides(words, near, scored.on_date), whole)
        if context.mode == "hybrid" or (found.enough and found.sure):
            return found
        if words is not None:
            if context.embedder.quick:
                asked = self._ask_meaning(context, scored.query)
                near = self._score_meaning(
                    context, scored.query, asked, words, scored.bonuses, scored.same
                )
            return self._evidence_of(scored, Sides(words, near, scored.on_date), whole)
        words = self._score_words(context, scored.query, scored.on_dates)
        found = self._evidence_of(scored, Sides(words, near, scored.on_date), whole)
        if words is not None:
            words.release()
        return found

    def _evidence_of(self, scored: _Scored, sides: Sides, whole: bool) -> Evidence:
        """Where it is close, or the `whole` is asked for, the best memory is read."""
        context, embedder = scored.context, scored.context.embedder
        least = evidence.threshold(context.strictness)
        signals, best = evidence.measure(
            scored.query, context.text, context.scope, embedder, self._terms.cut, sides
        )
        found = evidence.weigh(signals, least)
        if best is None or not embedder.quick or not (whole or found.close):
            return found
        ids = self._columns.id[best.row : best.row + 1].tolist()  # none for row -1
        sql = f"SELECT {beginning('text', evidence.READ)} FROM memories WHERE id = ?"
        text = (self._records.value(sql, ids) if ids else None) or ""
        return evidence.weigh(evidence.measure_best(signals, best, text, embedder), least)

    def _find_candidates(self, scored: _Scored) -> _Candidates:
        near, query, words = scored.near, scored.query, scored.words
        also = scored.same
        if query.only_names:  # they may be missing among the nearest
            named = scored.context.scope.spoken_by(query.subjects).astype(np.int64)
            also = distinct(np.concatenate([also, named[scored.context.scope.mask[named]]]))
        none = np.zeros(0, np.float32)
        rows, plain, mixed, gaps = also[:0], none, none, True
        if near is not None:
            rows, plain, mixed, gaps = near.rows, near.plain, near.mixed, near.gaps
        if near is None or query.only_names:
            gaps = True
            extra = np.setdiff1d(np.concatenate([np.flatnonzero(words.shared), also]), rows)
            rows = np.concatenate([rows, extra])
            gap = np.full(len(extra), np.nan, np.float32)
            plain, mixed = np.append(plain, gap), np.append(mixed, gap)
        shared = words.shared_by(rows)
        kept = shared > 0
        if near is not None and not query.only_names:
            halfway = near.usual + self._weights.near * (near.high - near.usual)
            near_one = scored.context.embedder.scale.near * self._known(scored.context, query)
            kept |= mixed >= min(halfway, near_one)
        if len(also):
            kept |= np.isin(rows, also)
        return _Candidates(rows, plain, mixed, shared, kept, gaps)

    def _core_of(self, found: _Candidates, scored: _Scored) -> Floats:
        """float32[m]: the parts of the formula that tell most, together; below LEAST where a row is
        no candidate."""
        near, share = scored.near, self._share(scored.context, scored.query)
        if near is None or found.gaps:
            lexical, semantic = self._sides_of(found.shared, found.mixed, scored)
            core = lexical + semantic
        else:
            core = found.mixed - np.float32(near.low)
            core *= np.float32(share / max(near.high - near.low, 1e-6))
            core += found.shared * np.float32((1 - share) / max(scored.words.top, 1e-6))
        ascending = not scored.query.only_names
        every = ascending and len(found.rows) == self._columns.count
        rows: Any = slice(None) if every else found.rows
        for bonus in scored.bonuses.values():
            core += bonus.worth * bonus.of(rows)
        core += (2 * LEAST) * ~found.kept  # masks that change often take 30 times as long
        if len(scored.same):
            core[np.isin(found.rows, scored.same)] += EXACT
        return core

    def _shortlist(self, core: Floats, most: int) -> Rows:
        """Places, ascending, among which are those of the `most` highest scores: those where the
        rest of the formula can make up for what `core` lacks."""
        bar = LEAST
        if len(core) > most:
            weights = self._weights
            rest = weights.asks + weights.importance + weights.recency + _ROUNDED
            bar = max(bar, kth_highest(core, most) - np.float32(rest))
        return np.flatnonzero(core >= bar)

    def _share(self, context: QueryContext, query: ParsedQuery) -> float:
        """Of the semantic side in the score."""
        if context.mode != "hybrid":
            return float(context.mode == "meaning")
        share = self._weights.semantic * self._known(context, query)
        return share * (self._weights.named if len(query.subjects) else 1.0)

    def _known(self, context: QueryContext, query: ParsedQuery) -> float:
        """What vectors know of a query beside one of words, by its script."""
        return self._weights.dense if query.dense and context.embedder.by_spelling else 1.0

    def _sides_of(self, shared: Floats, mixed: Floats, scored: _Scored) -> tuple[Floats, Floats]:
        """The lexical and the semantic term of the formula."""
        near, top = scored.near, max(scored.words.top, 1e-6)
        share = self._share(scored.context, scored.query)
        nearness = mixed
        if math.isnan(mixed.sum()):
            nearness = np.where(np.isnan(mixed), np.float32(0), mixed)
        low, spread = (near.low, max(near.high - near.low, 1e-6)) if near else (0.0, 1.0)
        return (1 - share) * shared / top, share * np.maximum(nearness - low, 0) / spread

    def _parts_of(
        self, rows: Rows, shared: Floats, mixed: Floats, scored: _Scored
    ) -> dict[str, Floats]:
        """The terms of the formula, by name: float[m] each."""
        columns, weights, scope = self._columns, self._weights, scored.context.scope
        lexical, semantic = self._sides_of(shared, mixed, scored)
        time = columns.time[rows]
        age = (time - scope.first) / max(scope.last - scope.first, 1)
        age[time == 0] = 0.5  # no date is neither old nor new
        kinds = columns.kinds
        answers = kinds["asks"] & (kinds["layer"] != scope.layers.get(INPUT, NONE))
        asks = answers.take(columns.kind.codes[rows])
        exact = EXACT * np.isin(rows, scored.same) if len(scored.same) else np.zeros(len(rows))
        none, bonuses = np.zeros(len(rows), np.float32), scored.bonuses
        return {
            "lexical": lexical,
            "semantic": semantic,
            **{n: worth_of(bonuses, (n,), rows) if n in bonuses else none for n in BONUSES},
            "asks": -weights.asks * asks,
            "importance": weights.importance * columns.importance[rows],
            "recency": weights.recency * age,
            "exact": exact,
        }


def worth_of(bonuses: Bonuses, names: Iterable[str], rows: Rows) -> Floats:
    """float32[m]: what some bonuses are worth to some rows, all together."""
    total = np.zeros(len(rows), np.float32)
    for name in names:
        if name in bonuses:
            total += bonuses[name].worth * bonuses[name].of(rows)
    return total
