"""The lexical side: BM25 of a query's words, literals and dates, over every memory at once.

A date counts once: by the words that write it in a text, or by the time of the memory, whichever is
worth more to a memory.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace

import numpy as np

from nimad.dataclass import dataclass
from nimad.index.kernels.contract import Counts, Numbers
from nimad.index.kernels.loader import load_kernels
from nimad.recall import literals
from nimad.recall.columns import Columns, Floats, Rows
from nimad.recall.dates import Flags
from nimad.recall.parsed_query import LONG, ParsedQuery
from nimad.recall.query_context import Stopwatch
from nimad.recall.scopes import Scope
from nimad.recall.weights import Weights
from nimad.text import ANY_ENDING, is_ideographs, tokens
from nimad.words.index import TermIndex

ASKED = 16
"""Terms that are asked of a query that has more than LONG: the rarest that occur."""
MEASURE = 10
"""Terms of a long query, the weightiest, that a memory should hold: no memory holds all."""
BEGINNING, ENDING = 5, 3
"""Of a word with another ending: the shortest beginning, and the longest ending [characters]."""
PART = 3
"""Of a German compound, the shortest part before the last one; the last one is longer
[characters]."""
WIDE = 2
"""Rows of which the one is picked that shares most.  With 1 the ten best of 100,000 memories are
.995 of those of scoring every row, with 2 .996, and no more with all."""
_NOBODY: tuple[Numbers, Counts] = (np.zeros(0, np.uint32), np.zeros(0, np.uint16))
_SPARE: list[Floats] = []
"""Arrays of zeros for the next queries: new ones of a large store would be cleared by the kernel, a
page at a time.  Two at most, and none after a rest."""

Texts = Callable[[str, list[int]], Iterable[tuple[int, str]]]
"""Gives (id, text) of those of some memories whose text holds a part: `Records.texts_holding`."""


@dataclass(frozen=True)
class LexicalScores:
    """The words' side of one query, over one version of the columns.

    With the shares of its neighbours in the session, two turns far, a memory has what is *shared*;
    outside of the scope that is 0.

    Attributes:
        own: float32[n], BM25 of each row; 0 outside of the mask.
        rows: where `own` is not 0, in no order.
        best: what a memory would score that held each word once, at the usual length: the measure
            of how much of a question is met.
        unknown: the terms that no row holds.
        holders: for each term that was asked the rows in the scope that hold it, ascending.
        alike: for terms that no row holds, the rows that hold another form; of compounds, the last
            part.
        literal: float32[n], how rare the rarest literal is that a row holds, in [0, 1], where 1 is
            what stands in one memory; None where none is held.
    """

    columns: Columns
    scope: Scope
    weights: Weights
    own: Floats
    rows: Numbers
    best: float
    unknown: frozenset[str]
    holders: dict[str, Numbers]
    alike: dict[str, Numbers] = field(default_factory=dict)
    literal: Floats | None = None
    _kept: dict[int, tuple[Rows, Floats]] = field(default_factory=dict)

    @classmethod
    def nothing(cls, columns: Columns, scope: Scope, weights: Weights) -> LexicalScores:
        """Where no word counts."""
        none = _NOBODY[0]
        own = np.zeros(columns.count, np.float32)
        return cls(columns, scope, weights, own, none, 0.0, frozenset(), {})

    def shared_by(self, rows: Rows) -> Floats:
        """float32[m]: what some rows (each once) have with their neighbours' shares."""
        if self.columns.count > self.weights.exact_rows:
            return self._shared_by(rows)
        return self.shared if len(rows) == self.columns.count else self.shared[rows]

    def _shared_by(self, rows: Rows) -> Floats:
        sides = self.columns.before_parts, self.columns.after_parts
        found = load_kernels().shares(self.own, rows, *sides, self._shares)
        return found if self.scope.whole else found * self.scope.mask[rows]

    @property
    def _shares(self) -> tuple[float, float, float]:
        return self.weights.word_before, self.weights.word_beyond, self.weights.word_after

    @property
    def most(self) -> int:
        """How many of the best are compared by meaning, in a large store."""
        return self.weights.compared(self.columns.count)

    def release(self) -> None:
        """The query is answered: the next one may have the room."""
        if len(_SPARE) < 2 and self.columns.count > self.weights.exact_rows:
            self.own.fill(0)
            _SPARE.append(self.own)

    @functools.cached_property
    def shared(self) -> Floats:
        """float32[n]: of every row."""
        return self._shared_by(np.arange(self.columns.count))

    @functools.cached_property
    def top(self) -> float:
        """The highest that is shared; 0 without any."""
        if self.columns.count <= self.weights.exact_rows:
            return float(self.shared.max(initial=0.0))
        return float(self.leaders(self.most)[1].max(initial=0.0))

    def leaders(self, count: int, mask: Flags | None = None) -> tuple[Rows, Floats]:
        """int64[m], ascending: the `count` rows (of a mask) that share most, of WIDE times as many
        with the highest scores of their own and those beside them; and what they share."""
        if mask is None and count in self._kept:
            return self._kept[count]
        inside = None if self.scope.whole else self.scope.mask
        if mask is not None:
            inside = mask if inside is None else mask & inside
        columns = self.columns
        sides = columns.before_parts, columns.after_parts
        found = load_kernels().leaders(
            self.own, self.rows, *sides, self._shares, inside, WIDE * count, count
        )
        if mask is None:
            self._kept[count] = found
        return found


def rest() -> None:
    """Give back what is kept for the next queries."""
    _SPARE.clear()


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
    chosen = _chosen(question, columns, terms, scope, watch)
    if question.dense:
        question = replace(question, factors=question.factors | sums.inner_pairs(chosen, question))
    for term, held in chosen.items():
        watch.check()
        sums.add_term(term, question, held=held > 0)
    sums.weigh_terms()
    sums.add_dates(on_dates)
    for literal in question.literals:
        watch.check()
        sums.add_literal(literal, texts)
    best = sorted(sums.best)[-MEASURE:] if question.around else sums.best
    measure = 0.0
    for rarity in best:  # one after the other: the same under any Python
        measure += rarity
    unknown = frozenset(sums.unknown)
    return LexicalScores(
        *(columns, scope, weights, sums.own, sums.rows()),
        *(measure, unknown, sums.holders, sums.alike, sums.literal),
    )


@dataclass(slots=True)
class _Sums:
    """What the terms of one query add up to.

    Attributes:
        own: float32[n].
        best: what each term could add.
        unknown, holders, alike, literal: see `LexicalScores`.
        told: (rows, counts) and rarity of each term that is held; those of the words that a date
            stands for are in `told_dated`.
        dated: float32[n], of these; None without any.
        fresh: the rows that terms gave their first score; None where something else did, too.
    """

    columns: Columns
    terms: TermIndex
    scope: Scope
    weights: Weights
    own: Floats = field(init=False)
    best: list[float] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    holders: dict[str, Numbers] = field(default_factory=dict)
    alike: dict[str, Numbers] = field(default_factory=dict)
    told: list[tuple[tuple[Numbers, Counts], float]] = field(default_factory=list)
    told_dated: list[tuple[tuple[Numbers, Counts], float]] = field(default_factory=list)
    dated: Floats | None = None
    literal: Floats | None = None
    fresh: Numbers | None = None

    def __post_init__(self) -> None:
        try:
            self.own = _SPARE.pop()
        except IndexError:
            self.own = np.zeros(0, np.float32)
        if len(self.own) != self.columns.count:
            self.own = np.zeros(self.columns.count, np.float32)

    def add_term(self, term: str, question: ParsedQuery, *, held: bool) -> None:
        """Look up who holds a term, to be weighed together with the others."""
        found = self._holders(term) if held else _NOBODY
        self.holders[term] = rows = found[0]
        rarity = self._rarity(len(rows)) * question.factors.get(term, 1.0)
        if not len(rows):
            if term not in question.met:
                self.unknown.add(term)
                self.best.append(rarity)
                if not question.around:
                    for alike in self._alike(term, compound=question.german):
                        share = self.weights.alike * self._rarity(len(alike[0]))
                        self.told.append((alike, share * question.factors.get(term, 1.0)))
                        self.alike.setdefault(term, alike[0])
        elif term in question.dated:
            self.told_dated.append((found, rarity))
        else:
            self.told.append((found, rarity))
            self.best.append(rarity)

    def _alike(self, term: str, *, compound: bool) -> list[tuple[Numbers, Counts]]:
        """Who holds what is left of a word that nobody holds: the word with another ending, or else
        the last part of a compound and what is before it."""
        if not term.isalpha():
            return []
        kept = max(BEGINNING, len(term) - ENDING)
        if kept < len(term) and len((found := self._holders(term[:kept] + ANY_ENDING))[0]):
            return [found]
        for start in range(PART, len(term) - PART) if compound else ():
            if len((last := self._holders(term[start:] + ANY_ENDING))[0]):
                before = term[:start]
                parts = [before, before.removesuffix("s"), before.removesuffix("en")]
                first = [self._holders(self.terms.cut(p)[0]) for p in parts if len(p) >= PART]
                first = [found for found in first if len(found[0])][:1]
                return [last, *first] if first or len(term) - start > PART + 1 else []
        return []

    def inner_pairs(self, chosen: Iterable[str], question: ParsedQuery) -> dict[str, float]:
        """The factors of pairs of ideographs whose characters both neighbours hold as well: in a
        name of four characters the middle pair tells nothing that the others do not.  A pair that
        more memories hold than either neighbour is a word of its own, and keeps its factor."""
        found = {}
        run: list[tuple[str, int]] = []
        for term in chosen:
            held = len(self._holders(term)[0]) if is_ideographs(term) else 0
            run = [*run[-2:], (term, held)]
            if len(run) < 3 or not all(held for _, held in run):
                continue
            (first, before), (term, held), (last, after) = run
            if first[1] == term[0] and term[1] == last[0] and held <= max(before, after):
                found[term] = self.weights.inner * question.factors.get(term, 1.0)
        return found

    def weigh_terms(self) -> None:
        """Add BM25 of the terms to the rows that hold them."""
        self.fresh = self._weigh(self.own, self.told)
        if self.told_dated:
            self.dated = np.zeros_like(self.own)
            self._weigh(self.dated, self.told_dated)

    def _weigh(self, own: Floats, told: list[tuple[tuple[Numbers, Counts], float]]) -> Numbers:
        k1, b = self.scope.k1, self.scope.b
        weights = (k1 + 1, k1, 1 - b, b, self.scope.average)
        held, rarities = [each for each, _ in told], [rarity for _, rarity in told]
        return load_kernels().weigh(own, held, self.columns.word_parts, rarities, weights)

    def rows(self) -> Numbers:
        """The rows with a score."""
        if self.fresh is None:
            return np.flatnonzero(self.own).astype(np.uint32)
        return self.fresh

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
        self.fresh = None
        best_dated = 0.0
        for _, rarity in self.told_dated:  # one after the other, as `measure`
            best_dated += rarity
        self.best.append(max(best_dated, best))

    def add_literal(self, literal: str, texts: Texts) -> None:
        """Add the rarity of a literal to the rows whose texts hold it."""
        parts = {term for token in tokens(literal) for term in self.terms.cut(token)}
        known = self.holders
        held = [
            (known[part] if part in known else self._holders(part)[0]).astype(np.int64)
            for part in parts
        ]
        held.sort(key=len)
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
            self.fresh = None
            if self.literal is None:
                self.literal = np.zeros_like(self.own)
            share = np.float32(rarity / self._rarity(1))
            self.literal[rows] = np.maximum(self.literal[rows], share)
            self.best.append(rarity)

    def _holders(self, term: str) -> tuple[Numbers, Counts]:
        """The rows in the scope that hold a term, ascending, and how often."""
        found = self.terms.rows(term, self.columns.id, self.columns.layout)
        if not self.scope.whole:
            inside = self.scope.mask[found[0].astype(np.int64)]  # 5 times as fast as with uint32
            found = found[0][inside], found[1][inside]
        return found

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
    Of a long one the rarest are taken that the scope holds: what is rare in the whole store is
    mostly in none of a few memories.  How rare a term is in what a bound user may not see must not
    show in the choice.
    """
    if len(question.terms) <= LONG:
        return dict.fromkeys(question.terms, 1)

    def within(term: str) -> int:
        rows = terms.rows(term, columns.id, columns.layout)[0]
        return int(np.count_nonzero(scope.mask[rows]))

    holders: dict[str, int] = {}
    for term in question.terms:
        watch.check()
        holders[term] = within(term) if scope.bound else terms.holders(term)

    def commonness(term: str) -> float:
        return holders[term] / question.factors.get(term, 1.0) ** 2

    kept = {t for t in holders if not holders[t] and not question.around}
    asked = 0
    for term in sorted(filter(holders.get, holders), key=commonness):
        here = scope.whole or scope.bound or within(term) > 0
        if here or not question.around:
            kept.add(term)
            asked += here
        if asked == ASKED:
            break
    return {term: held for term, held in holders.items() if term in kept}
