"""Every constant of the ranking, with its reason; docs/recall.md has the ablations.

`make bench-recall` measures what each of them is worth on any labelled dialogues.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Least(NamedTuple):
    """The least evidence for showing anything at all, in a store of 500 (`nimad.recall.evidence`).

    Attributes:
        fits: of any question.
        stranger: of one that names something or somebody that occurs nowhere, and nobody who does.
    """

    fits: float
    stranger: float


@dataclass(frozen=True, slots=True)
class Floor:
    """What an embedder's cosines mean; `packaging/recall_floors.py` measures it.

    Attributes:
        near: a memory without a common word must be at least so near to be shown.
        hybrid: by coverage + cosine.
        meaning: by the cosine alone.
    """

    near: float
    hybrid: Least
    meaning: Least


OTHER_FLOOR = Floor(near=0.30, hybrid=Least(0.35, 0.9), meaning=Least(0.30, 0.5))
"""For an embedder that was not measured."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights in use; a bench makes others.

    Attributes:
        semantic: share of the semantic side; the lexical one gets the rest.
        subject: for memories of a subject that the query names: a name says who, and little about
            what, so it is taken out of what is embedded, and must count elsewhere.
        word_before, word_after: what a turn takes of the lexical scores of its neighbours, because
            an answer often repeats nothing of its question.
        word_beyond: the same, of those two turns away.
        meaning_before, meaning_after: how much of its neighbours' vectors is in a turn's.
        mixing: the same two for embedders that are measured to want others: the transformer reads
            a turn as a whole, so its neighbours say more that is new.
        date: a part of a date counts like a word that is as rare.
        k1, b: of BM25; the usual values, which FTS5 has, too.
        asks: taken off a memory that ends as a question: it asks what is wanted, it does not say.
        importance, recency: small: they order what is otherwise alike, they never lift the
            irrelevant.
        unseen: memories that a store is taken to have besides, without any word of the question:
            in a store of a few, every word is in half of them, and would seem worthless.
        exact_rows: up to so many memories are all scored by meaning; of more, candidates.
        candidates: so many of the best by words and subject, in a larger store.
        nearest: and so many of the nearest; where no word was met, as many as of the others.
            Both twice as many as are wanted, at least.  In 100,000 memories of made-up talk the
            best ten are 99.5 % of those that scoring every row gives (`whole_path`).
        furthest: and of those that lie opposite, for the low end of a store's cosines: in 100,000
            memories off by 0.007 of a cosine; that of 1,000 memories picked evenly, by up to 0.1.
        words: the floor of the mode words, by coverage alone.
        floors: those of the other modes, by embedder.
    """

    semantic: float = 0.6
    subject: float = 0.3
    word_before: float = 0.5
    word_after: float = 0.4
    word_beyond: float = 0.3
    meaning_before: float = 0.2
    meaning_after: float = 0.1
    date: float = 1.0
    k1: float = 1.2
    b: float = 0.75
    asks: float = 0.08
    importance: float = 0.02
    recency: float = 0.005
    unseen: int = 10
    exact_rows: int = 20_000
    candidates: int = 600
    nearest: int = 64
    furthest: int = 16
    mixing: dict[str, tuple[float, float]] = field(default_factory=lambda: {"minilm": (0.3, 0.2)})
    words: Least = field(default=Least(0.16, 0.60))
    floors: dict[str, Floor] = field(
        default_factory=lambda: {
            "static": Floor(near=0.45, hybrid=Least(0.55, 1.25), meaning=Least(0.45, 0.75)),
            "minilm": Floor(near=0.15, hybrid=Least(0.40, 1.10), meaning=Least(0.20, 0.60)),
            "hash": Floor(near=0.30, hybrid=Least(0.35, 0.90), meaning=Least(0.30, 0.50)),
        }
    )

    def near(self, embedder: str) -> tuple[float, float]:
        """Shares of the vectors before and after, for an embedder."""
        return self.mixing.get(embedder, (self.meaning_before, self.meaning_after))


DEFAULT = Weights()
