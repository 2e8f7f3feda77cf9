"""Features from spelling alone: words and character n-grams, hashed to signed buckets.

Feature hashing after K. Weinberger et al., Feature Hashing for Large Scale Multitask Learning
(2009); character n-grams of words after P. Bojanowski et al., Enriching Word Vectors with Subword
Information (2017).

A feature is a number below 2**40, the first bits of its BLAKE2b: 4 buckets of 256 and a sign for
each.  Two different features agree by chance as 256 random signs would, about 1/16; a word shares
most of its n-grams with its other forms and with its misspellings.
"""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from nimad.embed.base import DIMS

PROBES = 4
"""Buckets of one feature, each with its own sign."""
GRAMS = (4, 5)
"""Lengths of the n-grams of a word, whose ends are marked."""
SHORT_WORD = 3
"""Words up to this length have no n-grams.  So they weigh less, as the commonest words should."""
DENSE_GRAMS = (1, 2)
"""The same in scripts that write many words in a row or a word in one sign; ends not marked."""
LONGEST_WORD = 64
"""A longer word (a key, a digest, encoded data) is one feature: found again only as a whole."""

_ACCENTS = re.compile("[\u0300-\u036f]+")
_DENSE = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff"
)
_DENSE += "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
# runs of a dense script; words; single signs that are no punctuation, such as emoji
_WORDS = re.compile(
    rf"[{_DENSE}]+|(?:(?![{_DENSE}_])[\w\u0900-\u0dff])+"
    r"|[^\w\s\0-\x7f\x80-\xbf\u0900-\u0dff\u2000-\u206f\u3000-\u303f\ufe00-\ufe0f\uff00-\uff0f]"
)
_IS_DENSE = re.compile(f"[{_DENSE}]")


def words(text: str) -> list[str]:
    """The words of a text in any script, in small letters; Latin, Greek, Cyrillic without accents.

    A character that this Python's Unicode does not know yet is a word by itself.
    """
    if not text.isascii():
        bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
        text = unicodedata.normalize("NFC", bare)
    return _WORDS.findall(text.casefold())


def features(word: str) -> list[int]:
    """The features of one of `words`: itself and its n-grams; linear in its length."""
    if _IS_DENSE.match(word):
        return [_hashed(gram) for n in DENSE_GRAMS for gram in _grams(word, n)]
    marked = f"<{word}>"
    if not SHORT_WORD < len(word) <= LONGEST_WORD:
        return [_hashed(marked)]
    return [_hashed(marked), *(_hashed(gram) for n in GRAMS for gram in _grams(marked, n))]


def add_features(numbers: NDArray[np.int64], size: int, row: NDArray[np.float64]) -> None:
    """Add features to `row`, a float64[256]: each adds or takes away `size` in 4 buckets."""
    codes = (numbers[:, None] >> (9 * np.arange(PROBES))).ravel()
    signs = np.where(codes & DIMS, size, -size)
    row += np.bincount(codes & (DIMS - 1), weights=signs, minlength=DIMS)


def _grams(word: str, length: int) -> list[str]:
    return [word[i : i + length] for i in range(len(word) - length + 1)]


def _hashed(gram: str) -> int:
    digest = blake2b(gram.encode("utf-8", "surrogatepass"), digest_size=5).digest()
    return int.from_bytes(digest, "little")
