"""How many tokens a text has, about: WordPiece pieces of the shipped vocabulary.

Each model cuts text in its own way, so this is an estimate.  What the English vocabulary cannot
spell (other scripts, emoji) is counted as one token for three bytes of UTF-8, which is about what
byte-pair vocabularies make of it.
"""

from __future__ import annotations

from functools import cached_property

from nimad.embed.base import Embedder
from nimad.embed.static import TABLE
from nimad.embed.table import read_table
from nimad.embed.wordpiece import UNKNOWN, WordPiece


class TokenCounter:
    """Counts tokens; the vocabulary is the embedder's own, else it is read; when first needed."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @cached_property
    def _wordpiece(self) -> WordPiece:
        if self._embedder.wordpiece is not None:
            return self._embedder.wordpiece
        table = read_table(TABLE)
        return WordPiece(table.tokens, table.first, table.spans)

    def count(self, text: str) -> int:
        """The tokens of a text.  About 0.02 ms a chat sentence."""
        wordpiece = self._wordpiece
        total = 0
        for word in wordpiece.words(text):
            pieces = wordpiece.pieces(word)
            unknown = pieces == (UNKNOWN,)
            total += (len(word.encode(errors="replace")) + 2) // 3 if unknown else len(pieces)
        return total
