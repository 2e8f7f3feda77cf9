"""What a text consists of: tokens of a vocabulary, and hashed features of spelling.

A feature is a word or one of its character n-grams, hashed to signed buckets.  The hash embedder
uses nothing else.  The others hash what their English vocabulary cannot spell (other scripts,
emoji, made-up names that fall into single letters): so equal and similar words still meet.

Feature hashing after K. Weinberger et al., Feature Hashing for Large Scale Multitask Learning
(2009); character n-grams of words after P. Bojanowski et al., Enriching Word Vectors with Subword
Information (2017).

A feature is a number below 2**40, the first bits of its BLAKE2b: 4 buckets of 256 and a sign for
each.  Two different features agree by chance as 256 random signs would, about 1/16; a word shares
most of its n-grams with its other forms and with its misspellings.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from nimad.embed.base import DIMS, Spelt
from nimad.embed.hashes import PYTHON, WordHashes, hashed
from nimad.embed.wordpiece import COMMONEST, RAREST, UNKNOWN, WordPiece
from nimad.patterns import lazy_pattern
from nimad.text import normalized

PROBES = 4
"""Buckets of one feature, each with its own sign."""
GRAMS = (4, 5)
"""Shortest and longest n-grams of a word, whose ends are marked."""
SHORT_WORD = 3
"""Longest word without n-grams [characters]: so the commonest words weigh less."""
DENSE_GRAMS = (1, 2)
"""The same in scripts that write words without spaces; their ends are not marked."""
LONGEST_WORD = 64
"""Longest word with n-grams [characters]; a longer one (a key, encoded data) is one feature."""

HASHED = 1 << 40
"""Tokens are numbered by their ids; a hashed feature is this plus its own number."""
_PIECES_KEPT = 4096
_LONGEST_KEPT = 48
_STEP = 4096
_ACCENTS = lazy_pattern("[\u0300-\u036f]+")
_DENSE = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff"
)
_DENSE += "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
# runs of a dense script; words; single signs that are no punctuation, such as emoji
_WORDS = lazy_pattern(
    rf"[{_DENSE}]+|(?:(?![{_DENSE}_])[\w\u0900-\u0dff])+"
    r"|[^\w\s\0-\x7f\x80-\xbf\u0900-\u0dff\u2000-\u206f\u3000-\u303f\ufe00-\ufe0f\uff00-\uff0f]"
)
_IS_DENSE = lazy_pattern(f"[{_DENSE}]")
_PLAIN_WORDS = lazy_pattern("[a-z0-9]+")
"""What the words of a text of ASCII are; to compile the others takes 3 ms of a start."""


def words(text: str) -> list[str]:
    """The words of a text in any script, in small letters; Latin, Greek, Cyrillic without accents.
    A character that this Python's Unicode does not know yet is a word by itself."""
    if text.isascii():
        return _PLAIN_WORDS.findall(text.lower())
    bare = _ACCENTS.sub("", normalized("NFKD", text))
    return _WORDS.findall(normalized("NFC", bare).casefold())


def is_dense(word: str) -> bool:
    """Whether one of `words` is of a script that writes words without spaces, or with endings."""
    return not word.isascii() and _IS_DENSE.match(word) is not None


def features(word: str, by: WordHashes = PYTHON) -> list[int]:
    """The features of one of `words`: itself and its n-grams; linear in its length."""
    if is_dense(word):
        return by.grams(word, *DENSE_GRAMS)
    marked = f"<{word}>"
    if not SHORT_WORD < len(word) <= LONGEST_WORD:
        return [hashed(marked)]
    return [hashed(marked), *by.grams(marked, *GRAMS)]


def add_features(
    found: Sequence[int] | NDArray[np.int64], size: int, row: NDArray[np.float64]
) -> None:
    """Add features to `row`, a float64[256]: each adds or takes away `size` in 4 buckets."""
    for start in range(0, len(found), _STEP):  # bounds the memory that a long text takes
        numbers = np.array(found[start : start + _STEP], np.int64)
        codes = (numbers[:, None] >> (9 * np.arange(PROBES))).ravel()
        signs = np.where(codes & DIMS, size, -size)
        row += np.bincount(codes & (DIMS - 1), weights=signs, minlength=DIMS)


def spelt_as(ids: Sequence[int]) -> Spelt:
    """How a word is spelt that is read as these tokens; without any it is hashed."""
    rank = ids[0] - COMMONEST if len(ids) == 1 else RAREST
    return Spelt(max(len(ids), 1), not ids, math.log(max(rank, 1)) / math.log(RAREST))


class Spelling(dict[str, "array[int]"]):
    """What the space-free pieces of texts met recently consist of, as int64; emptied when full.

    Attributes:
        by: what hashes.
    """

    def __init__(self, wordpiece: WordPiece) -> None:
        super().__init__()
        self._wordpiece = wordpiece
        self.by = PYTHON

    def read(self, text: str) -> list[int]:
        """Token ids in order, and hashed features, each with `HASHED` added."""
        # a space always ends a word, whatever stands around it: so the parts can be remembered
        return list(chain.from_iterable(map(self.__getitem__, text.split(" "))))

    def spell(self, word: str) -> Spelt:
        """How a word is spelt (`nimad.embed.base.Embedder.spell`)."""
        return spelt_as([number for number in self.read(word) if number < HASHED])

    def strange(self, text: str) -> int:
        """How many words of a text are hashed."""
        read = {word for word in self._wordpiece.words(text) if self._legible(word)}
        return sum(word not in read and not self._legible(word) for word in words(text))

    def __missing__(self, piece: str) -> array[int]:
        found: list[int] = []
        read: set[str] = set()
        unread = False
        for word in self._wordpiece.words(piece):
            ids = self._wordpiece.pieces(word)
            if is_legible(word, ids):
                found += ids
                read.add(word)
            else:
                unread = True
        if unread:  # what the tokenizer did not read: cut free of its neighbours, or hashed
            for word in words(piece):
                if word not in read:
                    ids = self._wordpiece.pieces(word)
                    legible = is_legible(word, ids)
                    found += ids if legible else [HASHED + n for n in features(word, self.by)]
        spelt = array("q", found)
        if len(piece) <= _LONGEST_KEPT:
            if len(self) >= _PIECES_KEPT:
                self.clear()
            self[piece] = spelt
        return spelt

    def _legible(self, word: str) -> bool:
        return is_legible(word, self._wordpiece.pieces(word))


def is_legible(word: str, ids: tuple[int, ...]) -> bool:
    """Whether pieces mean something: single letters, as most of a foreign word becomes, do not."""
    return ids != (UNKNOWN,) and (len(ids) == 1 or len(word) >= 2 * len(ids))
