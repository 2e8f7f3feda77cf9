"""The default embedder: token vectors distilled from all-MiniLM-L6-v2, weighted and added up.

A text is cut into the model's own tokens; its vector is the sum of their rows in the table, at
length 1.  What the vocabulary cannot spell is hashed into the same space (`nimad.embed.features`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nimad.embed.base import DIMS, AnswerThreshold, CosineScale, Embedder, in_steps
from nimad.embed.features import HASHED, Spelling, add_features
from nimad.embed.table import TokenTable, read_table
from nimad.embed.wordpiece import WordPiece
from nimad.text import composed

TABLE = Path(__file__).parent / "data" / "static.tokens"
RULES = 1
"""Counts the changes to this file and `features` that change a vector."""

_STEP = 1024


class StaticEmbedder(Embedder):
    """Sums of token vectors, 256 dimensions; the table is mapped: it costs what is used of it."""

    name = "static"
    by_spelling = True
    dims = DIMS
    quick = True
    scale = CosineScale(0.45, AnswerThreshold(0.55, 1.25), AnswerThreshold(0.45, 0.75))

    def __init__(self, path: Path = TABLE) -> None:
        """Raises TableDamaged when the table at `path` cannot be trusted."""
        table: TokenTable = read_table(path)
        self.revision = f"{RULES}-{table.digest[:16]}"
        self.wordpiece = WordPiece(table.tokens, table.first, table.spans)
        self._spelling = Spelling(self.wordpiece)
        self._rows, self._first, self._hashed = table.rows, table.first, table.hashed
        self._weights = table.weights.astype(np.float64)
        self._unmap = table.unmap

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[n, 256]: see `nimad.embed.base.Embedder`.  About 0.03 ms a chat sentence."""

        def add(text: str, row: NDArray[np.float64]) -> None:
            found = self._spelling.read(composed(text))
            add_features([n - HASHED for n in found if n >= HASHED], self._hashed, row)
            tokens = [n - self._first for n in found if n < HASHED]
            for start in range(0, len(tokens), _STEP):  # bounds the memory that a long text takes
                part = tokens[start : start + _STEP]
                # whole numbers: BLAS may add them in any order
                row += self._weights[part] @ self._rows[part].astype(np.float64)

        return in_steps(texts, add)

    def rest(self) -> None:
        """Give the table's pages back: after an import all 7 MB of it count as this process's."""
        self._unmap()
