"""Sentences that are cut out of a text, and what kinds of sentence they are.

Only the form is looked at: "I will" may be a promise, or none.  What a sentence means is for its
reader to say, so it is always quoted, and its memory named.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from nimad.patterns import lazy_pattern
from nimad.text import common_form, words_of

LOOKED = 4000
"""Length of the part of a text that is looked at [characters]."""
LONGEST = 240
"""Length of the longest quotation [characters]."""
LEAST_WORDS = 5
"""Number of words below which a sentence is quoted only where there is no other [words]."""

_SENTENCE = lazy_pattern(r"[^\n]+?(?:[.!?…]+[\"'”’)\]]*(?=\s|$)|[。！？]+|(?=\n)|$)")
_SELF = lazy_pattern(
    r"\b(?:I am|I'm|I’m|I was|I live|I work|I love|I like|I prefer|I always|I never|I believe"
    r"|I have|I've|my name|my favou?rite|my job|my family|ich bin|ich heiße|ich wohne"
    r"|ich arbeite|ich mag|ich liebe|ich habe|mein name)\b|私は|僕は|俺は|我是|我叫|我喜欢",
    re.IGNORECASE,
)
_PROMISE = lazy_pattern(
    r"\b(?:I will|I'll|I’ll|I won't|I’m going to|I'm going to|I am going to|I promise|let me"
    r"|I plan to|I'm planning|I intend|we will|we'll|ich werde|ich verspreche|ich habe vor"
    r"|wir werden)\b|つもり|予定|約束|我会|我要|我将",
    re.IGNORECASE,
)


def sentences(text: str) -> Iterator[str]:
    """The sentences of the beginning of a text, each as it stands there."""
    for found in _SENTENCE.finditer(text[:LOOKED]):
        if sentence := found[0].strip():
            yield sentence


def is_about_self(sentence: str) -> bool:
    """Whether its speaker tells something about themselves, by its form; no question does."""
    return bool(_SELF.search(sentence)) and not _asks(sentence)


def is_promise(sentence: str) -> bool:
    """Whether its speaker says what they are going to do, by its form; no question does."""
    return bool(_PROMISE.search(sentence)) and not _asks(sentence)


def _asks(sentence: str) -> bool:
    return sentence.rstrip("\"'”’)] ").endswith(("?", "？"))


def quotation(text: str, words: Collection[str] = ()) -> str:
    """The sentence of a text that tells most: it has some words (in the common form), a few words
    or more, and is no question; the first of equal ones.  "" for a text without any."""
    best, most = "", -1
    wanted = set(words)
    for sentence in sentences(text):
        spoken = words_of(common_form(sentence))
        solid = len(spoken) >= LEAST_WORDS or not sentence.isascii()
        rank = 2 * min(len(wanted.intersection(spoken)), 2) + solid + (not _asks(sentence))
        if rank > most:
            best, most = sentence, rank
    return shortened(best)


def shortened(sentence: str) -> str:
    """The beginning of a sentence, up to the last word that fits in a quotation."""
    if len(sentence) <= LONGEST:
        return sentence
    head = sentence[:LONGEST]
    return head.rpartition(" ")[0] or head
