"""The fast forms of the ranking equal the plain ones, bit for bit: random stores and real talk."""

from __future__ import annotations

import dataclasses
import json
import random
import re
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.embed.static import StaticEmbedder
from nimad.index.blocks import BlockIndex
from nimad.index.quantise import Query
from nimad.model import Filter, Memory
from nimad.recall import lexical
from nimad.recall.dates import find_on_dates
from nimad.recall.parsed_query import parse_query
from nimad.recall.query_context import Stopwatch
from nimad.recall.scopes import Scopes
from nimad.recall.semantic import (
    SemanticQuery,
    SemanticScorer,
    best_places,
    highest,
    kth_highest,
)
from nimad.recall.weights import DEFAULT, Weights
from nimad.words.index import TermIndex
from tests import plain
from tests.benchmarks.talk import make_talk

CONFIG = Config().replace(graph__engine="none")
NEIGHBOURS = StaticEmbedder.neighbour_shares
NOW = 1_700_000_000_000
DEV = Path(__file__).parents[3] / "shared" / "quality" / "locomo_dev.json"


class Sides:
    """Both sides of the ranking over one store."""

    def __init__(self, store: MemoryStore, weights: Weights = DEFAULT) -> None:
        self.store = store
        self.weights = weights
        self.terms = TermIndex(store.records)
        self.columns = plain.FollowedColumns(store.records, self.terms)
        self.scopes = Scopes(store.records, self.columns, weights)
        self.meaning = SemanticScorer(self.columns, weights)

    def check(self, text: str, where: Filter, *, meaning: bool) -> None:
        """The fast forms against the plain ones for one question."""
        self.columns.sync()
        columns, scope = self.columns, self.scopes.of(where)
        if not scope.count:
            return
        asked = parse_query(text, columns, self.terms, scope, NOW, UTC)
        asked = dataclasses.replace(asked, literals=[])
        on_dates = find_on_dates(columns.time, asked.dates, UTC, scope.mask)
        words = lexical.score_words(
            asked,
            columns,
            self.terms,
            scope,
            self.weights,
            Stopwatch(),
            on_dates,
            lambda part, ids: [],
        )
        own = plain.bm25(asked, columns, self.terms, scope.mask, self.weights)
        assert np.array_equal(words.own, own)
        shared = plain.spread(own, columns, scope.mask, self.weights)
        assert np.array_equal(words.shared, shared)
        assert np.array_equal(np.sort(words.rows), np.flatnonzero(own))
        assert words.top == shared.max(initial=0)
        for count in (1, 5, 40):
            leaders, theirs = words.leaders(count)
            if len(words.rows) <= lexical.WIDE * count:
                assert leaders.tolist() == highest(shared, count).tolist()
            assert np.array_equal(theirs, shared[leaders])
        query = self.store.embedder.embed([asked.meaning])[0]
        if meaning and query.any():
            asked = Query.of(query, self.store.blocks.dims)
            assert asked is not None
            sought = SemanticQuery(asked, scope, words, columns.same_as(text), NEIGHBOURS)
            near = self.meaning.score(self.store.blocks, sought, Stopwatch())
            cosines = self.store.blocks.scores(query, columns.id[near.rows])
            assert np.array_equal(near.plain, cosines, equal_nan=True)
            made = plain.mixed(query, self.store.blocks, columns, near.rows, NEIGHBOURS)
            assert np.allclose(near.mixed, made, atol=1e-5, equal_nan=True)

    def close(self) -> None:
        self.terms.close()
        self.meaning.helper.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    made = MemoryStore.open(tmp_path / "state", CONFIG)
    yield made
    made.close()


def remember(store: MemoryStore, records: list[dict[str, Any]]) -> None:
    store.remember_many([Memory(**record) for record in records])


@pytest.mark.parametrize("exact_rows", [pytest.param(20_000, marks=pytest.mark.slow), 0])
def test_random_talk(store: MemoryStore, exact_rows: int) -> None:
    """Sessions that go on at the same time, several segments, hot rows, forgotten ones."""
    weights = Weights(exact_rows=exact_rows, candidates=40, furthest=8)
    sides = Sides(store, weights)
    talk = make_talk(600, 12, seed=4)
    mixed = talk.memories
    random.Random(5).shuffle(mixed)
    for number, record in enumerate(mixed):
        record["namespace"] = f"space {number % 3}"
    filters = [Filter(), Filter(namespace="space 1"), Filter(who="Anna"), Filter(layer="input")]

    def check() -> None:
        for text in talk.questions:
            for where in filters:
                sides.check(text, where, meaning=where == filters[0])

    remember(store, mixed[:300])
    check()
    store.semantic.flush()
    remember(store, mixed[300:500])
    check()
    store.semantic.flush()
    store.forget(list(range(3, 500, 11)))
    check()
    remember(store, mixed[500:])
    check()
    sides.close()


def test_real_talk(store: MemoryStore) -> None:
    if not DEV.is_file():
        pytest.skip(f"no labelled dialogues at {DEV}")
    (sample, *_) = json.loads(DEV.read_text())
    said = sample["conversation"]
    records = [
        {"text": turn.get("text") or "-", "who": turn["speaker"], "session": key, "timestamp": NOW}
        for key, turns in said.items()
        if re.fullmatch(r"session_\d+", key) and isinstance(turns, list)
        for turn in turns
    ]
    remember(store, records)
    sides = Sides(store)
    for one in sample["qa"][::4]:
        sides.check(one["question"], Filter(), meaning=False)
    sides.close()


@settings(max_examples=100, deadline=None)
@given(
    count=st.integers(0, 3000),
    kinds=st.integers(1, 400),
    k=st.integers(1, 120),
    empty=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_the_highest_are_those_of_a_sort(
    count: int, kinds: int, k: int, empty: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, kinds, count).astype(np.float32) / 7
    values[rng.random(count) < empty] = 0
    positive = np.flatnonzero(values > 0)
    expected = positive[best_places(values[positive], k)]
    assert highest(values, k).tolist() == sorted(expected.tolist())


def test_what_was_located_follows_the_index(tmp_path: Path) -> None:
    """Rows that are sealed, published, trimmed, joined by others and removed, in this order."""
    rng = np.random.default_rng(1)
    index = BlockIndex(tmp_path, 32)
    rows = rng.standard_normal((40, 32)).astype(np.float32)
    rows[7] = 0
    ids, query = np.arange(1, 41), rows[3]
    known = index.locate(ids[:20])

    def check(wanted: NDArray[np.int64]) -> None:
        nonlocal known
        known = index.locate(wanted, known)
        assert np.array_equal(known.cosines(query), index.scores(query, wanted), equal_nan=True)
        picks = np.arange(0, len(wanted), 3)
        fresh = index.locate(wanted[picks])
        assert np.array_equal(known.cosines(query, picks), fresh.cosines(query), equal_nan=True)
        assert np.array_equal(known.rows(picks), fresh.rows(np.arange(len(picks))))

    check(ids[:20])
    index.append(ids[:20], rows[:20])
    check(ids[:20])
    index.write_segment("seg-1", ids[:20], rows[:20])
    index.publish(["seg-1"])
    check(ids[:20])  # both copies are there; the hot one is looked at
    index.trim(ids[:20])
    check(ids[:20])
    index.append(ids[20:30], rows[20:30])
    check(ids[:30])
    index.remove(ids[2:25:5])
    check(ids[:30])
    index.append(ids[30:], rows[30:])
    check(ids)
    check(np.delete(ids, [4, 9]))


@pytest.mark.parametrize("size", [40, 700, 5000])
def test_the_kth_highest_is_the_one_that_sorting_gives(size: int) -> None:
    """Also among equal ones, and where what every 16th suggests is too high."""
    rng = np.random.default_rng(size)
    for some in (rng.random(size), rng.integers(0, 4, size), np.arange(size) % 16 == 0):
        values = some.astype(np.float32)
        for k in (1, 7, 40):
            assert kth_highest(values, k) == np.sort(values)[-k]
