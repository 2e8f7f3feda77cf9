"""The life of segments: written, published, merged, dropped, damaged, verified."""

from __future__ import annotations

import gc
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from nimad.disk.container import Container
from nimad.errors import FormatCorrupt, NotFound
from nimad.index.blocks import BlockIndex, BlockParams
from nimad.index.segment import Segment
from tests.threads import setting, side_by_side
from tests.vectors import clustered

DIMS = 32
VECTORS = clustered(3000, DIMS, seed=1)
LEARNED = BlockParams(blocks=10, learn_rows=1000, scan_least=500)


def ids(first: int, end: int) -> np.ndarray:
    return np.arange(first, end, dtype=np.int64)


@pytest.fixture
def index(tmp_path: Path) -> BlockIndex:
    """Segments a (0..999) and b (1000..1999) open, rows 2000..2099 hot."""
    made = BlockIndex(tmp_path, DIMS, LEARNED)
    made.write_segment("a", ids(0, 1000), VECTORS[:1000])
    made.write_segment("b", ids(1000, 2000), VECTORS[1000:2000])
    assert made.open(["a", "b"]) == []
    made.append(ids(2000, 2100), VECTORS[2000:2100])
    return made


def test_a_segment_is_seen_only_when_published(index: BlockIndex) -> None:
    info = index.write_segment("c", ids(2000, 2100), VECTORS[2000:2100])
    assert (info.name, info.rows, info.first_id, info.last_id) == ("c", 100, 2000, 2099)
    assert info.bytes == index.path("c").stat().st_size
    assert index.stats()["segments"] == 2
    index.publish(["c"])
    before = index.search(VECTORS[2050], 10)
    assert before[0].tolist() == sorted(set(before[0]), key=before[0].tolist().index)
    index.trim(ids(2000, 2100))
    after = index.search(VECTORS[2050], 10)
    assert before[0].tolist() == after[0].tolist()
    assert before[1].tobytes() == after[1].tobytes()
    assert index.stats() | {"disk_bytes": 0, "resident_bytes": 0} == {
        "rows": 2100,
        "hot": 0,
        "tombstones": 0,
        "segments": 3,
        "disk_bytes": 0,
        "resident_bytes": 0,
    }


def test_merging_keeps_every_score(index: BlockIndex) -> None:
    index.remove(np.array([5, 1005, 2005, 9999]))
    every = index.ids()
    assert len(every) == 2097
    before = [index.scores(query, every).tobytes() for query in VECTORS[:20]]
    info = index.merge_segments(["b", "a"], "merged")
    assert info.rows == 1998
    index.publish(["merged"], ["a", "b"])
    assert [path.name for path in sorted(index.directory.iterdir())] == ["merged.nsb"]
    assert index.ids().tolist() == every.tolist()
    assert [index.scores(query, every).tobytes() for query in VECTORS[:20]] == before
    assert index.stats()["tombstones"] == 0


def test_what_is_removed_while_a_merge_runs_stays_removed(index: BlockIndex) -> None:
    index.merge_segments(["a", "b"], "merged")
    index.remove(np.array([7, 8, 1007]))
    index.publish(["merged"], ["a", "b"])
    assert not np.isin([7, 8, 1007], index.ids()).any()
    assert not np.isin([7, 8], index.search(VECTORS[7], 50)[0]).any()
    index.append(np.array([7]), VECTORS[7:8])
    assert 7 not in index.ids()


def test_merging_everything_away_leaves_a_segment_without_rows(index: BlockIndex) -> None:
    index.remove(ids(0, 1000))
    info = index.merge_segments(["a"], "empty")
    assert (info.rows, info.first_id, info.last_id) == (0, 0, -1)
    index.publish(["empty"], ["a"])
    assert index.ids().tolist() == list(range(1000, 2100))
    assert index.search(VECTORS[1500], 1)[0].tolist() == [1500]
    with pytest.raises(NotFound, match="There is no segment a"):
        index.merge_segments(["a"], "again")


def test_equal_rows_give_equal_bytes(index: BlockIndex, tmp_path: Path) -> None:
    order = np.random.default_rng(2).permutation(1000)
    info = index.write_segment("shuffled", order, VECTORS[order])
    assert index.path("shuffled").read_bytes() == index.path("a").read_bytes()
    index.merge_segments(["a"], "copied")
    assert index.path("copied").read_bytes() == index.path("a").read_bytes()
    assert info.digest == Segment.open(index.path("a"), DIMS).info.digest


def test_ids_far_apart_and_negative(tmp_path: Path) -> None:
    wide = np.array([-(1 << 60), -1, 0, 5, 1 << 61], np.int64)
    index = BlockIndex(tmp_path, DIMS)
    index.write_segment("wide", wide, VECTORS[:5])
    index.open(["wide"])
    assert index.ids().tolist() == wide.tolist()
    for number, row in enumerate(VECTORS[:5]):
        assert index.search(row, 1)[0].tolist() == [wide[number]]
        assert index.scores(row, wide)[number] == pytest.approx(1, abs=1e-3)
    assert np.isnan(index.scores(VECTORS[0], np.array([1, 1 << 62]))).all()


def test_a_row_written_again_replaces_the_older_one(index: BlockIndex) -> None:
    index.append(np.array([3, 2003]), VECTORS[2500:2502])
    assert len(index.ids()) == 2100
    assert index.scores(VECTORS[2500], np.array([3]))[0] == pytest.approx(1, abs=1e-3)
    assert index.search(VECTORS[2501], 1)[0].tolist() == [2003]
    index.write_segment("c", ids(990, 1010), VECTORS[2600:2620])
    index.publish(["c"])
    assert len(index.ids()) == 2100
    assert index.search(VECTORS[2605], 1)[0].tolist() == [995]
    assert index.scores(VECTORS[995], np.array([995]))[0] < 0.99


def test_unlisted_files_are_a_crashs_garbage(index: BlockIndex) -> None:
    index.write_segment("waiting", ids(5000, 5010), VECTORS[:10])
    (index.directory / "stray.nsb").write_bytes(b"garbage")
    raw = index.path("b").read_bytes()
    index.path("b").write_bytes(raw[:-1])
    damage = index.open(["a", "b"])
    assert [(d.name, type(d.error)) for d in damage] == [("b", FormatCorrupt)]
    assert [path.name for path in index.unlisted(["b", "waiting"])] == ["stray.nsb"]
    assert [path.name for path in index.unlisted()] == ["b.nsb", "stray.nsb", "waiting.nsb"]
    assert [path.name for path in BlockIndex(index.directory, DIMS).unlisted()] == [
        *("a.nsb", "b.nsb", "stray.nsb", "waiting.nsb")
    ]
    index.publish([], ["b"])
    assert not index.path("b").exists()


def test_a_missing_segment_and_one_of_other_dimensions_are_damage(tmp_path: Path) -> None:
    index = BlockIndex(tmp_path, DIMS)
    index.write_segment("a", ids(0, 3), VECTORS[:3])
    damage = BlockIndex(tmp_path, 16).open(["a", "nowhere"])
    assert [d.name for d in damage] == ["a", "nowhere"]
    assert "32 dimensions, expected 16" in damage[0].error.message
    with pytest.raises(ValueError, match="not a segment name"):
        index.path("../records")


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    index = BlockIndex(tmp_path, 8, BlockParams(blocks=2, learn_rows=1))
    index.write_segment("a", ids(0, 90), clustered(90, 8, seed=3))
    raw = index.path("a").read_bytes()
    for bit in range(0, len(raw) * 8, 31):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        index.path("a").write_bytes(damaged)
        assert [d.name for d in index.open(["a"])] == ["a"], f"bit {bit}"


def test_verify_reads_what_opening_left(index: BlockIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nimad.index.segment._CHECK_ROWS_UP_TO", 0)
    box = Container.open(index.path("b"), "segment", 2, 2)
    raw = bytearray(index.path("b").read_bytes())
    raw[box.regions["rows"].offset + 77] ^= 4
    index.path("b").unlink()
    index.path("b").write_bytes(raw)
    assert index.open(["a", "b"]) == []
    damage = index.verify()
    assert [d.name for d in damage] == ["b"]
    assert "region rows" in damage[0].error.message


def test_a_publish_that_fails_changes_nothing(index: BlockIndex) -> None:
    (index.directory / "bad.nsb").write_bytes(b"not a segment")
    with pytest.raises(FormatCorrupt):
        index.publish(["bad"], ["a"])
    assert index.path("a").exists()
    assert len(index.ids()) == 2100


def mapped(path: Path) -> bool:
    return path.name in Path("/proc/self/maps").read_text()


def test_an_old_views_files_go_with_its_last_reader(index: BlockIndex) -> None:
    view = index._view
    index.merge_segments(["a", "b"], "merged")
    index.publish(["merged"], ["a", "b"])
    index.publish([])
    assert index.path("a").exists(), "deleted and mapped, it would keep a disk read-only"
    assert len(view.ids()) == 2100
    del view
    gc.collect()
    index.publish([])
    assert not index.path("a").exists() and not mapped(index.path("a"))
    assert mapped(index.path("merged"))


def test_readers_see_one_state_while_everything_changes(tmp_path: Path) -> None:
    """Ids 0..999 are always there, wherever they are; no search may miss its own row."""
    index = BlockIndex(tmp_path, DIMS, LEARNED)
    index.append(ids(0, 1000), VECTORS[:1000])
    stop, problems = threading.Event(), []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        while not stop.is_set():
            row = int(rng.integers(0, 1000))
            found, scores = index.search(VECTORS[row], 5)
            if found[0] != row or len(set(found)) != 5 or np.any(np.diff(scores) > 0):
                problems.append((row, found))
            if len(index.scores(VECTORS[row], ids(0, 1000))) != 1000:
                problems.append((row, "scores"))

    with side_by_side(partial(read, seed) for seed in range(3)), setting(stop):
        for turn in range(6):
            for part in range(4):
                mine = ids(part * 250, part * 250 + 250)
                index.write_segment(f"s{turn}-{part}", mine, VECTORS[mine])
                index.publish([f"s{turn}-{part}"], [f"m{turn - 1}"] if part == 3 and turn else [])
                index.trim(mine)
            names = [f"s{turn}-{part}" for part in range(4)]
            index.merge_segments(names, f"m{turn}")
            index.publish([f"m{turn}"], names)
            index.append(ids(2000 + turn, 2001 + turn), VECTORS[2000 + turn : 2001 + turn])
            index.remove(ids(2000 + turn, 2001 + turn))
    assert problems == []
    assert index.ids().tolist() == list(range(1000))
    index.publish([])  # what readers still had
    assert index.unlisted() == []
