"""Memories that come in bulk, as numbers of terms: no text becomes a list of words in Python.

A kernel cuts texts of ASCII into tokens and numbers these; other texts are cut by `nimad.text`, and
their tokens are numbered by the same kernel.  Each token is stemmed once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nimad.index.kernels.loader import load_kernels
from nimad.index.kernels.tokens import TokenTable
from nimad.store.analysis import STEMS_KEPT, parts_of
from nimad.text import ASCII_WORDS, indexed

_TOGETHER = 1 << 16
"""Size of the texts that are cut together [bytes]."""
_BYTES_KEPT = 1 << 20
"""Size of the tokens up to which they are kept [bytes]."""
LEARNED = 256
"""New tokens from which on their terms are found before more texts are cut: 1 ms [tokens]."""
_LETTERS = ASCII_WORDS[:128] + bytes(range(128, 256))

Found = NDArray[np.int32]


class Lexicon:
    """The tokens that bulks had, and the term of each; it only grows.  For many threads.

    Attributes:
        terms: the different terms, by their numbers.
    """

    def __init__(self, stem: Callable[[Sequence[str]], Sequence[str]]) -> None:
        """`stem` makes terms of tokens."""
        self._stem, self._lock = stem, threading.Lock()
        self._table = TokenTable(_LETTERS)
        self._term_of = np.zeros(0, np.int32)
        self._numbers: dict[bytes, int] = {}
        self.terms: list[bytes] = []

    @property
    def full(self) -> bool:
        """Whether a new one should take its place."""
        return len(self._table) > STEMS_KEPT or int(self._table.state[1]) > _BYTES_KEPT

    def cut(self, texts: bytes, sizes: Sequence[int]) -> tuple[Found, list[int]]:
        """The numbers of the tokens of some texts, one behind the other, and how many each has."""
        with self._lock:
            found, held = load_kernels().cut(texts, np.cumsum(sizes, dtype=np.int64), self._table)
            if len(self._table) - len(self._term_of) > LEARNED:
                self._learn()
        return found, held.tolist()

    def terms_of(self, found: Found) -> Found:
        """The number in `terms` of the term of each token."""
        with self._lock:
            self._learn()
            return self._term_of[found]

    def _learn(self) -> None:
        """Find the terms of the tokens that have none yet."""
        tokens = self._table.since(len(self._term_of))
        if not tokens:
            return
        stems = self._stem([token.decode("utf-8", "surrogatepass") for token in tokens])
        made = [stem.encode("utf-8", "surrogatepass") for stem in stems]
        for term in made:
            if term not in self._numbers:
                self._numbers[term] = len(self.terms)
                self.terms.append(term)
        fresh = np.array([self._numbers[term] for term in made], np.int32)
        self._term_of = np.append(self._term_of, fresh)


class CutTexts:
    """Many texts as tokens, which are counted by their numbers.

    Attributes:
        held: how many tokens each text has, signs among them.
        lengths: how many words BM25 counts in it: signs are none.
        size: how many tokens all texts have.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self.held: list[int] = []
        self.lengths: list[int] = []
        self.size = 0
        self._found: list[Found] = [np.zeros(0, np.int32)]

    def add(self, texts: Sequence[str]) -> None:
        """Cut some more."""
        whole = " ".join(texts)
        if len(whole) <= _TOGETHER and whole.isascii():
            found, held = self.lexicon.cut(f"{whole} ".encode(), [len(text) + 1 for text in texts])
            self._note(found)
            self.held += held
            self.lengths += held
            return
        parts: list[tuple[int, bytes]] = []
        waiting = 0
        for place, text in enumerate(texts, len(self.held)):
            self.held.append(0)
            self.lengths.append(0)
            for part in parts_of(text):
                words, marks = (part, "") if part.isascii() else indexed(part)
                parts.append((place, f"{words} {marks}".encode("utf-8", "surrogatepass")))
                self.lengths[place] -= len(marks.split(" ")) if marks else 0
                waiting += len(parts[-1][1])
                if waiting > _TOGETHER:
                    self._cut(parts)
                    parts, waiting = [], 0
        self._cut(parts)

    def _cut(self, parts: Sequence[tuple[int, bytes]]) -> None:
        """The same of parts of texts, with the places of these."""
        sizes = [len(part) for _, part in parts]
        found, held = self.lexicon.cut(b"".join([part for _, part in parts]), sizes)
        self._note(found)
        for (place, _), count in zip(parts, held, strict=True):
            self.held[place] += count
            self.lengths[place] += count

    def _note(self, found: Found) -> None:
        self._found.append(found)
        self.size += len(found)

    def terms(self) -> Found:
        """The number of the term of each token: int32[size], text by text."""
        return self.lexicon.terms_of(np.concatenate(self._found))
