"""Searching: exact enough, filtered without loss, deterministic, for every number of dimensions."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from nimad.index.blocks import BlockIndex, BlockParams
from nimad.index.quantise import Query
from tests.vectors import Floats, clustered, cosine, nearest, real_nearest, real_vectors

LEARNED = BlockParams(blocks=20, learn_rows=1000, scan_least=1200)


def sealed(path: Path, vectors: Floats, params: BlockParams = BlockParams()) -> BlockIndex:  # noqa: B008
    index = BlockIndex(path, vectors.shape[1], params)
    index.write_segment("all", np.arange(len(vectors)), vectors)
    assert index.open(["all"]) == []
    return index


def recall(index: BlockIndex, queries: Floats, truth: np.ndarray) -> float:
    found = [index.search(query, 10)[0] for query in queries]
    return float(np.mean([len(set(f) & set(t)) / 10 for f, t in zip(found, truth, strict=True)]))


@pytest.mark.parametrize("rows", [10_000, 30_000])
def test_real_sentences_are_found(tmp_path: Path, rows: int) -> None:
    base, queries = real_vectors()
    index = sealed(tmp_path, base[:rows])
    truth = real_nearest(rows)
    assert recall(index, queries[:200], truth[:200]) >= 0.985  # chat
    assert recall(index, queries[200:], truth[200:]) >= 0.97


def test_real_sentences_are_found_by_blocks(tmp_path: Path) -> None:
    base, queries = real_vectors()
    index = sealed(tmp_path, base, BlockParams(learn_rows=10_000))
    assert index.stats()["rows"] == 30_000
    assert recall(index, queries, real_nearest(30_000)) >= 0.96


@pytest.mark.parametrize("dims", [1, 2, 3, 31, 64, 256, 384, 512, 513, 768, 1024])
def test_every_number_of_dimensions(tmp_path: Path, dims: int) -> None:
    vectors = clustered(700, dims, seed=dims)
    index = sealed(tmp_path, vectors)
    index.append(np.arange(700, 750), clustered(50, dims, seed=dims + 1))
    for query in vectors[::100]:
        ids, scores = index.search(query, 10)
        assert len(set(ids)) == len(ids) == 10
        assert scores[0] == pytest.approx(1, abs=0.01)
        assert np.all(np.diff(scores) <= 0)
        found = ids < 700
        exact = cosine(vectors[ids[found]], query)
        assert scores[found] == pytest.approx(exact, abs=0.02)


def test_prepared_searches_find_the_same_in_any_order(tmp_path: Path) -> None:
    """Several are under way in one query, their work is done by another thread."""
    vectors = clustered(4000, 64, seed=5)
    index = sealed(tmp_path, vectors[:3000], LEARNED)
    index.append(np.arange(3000, 3400), vectors[3000:3400])
    asked = [Query.of(vector, 64) for vector in vectors[3400::100]]
    queries = [query for query in asked if query is not None]
    for allowed in (None, np.arange(0, 3200, 3), np.arange(40)):
        begun = [index.begin_search(query, 7, allowed) for query in queries]
        with ThreadPoolExecutor(1) as other:
            made = list(other.map(lambda search: search.work(), reversed(begun)))
        for query, search, one in zip(queries, begun, reversed(made), strict=True):
            for mine, theirs in zip(
                search.result(one), index.search(query, 7, allowed), strict=True
            ):
                assert np.array_equal(mine, theirs)


def test_refused_dimensions(tmp_path: Path) -> None:
    for dims in (0, 1025):
        with pytest.raises(ValueError, match=r"1\.\.1024"):
            BlockIndex(tmp_path, dims)
    index = BlockIndex(tmp_path, 8)
    with pytest.raises(ValueError, match="8"):
        index.append(np.array([1]), np.ones((1, 7), np.float32))
    with pytest.raises(ValueError, match="8"):
        index.search(np.ones(7, np.float32), 1)
    with pytest.raises(ValueError, match="finite"):
        index.append(np.array([1]), np.full((1, 8), np.nan, np.float32))
    with pytest.raises(ValueError, match="finite"):
        index.search(np.full(8, np.inf, np.float32), 1)
    with pytest.raises(ValueError, match="unique"):
        index.write_segment("a", np.array([1, 1]), np.ones((2, 8), np.float32))
    with pytest.raises(ValueError, match="unique"):
        index.append(np.array([1, 1]), np.ones((2, 8), np.float32))
    assert index.ids().size == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("params", [BlockParams(), LEARNED], ids=["flat", "learned"])
def test_rows_of_zeros_are_known_but_never_found(tmp_path: Path, params: BlockParams) -> None:
    vectors = clustered(3000, 32, seed=1)
    vectors[::3] = 0
    index = sealed(tmp_path, vectors, params)
    index.append(np.array([5000, 5001]), np.stack([np.zeros(32, np.float32), vectors[1]]))
    ids, _ = index.search(vectors[1], 100)
    assert {1, 5001} < set(ids.tolist())
    assert 5000 not in ids
    assert np.all((ids % 3 != 0) | (ids > 3000))
    assert index.search(np.zeros(32, np.float32), 10)[0].size == 0
    assert len(index.ids()) == 3002
    scores = index.scores(vectors[1], np.array([3, 5000, 1, 4000, 1]))
    assert scores[[0, 1]].tolist() == [0, 0]
    assert scores[[2, 4]] == pytest.approx(1, abs=1e-3)
    assert np.isnan(scores[3])


def test_equal_scores_are_ordered_by_id(tmp_path: Path) -> None:
    one, other = clustered(2, 16, seed=3, clusters=2)
    index = BlockIndex(tmp_path, 16)
    index.write_segment("a", np.array([40, 7, 30]), np.stack([one, other, one]))
    index.write_segment("b", np.array([20, 35]), np.stack([one, one]))
    index.open(["b", "a"])
    index.append(np.array([25, 5]), np.stack([one, other]))
    assert index.search(one, 5)[0].tolist() == [20, 25, 30, 35, 40]
    assert index.search(one, 3)[0].tolist() == [20, 25, 30]
    assert index.search(one, 0)[0].size == 0
    assert len(index.search(one, 100)[0]) == 7


def test_many_equal_rows_give_the_lowest_ids(tmp_path: Path) -> None:
    """More equal rows than are rescored: which of them are taken must not be chance."""
    vectors = np.tile(clustered(1, 16, seed=4), (2000, 1))
    assert sealed(tmp_path, vectors).search(vectors[0], 20)[0].tolist() == list(range(20))


@pytest.mark.parametrize("params", [BlockParams(), LEARNED], ids=["flat", "learned"])
@pytest.mark.parametrize("share", [0.003, 0.2, 0.9])
def test_filters_lose_nothing(tmp_path: Path, params: BlockParams, share: float) -> None:
    vectors = clustered(6000, 64, seed=5, clusters=200)
    queries = clustered(60, 64, seed=6, clusters=200) + 0.4 * vectors[:60]
    params = replace(params, exact_filter=100)
    index = sealed(tmp_path, vectors[:5000], params)
    index.append(np.arange(5000, 6000), vectors[5000:])
    chosen = np.random.default_rng(7).random(6000) < share
    allowed = np.flatnonzero(chosen)
    truth = allowed[nearest(vectors[allowed], queries, 10)]
    unfiltered = recall(index, queries, nearest(vectors, queries, 10))
    hits = []
    for query, best in zip(queries, truth, strict=True):
        ids, scores = index.search(query, 10, allowed)
        assert np.all(chosen[ids])
        assert scores.tolist() == index.scores(query, ids).tolist()
        hits.append(len(set(ids) & set(best)) / 10)
    assert np.mean(hits) >= max(unfiltered - 0.01, 0.93)


@pytest.fixture(scope="module")
def real_index(tmp_path_factory: pytest.TempPathFactory) -> BlockIndex:
    base, _ = real_vectors()
    params = BlockParams(learn_rows=10_000, exact_filter=500)
    return sealed(tmp_path_factory.mktemp("real"), base, params)


@cache
def likenesses() -> Floats:
    """Cosines of real sentences with every eighth question: float32[75, 30000], -1 without one."""
    base, queries = real_vectors()
    made: Floats = np.where(base.any(axis=1), queries[::8] @ base.T, np.float32(-1))
    return made


@pytest.mark.parametrize("share", [0.03, 0.1, 0.3])
@pytest.mark.parametrize("kind", ["anywhere", "near", "half of the near"])
def test_filters_of_real_sentences(real_index: BlockIndex, kind: str, share: float) -> None:
    """Wherever what is allowed lies: everywhere, or all of it where the question looks."""
    base, queries = real_vectors()
    rng, hits = np.random.default_rng(22), []
    some = rng.random(len(base))
    for query, likeness in zip(queries[::8], likenesses(), strict=True):
        lax = share if kind == "near" else 2 * share
        near = likeness >= np.quantile(likeness, 1 - lax)
        half = some < (share if kind == "anywhere" else 0.5)
        chosen = {"anywhere": half, "near": near, "half of the near": half & near}[kind]
        allowed = np.flatnonzero(chosen & (likeness > -1))
        truth = allowed[np.argsort(-likeness[allowed], kind="stable")[:10]]
        found, _ = real_index.search(query, 10, allowed)
        assert chosen[found].all()
        hits.append(len(set(found) & set(truth)) / 10)
    assert np.mean(hits) >= 0.96


def test_threads_give_the_bits_of_one(tmp_path: Path) -> None:
    """Searches that run side by side, in segments with and without blocks and in hot rows."""
    vectors = clustered(6000, 64, seed=30, clusters=100)
    index = BlockIndex(tmp_path, 64, LEARNED)
    index.write_segment("learned", np.arange(4000), vectors[:4000])
    index.write_segment("flat", np.arange(4000, 4900), vectors[4000:4900])
    index.open(["learned", "flat"])
    index.append(np.arange(5000, 6000), vectors[5000:])
    allowed = np.arange(0, 6000, 3)
    allowed.flags.writeable = False

    def ask(query: Floats) -> bytes:
        found = [*index.search(query, 10), *index.search(query, 25, allowed)]
        return b"".join(part.tobytes() for part in found)

    alone = [ask(query) for query in vectors[::10]]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(4):
            assert list(pool.map(ask, vectors[::10])) == alone


def test_a_filter_is_never_the_one_before(tmp_path: Path) -> None:
    """The last filter is kept; a changed array, a removal or a merge must not bring it back."""
    vectors = clustered(2000, 32, seed=20)
    index = sealed(tmp_path, vectors, BlockParams(exact_filter=50))
    allowed = np.arange(0, 2000, 2)
    for _ in range(2):
        assert set(index.search(vectors[0], 20, allowed)[0] % 2) == {0}
    allowed += 1
    assert set(index.search(vectors[0], 20, allowed)[0] % 2) == {1}
    nearest_odd = index.search(vectors[0], 5, allowed)[0]
    index.remove(nearest_odd)
    assert not set(index.search(vectors[0], 20, allowed)[0]) & set(nearest_odd)
    index.merge_segments(["all"], "new")
    index.publish(["new"], ["all"])
    again = index.search(vectors[0], 20, allowed)[0]
    assert set(again % 2) == {1}
    assert not set(again) & set(nearest_odd)
    assert not (tmp_path / "all.nsb").exists()


def test_a_filter_far_from_the_question_fills_its_answer(tmp_path: Path) -> None:
    """What is allowed lies in blocks that the question alone would not activate."""
    vectors = clustered(6000, 64, seed=21, clusters=60)
    index = sealed(tmp_path, vectors, replace(LEARNED, probes=2, exact_filter=50))
    for query in vectors[:50]:
        allowed = np.sort(np.argsort(vectors @ query)[:3000])
        ids, scores = index.search(query, 10, allowed)
        assert len(ids) == 10
        assert scores.min() > np.quantile(vectors[allowed] @ query, 0.9)


def test_a_filter_may_name_what_does_not_exist(tmp_path: Path) -> None:
    vectors = clustered(50, 16, seed=8)
    index = sealed(tmp_path, vectors)
    allowed = np.array([-5, 3, 9, 1000, 1 << 60])
    assert sorted(index.search(vectors[3], 10, allowed)[0]) == [3, 9]
    assert index.search(vectors[3], 10, np.zeros(0, np.int64))[0].size == 0


def test_results_do_not_depend_on_where_a_row_is(tmp_path: Path) -> None:
    vectors = clustered(400, 48, seed=9)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    whole = sealed(tmp_path / "one", vectors)
    mixed = BlockIndex(tmp_path / "two", 48)
    mixed.write_segment("a", np.arange(0, 300, 2), vectors[0:300:2])
    mixed.write_segment("b", np.arange(1, 300, 2), vectors[1:300:2])
    mixed.open(["a", "b"])
    mixed.append(np.arange(300, 400), vectors[300:])
    for query in vectors[:50]:
        ids, scores = whole.search(query, 10)
        again, same = mixed.search(query, 10)
        assert ids.tolist() == again.tolist()
        assert scores.tobytes() == same.tobytes()


def test_length_does_not_matter(tmp_path: Path) -> None:
    vectors = clustered(40, 24, seed=10)
    index = sealed(tmp_path, vectors * np.geomspace(1e-30, 1e30, 40, dtype=np.float32)[:, None])
    for query in vectors:
        ids, scores = index.search(query * np.float32(1e-20), 3)
        assert scores == pytest.approx(cosine(vectors[ids], query), abs=0.01)
