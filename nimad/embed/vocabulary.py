"""What reads plain English texts without Python: the tables of the static embedder as flat arrays.

Most texts are ASCII and English, word for word: their tokens are looked up and their vectors added
by a kernel (`nimad.index.kernels.texts`), which the layer above hands over (`Embedder.use`).  What
a text means is defined by `nimad.embed.static`: the kernel leaves all that asks for more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.embed.base import DIMS
from nimad.embed.hashes import WordHashes
from nimad.embed.wordpiece import Characters, TokenLines, WordPiece

ALONE = 128
"""Added to a letter that stands alone as a word."""
BLANK = 32
"""What ends a word."""
CRCS = np.array([crc32(bytes([n ^ 255])) for n in range(256)], np.uint32) ^ np.uint32(0xFF000000)
"""uint32[256]: the table of CRC-32, a byte at a time."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Tokens of a table, by their numbers from 0.

    Attributes:
        letters: uint8[128], what each letter of ASCII becomes: 0 vanishes, BLANK ends a word.
        data, starts, ends: uint8[], int64[t], int64[t]: where each token is written; one that
            continues a word has two signs in front.
        heads, tails: int32[2**h], int32[2**l]: tables of numbers probed from the CRC-32 on, -1 in
            free slots: of tokens that begin a word, and that continue one.
        longest: of the tokens [bytes].
        votes: int8[t], for English (above 0) or against it.
        rows, weights: int8[t, 256], uint16[t]; scale: a token adds row * weight * scale.
    """

    letters: NDArray[np.uint8]
    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    heads: NDArray[np.int32]
    tails: NDArray[np.int32]
    longest: int
    votes: NDArray[np.int8]
    rows: NDArray[np.int8]
    weights: NDArray[np.uint16]
    scale: int

    @classmethod
    def of(
        cls,
        wordpiece: WordPiece,
        lines: TokenLines,
        votes: NDArray[np.int8],
        rows: NDArray[np.int8],
        weights: NDArray[np.uint16],
        scale: int,
    ) -> Vocabulary | None:
        """The arrays of a tokenizer over `lines`; None where a letter of ASCII becomes several."""
        letters = plain_letters(wordpiece.characters)
        if letters is None or not len(votes) == len(rows) == len(weights) == len(lines):
            return None
        spelt = letters, lines.data, lines.starts.astype(np.int64), lines.ends.astype(np.int64)
        tables = wordpiece.heads, wordpiece.tails
        return cls(*spelt, *tables, wordpiece.longest, votes, rows, weights, scale)


def plain_letters(characters: Characters) -> NDArray[np.uint8] | None:
    """`Vocabulary.letters`; None where a letter of ASCII becomes several, or one of no ASCII."""
    letters = np.zeros(128, np.uint8)
    for code in range(128):
        made = characters[code]
        spelt = made.strip()
        if len(spelt) > 1 or not made.isascii():
            return None
        alone = ALONE if spelt != made else 0
        letters[code] = ord(spelt) + alone if spelt else BLANK if made else 0
    return letters


class TextSums(Protocol):
    """The kernel of English texts."""

    def text_sums(
        self, texts: Sequence[bytes], vocabulary: Vocabulary, sums: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Put the sums of the texts that it can read into zero rows; which these are: bool[n].

        A text is read when its words are tokens that mean something (`features.is_legible`) and
        vote for English together (`languages.Reader`).  A form may leave any text.

        Args:
            texts: of ASCII.
            sums: float64[n, 256], contiguous, zeros.
        """


class TextKernels(TextSums, WordHashes, Protocol):
    """What an embedder is handed."""


def are_sums(texts: Sequence[bytes], sums: NDArray[np.float64]) -> bool:
    """Whether `sums` is what `TextSums` asks for."""
    return sums.shape == (len(texts), DIMS) and sums.dtype == np.float64 and sums.flags.c_contiguous
