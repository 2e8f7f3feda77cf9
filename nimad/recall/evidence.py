"""Whether there is enough to a question in a store to answer at all.

Evidence is how much of the question is met: the share of its words, weighted by rarity, that the
best memory holds (coverage), plus the best cosine; in the modes words and meaning one of the two
alone.  Below the floor (`weights.Least`) nothing is shown.

The floor is higher for a question about strangers: it has a word inside that begins with a capital
letter and occurs nowhere here, and names nobody who is known.  A wrong store is found out so, where
a few common words would always be met.  Languages that capitalise every noun are left out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nimad.recall import question
from nimad.recall.lexical import Lexical
from nimad.recall.question import Question
from nimad.recall.weights import Floor, Least, Weights


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
    floor: Least,
    mode: str,
    strange: bool,
) -> Evidence:
    """What speaks for answering; `nearest` is the best cosine of the store."""
    if asked.only_names:
        return CERTAIN
    covered = float(words.own.max(initial=0.0)) / words.best if words.best else 0.0
    met = {"hybrid": covered + nearest, "words": covered, "meaning": nearest}[mode]
    return Evidence(met, floor.stranger if strange else floor.fits, strange)


def least(weights: Weights, embedder: Floor, mode: str) -> Least:
    """The one of a mode."""
    return {"hybrid": embedder.hybrid, "meaning": embedder.meaning, "words": weights.words}[mode]


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
