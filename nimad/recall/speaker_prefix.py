"""Speakers that stand in the text itself: "Anna: I am back".

The prefix is what stands before a colon at the beginning of a text: a word, or two or three that
begin with a capital letter.  One that recurs in RECURRING memories is taken for the speaker where
`who` names none; so is a label that recurs, "Recipe:" say: a question that names it wants those.

Prefixes are not kept.  In the column `who` they are a 16-bit hash, below NO_SUBJECT: thousands of
titles that stand once each take no memory, and two are the same in one of 65,536 cases.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from nimad.recall.subjects import NO_SUBJECT
from nimad.text import composed, marks, tokens, words_of

KINDS = 1 << 16
RECURRING = 8
"""Memories with one prefix from which on it names a speaker; fewer may be a series of notes."""
LONGEST = 3
"""Words of the longest prefix."""

_LOOKED = 200
"""Length of the part of a text in which a prefix is looked for [characters]."""


@functools.cache
def _pattern(signs: str) -> re.Pattern[str]:
    """`signs` may stand in a word besides letters."""
    letter = rf"(?:[^\W\d_]|[{signs}])" if signs else r"[^\W\d_]"
    return re.compile(rf"\s*({letter}+(?:[ '’-]{letter}+){{0,2}}):\s")


def code_of_text(text: str) -> int:
    """What stands in `who` for the prefix of a text; NO_SUBJECT when it has none."""
    head = text[:_LOOKED]
    if head.isascii():
        found = _pattern("").match(head)
    else:  # a wide colon needs no space behind it
        found = _pattern(marks()).match(composed(head.replace("：", ": ")))
    return NO_SUBJECT if found is None else _code_of_prefix(found[1])


@functools.lru_cache(maxsize=256)
def _code_of_prefix(prefix: str) -> int:
    """Cached, because few speakers say nearly everything."""
    words = words_of(prefix)
    if len(words) > 1 and any(word[0].islower() for word in words):
        return NO_SUBJECT
    return code_of_words(tokens(prefix))


def code_of_words(words: Sequence[str]) -> int:
    """The same for the tokens of a prefix: NO_SUBJECT - 1 and below."""
    digest = blake2b(" ".join(words).encode("utf-8", "surrogatepass"), digest_size=2).digest()
    return NO_SUBJECT - 1 - int.from_bytes(digest, "little")


def recurring(who: NDArray[np.int32]) -> frozenset[int]:
    """The codes of prefixes that recur among some memories; `who: int32[n]`."""
    prefixes = NO_SUBJECT - 1 - who[who < NO_SUBJECT]
    if not len(prefixes):
        return frozenset()
    counts = np.bincount(prefixes, minlength=KINDS)
    return frozenset((NO_SUBJECT - 1 - np.flatnonzero(counts >= RECURRING)).tolist())
