"""Sparse memories: the pickle, its JSON form, both together, and JSON that is damaged."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nimad.errors import NimadError, SourceCorrupt, SourceNotRecognised, SourceUnsafe
from nimad.legacy import json_index
from tests.legacy.bundles import nodes, opened, texts
from tests.legacy.checkpoints import episode, sign, sparse

EPISODES = [episode(number) for number in range(6)]
BLOCKS, SIZE = 10, 50


@pytest.fixture
def rows() -> Any:
    rng = np.random.default_rng(8)
    made = rng.standard_normal((6, BLOCKS, SIZE)) * (rng.random((6, BLOCKS, 1)) < 0.4)
    made[:, 0] = 1.0
    return made.reshape(6, BLOCKS * SIZE)


def write(path: Path, rows: Any, number: int = 6) -> Path:
    as_json = path.suffix == ".json"
    value = sparse(EPISODES[:number], rows[:number], BLOCKS, as_json=as_json)
    path.write_bytes(json.dumps(value).encode() if as_json else pickle.dumps(value, 4))
    return path


@pytest.mark.parametrize("name", ["sparse_memory.pkl", "sparse_memory.json"])
def test_both_forms(tmp_path: Path, rows: Any, name: str) -> None:
    with opened(write(tmp_path / name, rows), tmp_path) as files:
        totals = files.survey()
        assert (totals.nodes, totals.vectors, totals.dimension) == (6, 6, BLOCKS * SIZE)
        found = nodes(files)
        assert texts(found) == [each["raw_text"] for each in EPISODES]
        assert all("factors" not in (node.memory.extra or {}) for node in found)
        dense = files.dense()
        assert dense is not None and dense.block_size == SIZE
        np.testing.assert_array_equal(dense.rows(dense.keys()), rows.astype(np.float32))
        assert list(dense.items()) == []
        del dense


def test_an_export_beside_the_pickle_brings_nothing_twice(tmp_path: Path, rows: Any) -> None:
    home = tmp_path / "sparse"
    home.mkdir()
    write(home / "sparse_memory.pkl", rows)
    sign(write(home / "sparse_memory.json", rows, 3), hmac_signature="00" * 32)
    with opened(home, tmp_path) as files:
        totals = files.survey()
        assert totals.nodes == 6
        assert any("cannot be verified" in note for note in totals.notes)


def test_factors_that_say_more_are_kept(tmp_path: Path, rows: Any) -> None:
    value = sparse(EPISODES, rows, BLOCKS, as_json=False)
    value["factors"][2]["MOOD"] = "calm"
    (tmp_path / "s.pkl").write_bytes(pickle.dumps(value))
    with opened(tmp_path / "s.pkl", tmp_path) as files:
        kept = [(node.memory.extra or {}).get("factors") for node in nodes(files)]
        assert kept[2]["MOOD"] == "calm" and kept.count(None) == 5


def test_numpy_blocks_and_numbers(tmp_path: Path, rows: Any) -> None:
    value = sparse(EPISODES, rows, BLOCKS, as_json=False)
    for vector, row in zip(value["vectors"], rows.reshape(6, BLOCKS, SIZE), strict=True):
        vector["blocks"] = {n: row[n].astype(np.float32) for n in vector["active_blocks"]}
    value["metadata"] = [{**each, "importance": np.float64(0.25)} for each in EPISODES]
    for protocol in range(6):
        (tmp_path / "s.pkl").write_bytes(pickle.dumps(value, protocol))
        with opened(tmp_path / "s.pkl", tmp_path) as files:
            assert {node.memory.importance for node in nodes(files)} == {0.25}
            dense = files.dense()
            assert dense is not None
            np.testing.assert_allclose(dense.rows(dense.keys()), rows, rtol=1e-6)
            del dense


def refused(path: Path, into: Path) -> NimadError:
    with pytest.raises(NimadError) as caught, opened(path, into) as files:
        files.survey()
    return caught.value


def test_a_bomb_does_not_go_off(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "trace",)

    (tmp_path / "s.pkl").write_bytes(pickle.dumps({"metadata": [Bomb()]}))
    error = refused(tmp_path / "s.pkl", tmp_path)
    assert type(error) is SourceUnsafe and not (tmp_path / "trace").exists()


def test_json_that_is_damaged(tmp_path: Path, rows: Any) -> None:
    path = write(tmp_path / "sparse_memory.json", rows)
    whole = path.read_bytes()
    for length in range(1, len(whole), len(whole) // 50):
        path.write_bytes(whole[:length])
        assert type(refused(path, tmp_path)) is SourceCorrupt, length
    for text, kind in (
        (b'{"metadata": 5}', SourceNotRecognised),
        (b"{}", SourceNotRecognised),
        (b'{"metadata": [' + b"[" * 5000 + b"]" * 5000 + b"]}", SourceCorrupt),
        (b'{"metadata": [{]}', SourceCorrupt),
        (b'{"metadata": [{"raw_text": "' + b'\\"' * 200_000, SourceCorrupt),
    ):
        path.write_bytes(text)
        assert type(refused(path, tmp_path)) is kind, text[:40]


def test_the_index_finds_what_json_finds(tmp_path: Path) -> None:
    value = {"a": [1, {"x": '"]'}, "s,\\", [], None], "b": {"c": [1]}, "d": "t", "e": [], "f": 1}
    for indent in (None, 2):
        data = memoryview(json.dumps(value, indent=indent).encode())
        parts = json_index.index_parts(data, "x")
        for name, due in value.items():
            assert json_index.parse(data, parts[name].start, parts[name].end, "x") == due
        elements = [json_index.parse(data, *spot, "x") for spot in parts["a"].elements]
        assert elements == value["a"] and parts["e"].elements == []
