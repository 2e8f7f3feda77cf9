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
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nimad.embed.base import AnswerThreshold, CosineScale, Embedder
from nimad.recall.lexical import LexicalScores
from nimad.recall.parsed_query import ParsedQuery, capitalised_words
from nimad.recall.weights import Weights
from nimad.store.words import ENGLISH
from nimad.text import is_paired, tokens, words_of

MANY = 500
"""Memories from which on the thresholds hold as they are; in a smaller store they are lower."""
FEW = 10
"""Number of memories of a small store, in which languages were measured [memories]."""
_GROWTH = {"words": 0.02, "meaning": 0.01, "hybrid": 0.03}
"""What the best wrong memory gains when a store grows by a factor of e; measured from 5 to 600."""
KNOWN = 0.1
"""Cosine bonus when the query names a known speaker: names are not embedded."""
GERMAN_SHARE = 0.5
"""Factor of the cosine of German texts beside their words: the vocabulary is English, cuts German
into little pieces, and finds all texts rather near to each other (wrong ones up to 0.81)."""
STRANGE_SHARE = 0.25
"""The same of other Latin languages (wrong ones up to 0.84), and of scripts without spaces, whose
vectors are made of single characters and pairs (up to 0.69)."""
IDEOGRAPH_SHARE = 0.5
"""The same of Chinese, Japanese and Korean, where two texts share fewer characters."""
_IDEOGRAPHS = re.compile(
    "[\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
"""Hangul as well."""
PIECES = 1.25
"""Pieces of the English vocabulary per word from which on a text is not English, when none of its
words is a small one of English.  Nor is one with a marked letter in a word that is no name."""


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
    share: float,
) -> Evidence:
    """What speaks for answering; `nearest` is the best cosine of the store, `share` what it counts
    beside the words."""
    if asked.only_names:
        return CERTAIN
    covered = float(words.own.max(initial=0.0)) / words.best if words.best else 0.0
    if len(asked.subjects):
        nearest += KNOWN
    if mode == "hybrid":
        nearest *= GERMAN_SHARE if asked.german else share
    met = {"hybrid": covered + nearest, "words": covered, "meaning": nearest}[mode]
    return Evidence(met, threshold.unknown_name if unknown_name else threshold.usual, unknown_name)


def cosine_share(asked: ParsedQuery, embedder: Embedder, count: int) -> float:
    """How much cosines tell beside the words, by the language of a question.

    In a store of few memories a near vector tells of the language more than of what is said; with
    more of them (`count`) the words of some would do the same, and it counts as in English.
    """
    few = math.log(MANY / min(max(count, FEW), MANY)) / math.log(MANY / FEW)
    return 1 - (1 - _language_share(asked.meaning, embedder)) * few if few else 1.0


def _language_share(text: str, embedder: Embedder) -> float:
    """The same in a store of FEW memories."""
    if not embedder.by_spelling:
        return 1.0
    found = tokens(text)
    dense = [token for token in found if is_paired(token)]
    if 2 * len(dense) > len(found):
        ideographs = sum(_IDEOGRAPHS.match(token) is not None for token in dense)
        return IDEOGRAPH_SHARE if 2 * ideographs > len(dense) else STRANGE_SHARE
    wordpiece = embedder.wordpiece
    latin = max("".join(found), default="") < "\u0250"
    if wordpiece is None or not latin or not ENGLISH.isdisjoint(found):
        return 1.0
    spoken = words_of(text)
    names = [word[:1].isupper() for word in spoken]
    plain = [w for n, w in enumerate(spoken) if w.isalpha() and not (n and names[n])]
    if not "".join(plain).isascii():
        return STRANGE_SHARE
    cut = [len(wordpiece.pieces(word)) for word in wordpiece.words(" ".join(plain))]
    return STRANGE_SHARE if len(cut) > 1 and sum(cut) >= PIECES * len(cut) else 1.0


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
