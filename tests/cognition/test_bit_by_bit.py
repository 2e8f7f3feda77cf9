"""The guides' HybridMemoryStore and LazyMigrationStore: copied at once, encoded when used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nimad.cognition import HybridMemoryStore, LazyMigrationStore
from nimad.cognition.sparse_block_vsa import SparseBlockHDVector
from tests.cognition.test_vsa_migrator import checkpoint
from tests.legacy import checkpoints

DIMENSION = 2000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "sessions").mkdir()
    return checkpoint(tmp_path / "sessions" / "latest.pt", 40, DIMENSION)


@pytest.fixture
def hybrid(source: Path, tmp_path: Path) -> Iterator[HybridMemoryStore]:
    with HybridMemoryStore(source.parent, tmp_path / "sparse") as made:
        yield made


def test_dense_until_it_is_migrated(hybrid: HybridMemoryStore, source: Path) -> None:
    rows = np.random.default_rng(5).standard_normal((40, DIMENSION)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert len(hybrid) == len(hybrid.dense_store) == len(hybrid.sparse_store) == 40
    for place in (3, 17, 3):
        np.testing.assert_array_equal(hybrid.get(place), rows[place])
    assert hybrid.migration_queue == [3, 17]
    assert hybrid.sparse_store.memory_metadata[17] == checkpoints.episode(17)
    assert hybrid.migrate_batch(batch_size=1) == 1
    assert hybrid.migration_queue == [17]
    assert isinstance(hybrid.get(3), SparseBlockHDVector)
    assert isinstance(hybrid.get(17), np.ndarray)
    assert hybrid.migrate_batch() == 1 and hybrid.migration_queue == []
    assert hybrid.migrate_batch() == 0
    with pytest.raises(IndexError):
        hybrid.get(40)


def test_a_question_finds_what_is_not_migrated_and_queues_it(hybrid: HybridMemoryStore) -> None:
    (first, *_) = hybrid.query("Episode number 23", top_k=3)
    assert first["id"] == 23 and 23 in hybrid.migration_queue
    queued = len(hybrid.migration_queue)
    assert hybrid.migrate_batch() == queued and hybrid.migration_queue == []
    assert isinstance(hybrid.get(23), SparseBlockHDVector)


def test_it_goes_on_where_it_was(source: Path, tmp_path: Path) -> None:
    with HybridMemoryStore(source, tmp_path / "kept") as first:
        first.get(5)
        first.migrate_batch()
    with HybridMemoryStore(source, tmp_path / "kept") as second:
        assert len(second) == 40
        assert isinstance(second.get(5), SparseBlockHDVector)
        assert isinstance(second.get(6), np.ndarray)


def test_everything_in_the_end(hybrid: HybridMemoryStore) -> None:
    for place in range(40):
        hybrid.get(place)
    assert hybrid.migrate_batch(batch_size=100) == 40
    (source,) = hybrid._home.manager.status()["sources"]
    assert (source["state"], source["encoded"]) == ("verified", 40)


def test_lazy_migrates_what_a_question_finds(source: Path) -> None:
    with LazyMigrationStore(source) as lazy:
        assert lazy.migrated == set()
        found = lazy.query("Episode number 31 is about the garden", top_k=2)
        assert found[0]["id"] == 31
        assert lazy.migrated == {result["id"] for result in found} | lazy.migrated
        assert 1 <= len(lazy.migrated) <= 4
        needed = set(lazy.migrated)
        again = lazy.query("Episode number 31 is about the garden", top_k=2)
        assert again[0]["id"] == 31 and lazy.migrated >= needed
