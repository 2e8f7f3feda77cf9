"""The lexical side: BM25 of a question's words and dates, over every memory at once."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from nimad.recall.columns import NONE, Columns, Floats
from nimad.recall.dates import on_date
from nimad.recall.parsed_query import LONG, ParsedQuery
from nimad.recall.query_context import Stopwatch
from nimad.recall.scopes import Scope
from nimad.recall.weights import Weights
from nimad.words.index import NO_POSTINGS, TermIndex

ASKED = 16
"""Terms that are asked of a query that has more than LONG: the rarest that occur."""
MEASURE = 10
"""Terms of a long query, the weightiest, that a memory should hold: no memory holds all."""
FOCUS = 2.0
"""Factor of the terms of a long query's last paragraph."""
_FEW = 16
"""Rows for one scored row: above, scores are scattered to the neighbours; below, gathered."""


@dataclass(frozen=True, slots=True)
class LexicalScores:
    """Attributes:
    own: float32[n], BM25 of each row; 0 outside of the mask.
    shared: float32[n], with what the neighbours in the session give.
    best: what a memory would score that held each word once, at the usual length: the measure of
        how much of a question is met.
    unknown: the terms that no row holds.
    """

    own: Floats
    shared: Floats
    best: float
    unknown: frozenset[str]


def score_words(
    question: ParsedQuery,
    columns: Columns,
    terms: TermIndex,
    scope: Scope,
    weights: Weights,
    watch: Stopwatch,
) -> LexicalScores:
    """Score every row in the scope; only rows in it have a say in how rare a word is."""
    own = np.zeros(columns.count, np.float32)
    total = scope.count + weights.unseen
    best: list[float] = []
    unknown: set[str] = set()
    for term, held in _chosen(question, columns, terms, scope, watch).items():
        watch.check()
        postings = terms.postings(term, columns.last_id) if held else NO_POSTINGS
        rows, counts = columns.among(postings.ids, postings.counts)
        if not scope.whole:
            inside = scope.mask[rows]
            rows, counts = rows[inside], counts[inside]
        rarity = _rarity(total, len(rows)) * (FOCUS if term in question.focus else 1)
        if not len(rows):
            if term not in question.met:
                unknown.add(term)
                best.append(rarity)
            continue
        best.append(rarity)
        own[rows] += rarity * counts * (weights.k1 + 1) / (counts + scope.sizes[rows])
    for named in question.dates:
        hit = on_date(columns.time, named, question.zone) & scope.mask
        if 0 < (count := int(np.count_nonzero(hit))) < scope.count:
            rarity = weights.date * _rarity(total, count)
            own[hit] += rarity
            best.append(rarity)
    if question.around:
        best = sorted(best)[-MEASURE:]
    shared = spread(own, columns, scope, weights)
    measure = 0.0
    for rarity in best:  # one after the other: the same under any Python
        measure += rarity
    return LexicalScores(own, shared, measure, frozenset(unknown))


def _chosen(
    question: ParsedQuery, columns: Columns, terms: TermIndex, scope: Scope, watch: Stopwatch
) -> dict[str, int]:
    """The terms to be asked, and whether memories hold them: of many, the rarest that are held.

    Those that none holds are asked, too, unless the query is long: they tell that little is met.
    How rare a term is in what a bound user may not see must not show in the choice.
    """
    if len(question.terms) <= LONG:
        return dict.fromkeys(question.terms, 1)
    holders: dict[str, int] = {}
    for term in question.terms:
        watch.check()
        if scope.bound:
            rows = columns.rows_of(terms.postings(term, columns.last_id).ids)
            holders[term] = int(np.count_nonzero(scope.mask[rows]))
        else:
            holders[term] = terms.holders(term)
    weight = {term: FOCUS if term in question.focus else 1.0 for term in holders}
    known = sorted(filter(holders.get, holders), key=lambda term: holders[term] / weight[term] ** 2)
    kept = set(known[:ASKED]) | {t for t in holders if not holders[t] and not question.around}
    return {term: held for term, held in holders.items() if term in kept}


def find_unknown(
    words: Iterable[str], columns: Columns, terms: TermIndex, scope: Scope, watch: Stopwatch
) -> set[str]:
    """Those of some terms that no row in the scope holds."""
    found = set()
    for term in words:
        watch.check()
        postings = terms.postings(term, columns.last_id)
        rows, _ = columns.among(postings.ids, postings.counts)
        if not scope.mask[rows].any():
            found.add(term)
    return found


def _rarity(total: int, holders: int) -> float:
    """BM25's idf; never negative, for a match never counts against."""
    return max(math.log((total - holders + 0.5) / (holders + 0.5)), 1e-6)


def spread(own: Floats, columns: Columns, scope: Scope, weights: Weights) -> Floats:
    """Each row's score and its share of the neighbours', two turns far.

    Both ways add the same numbers in the same order: to a row's own score that of the one before,
    of the one before that, of the one after, of the one after that.
    """
    few = np.count_nonzero(own) * _FEW < columns.count
    shared = _scatter(own, columns, weights) if few else _gather(own, columns, weights)
    if not scope.whole:
        np.multiply(shared, scope.mask, out=shared)
    return shared


def _scatter(own: Floats, columns: Columns, weights: Weights) -> Floats:
    """From the rows with a score to their neighbours: its cost is that of those rows.  Each row has
    at most one neighbour a side, so no row is written twice at once."""
    shared = own.copy()
    rows = np.flatnonzero(own)
    given = own[rows]
    for chain, near in ((columns.after, weights.word_before), (columns.before, weights.word_after)):
        reached, has = chain[rows], given
        for share in (near, weights.word_beyond):
            there = reached != NONE
            reached, has = reached[there], has[there]
            shared[reached] += np.float32(share) * has
            reached = chain[reached]
    return shared


def _gather(own: Floats, columns: Columns, weights: Weights) -> Floats:
    """To every row from its neighbours, which nearly always are the rows beside it."""
    shared = own.copy()
    neighbours = columns.neighbour_gather()
    near, beyond = np.empty_like(own), np.empty_like(own)
    for earlier, share in ((True, weights.word_before), (False, weights.word_after)):
        neighbours.beside(own, near, earlier=earlier)
        neighbours.beside(near, beyond, earlier=earlier)
        near *= np.float32(share)
        beyond *= np.float32(weights.word_beyond)
        shared += near
        shared += beyond
    return shared
