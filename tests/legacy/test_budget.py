"""A bundle costs what it holds, never what its values could be unfolded to."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nimad.errors import NimadError, SourceCorrupt, SourceTooLarge
from nimad.legacy import budget
from nimad.legacy.budget import Budget
from nimad.legacy.files import LegacyFiles
from nimad.legacy.source import LegacyNode, Totals, Unreadable
from tests.legacy.bundles import bundle
from tests.legacy.checkpoints import episode

LIMIT = 40 << 20
"""Memory that a small hostile file may cost [bytes]."""
# an episode whose "what" is a list of nine times itself
ITSELF = (
    b"\x80\x04}(X\x08\0\0\0metadata]}q\0(X\x08\0\0\0raw_textX\x01\0\0\0xX\x04\0\0\0what("
    + b"h\0" * 9
    + b"luau."
)


def laughs(width: int = 10, levels: int = 12) -> Any:
    """A list of lists of lists ..., each the same one `width` times."""
    value: Any = ["ha"] * width
    for _ in range(levels):
        value = [value] * width
    return value


def laughing_dict() -> Any:
    value: Any = {"a": "ha"}
    for _ in range(40):
        value = {"a": value, "b": value}
    return value


def long_text() -> Any:
    return ["x" * (1 << 20)] * 1000


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < LIMIT


def survey(path: Path, into: Path, **budget: int) -> tuple[Totals, list[Any]]:
    with LegacyFiles.open(bundle(path, into / "b.tar"), **budget) as opened:
        return opened.survey(), list(opened.nodes(opened.mapper("s"), None, 100))


MAKERS = {"lists": laughs, "dicts": laughing_dict, "a long text": long_text}


@pytest.mark.parametrize("place", ["what", "mood", "who", "importance", "timestamp", "factors"])
@pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))
def test_a_value_that_unfolds(tmp_path: Path, make: Any, place: str) -> None:
    path = tmp_path / "sparse_memory.pkl"
    path.write_bytes(pickle.dumps({"metadata": [episode(1), episode(2, **{place: make()})]}, 4))
    with little_memory():
        totals, nodes = survey(path, tmp_path)
    assert (totals.nodes, totals.unreadable) == (2, 1), "the other episode is taken"
    (refusal,) = [node for node in nodes if isinstance(node, Unreadable)]
    assert "more than 100000 values" in refusal.reason


def test_factors_and_episodes_that_unfold(tmp_path: Path) -> None:
    path = tmp_path / "sparse_memory.pkl"
    for value in ({"metadata": laughs()}, {"metadata": [episode(1)], "factors": [laughs()]}):
        path.write_bytes(pickle.dumps(value, 4))
        with little_memory():
            assert survey(path, tmp_path)[0].unreadable <= 10


def test_an_episode_that_contains_itself(tmp_path: Path) -> None:
    path = tmp_path / "sparse_memory.pkl"
    path.write_bytes(ITSELF)
    with little_memory():
        assert survey(path, tmp_path)[0].unreadable == 1
    path.write_bytes(ITSELF.replace(b"h\0" * 9, b"h\0"))
    _, (node,) = survey(path, tmp_path)
    assert isinstance(node, LegacyNode) and node.memory.text == "x", "its levels are counted"


def test_the_same_episode_a_million_times(tmp_path: Path) -> None:
    path = tmp_path / "sparse_memory.pkl"
    path.write_bytes(
        b"\x80\x04}(X\x08\0\0\0metadata](}q\0X\x01\0\0\0aX\x01\0\0\0bs"
        + b"h\0" * 2_000_000
        + b"eu."
    )
    with pytest.raises(SourceCorrupt, match="more memory than a NIMA file"):
        survey(path, tmp_path)


def test_a_million_values_that_are_no_episodes(tmp_path: Path) -> None:
    path = tmp_path / "sparse_memory.pkl"
    path.write_bytes(b"\x80\x04}(X\x08\0\0\0metadata(" + b"]" * 1_000_000 + b"lu.")
    with pytest.raises(SourceCorrupt, match="more memory than a NIMA file"):
        survey(path, tmp_path)


def test_all_files_of_a_bundle_share_one_budget(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for number in range(8):
        state = {"metadata": [episode(n) for n in range(number * 100, number * 100 + 100)]}
        (home / f"m{number}.pkl").write_bytes(pickle.dumps(state, 4))
    (home / "damaged.pkl").write_bytes(pickle.dumps({"metadata": [episode(1)] * 90}, 4)[:-1])
    totals, _ = survey(home, tmp_path, bytes=1 << 20)
    kinds = {type(error) for _, error in totals.refused}
    assert 0 < totals.nodes < 800 and kinds == {SourceCorrupt, SourceTooLarge}
    large = [error for _, error in totals.refused if type(error) is SourceTooLarge]
    assert all("1 MiB" in error.message for error in large)
    assert totals.nodes // 100 + len(totals.refused) == 9
    assert 0 < survey(home, tmp_path, values=3000)[0].nodes < 400


@pytest.mark.parametrize("name", ["vectors", "metadata", "other"])
def test_a_long_array_of_json(tmp_path: Path, name: str) -> None:
    path = tmp_path / "sparse_memory.json"
    told = {"config": {"num_blocks": 2, "block_dim": 2}, "metadata": [], name: [{}] * 100_000}
    path.write_text(json.dumps(told))
    with little_memory(), pytest.raises(NimadError):
        survey(path, tmp_path, bytes=4 << 20)


def test_an_honest_file_spends_little() -> None:
    spent = Budget()
    spent.check_episodes([episode(number) for number in range(100)], "x")
    assert budget.MAX_VALUES - spent.values < 100 * 40
