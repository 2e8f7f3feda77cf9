"""The guides' SparseBlockMemory on a real store: episodes in, found by role and meaning, kept."""

from __future__ import annotations

import gc
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimad.cognition import episodes
from nimad.cognition.embeddings import get_embedder
from nimad.cognition.sparse_block_memory import SparseBlockConfig, SparseBlockMemory
from nimad.cognition.sparse_block_vsa import SparseBlockHDVector
from nimad.errors import NotFound, StateBusy, UsageError
from nimad.vsa import algebra, sparse
from tests import forked

EPISODES = [
    {"who": "Ann", "what": "bought a red bicycle", "where": "market", "importance": 0.9},
    {"who": "Ben", "what": "cooked lentil soup for everyone", "where": "kitchen"},
    {"who": "Ann", "what": "repaired the bicycle chain", "where": "garage", "importance": 0.2},
    {"who": "Cleo", "what": "talked about consciousness and dreams", "themes": ["mind"]},
    {"who": "Ben", "what": "planted tomatoes", "where": "garden", "emotions": ["joy", "calm"]},
    {"who": "Dan", "what": "missed the last train", "when": "2024-05-01", "context": "storm"},
]


@pytest.fixture
def memory(tmp_path: Path) -> SparseBlockMemory:
    made = SparseBlockMemory(path=tmp_path / "kept")
    for number, meta in enumerate(EPISODES):
        assert made.store(**meta) == number  # type: ignore[arg-type]
    return made


def found(results: list[dict[str, object]]) -> list[object]:
    return [result["id"] for result in results]


# --- asking ---------------------------------------------------------------------------------------


def test_what_was_stored_comes_back_with_the_guides_names(memory: SparseBlockMemory) -> None:
    assert len(memory) == len(memory.memory_metadata) == len(memory.memory_vectors) == 6
    for meta, given_meta in zip(memory.memory_metadata, EPISODES, strict=True):
        assert {name: meta[name] for name in given_meta} == given_meta
    assert memory.memory_metadata[-1]["context"] == "storm"
    assert [meta["who"] for meta in memory.memory_metadata[1:3]] == ["Ben", "Ann"]
    with pytest.raises(IndexError, match="no memory 6"):
        memory.memory_metadata[6]


def test_semantic_queries_find_the_meaning_and_fill_up(memory: SparseBlockMemory) -> None:
    results = memory.semantic_query("who fixed the bike?", top_k=5)
    assert len(results) == 5
    assert set(found(results)[:2]) == {0, 2}
    assert results[0]["metadata"]["who"] == "Ann"
    scores = [result["score"] for result in results]
    assert scores == sorted(scores, reverse=True)
    assert len(memory.semantic_query("consciousness", top_k=50)) <= 6


def test_role_queries_compare_that_role(memory: SparseBlockMemory) -> None:
    assert found(memory.query("WHO", "ann")) == [0, 2]  # by importance
    assert found(memory.query("WHERE", "garden")) == [4]
    assert found(memory.query("WHAT", "tomatoes planted")) == [4]
    assert found(memory.query("EMOTION", "joy")) == [4]
    assert found(memory.query("WHEN", "2024-05-01")) == [5]
    assert memory.query("WHO", "nobody") == []
    assert found(memory.query("TOPIC", "bought a red bicycle")) == [0]  # no such role: all of it


def test_a_role_query_in_a_large_store(tmp_path: Path) -> None:
    memory = SparseBlockMemory()
    for number in range(1200):
        memory.store(who=f"P{number % 50}", what=f"event {number} of many", where=f"L{number % 9}")
    assert found(memory.query("WHAT", "event 777 of many", top_k=1)) == [777]
    assert set(found(memory.query("WHO", "P7", top_k=100))) == set(range(7, 1200, 50))


# --- hypervectors ---------------------------------------------------------------------------------


def test_hypervectors_are_the_same_everywhere(memory: SparseBlockMemory) -> None:
    here = memory.memory_vectors[3]
    script = (
        "from nimad.cognition.sparse_block_memory import SparseBlockMemory as M; m = M();"
        "m.store(who='Cleo', what='talked about consciousness and dreams', themes=['mind']);"
        "import hashlib; print(hashlib.sha256(m.memory_vectors[0].to_dense()).hexdigest())"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    import hashlib

    assert ran.stdout.strip() == hashlib.sha256(here.to_dense()).hexdigest()


def test_shared_roles_make_episodes_similar(memory: SparseBlockMemory) -> None:
    assert memory.similarity(0, 0) == pytest.approx(1)
    assert memory.similarity(0, 2) > 0.2 > 0.05 > abs(memory.similarity(0, 4))
    together = memory.bundle([0, 4])
    assert together.similarity(memory.memory_vectors[0]) > 0.5
    for wrong in ((0, 99), (-1, 0)):
        with pytest.raises(ValueError, match="0 to 5"):
            memory.similarity(*wrong)
    with pytest.raises(IndexError):
        memory.bind(0, 99)
    with pytest.raises(ValueError):
        memory.bundle([])


def test_a_role_can_be_unbound_again(memory: SparseBlockMemory) -> None:
    shape = (100, 500)
    answer = sparse.unbind(memory.memory_vectors[1].content, episodes.role("WHO", *shape))
    people = {meta["who"] for meta in EPISODES}
    scores = {p: sparse.similarity(answer, episodes.filler(str(p), *shape, 10)) for p in people}
    assert max(scores, key=lambda name: scores[name]) == "Ben"


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.sampled_from(list(episodes.FIELDS)), st.text(max_size=30), max_size=5))
def test_an_episode_is_the_sum_of_its_bound_roles(factors: dict[str, str]) -> None:
    blocks, dims, active = 10, 50, 3
    total = np.zeros((blocks, dims), np.float32)
    for role, value in factors.items():
        filler = sparse.densify(episodes.filler(value, blocks, dims, active))
        total += algebra.bind(sparse.densify(episodes.role(role, blocks, dims)), filler)
    made = sparse.densify(episodes.episode(factors, blocks, dims, active))
    np.testing.assert_allclose(made, total, atol=1e-5)


def test_the_vector_face_keeps_the_algebra() -> None:
    rng = np.random.default_rng(3)
    a, b = (SparseBlockHDVector(50, 20, {1, 4, 7, 9}, rng) for _ in range(2))
    assert a.active_blocks == {1, 4, 7, 9} and set(a.blocks) == a.active_blocks
    bound = SparseBlockHDVector.bind(a, b)
    assert SparseBlockHDVector.unbind(bound, b).similarity(a) > 0.5
    assert bound == SparseBlockHDVector.bind(b, a)
    assert a.to_dense().shape == (1000,) and repr(a) == "SparseBlockHDVector(4 of 20 blocks of 50)"
    with pytest.raises(ValueError, match=r"0\.\.19"):
        SparseBlockHDVector(50, 20, {20})


# --- keeping --------------------------------------------------------------------------------------


def test_saved_and_loaded_again(tmp_path: Path) -> None:
    file = tmp_path / "data" / "sparse_memory.pkl"
    first = SparseBlockMemory()
    for meta in EPISODES:
        first.store(**meta)  # type: ignore[arg-type]
    before = first.semantic_query("bicycle")
    first.save(file)
    assert file.exists()  # programs look whether there is something to load
    first.store(who="Eve", what="came later")
    first.close()
    second = SparseBlockMemory()
    second.load(file)
    assert len(second) == 7
    assert found(second.semantic_query("bicycle"))[:2] == found(before)[:2]
    third = SparseBlockMemory()
    third.load(file.parent)  # the directory means the same, and is shared in this process
    third.store(who="Fay", what="shares the store")
    assert len(second) == 8


def test_saving_never_mixes_two_memories(tmp_path: Path, memory: SparseBlockMemory) -> None:
    other = SparseBlockMemory()
    other.store(who="X", what="y")
    with pytest.raises(UsageError, match="other memories"):
        other.save(tmp_path / "kept")
    assert len(memory) == 6


def test_nothing_to_load_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="saved memory"):
        SparseBlockMemory().load(tmp_path / "none" / "sparse_memory.pkl")


def test_a_directory_that_another_process_has_is_refused(tmp_path: Path) -> None:
    SparseBlockMemory(path=tmp_path / "mine").close()
    code = (
        "import sys, time; from nimad.cognition.sparse_block_memory import SparseBlockMemory as M;"
        "m = M(path=sys.argv[1]); print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "mine")]
    with forked.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"ready\n"
        with pytest.raises(StateBusy):
            SparseBlockMemory(path=tmp_path / "mine")


def test_a_temporary_store_goes_with_its_memory() -> None:
    memory = SparseBlockMemory()
    memory.store(what="x")
    state = memory._home.state
    assert state.is_dir()
    del memory
    gc.collect()
    assert not state.exists()


def test_figures(memory: SparseBlockMemory) -> None:
    memory.semantic_query("soup")
    stats = memory.get_stats()
    assert stats["total_memories"] == 6 and stats["stats"]["queries"] == 1
    assert stats["vsa_dimension"] == SparseBlockConfig().total_dim == 50_000
    assert stats["memory_usage"]["sparse_storage_mb"] > 0


def test_the_embedder_of_the_guides() -> None:
    embedder = get_embedder()
    vector = embedder.encode_single("a bicycle")
    assert vector.shape == (embedder.dimension,) and np.linalg.norm(vector) == pytest.approx(1)
    assert np.array_equal(embedder.encode(["x", "a bicycle"])[1], vector)
    lazy = get_embedder(True, lazy=True)
    assert np.array_equal(lazy.encode_single("a bicycle", apply_projection=False), vector)
    lazy.unload()
    assert np.array_equal(lazy.encode_raw(["a bicycle"])[0], vector)
    assert (lazy.is_loaded, lazy.is_projected, lazy.output_dimension) == (True, False, len(vector))


# --- what programs of before expect ---------------------------------------------------------------

LEGACY_CONFIG = {
    "block_dim": 500,
    "num_blocks": 100,
    "default_sparsity": 0.1,
    "enable_block_learning": True,
    "block_selection_temperature": 0.5,
    "min_blocks_per_factor": 5,
    "max_blocks_per_factor": 30,
    "use_block_index": True,
    "similarity_threshold": 0.3,
    "migrate_on_load": True,
    "preserve_dense_backup": True,
    "cache_similarities": True,
    "max_cache_size": 10000,
}


def test_a_saved_configuration_is_taken() -> None:
    config = SparseBlockConfig(**LEGACY_CONFIG)  # type: ignore[arg-type]
    assert config == SparseBlockConfig()
    assert (config.total_dim, config.active_blocks_per_vector) == (50_000, 10)
    assert list(LEGACY_CONFIG) == [field.name for field in fields(config)]


def test_an_empty_memory_is_one_all_the_same() -> None:
    memory = SparseBlockMemory()
    assert memory and len(memory) == 0
    assert memory.query("WHO", "Ann") == memory.semantic_query("anything") == []
    assert memory.stats["queries"] == 2 and memory.block_learner is None


def test_numbers_names_and_scores_are_those_of_the_guides() -> None:
    memory = SparseBlockMemory()
    assert memory.store(who="Ann", what="adopted a small grey cat", importance=0.8) == 0
    assert memory.store(content="only this text") == 1
    assert memory.store(what="repaired the roof of the house", emotion_vector={"joy": 0.5}) == 2
    assert set(memory.memory_metadata[0]) == {
        *("who", "what", "where", "when", "context", "emotions", "themes"),
        *("importance", "raw_text", "timestamp"),
    }
    assert memory.memory_metadata[1]["raw_text"] == "only this text"
    results = memory.semantic_query("Ann took in a kitten", top_k=3)
    assert results[0]["id"] == 0
    assert [r["score"] for r in results] == sorted((r["score"] for r in results), reverse=True)
    joyful = memory.semantic_query("anything at all", 3, emotion_vector={"joy": 1.0})
    assert joyful[0]["id"] == 2 and joyful[0]["score"] >= 0.3
    assert memory.memory_factors[0]["WHO"] == "Ann"
    assert set(memory.roles) == set(episodes.FIELDS)
    answer = SparseBlockHDVector.unbind(memory.memory_vectors[0], memory.roles["WHO"])
    fillers = memory.fillers
    assert max(fillers, key=lambda name: answer.similarity(fillers[name])) == "Ann"


def test_episodes_of_dense_vectors_come_in(tmp_path: Path) -> None:
    memory = SparseBlockMemory()
    metas = [{"who": "Ann", "what": "one"}, {"who": "Ben", "what": "two"}]
    assert memory.migrate_from_dense([[0.1], [0.2]], metas) == 2
    with pytest.raises(ValueError, match="1 vectors"):
        memory.migrate_from_dense([[0.1]], metas)
    memory.safe_save(tmp_path / "kept")
    again = SparseBlockMemory()
    again.safe_load(tmp_path / "kept")
    assert [meta["who"] for meta in again.memory_metadata] == ["Ann", "Ben"]


def test_the_bridge_is_the_same_memory() -> None:
    from nimad.nima_episodic_integration import NIMAVSABridge

    bridge = NIMAVSABridge(vsa_dimension=50_000)
    assert bridge.store(who="Ann", what="bought a red bicycle") == 0
    (found,) = bridge.semantic_query("Ann's bike", top_k=5)
    assert set(found) == {"id", "score", "metadata"} and found["metadata"]["who"] == "Ann"
    assert bridge.vsa_dimension == 50_000 == len(bridge.memory_vectors[0].to_dense())
    with pytest.raises(ValueError, match="multiple of 500"):
        NIMAVSABridge(vsa_dimension=1_234)
