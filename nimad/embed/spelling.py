"""What a text consists of: tokens of the vocabulary, and hashed features of what it cannot spell.

What the English vocabulary cannot spell (other scripts, emoji, made-up names that fall into single
letters) is not lost: it is hashed from its spelling, as in the hash embedder, so equal and similar
words still meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from nimad.embed.features import features, words
from nimad.embed.wordpiece import UNKNOWN, WordPiece

HASHED = 1 << 40
"""Tokens are numbered by their ids; a hashed feature is this plus its own number."""
_PIECES_KEPT = 4096
_LONGEST_KEPT = 48


class Spelling(dict[str, tuple[int, ...]]):
    """What the space-free pieces of texts met lately consist of; emptied when full (1 MB)."""

    def __init__(self, wordpiece: WordPiece) -> None:
        super().__init__()
        self._wordpiece = wordpiece

    def read(self, text: str) -> list[int]:
        """Token ids in order, and hashed features, each with `HASHED` added."""
        # a space always ends a word, whatever stands around it: so the parts can be remembered
        return list(chain.from_iterable(map(self.__getitem__, text.split(" "))))

    def strange(self, text: str) -> int:
        """How many words of a text are hashed."""
        read = {word for word in self._wordpiece.words(text) if self._legible(word)}
        return sum(word not in read and not self._legible(word) for word in words(text))

    def __missing__(self, piece: str) -> tuple[int, ...]:
        found = tuple(self._spell(piece))
        if len(piece) <= _LONGEST_KEPT:
            if len(self) >= _PIECES_KEPT:
                self.clear()
            self[piece] = found
        return found

    def _spell(self, piece: str) -> list[int]:
        found: list[int] = []
        read: set[str] = set()
        unread = False
        for word in self._wordpiece.words(piece):
            ids = self._wordpiece.pieces(word)
            if _legible(word, ids):
                found += ids
                read.add(word)
            else:
                unread = True
        if unread:
            found += chain.from_iterable(self._rest(w) for w in words(piece) if w not in read)
        return found

    def _rest(self, word: str) -> Sequence[int]:
        """A word that the tokenizer did not read: cut free of its unknown neighbours, or hashed."""
        ids = self._wordpiece.pieces(word)
        return ids if _legible(word, ids) else [HASHED + feature for feature in features(word)]

    def _legible(self, word: str) -> bool:
        return _legible(word, self._wordpiece.pieces(word))


def _legible(word: str, ids: tuple[int, ...]) -> bool:
    """Whether pieces mean something: single letters, as most of a foreign word becomes, do not."""
    return ids != (UNKNOWN,) and (len(ids) == 1 or len(word) >= 2 * len(ids))
