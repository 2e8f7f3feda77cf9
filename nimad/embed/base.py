"""What an embedder is: text in, unit vectors out, the same ones everywhere and for ever."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nimad.config import Config
from nimad.dataclass import dataclass
from nimad.embed.wordpiece import WordPiece

DIMS = 256
"""Dimensions of the vectors of the embedders static and hash."""

_BITS = 22
_TEXTS = 512


@dataclass(frozen=True, slots=True)
class CosineScale:
    """What an embedder's cosines mean.

    Attributes:
        near: that from which two texts are about one thing.
        right: the median of the best cosine of a question in a store that has its answer.
        usual: that of a question and any memory; None for an embedder that was not measured: then
            it is taken from each store, and `right` is how much the best lies above it.
    """

    near: float
    right: float
    usual: float | None = None

    def in_store(self, usual: float) -> tuple[float, float]:
        """What is usual in a store, where it has this much, and how far a right answer is above."""
        return (usual, self.right) if self.usual is None else (self.usual, self.right - self.usual)


class Spelt(NamedTuple):
    """How an embedder's vocabulary spells one word.

    Attributes:
        pieces: how many of it it takes.
        hashed: whether the word is compared by its spelling, for want of pieces.
        rarity: of the word in the language of the vocabulary, from 0, the commonest, to 1.
    """

    pieces: int
    hashed: bool
    rarity: float


class Embedder(ABC):
    """Turns texts into vectors.  An instance is shared between threads.

    What the layers above must know of an embedder is an attribute here, with a value that suits
    one that was not measured: so a new embedder is its file, its name in `nimad.keys.EMBEDDERS`
    and its line in `nimad.embed.registry`.

    Attributes:
        name: as the configuration has it.
        revision: changes whenever a vector would change.
        dims: dimensions of a vector.
        trouble: why it cannot be used at this moment; None when all is well.
        wordpiece: the tokenizer; None for one that has no vocabulary here.
        by_spelling: languages other than English are compared by their spelling.
        quick: a text takes less than 0.1 ms, so that a query may embed some memories itself.
        scale: what its cosines mean.
        neighbour_shares: how much of the vectors of the turns before and after is mixed into a
            turn's.
    """

    name: str
    revision: str
    dims: int
    trouble: str | None = None
    wordpiece: WordPiece | None = None
    by_spelling: ClassVar[bool] = False
    quick: ClassVar[bool] = False
    scale: CosineScale = CosineScale(near=0.30, right=0.5)
    neighbour_shares: tuple[float, float] = (0.2, 0.1)

    @classmethod
    def create(cls, config: Config) -> Embedder:
        """The embedder as configured.  Raises ConfigError, TableDamaged, EmbedderMissing."""
        return cls()

    def check(self) -> None:  # noqa: B027 - most have nothing to compare
        """Raise TableDamaged where what vectors are made of is not what was written: what was not
        compared yet is compared now."""

    def use(self, kernels: Callable[[], Any]) -> None:  # noqa: B027 - most have no use for them
        """Take what gives, when texts are read, what reads them faster: a
        `nimad.embed.vocabulary.TextKernels`; no row changes."""

    def give_back(self) -> None:  # noqa: B027 - most embedders have nothing to give back
        """Give the pages of files back, between two parts of a long run: the next call of `embed`
        reads them again.  What it would have to work out again stays."""

    def rest(self) -> None:
        """Give all memory back that the next call of `embed` can have again."""
        self.give_back()

    def spell(self, word: str) -> Spelt:
        """How a word, as it is written, is spelt; one of an unknown vocabulary is a rare piece."""
        return Spelt(1, self.by_spelling, 1.0)

    def scale_of(self, text: str) -> CosineScale:
        """What the cosines of a question with memories mean."""
        return self.scale

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[n, dims]: a unit row for each text; a zero row where nothing in it is known.

        A row depends on its text alone, bit for bit: not on its neighbours, nor on the machine.
        Any str is taken, lone surrogates included.  Raises nothing but Degraded, and that only
        where the vectors come from elsewhere, or what makes them is found damaged (`check`).
        """

    def embed_words(self, words: Sequence[str]) -> NDArray[np.float32]:
        """float32[n, d]: rows of words, which are compared with each other only; d need not be
        `dims`.  As `embed` otherwise."""
        return self.embed(words)


def signature(embedder: Embedder) -> str:
    """What vectors were made with: name, revision and size.  Only equal ones can be compared."""
    return f"{embedder.name}:{embedder.revision}:{embedder.dims}"


def unit_rows(sums: NDArray[np.float64]) -> NDArray[np.float32]:
    """float32[n, dims]: the rows of `sums` at length 1; a zero row stays zero.

    Exact where order could matter.  The sums are whole numbers below 2**53, so adding them up gave
    one result in any order, with or without fused instructions.  Here each row is scaled to whole
    numbers of 22 bits, whose squares add up below 2**53 for up to 512 dimensions; what follows is
    one square root and one division, which IEEE 754 rounds alike on every machine.

    Args:
        sums: float64[n, dims], dims <= 512; whole numbers.  Overwritten.
    """
    if len(sums) == 1:  # a question: what follows takes twice as long
        total = sums[0]
        _, exponent = math.frexp(np.abs(total).max())
        total *= math.ldexp(1.0, _BITS - exponent)
        np.rint(total, out=total)
        row: NDArray[np.float32] = (total / (math.sqrt(total @ total) or 1.0)).astype(np.float32)
        return row[None]
    _, exponents = np.frexp(np.abs(sums).max(axis=1, initial=0.0))
    sums *= np.ldexp(1.0, _BITS - exponents)[:, None]
    np.rint(sums, out=sums)
    lengths = np.sqrt(np.square(sums).sum(axis=1))
    lengths[lengths == 0] = 1.0
    rows: NDArray[np.float32] = (sums / lengths[:, None]).astype(np.float32)
    return rows


def in_steps(
    texts: Sequence[str], add: Callable[[Sequence[str], NDArray[np.float64]], None]
) -> NDArray[np.float32]:
    """float32[n, 256]: the unit rows of texts; `add(texts, sums)` puts their sums into zero rows.
    Some hundred texts at a time, so that a large batch needs little more than its result."""
    rows = np.empty((len(texts), DIMS), np.float32)
    for start in range(0, len(texts), _TEXTS):
        part = texts[start : start + _TEXTS]
        sums = np.zeros((len(part), DIMS), np.float64)
        add(part, sums)
        rows[start : start + _TEXTS] = unit_rows(sums)
    return rows
