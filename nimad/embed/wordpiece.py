"""WordPiece: text to the token ids that all-MiniLM-L6-v2 was trained on, in plain Python.

The scheme is that of BERT, uncased (J. Devlin et al., BERT, 2019; Y. Wu et al., Google's Neural
Machine Translation System, 2016).  First every character is replaced by its entry in a table:
control characters vanish, spaces become one kind, capitals and accents are taken off, punctuation
and ideographs stand alone.  Then each word is cut, from the left, into the longest pieces that the
vocabulary has; a word with a character that it does not have is unknown as a whole.

The table is data, made from the reference tokenizer for every code point there is, instead of
`unicodedata`: so the ids are those of the reference, and stay the same under any Python.  The
tokens [CLS], [SEP], [PAD], [MASK] and [UNK], written out in a text, are text like any other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nimad.embed.vocabulary import heads_and_tails

UNKNOWN = 100
"""The id of a word that the vocabulary cannot spell."""
LONGEST_WORD = 100
"""A word of more characters than this is unknown, as in the reference."""
_KEPT = 4096


class Span(NamedTuple):
    """The code points `first` to `last` become `text`; None says: themselves, standing alone."""

    first: int
    last: int
    text: str | None


class Characters(dict[int, str]):
    """What each code point becomes; made for `str.translate`, filled as code points are met."""

    def __init__(self, spans: Iterable[Span]) -> None:
        """`spans`: in order, without overlap; a code point in none of them is kept as it is."""
        super().__init__()
        self._spans = list(spans)
        self._firsts = [span.first for span in self._spans]

    def __missing__(self, code: int) -> str:
        span = self._spans[max(bisect_right(self._firsts, code) - 1, 0)]
        text = chr(code)
        if span.first <= code <= span.last:
            text = f" {text} " if span.text is None else span.text
        if len(self) < _KEPT:  # no text, however odd, makes this table large
            self[code] = text
        return text


class WordPiece:
    """The tokenizer; it is not changed by use, apart from `Characters` remembering what it met."""

    def __init__(self, tokens: Sequence[str], first: int, spans: Iterable[Span]) -> None:
        """`tokens[i]` has the id `first + i`; one that continues a word begins with "##"."""
        self.characters = Characters(spans)
        self._heads, self._tails = heads_and_tails(tokens, first)
        self._longest = max(self._heads.longest, self._tails.longest)

    def words(self, text: str) -> list[str]:
        """The words, punctuation marks and ideographs of a text, in the vocabulary's spelling."""
        return text.translate(self.characters).split()

    def pieces(self, word: str) -> tuple[int, ...]:
        """The ids of one of `words`; (UNKNOWN,) when it cannot be spelt."""
        whole = self._heads.get(word)
        if whole is not None:
            return (whole,)
        if len(word) > LONGEST_WORD:
            return (UNKNOWN,)
        start, found, table = 0, [], self._heads
        while start < len(word):
            for end in range(min(len(word), start + self._longest), start, -1):
                piece = table.get(word[start:end])
                if piece is not None:
                    break
            else:
                return (UNKNOWN,)
            found.append(piece)
            start, table = end, self._tails
        return tuple(found)

    def ids(self, text: str) -> list[int]:
        """The ids of a whole text, neither cut nor padded nor framed by [CLS] and [SEP]."""
        return [piece for word in self.words(text) for piece in self.pieces(word)]
