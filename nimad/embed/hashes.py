"""What words are hashed to, and which words of a lexicon they are made of: by Python, or a kernel.

Words that no vocabulary has ask for dozens of hashes each.  `PYTHON` defines what they are; a
kernel (`nimad.index.kernels.spelling`), which the layer above hands over (`Embedder.use`), takes a
tenth of the time.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nimad.embed.lexicon import Lexicon


class Lengths(NamedTuple):
    """Of the parts that a word is cut into: the shortest at its beginning, the shortest behind
    that, the longest, up to 32 [characters]."""

    first: int
    least: int
    longest: int


class WordHashes(Protocol):
    """How an embedder hashes."""

    def grams(self, text: str, least: int, most: int) -> list[int]:
        """The numbers below 2**40 of the n-grams of a text, of `least` to `most` characters, up to
        32, the shorter ones first: the first bits of their BLAKE2b of 5 bytes."""

    def parts(self, word: str, lengths: Lengths, lexicon: Lexicon) -> NDArray[np.int64]:
        """The longest words of a lexicon in a word, from the left, where none begins a character
        further on: begin, end and slot of each, int64[n, 3]."""


class PythonHashes:
    """The definition."""

    def grams(self, text: str, least: int, most: int) -> list[int]:
        lengths = range(least, most + 1)
        return [hashed(text[at : at + n]) for n in lengths for at in range(len(text) - n + 1)]

    def parts(self, word: str, lengths: Lengths, lexicon: Lexicon) -> NDArray[np.int64]:
        found, start, least = list[tuple[int, int, int]](), 0, lengths.first
        while start < len(word):
            for end in range(min(len(word), start + lengths.longest), start + least - 1, -1):
                slot = lexicon.find(word[start:end])
                if slot is not None:
                    found.append((start, end, slot))
                    break
            else:
                end = start + 1
            start, least = end, lengths.least
        return np.array(found, np.int64).reshape(-1, 3)


def hashed(gram: str) -> int:
    """The number of one feature."""
    digest = blake2b(gram.encode("utf-8", "surrogatepass"), digest_size=5).digest()
    return int.from_bytes(digest, "little")


PYTHON: WordHashes = PythonHashes()
