"""Decides between answering and returning nothing.

A question is held against the store as a whole: how much of it one memory holds in words, how near
one comes in meaning against how near any memory is, what the best of both lacks, how many words no
memory knows, and how rare those are in the language.  Each of these is a signal (`SIGNALS`).  A
small network (`Model`) makes of them the evidence, in natural logarithms of odds, and from 0 on an
answer is shown.  Where that is close, the best memory is read: for a word that it does not hold it
may have another that means about the same.  No signal asks which data or which language this is;
what stands for a language is how much of the question the vocabulary of the embedder spells, and
how many of its words are looked for by their beginning: for each of those more evidence is needed.

The weights (`evidence_weights`, `closer_weights`) are fitted on labelled sets of many kinds by
`packaging/fit_evidence.py`, so that of each kind about one answerable question in a hundred stays
without an answer (two of commands and in Russian, up to four in the like, eight where notes are
asked in another language or by keywords), and as few others as then possible get one.
docs/recall.md has the curves.  `strictness` moves the threshold along them.

The modes words and meaning rank by one side alone, but look at the other unless the first leaves no
doubt, where that is quick: whether there is an answer does not depend on how it is ranked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.embed.base import Embedder
from nimad.index.kernels.contract import Numbers
from nimad.index.kernels.loader import load_kernels
from nimad.recall import closer_weights, evidence_weights, lexical
from nimad.recall.columns import Rows
from nimad.recall.lexical import LexicalScores
from nimad.recall.parsed_query import LONG, ParsedQuery
from nimad.recall.scopes import Scope
from nimad.recall.semantic import SemanticScores
from nimad.text import ANY_ENDING, is_paired, words_of

SIGNALS = {
    "together": "the most coverage and nearness in one memory",
    "coverage": "the most of the question's words in one memory, by their rarity in the store",
    "weight": "the rarity of the words in that one memory [10 nats]",
    "surprise": "the same, less what the best of this many memories holds by chance [10 nats]",
    "common": "the share of the words that any memory holds, by their rarity in the vocabulary",
    "held": "the share of the words that the memory of `coverage` holds, by the same rarity",
    "unknown": "the share of the words that no memory knows",
    "strangest": "the rarity in the vocabulary of the rarest word that no memory knows",
    "strangers": "1 where no memory knows any name in the question",
    "named": "1 where the question names somebody whose memories these are",
    "nearest": "the cosine of the nearest memory, 1 being that of a right answer",
    "gap": "how far it is above what is usual in the store for this question",
    "peak": "the same in deviations, less what the best of this many has by chance [5 deviations]",
    "usual": "what is usual",
    "agreed": "the coverage of the nearest memory",
    "missed": "the share of the words that the memory of `together` does not hold, by rarity",
    "astray": "the same, each word less the cosine of the nearest word that the memory has",
    "hashed": "the share of the words that the embedder knows by spelling only",
    "paired": "the share of the words that are pairs of a script without spaces",
    "cut": "pieces of the vocabulary per word that it spells, above those of English",
    "length": "the logarithm of the number of words",
    "begun": "the number of words that are looked for by their beginning, where memories hold any",
    "texts": "the logarithm of the mean length of the memories [words]",
    "size": "the logarithm of the number of memories",
}
"""The signals, and what each of them measures."""
PARTS = {
    "store": ("texts", "size"),
    "question": ("hashed", "paired", "cut", "length", "begun"),
    "known": ("common", "unknown", "strangest", "strangers", "named"),
    "words": ("coverage", "weight", "surprise", "held"),
    "meaning": ("nearest", "gap", "peak", "usual"),
    "both": ("together", "agreed", "missed", "astray"),
}
"""What `--explain` shows as one figure each, in the order in which they are taken into account."""
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
NEVER = np.float32(-9)
"""Below every cosine."""
USUAL_SIGNAL = 4.0
"""Bound of a signal: beyond, nothing is known [standard deviations from the mean]."""
CLOSE = 5.0
"""Evidence beside the threshold, on either side, up to which the best memory is read [nats]."""
READ, MOST_READ = 6000, 400
"""What is read of it [characters, different words]."""
PAIRS = 0.5
"""Share of pairs of characters among the words from on which none is read: they are no words."""
BEGUN, MOST_BEGUN = 0.25, 8
"""What each word that is looked for by its beginning raises the threshold by [nats], as such a word
may be held by memories that say another one; and the most of them that do [words]."""
UNREACHED = 1000.0
"""Evidence that no question has [nats]."""
_STEEPNESS = 2.0
"""What strictness 0.73, odds of e, asks for [nats]."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much speaks for an answer, and how much must.

    Attributes:
        met: the evidence [nats].
        least: the threshold that it is held against, see `threshold` and BEGUN.
        unknown_name: whether the question names things, and no memory mentions any of them.
        sure: whether the other side, where it was not looked at, would change nothing.
        signals: see SIGNALS; those of what was not looked at are missing.
        model: what made the evidence of them.
    """

    met: float
    least: float
    unknown_name: bool = False
    sure: bool = True
    signals: Mapping[str, float] = field(default_factory=dict)
    model: Model | None = None

    @property
    def parts(self) -> dict[str, float]:
        """What each of PARTS adds to the evidence; "base" is what a question without any has."""
        return self.model.parts(self.signals) if self.model else {}

    @property
    def close(self) -> bool:
        """Whether the best memory is to be read."""
        return self.model is BOTH and abs(self.met - self.least) < CLOSE

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
    """A network of one hidden layer, beside which the signals also count directly:

        evidence = base + x . direct + tanh(x . into + bias) . out

    where x are the signals less their means, in standard deviations.
    """

    def __init__(self, weights: Mapping[str, Sequence[float]], sure: float = math.inf) -> None:
        """
        Args:
            weights: of each signal its mean, its standard deviation, what it counts directly, and
                in each hidden unit; under "base" 0, 1, the base and the biases; under "out" what
                the units count, behind three zeros.
            sure: the evidence from which on nothing else needs to be looked at [nats].
        """
        self.sure = sure
        self.signals = [name for name in weights if name not in ("base", "out")]
        table = np.array([weights[name] for name in self.signals])
        self._mean, self._scale, self._direct = table[:, 0], 1 / table[:, 1], table[:, 2]
        self._into = table[:, 3:]
        self._base, self._bias = weights["base"][2], np.array(weights["base"][3:])
        self._out = np.array(weights["out"][3:])

    def evidence(self, signals: Mapping[str, float], of: Set[str] | None = None) -> float:
        """The evidence [nats]; with `of`, all other signals being what is usual."""
        x = np.array([signals[name] for name in self.signals])
        x = (x - self._mean) * self._scale
        x = np.minimum(np.maximum(x, -USUAL_SIGNAL), USUAL_SIGNAL)  # `clip` takes twice as long
        if of is not None:
            x *= [name in of for name in self.signals]
        units = np.tanh(x @ self._into + self._bias)
        return float(self._base + x @ self._direct + units @ self._out)

    def parts(self, signals: Mapping[str, float]) -> dict[str, float]:
        """What each part of the signals adds to the evidence of those before it, and the base."""
        known: set[str] = set()
        before = self.evidence(signals, known)
        found = {"base": before}
        for part, names in PARTS.items():
            known.update(names)
            after = self.evidence(signals, known)
            found[part], before = after - before, after
        return found


BOTH = Model(evidence_weights.BOTH)
CLOSER = Model(closer_weights.CLOSER)
WORDS = Model(evidence_weights.WORDS, evidence_weights.SURE_WORDS)
MEANING = Model(evidence_weights.MEANING, evidence_weights.SURE_MEANING)


def weigh(signals: Mapping[str, float], least: float) -> Evidence:
    """The evidence of some signals: of both sides, or of one where the other was not looked at;
    `least` is what it must be of a question of whole words."""
    model = BOTH if "together" in signals else WORDS if "coverage" in signals else MEANING
    met, strange = model.evidence(signals), signals.get("strangers", 0) > 0
    raised = least + BEGUN * min(signals.get("begun", 0.0), MOST_BEGUN)
    found = Evidence(met, raised, strange, met >= least + model.sure, signals, model)
    if found.close and "astray" in signals:
        return replace(found, met=CLOSER.evidence(signals), model=CLOSER)
    return found


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
) -> tuple[dict[str, float], Best | None]:
    """The signals of a question, which is looked at as `text`, and the memory that may be read: it
    lacks words, is not on the date that was asked for, and more is asked than what a text must hold
    to the letter.  `cut` gives the terms of a word."""
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
    words, near, found_best = sides.words, sides.near, None
    usual = 0.0
    if near is not None:
        usual, span = embedder.scale_of(text).in_store(near.usual)
        signals |= _of_meaning(near, scope.count, usual, span)
    if words is not None:
        found = [
            _Word(word, [term for term in cut(word) if term in words.holders], one.rarity**2)
            for word, one in zip(spoken, spelt, strict=True)
        ]
        covered, held, of_words = _of_words(asked, sides, scope.count)
        signals |= of_words | _of_known(asked, found, words)
        wanted = [one for one in found if not asked.met.issuperset(one.terms)]
        signals["held"] = 1 - _missed(wanted, held, asked.met, words)
        if near is not None:
            together = np.fmax(covered.share + (near.mixed - usual) / span, NEVER)
            best = int(together.argmax()) if len(together) else -1
            row = int(near.rows[best]) if best >= 0 else -1
            if row != covered.best:
                terms = {term for word in wanted for term in word.terms}
                held = _held_by(row, terms, words.holders) | _held_by(row, words.alike, words.alike)
            signals["missed"] = _missed(wanted, held, asked.met, words)
            dated = sides.on_date is not None and row >= 0 and sides.on_date[row]
            literals = " ".join(asked.literals).lower()
            exact = all(one.text.lower() in literals for one in wanted)
            if signals["missed"] > 0 and not (exact or dated or signals["paired"] > PAIRS):
                found_best = Best(row, wanted, held)
            known = np.fmax(near.mixed, NEVER) if near.gaps else near.mixed
            nearest = int(known.argmax()) if best >= 0 else -1
            signals["agreed"] = float(covered.share[nearest]) if best >= 0 else 0.0
            most = float(together[best]) if best >= 0 else float(NEVER)
            signals["together"] = most if most > NEVER else signals["nearest"]
    return signals, found_best


def measure_best(
    signals: Mapping[str, float], best: Best, text: str, embedder: Embedder
) -> dict[str, float]:
    """The signals, and what the best memory's text tells."""
    wanted = [one for one in best.wanted if one.terms]
    missed = [one for one in wanted if not best.held >= set(one.terms)]
    read = list(dict.fromkeys(words_of(text[:READ])))[:MOST_READ]
    rows = embedder.embed_words([*(one.text for one in missed), *read])
    nearest = (rows[: len(missed)] @ rows[len(missed) :].T).max(axis=1, initial=0.0)
    astray = 0.0
    for (_, terms, rarity), cosine in zip(missed, nearest.tolist(), strict=True):
        share = sum(term not in best.held for term in terms) / len(terms)
        astray += rarity * share * (1 - cosine)
    total = sum(one.rarity for one in wanted)
    return {**signals, "astray": astray / total}


class _Word(NamedTuple):
    """A word of a question as it is written, its terms that were asked, and its rarity in the
    vocabulary."""

    text: str
    terms: Sequence[str]
    rarity: float


@dataclass(frozen=True, slots=True)
class Best:
    """The memory of `together`: its row, -1 without any; the question's words, and the terms of
    them that it holds."""

    row: int
    wanted: Sequence[_Word]
    held: Set[str]


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
        leaders = words.leaders(words.most)[0]
        rows = leaders if sides.near is None else sides.near.rows
        held = [holders[term] for term in rarity]
        share = load_kernels().cover(held, [*rarity.values()], rows)
    best = int(share.argmax()) if len(share) else -1
    if large:
        return _Coverage(rows, share, int(rows[best]) if len(rows) else -1)
    return _Coverage(rows, share if len(rows) == len(share) else share[rows], best)


def _held_by(row: int, terms: Iterable[str], holders: Mapping[str, Numbers]) -> set[str]:
    """Those of some terms that a row holds."""
    sought = np.uint32(max(row, 0))
    held = set()
    for term in terms:
        rows = holders[term]
        at = rows.searchsorted(sought)
        if at < len(rows) and rows[at] == row:
            held.add(term)
    return held


def _missed(wanted: Sequence[_Word], held: Set[str], met: Set[str], words: LexicalScores) -> float:
    """The share of words, by rarity, whose terms are neither held nor met; of those held in another
    form, a part."""
    missed = total = 0.0
    for _, terms, rarity in wanted:
        total += rarity
        for term in terms:
            if term not in held:
                missed += rarity * (term not in met) / len(terms)
            elif term in words.alike:
                missed += (1 - words.weights.alike) * rarity / len(terms)
    return missed / total if total else 0.0


def _of_words(
    asked: ParsedQuery, sides: Sides, count: int
) -> tuple[_Coverage, set[str], dict[str, float]]:
    """What memories hold of the question's words, the terms that the best one holds, and the
    signals of that."""
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
    for term, rows in words.alike.items():  # a form counts a part of the word, which is missed
        whole, missed = rarity[term], f"{DATE}{term}"
        rarity[term] = words.weights.alike * whole
        holders[term], holders[missed], rarity[missed] = rows, rows[:0], whole - rarity[term]
    counted = sorted(rarity.values())[-lexical.MEASURE if asked.around else 0 :]
    total = max(sum(counted), 1e-6)
    found = _cover({term: value / total for term, value in rarity.items()}, holders, sides)
    held = _held_by(found.best, rarity, holders)
    coverage = min(math.fsum(rarity[term] for term in held) / total, 1.0)
    ways = math.lgamma(len(rarity) + 1) - math.lgamma(len(held) + 1)
    ways -= math.lgamma(len(rarity) - len(held) + 1)
    weight = coverage * total
    return (
        found,
        held,
        {
            "coverage": coverage,
            "weight": weight / 10,
            "surprise": (weight - math.log(max(count, 1)) - ways) / 10,
        },
    )


def _of_known(asked: ParsedQuery, found: Sequence[_Word], words: LexicalScores) -> dict[str, float]:
    """The signals of what any memory holds.

    A question names something by words with a capital letter inside it; in German every noun has
    one.
    """
    known = total = strangest = 0.0
    strange = count = 0
    names: set[str] = set()
    met, unknown = asked.met, words.unknown
    for place, (text, terms, rarity) in enumerate(found):
        if place and text[:1].isupper():
            names.update(terms)
        missing = answered = 0.0
        for term in terms:
            if term in words.alike:
                missing += 0.5
                answered += 0.5
            elif term in unknown:
                missing += 1
            elif term not in met or len(words.holders[term]):
                answered += 1
        total += rarity * (missing + answered)
        known += rarity * answered
        if terms and not met.issuperset(terms):
            count += 1
            if missing and not answered:
                strange += 1
                strangest = max(strangest, rarity)
    names -= asked.met
    strangers = bool(names) and names <= words.unknown and not asked.german
    held = not asked.around and any(len(rows) for rows in words.holders.values())
    begun = [term for term in asked.terms if held and term.endswith(ANY_ENDING)]
    return {
        "begun": float(len(begun)),
        "common": known / total if total else 0.0,
        "unknown": strange / max(count, 1),
        "strangest": strangest,
        "strangers": float(strangers),
    }


def _of_meaning(near: SemanticScores, count: int, usual: float, span: float) -> dict[str, float]:
    gap = near.high - near.usual
    chance = math.sqrt(2 * math.log(max(count, 2)))
    return {
        "nearest": (near.high - usual) / span,
        "usual": (near.usual - usual) / span,
        "gap": gap / span,
        "peak": (gap / max(near.spread, LEAST_SPREAD) - chance) / 5,
    }
