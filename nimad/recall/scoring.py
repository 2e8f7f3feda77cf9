"""The score of a query's candidates, from both sides of it; the formula stands in `ranking`.

One call looks at one version of the columns and changes nothing, so queries go side by side.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.embed.base import CosineScale
from nimad.errors import Degraded, WordsDamaged
from nimad.recall import evidence, lexical
from nimad.recall.columns import NONE, Columns, Rows
from nimad.recall.dates import Flags, find_on_dates
from nimad.recall.evidence import Evidence
from nimad.recall.layers import INPUT
from nimad.recall.lexical import LexicalScores
from nimad.recall.parsed_query import ParsedQuery, looked_at, parse_query
from nimad.recall.query_context import QueryContext
from nimad.recall.scopes import Scope
from nimad.recall.semantic import (
    SemanticQuery,
    SemanticScorer,
    SemanticScores,
    best_places,
    late_cosines,
)
from nimad.recall.weights import Weights
from nimad.store.records import Records
from nimad.words.index import TermIndex

BONUSES = ("subject", "date", "literal", "layer", "instruction")
"""Parts of the formula that only some memories have, whatever their words and vectors."""
AROUND = 0.25
"""Share of the whole of a long query in its vector, beside that of the part that says what is
wanted."""
EXACT = 2.0
"""Bonus of a memory that is the query, word for word: above the sum of everything else."""

Floats = NDArray[Any]
"""float32 or float64."""


@dataclass(frozen=True, slots=True)
class _Scored:
    """Both sides of one query, before they are fused.

    Attributes:
        context: of the query; its mode is meaning where the words index is damaged.
        bonuses: float32[n] for each of the formula's bonuses that any row can have.
        near: None where nothing is asked by meaning, or cannot be.
        same: the rows whose text is the query itself.
    """

    context: QueryContext
    query: ParsedQuery
    words: LexicalScores
    bonuses: dict[str, Floats]
    near: SemanticScores | None
    same: Rows


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

    def best(self, context: QueryContext) -> list[tuple[int, float, dict[str, float], list[int]]]:
        """(id, score, parts, ids of its copies) of the best `k`, best first; none when too little
        of it is met."""
        scored = self._score_sides(context)
        if not (context.always or len(scored.same) or self._weigh(scored).enough):
            return []
        rows, plain, mixed = self._find_candidates(scored)
        if not len(rows):
            return []
        parts = self._parts_of(rows, mixed, scored)
        parts["exact"] = np.zeros(len(rows))
        if len(scored.same):
            parts["exact"] += EXACT * np.isin(rows, scored.same)
        score = sum(parts.values(), np.zeros(len(rows)))
        parts["cosine"] = plain
        chosen, copies = self._distinct(rows, score, context)
        ids = self._columns.id
        values = zip(*(part[chosen].tolist() for part in parts.values()), strict=True)
        shown = [  # without what is unknown: nan, which is not equal to itself
            {name: value for name, value in zip(parts, row, strict=True) if value == value}
            for row in values
        ]
        others = [ids[found].tolist() if len(found) else [] for found in copies]
        best = ids[rows[chosen]].tolist(), score[chosen].tolist(), shown, others
        return list(zip(*best, strict=True))

    def _distinct(
        self, rows: Rows, score: Floats, context: QueryContext
    ) -> tuple[Rows, list[Rows]]:
        """The places of the best `k`, each sentence of a speaker once, with the rows of its copies.

        Nearly always the best are distinct already.
        """
        columns, wanted = self._columns, context.k
        while True:
            places = best_places(score, wanted)
            said = columns.said(rows[places])
            first = list(range(len(said)))
            if len(set(said)) < len(said):
                first = sorted({key: n for n, key in reversed(list(enumerate(said)))}.values())
            if len(first) >= context.k or len(places) == len(score):
                break
            wanted *= 4
        chosen = places[first[: context.k]]
        return chosen, columns.copies(rows[chosen], context.scope.mask)

    def evidence(self, context: QueryContext) -> Evidence:
        """What `best` decides by whether to answer."""
        return self._weigh(self._score_sides(context))

    def _score_sides(self, context: QueryContext) -> _Scored:
        """Where the words index is damaged, the query is asked by meaning alone."""
        columns, scope = self._columns, context.scope
        same = columns.same_as(context.text)
        if (text := looked_at(context.text)) is not context.text:
            context = replace(context, text=text)
        query = parse_query(context.text, columns, self._terms, scope, context.now, context.zone)
        same = same[scope.mask[same]]
        on_dates = find_on_dates(columns.time, query.dates, query.zone, scope.mask)
        on_date = None
        if query.dates.definite:
            on_date = np.logical_and.reduce(list(on_dates.values()))
        zeros = np.zeros(columns.count, np.float32)
        words = LexicalScores(zeros, zeros, 0.0, frozenset(), {})
        if context.mode != "meaning":
            try:
                words = lexical.score_words(
                    query,
                    columns,
                    self._terms,
                    scope,
                    self._weights,
                    context.watch,
                    on_dates,
                    self._records.texts_holding,
                )
            except WordsDamaged as error:
                self._terms.report_damage(error)
                context = replace(context, mode="meaning")
        context.watch.lap("words")
        bonuses = self._find_bonuses(query, scope, words, on_date)
        near = None
        if context.mode != "words":
            near = self._score_meaning(context, query, words, bonuses, same)
        return _Scored(context, query, words, bonuses, near, same)

    def _find_bonuses(
        self, query: ParsedQuery, scope: Scope, words: LexicalScores, on_date: Flags | None
    ) -> dict[str, Floats]:
        """float32[n] for each bonus that any row can have; `on_date: bool[n]`, the rows whose time
        is what the query names, every part of it."""
        columns, weights = self._columns, self._weights
        found: dict[str, Floats] = {}
        if len(query.subjects):
            found["subject"] = np.float32(weights.subject) * columns.spoken_by(query.subjects)
        if on_date is not None:
            found["date"] = np.float32(weights.on_date) * on_date
        if words.literal is not None:
            found["literal"] = np.float32(weights.literal) * words.literal
        if scope.instructions is not None:
            found["instruction"] = np.float32(weights.instruction) * scope.instructions
        if query.layer in scope.layers:
            asked = columns.layer == scope.layers[query.layer]
            found["layer"] = np.float32(weights.layer) * asked
        return found

    def _score_meaning(
        self,
        context: QueryContext,
        query: ParsedQuery,
        words: LexicalScores,
        bonuses: dict[str, Floats],
        same: Rows,
    ) -> SemanticScores | None:
        """None without an embedder (words go on without it, and the reply says so), and for a
        query in which it knows nothing."""
        try:
            texts = [query.meaning, query.around] if query.around else [query.meaning]
            parts = context.embedder.embed(texts)
        except Degraded:
            return None
        context.watch.lap("embed")
        vector = parts[0]
        if query.around:  # what is wanted, and a little of what it is about
            mixed = parts[0] + AROUND * parts[1]
            vector = mixed / max(float(np.linalg.norm(mixed)), 1e-6)
        if not vector.any():
            return None
        large, weights = self._columns.count > self._weights.exact_rows, self._weights
        promise: Floats = words.shared
        top = float(promise.max(initial=0.0))
        if large and bonuses and top > 0:
            # words and bonuses of each row that has words, in the unit of the words
            unit = np.float32(top / max(1 - self._share(context, query), 1e-6))
            promise = promise + (promise > 0) * unit * sum(bonuses.values())
        about = SemanticQuery(
            query=vector,
            scope=context.scope,
            words=words.shared,
            same=same,
            shares=weights.shares_of(context.embedder),
            late=late_cosines(self._records, context.embedder, vector),
            promise=promise if large else None,
            wanted=context.k,
        )
        return self._semantic.score(context.blocks, about, context.watch)

    def _weigh(self, scored: _Scored) -> Evidence:
        """Whether enough of the query is met in this store to answer at all."""
        context, near = scored.context, scored.near
        threshold = evidence.answer_threshold(
            self._weights, self._scale(context), context.mode, context.scope.count
        )
        unknown_name = evidence.names_unknown_entity(
            scored.query,
            context.text,
            self._terms.cut,
            lambda terms: self._unknown_terms(scored, terms),
        )
        nearest = near.high if near else 0.0
        return evidence.weigh(
            scored.query,
            scored.words,
            nearest,
            threshold,
            context.mode,
            unknown_name,
            evidence.cosine_share(scored.query, context.embedder, context.scope.count),
        )

    def _unknown_terms(self, scored: _Scored, terms: Iterable[str]) -> set[str]:
        """Those of some terms that occur nowhere."""
        if scored.context.mode != "meaning":
            return set(scored.words.unknown.intersection(terms))
        try:  # nothing has looked for them yet
            context = scored.context
            return lexical.find_unknown(
                terms, self._columns, self._terms, context.scope, context.watch
            )
        except WordsDamaged as error:
            self._terms.report_damage(error)
            return set()

    def _scale(self, context: QueryContext) -> CosineScale:
        return self._weights.scale or context.embedder.scale

    def _find_candidates(self, scored: _Scored) -> tuple[Rows, Floats, Floats]:
        """rows: int64[m], with their own cosine and the mixed one: float32[m], nan for unknown."""
        near, query = scored.near, scored.query
        wanted = scored.words.shared > 0
        wanted[scored.same] = True
        if query.only_names:
            wanted |= np.isin(self._columns.who, query.subjects) & scored.context.scope.mask
        if near is None:
            rows = np.flatnonzero(wanted)
            unknown = np.full(len(rows), np.nan, np.float32)
            return rows, unknown, unknown
        rows, plain, mixed = near.rows, near.plain, near.mixed
        if query.only_names:  # they may be missing among the nearest
            extra = np.setdiff1d(np.flatnonzero(wanted), rows)
            rows = np.concatenate([rows, extra])
            gap = np.full(len(extra), np.nan, np.float32)
            plain, mixed = np.append(plain, gap), np.append(mixed, gap)
        kept = wanted[rows] | (mixed >= self._scale(scored.context).near)
        return rows[kept], plain[kept], mixed[kept]

    def _share(self, context: QueryContext, query: ParsedQuery) -> float:
        """Of the semantic side in the score."""
        if context.mode != "hybrid":
            return float(context.mode == "meaning")
        by_pairs = query.dense and context.embedder.by_spelling
        return self._weights.semantic * (self._weights.dense if by_pairs else 1.0)

    def _parts_of(self, rows: Rows, mixed: Floats, scored: _Scored) -> dict[str, Floats]:
        """The terms of the formula, by name: float[m] each."""
        columns, weights, scope = self._columns, self._weights, scored.context.scope
        words, near = scored.words.shared, scored.near
        share = self._share(scored.context, scored.query)
        top = max(float(words.max(initial=0.0)), 1e-6)
        nearness = np.where(np.isnan(mixed), np.float32(0), mixed)
        low, spread = (near.low, max(near.high - near.low, 1e-6)) if near else (0.0, 1.0)
        time = columns.time[rows]
        age = (time - scope.first) / max(scope.last - scope.first, 1)
        age[time == 0] = 0.5  # no date is neither old nor new
        asks = columns.asks[rows] & (columns.layer[rows] != scope.layers.get(INPUT, NONE))
        return {
            "lexical": (1 - share) * words[rows] / top,
            "semantic": share * np.maximum(nearness - low, 0) / spread,
            **{
                name: scored.bonuses[name][rows] if name in scored.bonuses else np.zeros(len(rows))
                for name in BONUSES
            },
            "asks": -weights.asks * asks,
            "importance": weights.importance * columns.importance[rows],
            "recency": weights.recency * age,
        }
