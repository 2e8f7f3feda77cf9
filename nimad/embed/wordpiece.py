"""WordPiece: text to the token ids that all-MiniLM-L6-v2 was trained on, in plain Python.

The scheme is that of BERT, uncased (J. Devlin et al., BERT, 2019; Y. Wu et al., Google's Neural
Machine Translation System, 2016).  First every character is replaced by its entry in a table:
control characters vanish, spaces become one kind, capitals and accents are taken off, punctuation
and ideographs stand alone.  Then each word is cut, from the left, into the longest pieces that the
vocabulary has; a word with a character that it does not have is unknown as a whole.

The table is data, made from the reference tokenizer for every code point there is, instead of
`unicodedata`: so the ids are those of the reference, and stay the same under any Python.  The
tokens [CLS], [SEP], [PAD], [MASK] and [UNK], written out in a text, are text like any other.

The vocabulary is held in flat arrays: some 30 bytes a token where a dict of strings takes 150.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from nimad.disk.durable import Buffer

UNKNOWN = 100
"""The id of a word that the vocabulary cannot spell."""
COMMONEST, RAREST = 1996, 28_526
"""The id of the commonest word of the vocabulary, which is ordered by frequency, and how many come
from there on."""
LONGEST_WORD = 100
"""Longest word that is cut into pieces, as in the reference [characters]."""
_KEPT = 4096
_WORDS_KEPT = 256
"""Words whose pieces are remembered: each is asked for up to four times, by who reads a text."""
_REACHES = 1 << 15
_LINE = 10
_TAIL = b"##"


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
        lines = TokenLines.of(tokens)
        padded = np.append(lines.data, np.zeros(2, np.uint8))
        tails = (padded[lines.starts] == _TAIL[0]) & (padded[lines.starts + 1] == _TAIL[1])
        tails &= lines.ends - lines.starts > 1
        self._first, self._heads, self._tails = (
            first,
            _Pieces(lines, np.flatnonzero(~tails), 0),
            _Pieces(lines, np.flatnonzero(tails), 2),
        )
        self.longest = max(self._heads.longest, self._tails.longest)
        self._cut_short = lru_cache(maxsize=_WORDS_KEPT)(self._cut)

    @property
    def heads(self) -> NDArray[np.int32]:
        """The table of the tokens that begin a word, see `nimad.embed.vocabulary.Vocabulary`."""
        return self._heads.slots

    @property
    def tails(self) -> NDArray[np.int32]:
        """That of those that continue one."""
        return self._tails.slots

    def words(self, text: str) -> list[str]:
        """The words, punctuation marks and ideographs of a text, in the vocabulary's spelling."""
        return text.translate(self.characters).split()

    def pieces(self, word: str) -> tuple[int, ...]:
        """The ids of one of `words`; (UNKNOWN,) when it cannot be spelt."""
        if len(word) > LONGEST_WORD:
            raw = word.encode("utf-8", "surrogatepass") if len(word) <= self.longest else b""
            whole = self._heads.get(raw)
            return (UNKNOWN if whole is None else whole + self._first,)
        return self._cut_short(word)

    def _cut(self, word: str) -> tuple[int, ...]:
        raw, ascii_only = word.encode("utf-8", "surrogatepass"), word.isascii()
        whole = self._heads.get(raw)
        if whole is not None:
            return (whole + self._first,)
        start, found, table = 0, list[int](), self._heads
        while start < len(raw):
            for end in range(min(len(raw), start + table.reach(raw[start : start + 3])), start, -1):
                # a piece ends where a character does
                if ascii_only or end == len(raw) or raw[end] & 0xC0 != 0x80:
                    piece = table.get(raw[start:end])
                    if piece is not None:
                        break
            else:
                return (UNKNOWN,)
            found.append(piece + self._first)
            start, table = end, self._tails
        return tuple(found)

    def ids(self, text: str) -> list[int]:
        """The ids of a whole text, neither cut nor padded nor framed by [CLS] and [SEP]."""
        return [piece for word in self.words(text) for piece in self.pieces(word)]


class TokenLines(Sequence[str]):
    """The tokens of a region of lines, made into strings only when they are read."""

    def __init__(self, region: Buffer) -> None:
        """Raises ValueError when `region` is not UTF-8."""
        str(region, "utf-8")
        self.data = np.frombuffer(region, np.uint8)
        ends = np.flatnonzero(self.data == _LINE)
        self.starts = np.concatenate([[0], ends + 1])
        self.ends = np.concatenate([ends, [len(self.data)]])

    @classmethod
    def of(cls, tokens: Sequence[str]) -> TokenLines:
        """The same of strings."""
        return tokens if isinstance(tokens, cls) else cls("\n".join(tokens).encode())

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        return self.data[self.starts[number] : self.ends[number]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        return iter(self.data.tobytes().decode().split("\n"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


class _Pieces:
    """Some of the tokens; is a piece of text one of them?  A table of slots, probed in a row."""

    def __init__(self, lines: TokenLines, picked: NDArray[np.int64], skip: int) -> None:
        """`picked`: places of tokens in `lines`, whose first `skip` bytes do not count."""
        self._skip = skip
        self._mask = (4 << len(picked).bit_length() - 1) - 1
        hashes = _crc32_of_each(lines.data, lines.starts[picked] + skip, lines.ends[picked])
        places = np.append(picked, -1).astype(np.int32)  # the last one for free slots
        self.slots = places[_probed(hashes, self._mask)]
        self._lines, self._slots, self._data = lines, self.slots.data, lines.data.data
        self._starts, self._ends = lines.starts.data, lines.ends.data
        self.longest = int((lines.ends - lines.starts)[picked].max(initial=skip + 1)) - skip

    @cached_property
    def _reaches(self) -> memoryview:
        """The length of the longest token that has these three bytes first, by their CRC-32."""
        places, lines = self.slots[self.slots >= 0], self._lines
        starts = lines.starts[places] + self._skip
        lengths = lines.ends[places] - starts
        order = np.argsort(lengths, kind="stable")
        order = order[lengths[order] >= 3]
        codes = _crc32_of_each(lines.data, starts[order], starts[order] + 3)
        found = np.full(_REACHES, 2, np.uint16)
        found[codes & np.uint32(_REACHES - 1)] = lengths[order]  # the last one has it
        return found.data

    def reach(self, three: bytes) -> int:
        """No token is longer that has these bytes first [bytes]."""
        found: int = self._reaches[crc32(three) & (_REACHES - 1)]
        return found

    def get(self, key: bytes) -> int | None:
        """The place of a token in the lines, or None."""
        slot = crc32(key) & self._mask
        while (number := self._slots[slot]) >= 0:
            if self._data[self._starts[number] + self._skip : self._ends[number]] == key:
                found: int = number
                return found
            slot = (slot + 1) & self._mask
        return None


def _crc32_of_each(
    data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.uint32]:
    """zlib's `crc32` of some parts of the data: uint32[n].  A byte of all of them at a time: one
    part after the other takes 10 ms of a start."""
    table = np.array([crc32(bytes([n ^ 255])) for n in range(256)], np.uint32) ^ 0xFF000000
    found = np.full(len(starts), 0xFFFFFFFF, np.uint32)
    for at in range(int((ends - starts).max(initial=0))):
        longer = np.flatnonzero(starts + at < ends)
        before = found[longer]
        found[longer] = table[(before ^ data[starts[longer] + at]) & 255] ^ (before >> 8)
    return ~found


def _probed(hashes: NDArray[np.uint32], mask: int) -> NDArray[np.int32]:
    """A table with each number below len(hashes) in a free slot from its hash on, before the next
    free one, and -1 in the others: int32[mask + 1]."""
    table = np.full(mask + 1, -1, np.int32)
    slots, left = hashes & np.uint32(mask), np.arange(len(hashes), dtype=np.int32)
    while len(left):
        free = table[slots] < 0
        table[slots[free]] = left[free]  # of several for one slot the last one has it
        out = table[slots] != left
        slots, left = (slots[out] + np.uint32(1)) & np.uint32(mask), left[out]
    return table
