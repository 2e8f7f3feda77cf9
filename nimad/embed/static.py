"""The default embedder: token vectors distilled from all-MiniLM-L6-v2, weighted and added up.

A text is cut into the model's own tokens; its vector is the sum of their rows in the table, at
length 1.  What the English vocabulary cannot spell (other scripts, emoji, made-up names that fall
into single letters) is not lost: it is hashed from its spelling into the same space, as in the
hash embedder, so equal and similar words still meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nimad.embed.base import DIMS, in_steps
from nimad.embed.features import add_features, features, words
from nimad.embed.table import TokenTable, read_table
from nimad.embed.wordpiece import UNKNOWN, WordPiece

TABLE = Path(__file__).parent / "data" / "static.tokens"
RULES = 1
"""Counts the changes to this file and to `features` that change a vector."""

_HASHED = 1 << 40
"""Tokens are numbered by their ids; a hashed feature is this plus its own number."""
_PIECES_KEPT = 8192
_LONGEST_KEPT = 48
_STEP = 1024


class _Spelling(dict[str, tuple[int, ...]]):
    """What the space-free pieces of texts met lately consist of; emptied when full (2 MB)."""

    def __init__(self, wordpiece: WordPiece) -> None:
        super().__init__()
        self._wordpiece = wordpiece

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
        return ids if _legible(word, ids) else [_HASHED + feature for feature in features(word)]


def _legible(word: str, ids: tuple[int, ...]) -> bool:
    """Whether pieces mean something: single letters, as most of a foreign word becomes, do not."""
    return ids != (UNKNOWN,) and (len(ids) == 1 or len(word) >= 2 * len(ids))


class StaticEmbedder:
    """Sums of token vectors, 256 dimensions; the table is mapped: it costs what is used of it."""

    name = "static"
    dims = DIMS

    def __init__(self, path: Path = TABLE) -> None:
        """Raises TableDamaged when the table at `path` cannot be trusted."""
        table: TokenTable = read_table(path)
        self.revision = f"{RULES}-{table.digest[:16]}"
        self.wordpiece = WordPiece(table.tokens, table.first, table.spans)
        self._spelling = _Spelling(self.wordpiece)
        self._rows, self._first, self._hashed = table.rows, table.first, table.hashed
        self._weights = table.weights.astype(np.float64)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[n, 256]: see `nimad.embed.base.Embedder`.  About 0.03 ms a chat sentence."""
        return in_steps(texts, self._sum)

    def _sum(self, text: str, row: NDArray[np.float64]) -> None:
        # a space always ends a word, whatever stands around it: so the parts can be remembered
        parts = map(self._spelling.__getitem__, text.split(" "))
        self._add(list(chain.from_iterable(parts)), row)

    def _add(self, found: list[int], row: NDArray[np.float64]) -> None:
        """Add tokens and features to a row; whole numbers, so BLAS may add them in any order."""
        for start in range(0, len(found), _STEP):  # bounds the memory that a long text takes
            numbers = np.array(found[start : start + _STEP], np.int64)
            hashed = numbers >= _HASHED
            if hashed.any():
                add_features(numbers[hashed] - _HASHED, self._hashed, row)
                numbers = numbers[~hashed]
            tokens = numbers - self._first
            row += self._weights[tokens] @ self._rows[tokens].astype(np.float64)
