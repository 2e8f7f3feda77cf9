"""Exact float32 vectors behind the interface of the block index: what 8 bits and blocks cost."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from nimad.core.store import MemoryStore
from nimad.index.blocks import BlockIndex
from nimad.index.quantise import Query
from nimad.recall.ranking import Recall
from nimad.recall.weights import DEFAULT

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
_LENGTH = np.float32(127)
"""Of the rows that a mixture's length is computed from: those of the index are about so long."""


class ExactLocated:
    """The vectors of all ids, as `nimad.index.located.Located` answers for them."""

    complete = True

    def __init__(self, ids: Ids, vectors: Floats) -> None:
        self.ids = ids
        self.dims = vectors.shape[1]
        self._vectors = vectors

    def present(self, picks: Ids) -> NDArray[np.bool_]:
        """bool[p]: all of them."""
        return np.ones(len(picks), np.bool_)

    def cosines(self, query: Query, picks: Ids | None = None) -> Floats:
        """float32[m], or float32[p] of those picked; a query has 16 bits."""
        asked = query.values.astype(np.float32) / np.float32(query.norm)
        found: Floats = (self._vectors if picks is None else self._vectors[picks]) @ asked
        return found

    def with_none(self, query: Query) -> Floats:
        """float32[m + 1]: the same of every id, and behind them 0 for none."""
        return np.append(self.cosines(query), np.float32(0))

    def rows(self, picks: Ids) -> Floats:
        """float32[p, d]."""
        found: Floats = self._vectors[picks] * _LENGTH
        return found


class ExactBlocks:
    """Every memory of a store that does not change."""

    def __init__(self, store: MemoryStore) -> None:
        rows = store.records.rows("SELECT id, text FROM memories ORDER BY id")
        ids = np.array([row[0] for row in rows], np.int64)
        self.dims = store.embedder.dims
        self._located = ExactLocated(ids, store.embedder.embed([row[1] for row in rows]))

    def locate(self, ids: Ids, known: object = None) -> ExactLocated:
        """The one that there is; `ids` must be all of them."""
        assert len(ids) == len(self._located.ids)
        return self._located


def exact_recall(store: MemoryStore) -> Recall:
    """The whole recipe over a store, with float32 vectors; scores every memory."""
    blocks = cast(BlockIndex, ExactBlocks(store))
    weights = replace(DEFAULT, exact_rows=sys.maxsize)
    return Recall(store.records, lambda: (blocks, store.embedder), weights)
