"""Whether there is enough to a question in a store to answer at all.

Evidence is how much of the question is met: the share of its words, weighted by rarity, that the
best memory holds (coverage), plus the best cosine; in the modes words and meaning one of the two
alone.  Below the floor (`AnswerThreshold`) nothing is shown.

The best of a few memories is less near than the best of many, whatever is asked: so the floor of a
smaller store is lower.

The floor is higher for a question about strangers: it has a word inside that begins with a capital
letter and occurs nowhere here, and names nobody who is known.  A wrong store is found out so, where
a few common words would always be met.  Languages that capitalise every noun are left out of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nimad.embed.base import AnswerThreshold, CosineScale
from nimad.recall import question
from nimad.recall.lexical import Lexical
from nimad.recall.question import Question
from nimad.recall.weights import Weights

MANY = 500
"""The floors are those of a store with so many memories, or more."""
_GROWTH = {"words": 0.02, "meaning": 0.01, "hybrid": 0.03}
"""What the best wrong memory gains when a store grows by a factor of e; measured from 5 to 600."""
KNOWN = 0.1
"""Counts like so much of a cosine: a question about somebody who is known here belongs here, while
the name itself is not in the text that is compared."""


FOREIGN = 0.5
"""What a cosine of German texts counts beside their words: the vocabulary is English, cuts German
into little pieces, and finds all texts rather near to each other (wrong ones up to 0.81)."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much of a question is met, and how much must be.

    Attributes:
        met: coverage, cosine, or both together.
        least: the floor that it is held against.
        strange: whether that is the one for strangers.
    """

    met: float
    least: float
    strange: bool

    @property
    def enough(self) -> bool:
        """Whether anything may be shown."""
        return self.met >= self.least


CERTAIN = Evidence(1.0, 0.0, False)
"""For what needs none: a question that is nothing but a name."""


def weigh(
    asked: Question,
    words: Lexical,
    nearest: float,
    floor: AnswerThreshold,
    mode: str,
    strange: bool,
) -> Evidence:
    """What speaks for answering; `nearest` is the best cosine of the store."""
    if asked.only_names:
        return CERTAIN
    covered = float(words.own.max(initial=0.0)) / words.best if words.best else 0.0
    if len(asked.subjects):
        nearest += KNOWN
    if asked.german and mode == "hybrid":
        nearest *= FOREIGN
    met = {"hybrid": covered + nearest, "words": covered, "meaning": nearest}[mode]
    return Evidence(met, floor.unknown_name if strange else floor.usual, strange)


def least(weights: Weights, scale: CosineScale, mode: str, count: int) -> AnswerThreshold:
    """The floor of a mode, in a store of `count` memories."""
    floors = {"hybrid": scale.hybrid, "meaning": scale.meaning, "words": weights.words}
    lower = _GROWTH[mode] * math.log(MANY / min(max(count, 1), MANY))
    return AnswerThreshold(*(floor - lower for floor in floors[mode]))


def strange(
    asked: Question,
    text: str,
    cut: Callable[[str], tuple[str, ...]],
    unknown: Callable[[Iterable[str]], set[str]],
) -> bool:
    """Whether a question is about strangers; `unknown` tells which terms occur nowhere."""
    if len(asked.subjects):
        return False
    named = {term for word in question.capitals(text) for term in cut(word)} - asked.met
    return bool(named and unknown(named))
