"""Decides between answering and returning nothing.

A question is held against the store as a whole: how much of it one memory holds in words, how near
one comes in meaning against how near any memory is, how many of its words no memory knows, and how
rare those are in the language.  Each of these is a signal (`SIGNALS`); their weighted sum, in
natural logarithms of odds, is the evidence, and from 0 on an answer is shown.  No signal asks which
data or which language this is; what stands for a language is how much of the question the
vocabulary of the embedder spells.

The weights (`nimad.recall.evidence_weights`) are fitted on labelled sets of many kinds by
`packaging/fit_evidence.py`, so that of each kind at most one answerable question in a hundred stays
without an answer (three where most words are hashed), and as few others as then possible get one.
docs/recall.md has the curves.  `strictness` moves the threshold along them.

The modes words and meaning rank by one side alone, but look at the other before they refuse, where
that is quick: whether there is an answer does not depend on how it is ranked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nimad.embed.base import Embedder
from nimad.index.kernels.contract import Numbers
from nimad.recall import evidence_weights, lexical
from nimad.recall.columns import Rows
from nimad.recall.lexical import LexicalScores
from nimad.recall.parsed_query import LONG, ParsedQuery
from nimad.recall.scopes import Scope
from nimad.recall.semantic import SemanticScores
from nimad.text import is_paired, words_of

SIGNALS = {
    "together": "the most coverage and nearness in one memory",
    "coverage": "the most of the question's words in one memory, by their rarity in the store",
    "weight": "the rarity of the words in that one memory [10 nats]",
    "surprise": "the same, less what the best of this many memories holds by chance [10 nats]",
    "common": "the share of the words that any memory holds, by their rarity in the vocabulary",
    "strangers": "1 where no memory knows any name in the question",
    "named": "1 where the question names somebody whose memories these are",
    "nearest": "the cosine of the nearest memory, 1 being that of a right answer",
    "gap": "how far it is above what is usual in the store for this question",
    "peak": "the same in deviations, less what the best of this many has by chance [5 deviations]",
    "usual": "what is usual",
    "hashed": "the share of the words that the embedder knows by spelling only",
    "paired": "the share of the words that are pairs of a script without spaces",
    "cut": "pieces of the vocabulary per word that it spells, above those of English",
    "length": "the logarithm of the number of words",
    "texts": "the logarithm of the mean length of the memories [words]",
    "size": "the logarithm of the number of memories",
}
"""The signals, and what each of them measures; a weight may be of a product of them."""
PARTS = {
    "words": ("coverage", "weight", "surprise"),
    "known": ("common", "strangers", "named"),
    "meaning": ("nearest", "gap", "peak", "usual"),
    "both": ("together",),
    "question": ("hashed", "paired", "cut", "length"),
    "store": ("texts", "size"),
}
"""What `--explain` adds up to one figure each; a product belongs to the part of its last factor."""
PART_OF = {name: part for part, names in PARTS.items() for name in names}
ENGLISH_PIECES = 1.1
"""Pieces of the vocabulary per English word."""
MOST_PIECES = 1.5
"""Of the same above ENGLISH_PIECES, what counts: all else is no Latin script."""
DATE = " "
"""What stands for a date among the terms."""
UNSEEN = 10
"""Memories that a store is taken to have besides, without any word of the question."""
LEAST_SPREAD = 0.01
"""Of cosines in a store: below, it says nothing [standard deviation]."""
UNREACHED = 1000.0
"""Evidence that no question has [nats]."""
_STEEPNESS = 2.0
"""What strictness 0.73, odds of e, asks for [nats]."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much speaks for an answer, and how much must.

    Attributes:
        met: the evidence [nats].
        least: the threshold that it is held against.
        unknown_name: whether the question names things, and no memory mentions any of them.
        sure: whether the other side, where it was not looked at, would change nothing.
        signals: see SIGNALS; those of a side that was not looked at are missing.
    """

    met: float
    least: float
    unknown_name: bool = False
    sure: bool = True
    signals: Mapping[str, float] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, float]:
        """What each of PARTS adds to the evidence; "base" is what a question without any has."""
        return model_of(self.signals).parts(self.signals) if self.signals else {}

    @property
    def enough(self) -> bool:
        """Whether anything may be shown."""
        return self.met >= self.least


CERTAIN = Evidence(0.0, 0.0)
"""For what needs none: a question that is nothing but a name."""


def threshold(strictness: float) -> float:
    """The evidence that an answer needs; `strictness` in [0, 1], 0.5 is the default, 0 lets
    everything pass and 1 nothing [nats]."""
    if not 0 < strictness < 1:
        return UNREACHED if strictness else -UNREACHED
    return _STEEPNESS * math.log(strictness / (1 - strictness))


class Model:
    """Weights of signals and of products of two, named "a" or "a*b", and "base"."""

    def __init__(self, weights: Mapping[str, float], sure: float = math.inf) -> None:
        """`sure`: the evidence from which on nothing else needs to be looked at [nats]."""
        self.sure = sure
        self.base = weights["base"]
        pairs = [name.split("*") for name in weights if name != "base"]
        self.signals = sorted({name for pair in pairs for name in pair})
        place = {name: number for number, name in enumerate(self.signals)}
        self._left = np.array([place[pair[0]] for pair in pairs])
        self._right = np.array([place[pair[1]] if len(pair) > 1 else len(place) for pair in pairs])
        self._weights = np.array([value for name, value in weights.items() if name != "base"])
        self._part_of = [PART_OF[pair[-1]] for pair in pairs]

    def terms(self, signals: Mapping[str, float]) -> NDArray[np.float64]:
        """float64[n]: what each weight adds to the evidence."""
        values = np.array([*(signals[name] for name in self.signals), 1.0])
        found: NDArray[np.float64] = self._weights * values[self._left] * values[self._right]
        return found

    def parts(self, signals: Mapping[str, float]) -> dict[str, float]:
        """What each part of the signals adds to the evidence, and the base."""
        found = {"base": self.base}
        for part, value in zip(self._part_of, self.terms(signals).tolist(), strict=True):
            found[part] = found.get(part, 0.0) + value
        return found


BOTH = Model(evidence_weights.BOTH)
WORDS = Model(evidence_weights.WORDS, evidence_weights.SURE_WORDS)
MEANING = Model(evidence_weights.MEANING, evidence_weights.SURE_MEANING)


def model_of(signals: Mapping[str, float]) -> Model:
    """The weights for signals of both sides, or of one where the other was not looked at."""
    if "together" in signals:
        return BOTH
    return WORDS if "coverage" in signals else MEANING


def weigh(signals: Mapping[str, float], least: float) -> Evidence:
    """The evidence of some signals."""
    model = model_of(signals)
    met = model.base + math.fsum(model.terms(signals).tolist())
    return Evidence(met, least, signals.get("strangers", 0) > 0, met >= least + model.sure, signals)


@dataclass(frozen=True, slots=True)
class Sides:
    """What was found by words and by meaning; None for a side that was not looked at.  `on_date`:
    bool[n], the rows on the date that the question names; None where it names none."""

    words: LexicalScores | None
    near: SemanticScores | None
    on_date: NDArray[np.bool_] | None


def measure(
    asked: ParsedQuery,
    text: str,
    scope: Scope,
    embedder: Embedder,
    cut: Callable[[str], tuple[str, ...]],
    sides: Sides,
) -> dict[str, float]:
    """The signals of a question, which is looked at as `text`; `cut` gives the terms of a word."""
    if asked.around:  # the rest says what it is about
        text = asked.meaning
    spoken = words_of(text)
    spelt = [embedder.spell(word) for word in spoken]
    pieces = [word.pieces for word in spelt if not word.hashed]
    more = sum(pieces) / max(len(pieces), 1) - ENGLISH_PIECES
    signals = {
        "hashed": 1 - len(pieces) / max(len(spelt), 1),
        "paired": sum(map(is_paired, asked.terms)) / max(len(asked.terms), 1),
        "cut": min(max(more, 0.0), MOST_PIECES),
        "length": math.log(1 + min(len(asked.terms), LONG)),
        "texts": math.log(scope.average),
        "size": math.log(scope.count),
        "named": float(len(asked.subjects) > 0),
    }
    covered = None
    if (words := sides.words) is not None:
        covered, of_words = _of_words(asked, sides, scope.count)
        signals |= of_words
        known = {term for term, rows in words.holders.items() if len(rows)}
        found = total = 0.0
        for word, one in zip(spoken, spelt, strict=True):
            for term in cut(word):
                if term in known or term in words.unknown:
                    total += one.rarity**2
                    found += one.rarity**2 * (term in known)
        signals["common"] = found / total if total else 0.0
        signals["strangers"] = float(_all_strange(asked, spoken, cut, words))
    if (near := sides.near) is not None:
        usual = near.usual if embedder.scale.usual is None else embedder.scale.usual
        span = embedder.scale.right - (0.0 if embedder.scale.usual is None else usual)
        gap = near.high - near.usual
        chance = math.sqrt(2 * math.log(max(scope.count, 2)))
        signals["nearest"] = (near.high - usual) / span
        signals["usual"] = (near.usual - (embedder.scale.usual or near.usual)) / span
        signals["gap"] = gap / span
        signals["peak"] = (gap / max(near.spread, LEAST_SPREAD) - chance) / 5
        if covered is not None:
            both = covered.share + (near.mixed - usual) / span
            most = float(np.fmax.reduce(both, initial=np.nan))
            signals["together"] = signals["nearest"] if math.isnan(most) else most
    return signals


@dataclass(frozen=True, slots=True)
class _Coverage:
    """The share of a question's words that rows hold, by rarity.

    Attributes:
        rows: int64[m], of which it is known.  share: float32[m].
        best: the row with the most of it; -1 without any.
    """

    rows: Rows
    share: NDArray[np.float32]
    best: int


def _cover(rarity: Mapping[str, float], holders: Mapping[str, Numbers], sides: Sides) -> _Coverage:
    """Of every row in a small store; in a large one of those that are compared."""
    words = sides.words
    assert words is not None, "its caller looked"
    large = words.columns.count > words.weights.exact_rows
    if not large:
        share = np.zeros(words.columns.count, np.float32)
        for term, value in rarity.items():
            share[holders[term].astype(np.int64)] += np.float32(value)
        rows = np.arange(len(share)) if sides.near is None else sides.near.rows
    else:
        leaders = words.leaders(words.weights.candidates)[0]
        rows = leaders if sides.near is None else sides.near.rows
        share = np.zeros(len(rows), np.float32)
        sought = rows.astype(np.uint32)
        for term, value in rarity.items():
            if len(held := holders[term]):
                share += np.float32(value) * (
                    held.take(held.searchsorted(sought), mode="clip") == sought
                )
    best = int(share.argmax()) if len(share) else -1
    if large:
        return _Coverage(rows, share, int(rows[best]) if len(rows) else -1)
    return _Coverage(rows, share[rows], best)


def _of_words(asked: ParsedQuery, sides: Sides, count: int) -> tuple[_Coverage, dict[str, float]]:
    """What memories hold of the question's words, and the signals of that."""
    words = sides.words
    assert words is not None, "its caller looked"
    holders = dict(words.holders)
    rarity = {
        term: lexical.rarity_of(count + UNSEEN, len(rows)) * asked.factors.get(term, 1.0)
        for term, rows in holders.items()
        if len(rows) or term not in asked.met
    }
    if sides.on_date is not None and sides.on_date.any():
        rarity = {term: value for term, value in rarity.items() if term not in asked.dated}
        holders[DATE] = np.flatnonzero(sides.on_date).astype(np.uint32)
        rarity[DATE] = lexical.rarity_of(count + UNSEEN, len(holders[DATE]))
    counted = sorted(rarity.values())[-lexical.MEASURE if asked.around else 0 :]
    total = max(sum(counted), 1e-6)
    found = _cover({term: value / total for term, value in rarity.items()}, holders, sides)
    best = np.uint32(max(found.best, 0))
    held = [
        value
        for term, value in rarity.items()
        if found.best in holders[term][(at := holders[term].searchsorted(best)) : at + 1]
    ]
    coverage = min(sum(held) / total, 1.0)
    ways = math.lgamma(len(rarity) + 1) - math.lgamma(len(held) + 1)
    ways -= math.lgamma(len(rarity) - len(held) + 1)
    weight = coverage * total
    return found, {
        "coverage": coverage,
        "weight": weight / 10,
        "surprise": (weight - math.log(max(count, 1)) - ways) / 10,
    }


def _all_strange(
    asked: ParsedQuery,
    spoken: list[str],
    cut: Callable[[str], tuple[str, ...]],
    words: LexicalScores,
) -> bool:
    """Whether a question names something, by words with a capital letter inside it, and no memory
    holds a word of any name.  In German every noun has one."""
    if asked.german:
        return False
    named = {term for word in spoken[1:] if word[:1].isupper() for term in cut(word)} - asked.met
    named &= words.holders.keys()
    return bool(named) and named <= words.unknown
