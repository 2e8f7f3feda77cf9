"""Speakers that stand in the text itself: "Anna: I am back".

A head is what stands before a colon at the beginning of a text: a word, or two or three that begin
with a capital letter.  It is nothing yet; a head that recurs in many memories (RECURRING) is taken
for whoever speaks, when `who` names nobody.  So it is for a label, "Recipe:" say: a question that
names it wants those.

Heads are not kept.  In the column `who` they are a 16-bit hash, below NOBODY: no memory is taken by
thousands of titles that stand once each, and two heads are the same in one of 65,536 cases.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from nimad.recall.subjects import NOBODY

KINDS = 1 << 16
RECURRING = 8
"""Fewer memories are a series of notes, perhaps, but nobody who speaks."""
LONGEST = 3
"""Words in a head."""

_HEAD = re.compile(r"\s*([^\W\d_]+(?:[ '’-][^\W\d_]+){0,2})(?::\s|：)")
_WORD = re.compile(r"\w+")


def code(text: str) -> int:
    """What stands in `who` for the head of a text; NOBODY when it has none."""
    found = _HEAD.match(text)
    if found is None:
        return NOBODY
    return _code_of_head(found[1])


@functools.lru_cache(maxsize=256)
def _code_of_head(head: str) -> int:
    """Kept for the few who speak all the time."""
    words = _WORD.findall(head)
    if len(words) > 1 and any(word[0].islower() for word in words):
        return NOBODY
    return code_of([word.casefold() for word in words])


def code_of(words: Sequence[str]) -> int:
    """The same for the words of a head, case-folded: NOBODY - 1 and below."""
    digest = blake2b(" ".join(words).encode("utf-8", "surrogatepass"), digest_size=2).digest()
    return NOBODY - 1 - int.from_bytes(digest, "little")


def recurring(who: NDArray[np.int32]) -> frozenset[int]:
    """The codes of heads that stand in many of some memories."""
    heads = NOBODY - 1 - who[who < NOBODY]
    if not len(heads):
        return frozenset()
    counts = np.bincount(heads, minlength=KINDS)
    return frozenset((NOBODY - 1 - np.flatnonzero(counts >= RECURRING)).tolist())
