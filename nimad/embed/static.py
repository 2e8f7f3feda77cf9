"""The default embedder: token vectors distilled from all-MiniLM-L6-v2, weighted and added up.

A text is cut into the model's own tokens; its vector is the sum of their rows in the table, at
length 1.  A word of another language counts as the English tokens that mean about the same
(`nimad.embed.lexicon`): so texts of different languages can be compared.  What neither of the two
can spell is hashed into the same space (`nimad.embed.features`).
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nimad.embed.base import DIMS, CosineScale, Embedder, Spelt, in_steps
from nimad.embed.features import HASHED, add_features, spelt_as
from nimad.embed.languages import ENTRY, Reader
from nimad.embed.lexicon import SHARES, WHOLE, read_lexicon
from nimad.embed.table import read_table
from nimad.embed.vocabulary import TextKernels, Vocabulary
from nimad.embed.wordpiece import TokenLines, WordPiece
from nimad.errors import Degraded, TableDamaged
from nimad.text import composed

log = logging.getLogger(__name__)

TABLE = Path(__file__).parent / "data" / "static.tokens"
LEXICON = TABLE.with_suffix(".lexicon")
RULES = 2
"""Counts the changes to this file and `features` that change a vector."""

_STEP = 1024
_SPELT_KEPT = 2048
_PLAIN = 1 << 16
"""Length of the longest text that is handed to the kernel [characters]."""


class StaticEmbedder(Embedder):
    """Sums of token vectors, 256 dimensions; the table is mapped: it costs what is used of it."""

    name = "static"
    by_spelling = True
    dims = DIMS
    quick = True
    scale = CosineScale(near=0.45, right=0.75, usual=0.15)

    def __init__(self, path: Path = TABLE) -> None:
        """Raises TableDamaged when the table at `path`, or its lexicon beside it, is not whole, as
        far as that is told without reading 14 MB, for which no start waits: see `check`."""
        table = read_table(path, later=("rows",))
        beside, large = path.with_suffix(LEXICON.suffix), ("checks", "entries", "votes")
        lexicon = read_lexicon(beside, table.digest, later=large)
        self.revision = f"{RULES}-{table.digest[:16]}-{lexicon.digest[:16]}"
        self._table, self._lexicon = table, lexicon
        self._rows, self._first, self._hashed = table.rows, table.first, table.hashed
        self._weights = table.weights.astype(np.float64)
        self._entries = lexicon.entries
        self._spell = lru_cache(maxsize=_SPELT_KEPT)(self._read_word)
        self._unmap = (table.unmap, lexicon.unmap)
        self._kernels: Callable[[], TextKernels] | None = None

    @cached_property
    def wordpiece(self) -> WordPiece:  # type: ignore[override]
        """The tokenizer, made when the first text comes: 10 ms and 3 MB less at a start."""
        return WordPiece(self._table.tokens, self._first, self._table.spans)

    @cached_property
    def _reader(self) -> Reader:
        reader = Reader(self.wordpiece, self._first, self._lexicon)
        if self._kernels is not None:
            reader.use(self._kernels())
        return reader

    @cached_property
    def _vocabulary(self) -> Vocabulary | None:
        lines, rows, weights = TokenLines.of(self._table.tokens), self._rows, self._table.weights
        return Vocabulary.of(self.wordpiece, lines, self._lexicon.votes, rows, weights, WHOLE)

    @cached_property
    def _damage(self) -> TableDamaged | None:
        """What is wrong with the parts that `check` compares, which the first use does."""
        try:
            self._table.verify()
            self._lexicon.verify()
        except TableDamaged as error:
            self.trouble = error.sentences
            log.error("%s", self.trouble)
            return error
        return None

    def check(self) -> None:
        """See `nimad.embed.base.Embedder`."""
        if (damage := self._damage) is not None:
            raise damage

    def use(self, kernels: Callable[[], TextKernels]) -> None:
        """See `nimad.embed.base.Embedder`."""
        self._kernels = kernels
        self.__dict__.pop("_reader", None)

    def spell(self, word: str) -> Spelt:
        """See `nimad.embed.base.Embedder`; a word of the lexicon is as rare as the English one."""
        return self._spell(word) if self._damage is None else super().spell(word)

    def _read_word(self, word: str) -> Spelt:
        found = self._reader.read(composed(word)).tolist()
        meant = [int(self._entries[n - ENTRY][0]) + self._first for n in found if n >= ENTRY]
        return spelt_as([*(n for n in found if n < HASHED), *meant])

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[n, 256]: see `nimad.embed.base.Embedder`.  About 0.05 ms a chat sentence."""
        if self._damage is not None:
            raise Degraded(part="embedder", detail=self.trouble)
        return in_steps(texts, self._add)

    def read_english(self, text: str) -> tuple[list[int], float]:
        """The token ids of a text, and the share of its words that they spell without help of
        spelling or lexicon."""
        return self._reader.read_english(composed(text))

    def _add(self, texts: Sequence[str], sums: NDArray[np.float64]) -> None:
        """Put the sums of texts into zero rows; few of their tokens at a time are in memory."""
        if self._kernels is not None and self._vocabulary is not None:
            plain = [t.encode() if len(t) <= _PLAIN and t.isascii() else b"" for t in texts]
            read = self._kernels().text_sums(plain, self._vocabulary, sums)
            if not read.all():
                left = np.flatnonzero(~read)
                rest = np.zeros((len(left), DIMS), np.float64)
                self._add_read([texts[place] for place in left.tolist()], rest)
                sums[left] = rest
        else:
            self._add_read(texts, sums)

    def _add_read(self, texts: Sequence[str], sums: NDArray[np.float64]) -> None:
        """The same of texts that are read here."""
        found: list[NDArray[np.int64]] = []
        held = done = 0
        for place, text in enumerate(texts, 1):
            found.append(self._reader.read(composed(text)))
            held += len(found[-1])
            if held >= _STEP or place == len(texts):
                self._add_numbers(found, sums[done:place])
                found, held, done = [], 0, place

    def _add_numbers(self, found: Sequence[NDArray[np.int64]], sums: NDArray[np.float64]) -> None:
        """The same of what texts were read as."""
        lengths = np.fromiter(map(len, found), np.int64, len(found))
        numbers = np.concatenate(found)
        plain = numbers < HASHED
        if not plain.all():
            owner = np.repeat(np.arange(len(found)), lengths)
            lengths = np.bincount(owner[plain], minlength=len(found))
            for place in sorted(set(owner[~plain].tolist())):  # np.unique would load numpy.ma
                self._add_others(found[place], sums[place])
            numbers = numbers[plain]
        self._add_tokens(numbers - self._first, lengths, WHOLE, sums)

    def _add_others(self, found: NDArray[np.int64], row: NDArray[np.float64]) -> None:
        """Add hashed features and words of the lexicon."""
        meant = self._entries[found[found >= ENTRY] - ENTRY].astype(np.int64)
        hashed = found[(found >= HASHED) & (found < ENTRY)] - HASHED
        add_features(hashed, self._hashed * WHOLE, row)
        for share, column in zip(SHARES, meant.T, strict=True):
            self._add_tokens(column, np.array([len(column)]), share, row[None])

    def _add_tokens(
        self,
        tokens: NDArray[np.int64],
        lengths: NDArray[np.int64],
        share: int,
        sums: NDArray[np.float64],
    ) -> None:
        """Add the vectors of tokens of the table, each `share` times: the first of `lengths` to the
        first row, and so on."""
        ends = np.cumsum(lengths).tolist()
        for first in range(0, len(tokens), _STEP):  # bounds the memory that a long text takes
            part = tokens[first : first + _STEP]
            vectors, weights = self._rows.take(part, axis=0), share * self._weights.take(part)
            row, start = bisect_right(ends, first), 0
            while start < len(part):
                end = min(ends[row] - first, len(part))
                # whole numbers: BLAS may add them in any order
                sums[row] += weights[start:end] @ vectors[start:end].astype(np.float64)
                row, start = row + 1, end

    def give_back(self) -> None:
        """Give the pages of table and lexicon back: in an import all 15 MB of them count as this
        process's."""
        for unmap in self._unmap:
            unmap()

    def rest(self) -> None:
        """The same; what was read of texts goes, too."""
        self._reader.rest()
        self.give_back()
