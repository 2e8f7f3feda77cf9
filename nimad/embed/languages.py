"""Reads a text in whatever language it is: as English tokens, words of the lexicon, or spelling.

Which language a text is in is asked for one thing only: whether its Latin words are read as
English first.  Its words vote: a word that is common in English and rare elsewhere speaks for it,
one that is common elsewhere ("der", "que") or has a letter that English lacks speaks against it.

    the votes are        a word is, the first that there is
    -------------------  -----------------------------------------------------------------
    for English          what the English vocabulary makes of it; spelling
    even                 one token; an entry of the lexicon for four letters or more; as above
    for another one      an entry of the lexicon; one token; entries that it is composed of;
                         spelling

So the vector of an English text is what it would be without the lexicon.  Words of other scripts
are read as in another language, whatever the votes are.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nimad.embed.features import (
    HASHED,
    LONGEST_WORD,
    Spelling,
    features,
    is_dense,
    is_legible,
    words,
)
from nimad.embed.hashes import PYTHON, Lengths, WordHashes
from nimad.embed.lexicon import Lexicon
from nimad.embed.wordpiece import UNKNOWN, WordPiece
from nimad.patterns import lazy_pattern
from nimad.text import common_form

ENTRY = 1 << 41
"""A word of the lexicon is numbered by this plus its slot: above all hashed features."""
LEAST_PART = 4
"""Shortest part that a composed word of a spaced script is cut into [characters]."""
_COMPOSED = Lengths(LEAST_PART, LEAST_PART, 16)
_DENSE, _HANGUL_RUN = Lengths(1, 1, 8), Lengths(1, 2, 8)
"""Of words in a run of a script without spaces, and of Hangul."""
_STEP = 4096
"""Length of the parts of a longer run in which words are looked for [characters]."""
_PIECES_KEPT, _KNOWN = 4096, 256
_LONGEST_KEPT = 48
_OTHER_LATIN = lazy_pattern("[\u00c0-\u024f\u1e00-\u1eff]")
_HANGUL = lazy_pattern("[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff]")
_JOINED = lazy_pattern(r"\w[/\\_@=.:-]+\w|^[/\\-]\w")
"""In a path, an address, an option: such a piece does not speak against English."""
_OTHER_SCRIPT = lazy_pattern(
    "[\u0370-\u1dbf\u2c00-\u2c5f\u2c80-\u2ddf\u2e80-\u2fdf\u3005-\ud7ff\uf900-\ufdff\ufe70-\ufefc"
    "\U00010000-\U0001efff\U00020000-\U0003ffff]"
)


_Value = TypeVar("_Value")


class Reader:
    """Texts as the numbers of tokens, of words of the lexicon, and of hashed features."""

    def __init__(self, wordpiece: WordPiece, first: int, lexicon: Lexicon) -> None:
        """`first`: id of the first token that the lexicon's votes are about."""
        self._english = Spelling(wordpiece)
        self._even = _Words(wordpiece, lexicon, self._english)
        self._other = _Words(wordpiece, lexicon, None)
        self._pieces = _Pieces(wordpiece, first, lexicon)

    def read(self, text: str) -> NDArray[np.int64]:
        """Token ids, hashed features with `HASHED` added, slots of the lexicon with `ENTRY`."""
        parts = text.split(" ")
        ballots, tokens = zip(*map(self._pieces.__getitem__, parts), strict=True)
        votes = sum(ballots)
        if votes > 0 and None not in tokens and text.isascii():
            return np.frombuffer(b"".join(tokens), np.int64)
        return np.fromiter(chain.from_iterable(self._read(parts, votes)), np.int64)

    def read_english(self, text: str) -> tuple[list[int], float]:
        """The token ids of a text, and the share of its words (what stands between spaces) that
        consist of nothing else."""
        parts = text.split(" ")
        votes = sum(self._pieces[part][0] for part in parts)
        read = [numbers for numbers in self._read(parts, votes) if len(numbers)]
        plain = sum(max(numbers) < HASHED for numbers in read)
        tokens = [number for number in chain.from_iterable(read) if number < HASHED]
        return tokens, plain / max(len(read), 1)

    def _read(self, parts: Sequence[str], votes: int) -> Iterator[Sequence[int]]:
        """What each part of a text consists of, when all of it votes so."""
        latin = self._english if votes > 0 else self._other if votes < 0 else self._even
        for part in parts:
            plain = part.isascii() or not _OTHER_SCRIPT.search(part)
            yield (latin if plain else self._other)[part]

    def use(self, hashes: WordHashes) -> None:
        """Hash by this from now on; no number changes."""
        for table in (self._english, self._even, self._other):
            table.by = hashes

    def rest(self) -> None:
        """Forget the pieces of texts: they are read again as they are met."""
        for table in (self._english, self._even, self._other, self._pieces):
            table.clear()


class _Pieces(dict[str, tuple[int, bytes | None]]):
    """How the space-free pieces of texts met recently vote, above 0 for English, and the token ids
    that they consist of there, int64; None where not all of their words can be read."""

    def __init__(self, wordpiece: WordPiece, first: int, lexicon: Lexicon) -> None:
        super().__init__()
        self._wordpiece, self._first = wordpiece, first
        self._votes = lexicon.votes.tobytes()

    def __missing__(self, piece: str) -> tuple[int, bytes | None]:
        votes = 0 if piece.isascii() or not _OTHER_LATIN.search(piece) else -1
        tokens: list[int] = []
        read = True
        for word in self._wordpiece.words(piece):
            ids = self._wordpiece.pieces(word)
            if len(ids) == 1 and ids != (UNKNOWN,):
                votes += (self._votes[ids[0] - self._first] + 128) % 256 - 128
            read = read and is_legible(word, ids)
            tokens += ids
        votes = 0 if votes < 0 and _JOINED.search(piece) else votes
        return _kept(self, piece, (votes, array("q", tokens).tobytes() if read else None))


class _Words(dict[str, "array[int]"]):
    """What the space-free pieces of texts met recently consist of, words of the lexicon included;
    punctuation is left out."""

    def __init__(self, wordpiece: WordPiece, lexicon: Lexicon, english: Spelling | None) -> None:
        """`english`: how pieces are read in which no word needs the lexicon."""
        super().__init__()
        self._wordpiece, self._lexicon, self._english = wordpiece, lexicon, english
        self.by = PYTHON

    def __missing__(self, piece: str) -> array[int]:
        found: list[int] = []
        known: dict[str, list[int]] = {}
        for word in words(common_form(piece)):
            numbers = known.get(word)
            if numbers is None:
                numbers = self._meant(word)
                if len(known) < _KNOWN:  # one sign again and again, say
                    known[word] = numbers
            found += numbers
        if self._english is not None and not any(number >= ENTRY for number in found):
            found = list(self._english[piece])
        return _kept(self, piece, array("q", found))

    def _meant(self, word: str) -> list[int]:
        if is_dense(word):
            if not _HANGUL.match(word):
                return self._parts(word, _DENSE)
            # a single syllable after the first word is an ending, and left out
            stems = [ENTRY + slot for *_, slot in self._entries(word, _HANGUL_RUN)]
            return stems or self._hashed(word)
        ids = self._wordpiece.pieces(word)
        whole = list(ids) if len(ids) == 1 and ids != (UNKNOWN,) else []
        if whole and self._english is not None:
            return whole
        short = self._english is not None and word.isascii() and len(word) < LEAST_PART
        slot = None if short else self._lexicon.find(word)
        if slot is not None:
            return [ENTRY + slot]
        if whole or len(word) > LONGEST_WORD:  # a key, encoded data
            return whole or self._hashed(word)
        return self._parts(word, _COMPOSED)

    def _parts(self, word: str, lengths: Lengths) -> list[int]:
        """The longest words of the lexicon, from the left; what is left over is hashed."""
        found: list[int] = []
        rest = 0
        for start, end, slot in self._entries(word, lengths):
            found += [*self._hashed(word[rest:start]), ENTRY + slot]
            rest = end
        return found + self._hashed(word[rest:])

    def _entries(self, word: str, lengths: Lengths) -> Iterator[tuple[int, int, int]]:
        """See `WordHashes.parts`; of a long run a part at a time."""
        start = 0
        while start <= len(word) - lengths.first:
            part, done = word[start : start + _STEP + lengths.longest], _STEP
            for first, end, slot in self.by.parts(part, lengths, self._lexicon).tolist():
                if first >= _STEP:  # what follows may be longer than can be seen here
                    break
                yield start + first, start + end, slot
                done = max(done, end)
            start, lengths = start + done, lengths._replace(first=lengths.least)

    def _hashed(self, part: str) -> list[int]:
        return [HASHED + number for number in features(part, self.by)] if part else []


def _kept(table: dict[str, _Value], piece: str, value: _Value) -> _Value:
    """The value, after it was remembered; a table that is full is emptied."""
    if len(piece) <= _LONGEST_KEPT:
        if len(table) >= _PIECES_KEPT:
            table.clear()
        table[piece] = value
    return value
