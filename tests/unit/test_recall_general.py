"""Stores without names, turns or dates, in three languages: hybrid is no worse than either side.

The sides are what anybody could build: FTS5's own BM25 (porter, the words joined by OR), and exact
cosines of the same embedder's vectors.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.embed.registry import get_embedder
from nimad.model import Memory
from tests.samples import english, german, japanese

Ranking = Callable[[str, int], Sequence[int]]
EMBEDDERS = ("static", "hash")


def bm25(texts: Sequence[str]) -> Ranking:
    """FTS5 as it comes."""
    base = sqlite3.connect(":memory:")
    base.execute("CREATE VIRTUAL TABLE words USING fts5 (text, tokenize = 'porter unicode61')")
    base.executemany(
        "INSERT INTO words (rowid, text) VALUES (?, ?)", list(enumerate(texts, start=1))
    )

    def ranked(query: str, k: int) -> list[int]:
        match = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", query))
        rows = base.execute(
            "SELECT rowid FROM words WHERE words MATCH ? ORDER BY bm25(words), rowid LIMIT ?",
            (match, k),
        )
        return [row[0] - 1 for row in rows]

    return ranked


def cosines(texts: Sequence[str], embedder: str) -> Ranking:
    """Every vector compared with the query's."""
    embed = get_embedder(embedder).embed
    vectors = embed(texts)

    def ranked(query: str, k: int) -> list[int]:
        return np.argsort(-(vectors @ embed([query])[0]), kind="stable")[:k].tolist()

    return ranked


@pytest.fixture(params=[(m, e) for m in (english, german, japanese) for e in EMBEDDERS])
def case(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[ModuleType, str, MemoryStore]]:
    module, embedder = request.param
    config = Config().replace(graph__engine="none", embedder=embedder)
    with closing(MemoryStore.open(tmp_path / "state", config)) as store:
        store.remember_many([Memory(text=text, timestamp=1) for text in module.MEMORIES])
        yield module, embedder, store


def found(module: ModuleType, ranked: Ranking, k: int) -> int:
    """How many questions have their memory among the first `k`."""
    return sum(place in ranked(text, k) for text, place in module.QUESTIONS)


def test_the_samples_are_large_enough() -> None:
    for module in (english, german, japanese):
        assert len(module.MEMORIES) >= 40 and len(module.QUESTIONS) >= 20
        assert len(set(module.MEMORIES)) == len(module.MEMORIES)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_hybrid_is_no_worse_than_words_or_vectors(
    case: tuple[ModuleType, str, MemoryStore], k: int
) -> None:
    module, embedder, store = case

    def hybrid(query: str, k: int) -> list[int]:
        return [hit.memory.id - 1 for hit in store.query(query, k).hits]

    by_words = found(module, bm25(module.MEMORIES), k)
    by_vectors = found(module, cosines(module.MEMORIES, embedder), k)
    assert found(module, hybrid, k) >= max(by_words, by_vectors) - 1


def test_strange_questions_bring_little(case: tuple[ModuleType, str, MemoryStore]) -> None:
    """What has nothing to do with the store surfaces nothing, or at most what shares a word."""
    module, _, store = case
    shown = [len(store.query(query, 10).hits) for query in module.STRANGE]
    assert sum(shown) <= 5, shown
