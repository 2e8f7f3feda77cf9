"""Memories that say the same: word for word, or but for case, punctuation, a stamp, a word more.

Two memories of one speaker, agent and namespace are near duplicates when the words of one stand in
the other in the same order, and the other has few words more (`SAME_WORDS`), among which no number
and no negation is.  A date at the beginning or the end that is no part of a sentence is a stamp,
and left out; within a sentence it is a word, the same in each form.  A word in another's place is
another fact, and so is a sign in another's place where a text is code.

Pairs are found without comparing each with each: of each memory only its rarest words are kept,
one more than it may lack (S. Chaudhuri, V. Ganti, R. Kaushik, A Primitive Operator for Similarity
Joins in Data Cleaning, 2006), and a sketch of 64 bits, in which two texts differ in no more bits
than one has words more.  What is left is read again and compared.  A memory takes 36 bytes, and 8
for each of up to PREFIX words.
"""

from __future__ import annotations

import math
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nimad import when
from nimad.datewords import MONTHS
from nimad.text import common_form, is_paired, tokens

LOOKED = 20_000
"""Length of the part of a text that is compared [characters]."""
SAME_WORDS = 0.8
"""Share of the words of the longer text that both have, from which on they are nearly the same."""
LEAST_WORDS = 4
"""Number of words from which on a text has near duplicates [words]."""
LEAST_STAMPED = 6
"""Number of words, stamps left out, from which on texts with different stamps are nearly the same:
of less, the date may be all that they tell [words]."""
PREFIX = 24
"""Number of the rarest words of a text that are kept at most: texts of up to 115 different words
lose nothing by that [words]."""
RUN = 10_000
"""Number of memories with one of these words in common that are compared with each other; of more
only those that were stored near each other [memories]."""
VERIFIED = 200
"""Number of pairs whose texts are read at a time [pairs]."""
MOST_PAIRS = 200_000
"""Number of pairs that are looked at in one audit [pairs]."""
CODE = 0.03
"""Share of signs that prose has not, from which on a text is code."""
SHORT_CODE = 40
"""Number of words and signs up to which any word more makes another command [words]."""
_NEGATIONS = """
no not never none nor nobody nothing without t cannot nicht nie niemals kein keine keinen keiner
ohne non pas jamais sans nunca sin mai mas senza не нет никогда без 不 没 無 ない
"""
NEGATIONS = frozenset(_NEGATIONS.split())
"""Words that make another fact of a sentence; "don't" is "don" and "t"."""
_MONTH = "|".join(sorted((name for name in MONTHS if len(name) > 2), key=len, reverse=True))
_YEAR = r"(?:,?\s\d{4}\b)?"
_DIGITS = (
    r"\d(?<!\d\d)(?:\d{3}[-/.]\d\d?[-/.]\d\d?(?!\d)|\d?[-/.]\d\d?[-/.]\d{2,4}(?!\d)"
    rf"|\d?(?:st|nd|rd|th|\.)?\s(?:of |de )?(?:{_MONTH})\b\.?{_YEAR}"
    r"|(?:\d{3}年\d)?\d?月\d\d?[日号號]?)"
)
_DAY_BEHIND = rf"\.?\s\d\d?(?:st|nd|rd|th)?\b{_YEAR}"
_CLOCK = r"(?:T?\s?\d\d?:\d\d(?::\d\d(?:[.,]\d+)?)?(?:\s?[ap]m\b)?(?:Z\b|[+-]\d\d:?\d\d\b)?)?"
_DATE = rf"(?:{_DIGITS}|\b(?:{_MONTH}){_DAY_BEHIND}){_CLOCK}"
_BY_DIGITS = re.compile(_DIGITS, re.IGNORECASE)
_BY_NAME = re.compile(rf"\b([^\W\d_]{{3,}}){_DAY_BEHIND}")
_FIRST_STAMP = re.compile(rf"\W*{_DATE}[\])]*[\s:,|–—-]*", re.IGNORECASE)
_LAST_STAMP = re.compile(rf"\s*(?:[\[(]|[|,–—-]\s){_DATE}\W*\Z", re.IGNORECASE)
_STAMP_LENGTH = 60
"""Length of the longest stamp [characters]."""
_SIGN = re.compile(r"[$|{}\\<>=*~^&%+@#_\[\]/]")
_NAME = re.compile(r"(?<=[\w,;] )[A-Z][a-z]\w*")
_PLAIN = re.compile(r"[^\W\d]\D*")
_DIGIT = re.compile(r"\d")
_OPTION = re.compile(r"(?:^|\s)--?[a-zA-Z]")
_CODE_WORD = re.compile(r"\w+|[^\w\s]")

Pairs = NDArray[np.int64]


class Words(NamedTuple):
    """A text for comparison: its words in order, its stamps, its beginning without these,
    and whether it is code."""

    words: list[str]
    stamps: tuple[str, ...]
    text: str
    code: bool

    @classmethod
    def of(cls, text: str) -> Words:
        """The words of the beginning of a text; of dense scripts each character is one, of code
        each sign, too."""
        text, stamps = text[:LOOKED], []
        if _DIGIT.search(text):
            if found := _FIRST_STAMP.match(text[:_STAMP_LENGTH]):
                stamps.append(found[0])
                text = text[found.end() :]
            if found := _LAST_STAMP.search(text[-_STAMP_LENGTH:]):
                stamps.append(found[0])
                text = text[: len(text) - len(found[0])]
            text = _BY_NAME.sub(_day, _BY_DIGITS.sub(_day, text))
        code = bool(_OPTION.search(text)) or len(_SIGN.findall(text)) > CODE * len(text)
        if code:
            words = _CODE_WORD.findall(common_form(text))
        else:
            words = tokens(text)
            if not text.isascii():
                words = [word[0] if is_paired(word) else word for word in words]
        return cls(words, tuple(stamps), text, code)

    @property
    def key(self) -> bytes:
        """Equal for texts that differ in nothing that counts, 8 bytes."""
        stamps = self.stamps if len(self.words) < LEAST_STAMPED else ()
        return digest(" ".join([*self.words, *stamps]))


def _day(found: re.Match[str]) -> str:
    """A date as one word; what only looks like one as it is."""
    if found.re is _BY_NAME and found[1].casefold() not in MONTHS:
        return found[0]
    return f" {_word_of_day(found[0])} "


@lru_cache(4096)
def _word_of_day(date: str) -> str:
    """The same for each form of a date that is understood."""
    usual = re.sub(r"^(\d{4})[/.](\d\d?)[/.](\d\d?)$", r"\1-\2-\3", date.rstrip("."))
    try:
        return f"day{when.read(usual, 0, UTC).first}"
    except ValueError:
        return f"day{re.sub(r'[^0-9]', '', date)}"


def digest(text: str) -> bytes:
    """8 bytes that stand for a text."""
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()


def are_near(one: Words, other: Words) -> bool:
    """Whether two texts say the same but for what the module's docstring names."""
    short, long = sorted((one, other), key=lambda each: len(each.words))
    more = len(long.words) - len(short.words)
    if len(short.words) < LEAST_WORDS or more > max(1, (1 - SAME_WORDS) * len(long.words)):
        return False
    stamped = short.stamps and long.stamps and short.stamps != long.stamps
    if stamped and len(short.words) < LEAST_STAMPED:
        return False
    rest = iter(long.words)
    if not all(word in rest for word in short.words):
        return False
    added = Counter(long.words) - Counter(short.words)
    names = {word.casefold() for word in _NAME.findall(long.text)}
    if long.code and len(long.words) < SHORT_CODE:
        return not added
    telling = NEGATIONS | names
    return all(word not in telling and _PLAIN.fullmatch(word) for word in added)


class Duplicates:
    """Takes memories in, and tells which of them say the same.

    `common` counts words of a sample of the store: what it has often is common.
    """

    def __init__(self, common: Counter[str]) -> None:
        self._common = common
        self._ids = array("q")
        self._same, self._near = bytearray(), bytearray()
        self._sizes, self._sketches = array("L"), array("Q")
        self._prefix_words, self._prefix_rows = array("L"), array("L")

    def add(self, number: int, group: str, text: str, length: int) -> None:
        """A memory; only those of one `group` are compared.  `length` is that of its whole text."""
        words = Words.of(text)
        salt = zlib.crc32(group.encode("utf-8", "replace"))
        row = len(self._ids)
        self._ids.append(number)
        self._same += digest(f"{group}\0{length}\0{common_form(text)}")
        tail = f"\0{length}" if length > LOOKED else ""  # what follows is not compared word by word
        self._near += digest(f"{group}\0{words.key.hex()}{tail}")
        hashes = {word: zlib.crc32(word.encode("utf-8", "replace"), salt) for word in words.words}
        self._sizes.append(len(hashes))
        sketch = 0
        for value in hashes.values():
            sketch ^= 1 << (value & 63)
        self._sketches.append(sketch)
        if len(words.words) >= LEAST_WORDS and not tail:
            kept = len(hashes) - math.ceil(SAME_WORDS * len(hashes)) + 1
            rarest = sorted(hashes, key=lambda word: (self._common[word], hashes[word]))
            for word in rarest[: min(max(kept, 2), PREFIX)]:
                self._prefix_words.append(hashes[word])
                self._prefix_rows.append(row)

    def exact(self) -> list[list[int]]:
        """The ids of memories that are the same word for word, ascending."""
        ids = np.array(self._ids, np.int64)
        same = np.frombuffer(bytes(self._same), np.uint64)
        return [np.sort(ids[run]).tolist() for run in _runs(same, np.arange(len(ids)))]

    def candidates(self) -> Iterator[Pairs]:
        """int64[n, 2]: ids of memories that may nearly say the same, and are not the same word for
        word; some of them more than once."""
        one_of_each = np.unique(np.frombuffer(bytes(self._same), np.uint64), return_index=True)[1]
        alone = np.zeros(len(self._ids), np.bool_)
        alone[one_of_each] = True
        ids = np.array(self._ids, np.int64)
        near = np.frombuffer(bytes(self._near), np.uint64)[alone]
        for run in _runs(near, np.flatnonzero(alone)):
            yield ids[np.stack([np.full(len(run) - 1, run[0]), run[1:]], 1)]
        words: NDArray[np.uint32] = np.array(self._prefix_words, np.uint32)
        rows: Pairs = np.array(self._prefix_rows, np.int64)
        sketches, sizes = np.array(self._sketches, np.uint64), np.array(self._sizes, np.float32)
        kept = alone[rows]
        for run in _runs(words[kept], rows[kept]):
            for start in range(0, len(run), RUN):
                part = run[start : start + RUN]
                for place, one in enumerate(part[:-1]):
                    # of those behind it the ones whose sketches and sizes may be near duplicates'
                    rest = part[place + 1 :]
                    least = np.minimum(sizes[one], sizes[rest])
                    more = np.abs(sizes[one] - sizes[rest])
                    apart = np.bitwise_count(sketches[one] ^ sketches[rest])
                    close = (apart <= more) & (more <= np.maximum(1, (1 / SAME_WORDS - 1) * least))
                    if close.any():
                        others = rest[close]
                        yield ids[np.stack([np.full(len(others), one), others], 1)]


def _runs(keys: NDArray[np.uint64] | NDArray[np.uint32], rows: Pairs) -> Iterator[Pairs]:
    """The rows that have one key, of the keys that several have; in the order of `rows`."""
    order = np.argsort(keys, kind="stable")
    ends = np.flatnonzero(np.append(keys[order][1:] != keys[order][:-1], True)) + 1
    starts = np.append(0, ends[:-1])
    for place in np.flatnonzero(ends - starts > 1):
        yield rows[order[starts[place] : ends[place]]].astype(np.int64)


def joined(pairs: Iterable[Sequence[int]]) -> list[list[int]]:
    """Ids that pairs connect, directly or by others: each group ascending."""
    leader: dict[int, int] = {}

    def find(number: int) -> int:
        while (up := leader.setdefault(number, number)) != number:
            leader[number] = leader[up]
            number = up
        return number

    for first, second in pairs:
        one, other = sorted((find(first), find(second)))
        leader[other] = one
    groups: dict[int, list[int]] = {}
    for number in sorted(leader):
        groups.setdefault(find(number), []).append(number)
    return [group for group in groups.values() if len(group) > 1]
