"""Decides between answering and returning nothing.

Evidence is how much of the question is met: the share of its words, weighted by rarity, that the
best memory holds (coverage), plus the best cosine; in the modes words and meaning one of the two
alone.  Below the threshold (`AnswerThreshold`) nothing is shown.

The best of a few memories is less near than the best of many, whatever is asked: so the threshold
of a smaller store is lower.

It is higher for a question about an unknown name: a word inside it begins with a capital letter and
occurs in no memory, and it names no known speaker.  That finds out that the wrong store is asked,
where a few common words would always be met.  Languages that capitalise every noun are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nimad.embed.base import AnswerThreshold, CosineScale
from nimad.recall.lexical import LexicalScores
from nimad.recall.parsed_query import ParsedQuery, capitalised_words
from nimad.recall.weights import Weights

MANY = 500
"""Memories from which on the thresholds hold as they are; in a smaller store they are lower."""
_GROWTH = {"words": 0.02, "meaning": 0.01, "hybrid": 0.03}
"""What the best wrong memory gains when a store grows by a factor of e; measured from 5 to 600."""
KNOWN = 0.1
"""Cosine bonus when the query names a known speaker: names are not embedded."""
GERMAN_SHARE = 0.5
"""Factor of the cosine of German texts beside their words: the vocabulary is English, cuts German
into little pieces, and finds all texts rather near to each other (wrong ones up to 0.81)."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much of a question is met, and how much must be.

    Attributes:
        met: coverage, cosine, or both together.
        least: the threshold that it is held against.
        unknown_name: whether that is the one for questions about unknown names.
    """

    met: float
    least: float
    unknown_name: bool

    @property
    def enough(self) -> bool:
        """Whether anything may be shown."""
        return self.met >= self.least


CERTAIN = Evidence(1.0, 0.0, False)
"""For what needs none: a question that is nothing but a name."""


def weigh(
    asked: ParsedQuery,
    words: LexicalScores,
    nearest: float,
    threshold: AnswerThreshold,
    mode: str,
    unknown_name: bool,
) -> Evidence:
    """What speaks for answering; `nearest` is the best cosine of the store."""
    if asked.only_names:
        return CERTAIN
    covered = float(words.own.max(initial=0.0)) / words.best if words.best else 0.0
    if len(asked.subjects):
        nearest += KNOWN
    if asked.german and mode == "hybrid":
        nearest *= GERMAN_SHARE
    met = {"hybrid": covered + nearest, "words": covered, "meaning": nearest}[mode]
    return Evidence(met, threshold.unknown_name if unknown_name else threshold.usual, unknown_name)


def answer_threshold(
    weights: Weights, scale: CosineScale, mode: str, count: int
) -> AnswerThreshold:
    """The evidence that an answer needs in a mode, in a store of `count` memories."""
    usual = {"hybrid": scale.hybrid, "meaning": scale.meaning, "words": weights.words}
    lower = _GROWTH[mode] * math.log(MANY / min(max(count, 1), MANY))
    return AnswerThreshold(*(value - lower for value in usual[mode]))


def names_unknown_entity(
    asked: ParsedQuery,
    text: str,
    cut: Callable[[str], tuple[str, ...]],
    unknown: Callable[[Iterable[str]], set[str]],
) -> bool:
    """Whether it names what no memory mentions; `unknown` picks the terms that occur nowhere."""
    if len(asked.subjects) or asked.around:
        return False
    named = {term for word in capitalised_words(text) for term in cut(word)} - asked.met
    return bool(named and unknown(named))
