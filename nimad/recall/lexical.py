"""The lexical side: BM25 of a query's words, literals and dates, over every memory at once.

A date counts once: by the words that write it in a text, or by the time of the memory, whichever is
worth more to a memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from nimad.recall import literals
from nimad.recall.columns import NONE, Columns, Floats, Rows
from nimad.recall.dates import Flags
from nimad.recall.parsed_query import LONG, ParsedQuery
from nimad.recall.query_context import Stopwatch
from nimad.recall.scopes import Scope
from nimad.recall.weights import Weights
from nimad.text import tokens
from nimad.words.index import NO_POSTINGS, TermIndex

ASKED = 16
"""Terms that are asked of a query that has more than LONG: the rarest that occur."""
MEASURE = 10
"""Terms of a long query, the weightiest, that a memory should hold: no memory holds all."""
_FEW = 16
"""Rows for one scored row: above, scores are scattered to the neighbours; below, gathered."""

Texts = Callable[[str, list[int]], Iterable[tuple[int, str]]]
"""Gives (id, text) of those of some memories whose text holds a part: `Records.texts_holding`."""


@dataclass(frozen=True, slots=True)
class LexicalScores:
    """Attributes:
    own: float32[n], BM25 of each row; 0 outside of the mask.
    shared: float32[n], with what the neighbours in the session give.
    best: what a memory would score that held each word once, at the usual length: the measure of
        how much of a question is met.
    unknown: the terms that no row holds.
    holders: int64[m] for each term that was asked: the rows in the scope that hold it, ascending.
    literal: float32[n], how rare the rarest literal is that a row holds, in [0, 1], where 1 is what
        stands in one memory; None where none is held.
    """

    own: Floats
    shared: Floats
    best: float
    unknown: frozenset[str]
    holders: dict[str, Rows]
    literal: Floats | None = None


def score_words(
    question: ParsedQuery,
    columns: Columns,
    terms: TermIndex,
    scope: Scope,
    weights: Weights,
    watch: Stopwatch,
    on_dates: Mapping[str, Flags],
    texts: Texts,
) -> LexicalScores:
    """Score every row in the scope; only rows in it have a say in how rare a word is.

    Args:
        on_dates: the rows in the scope that lie on what the query asks of dates, by its parts.
        texts: is asked for the memories that hold every word of a literal.
    """
    sums = _Sums(columns, terms, scope, weights)
    for term, held in _chosen(question, columns, terms, scope, watch).items():
        watch.check()
        sums.add_term(term, question, held=held > 0)
    sums.add_dates(on_dates)
    for literal in question.literals:
        watch.check()
        sums.add_literal(literal, texts)
    best = sorted(sums.best)[-MEASURE:] if question.around else sums.best
    shared = spread(sums.own, columns, scope, weights)
    measure = 0.0
    for rarity in best:  # one after the other: the same under any Python
        measure += rarity
    unknown = frozenset(sums.unknown)
    return LexicalScores(sums.own, shared, measure, unknown, sums.holders, sums.literal)


@dataclass(slots=True)
class _Sums:
    """What the terms of one query add up to.

    Attributes:
        own: float32[n].
        best: what each term could add.
        unknown, holders, literal: see `LexicalScores`.
        dated: float32[n], of the words that a date stands for; None before the first.
        best_dated: what they could add.
    """

    columns: Columns
    terms: TermIndex
    scope: Scope
    weights: Weights
    own: Floats = field(init=False)
    best: list[float] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    holders: dict[str, Rows] = field(default_factory=dict)
    dated: Floats | None = None
    best_dated: float = 0.0
    literal: Floats | None = None

    def __post_init__(self) -> None:
        self.own = np.zeros(self.columns.count, np.float32)

    def add_term(self, term: str, question: ParsedQuery, *, held: bool) -> None:
        """Add BM25 of one term to the rows that hold it."""
        rows, counts = self._holders(term) if held else (NO_POSTINGS.ids, NO_POSTINGS.counts)
        self.holders[term] = rows
        rarity = self._rarity(len(rows)) * question.factors.get(term, 1.0)
        if not len(rows):
            if term not in question.met:
                self.unknown.add(term)
                self.best.append(rarity)
            return
        k1 = self.weights.k1
        gain = rarity * counts * (k1 + 1) / (counts + self.scope.sizes[rows])
        if term in question.dated:
            if self.dated is None:
                self.dated = np.zeros_like(self.own)
            self.dated[rows] += gain
            self.best_dated += rarity
        else:
            self.own[rows] += gain
            self.best.append(rarity)

    def add_dates(self, on_dates: Mapping[str, Flags]) -> None:
        """Add what dates are worth, by their words or by the times of the rows."""
        if self.dated is None and not on_dates:
            return
        worth = np.zeros_like(self.own) if self.dated is None else self.dated
        timed = np.zeros_like(self.own)
        best = 0.0
        for hit in on_dates.values():
            if 0 < (count := int(np.count_nonzero(hit))) < self.scope.count:
                rarity = self.weights.date * self._rarity(count)
                timed[hit] += rarity
                best += rarity
        self.own += np.maximum(worth, timed)
        self.best.append(max(self.best_dated, best))

    def add_literal(self, literal: str, texts: Texts) -> None:
        """Add the rarity of a literal to the rows whose texts hold it."""
        parts = {term for token in tokens(literal) for term in self.terms.cut(token)}
        held = sorted((self._holders(part)[0] for part in parts), key=len)
        rows = held[0]
        for others in held[1:]:
            rows = rows[np.isin(rows, others, assume_unique=True)]
        if len(rows) > literals.READ:
            rows = rows[np.argsort(-self.own[rows], kind="stable")[: literals.READ]]
        if not len(rows):
            return
        read = texts(literals.ascii_part(literal), self.columns.id[rows].tolist())
        found = sorted(number for number, text in read if literals.holds(text, literal))
        if found:
            rows, rarity = self.columns.rows_of(np.array(found, np.int64)), self._rarity(len(found))
            self.own[rows] += rarity
            if self.literal is None:
                self.literal = np.zeros_like(self.own)
            share = np.float32(rarity / self._rarity(1))
            self.literal[rows] = np.maximum(self.literal[rows], share)
            self.best.append(rarity)

    def _holders(self, term: str) -> tuple[Rows, Floats]:
        """rows: int64[m] in the scope that hold a term, and counts: float32[m], how often."""
        postings = self.terms.postings(term, self.columns.last_id)
        rows, counts = self.columns.among(postings.ids, postings.counts)
        if not self.scope.whole:
            inside = self.scope.mask[rows]
            rows, counts = rows[inside], counts[inside]
        return rows, counts

    def _rarity(self, holders: int) -> float:
        """In the scope, with the memories that it is taken to have besides."""
        return rarity_of(self.scope.count + self.weights.unseen, holders)


def rarity_of(total: int, holders: int) -> float:
    """BM25's idf; never negative, for a match never counts against."""
    return max(math.log((total - holders + 0.5) / (holders + 0.5)), 1e-6)


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

    def commonness(term: str) -> float:
        return holders[term] / question.factors.get(term, 1.0) ** 2

    known = sorted(filter(holders.get, holders), key=commonness)
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
