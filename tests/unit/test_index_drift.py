"""Drift: merges keep codebooks that fit, learn anew when they do not, and lose no recall."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nimad.index.blocks import BlockIndex, BlockParams
from nimad.index.drift import Fit
from nimad.index.segment import Segment
from tests.vectors import Floats, clustered, nearest, real_vectors

DIMS = 32
# So few rows have no held-out ones: see nimad/index/drift.py.
PARAMS = BlockParams(blocks=10, learn_rows=1000, scan_least=300, relearn_drift=0.2)
# The same directions as the first thousand are around, and others.
LIKE, UNLIKE = clustered(3000, DIMS, seed=1), clustered(1000, DIMS, seed=2)


def cosines(rows: int, seed: int, shift: float = 0) -> np.ndarray:
    made = np.random.default_rng(seed).normal(0.5 - shift, 0.1, rows)
    return made.astype(np.float32)


def test_drift_is_how_many_more_lie_further_off() -> None:
    fit = Fit.of(9000, cosines(5000, 1))
    assert (fit.count, fit.drift) == (0, 0)
    assert fit.plus(cosines(3000, 2)).drift < 0.03
    assert fit.plus(cosines(3000, 3, shift=-0.1)).drift < 0.03  # nearer is no harm
    assert fit.plus(cosines(3000, 4, shift=1)).drift == pytest.approx(0.95)
    small, large = (fit.plus(cosines(3000, 5, shift=s)).drift for s in (0.03, 0.1))
    assert 0.05 < small < 0.2 < large < 0.5
    twice = fit.plus(cosines(1500, 6)).plus(cosines(1500, 7, shift=0.1))
    assert twice.count == 3000
    assert twice.drift == pytest.approx(large / 2, abs=0.03)


def test_what_is_stale() -> None:
    fit = Fit.of(10_000, cosines(5000, 1))
    assert not fit.stale(10_000, 0.03, 0.1)
    assert not fit.stale(5000, 0.03, 0.1)
    assert fit.stale(4999, 0.03, 0.1)  # half of the rows is gone
    same = fit.plus(cosines(1000, 2))
    assert not same.stale(11_000, 0.03, 0.1)
    assert same.plus(cosines(1, 3)).stale(11_000, 0.03, 0.1)  # grown by more than a tenth
    assert fit.plus(cosines(900, 4, shift=0.05)).stale(10_900, 0.03, 0.1)
    few = fit.plus(cosines(20, 4))
    assert few.drift > 0.05
    assert not few.stale(10_020, 0.03, 0.1)  # what chance does to twenty rows


def grown_by(folder: Path, fresh: Floats, params: BlockParams = PARAMS) -> BlockIndex:
    """2,000 rows in a learned segment, and a flat one: not yet merged."""
    index = BlockIndex(folder, DIMS, params)
    index.write_segment("old", np.arange(2000), LIKE[:2000])
    index.write_segment("new", np.arange(2000, 2000 + len(fresh)), fresh)
    assert index.open(["old", "new"]) == []
    return index


def test_a_merge_of_what_fits_keeps_the_codebooks(tmp_path: Path) -> None:
    index = grown_by(tmp_path, LIKE[2000:2150])
    old = Segment.open(index.path("old"), DIMS)
    info = index.merge_segments(["old", "new"], "merged")
    merged = Segment.open(index.path("merged"), DIMS)
    assert (info.rows, info.learned) == (2150, 2000)
    assert merged.info == info
    for part in ("mean", "blocks", "block_start", "cell_codes"):
        assert getattr(merged, part).tobytes() == getattr(old, part).tobytes()
    assert merged.fit is not None and merged.fit.count == 150
    index.publish(["merged"], ["old", "new"])
    found = [index.search(LIKE[row], 1)[0][0] == row for row in range(2150)]
    assert np.mean(found[:2000]) > 0.98
    assert np.mean(found[2000:]) > 0.98  # what was added is where a question looks for it
    again = index.merge_segments(["merged"], "again")
    assert again.digest == info.digest


def test_a_merge_of_the_same_rows_gives_the_same_answers(tmp_path: Path) -> None:
    """Rows that were forgotten and rows of zeros leave: what stays answers with the same bits."""
    index = BlockIndex(tmp_path, DIMS, PARAMS)
    index.write_segment("one", np.arange(2000), LIKE[:2000])
    index.open(["one"])
    asked = [index.search(query, 10) for query in LIKE[2000:2200]]
    whole = index.path("one").read_bytes()
    info = index.merge_segments(["one"], "two")
    assert index.path("two").read_bytes() == whole
    index.publish(["two"], ["one"])
    for query, (ids, scores) in zip(LIKE[2000:2200], asked, strict=True):
        again, same = index.search(query, 10)
        assert again.tolist() == ids.tolist()
        assert same.tobytes() == scores.tobytes()
    assert info.learned == 2000


@pytest.mark.parametrize(
    ("fresh", "params"),
    [
        (UNLIKE[:180], PARAMS),  # other text
        (LIKE[2000:2600], PARAMS),  # more than a quarter
        (LIKE[2000:2150], replace(PARAMS, blocks=12)),  # another form is wanted
    ],
    ids=["drifted", "grown", "reshaped"],
)
def test_a_merge_of_what_does_not_fit_learns_anew(
    tmp_path: Path, fresh: Floats, params: BlockParams
) -> None:
    index = grown_by(tmp_path, fresh)
    index.params = params
    info = index.merge_segments(["old", "new"], "merged")
    assert info.learned == info.rows == 2000 + len(fresh)
    assert info.drift == 0


def test_half_of_the_rows_forgotten(tmp_path: Path) -> None:
    index = grown_by(tmp_path, LIKE[2000:2100])
    index.remove(np.arange(0, 900))
    assert index.merge_segments(["old"], "kept").learned == 2000
    index.remove(np.arange(900, 950))
    assert index.merge_segments(["old", "new"], "still").learned == 2000
    index.remove(np.arange(950, 999))
    index.remove(np.arange(2000, 2100))
    assert index.merge_segments(["old"], "last").learned == 2000
    index.params = replace(PARAMS, learn_rows=500)
    index.remove(np.arange(999, 1100))
    assert index.merge_segments(["old", "new"], "anew").learned == 900
    index.params = replace(PARAMS, learn_rows=5000)
    assert index.merge_segments(["old", "new"], "flat").learned == 0


def test_a_block_that_lost_its_rows_takes_no_new_ones(tmp_path: Path) -> None:
    """Nothing is left to tell the directions of its dimensions."""
    index = grown_by(tmp_path, LIKE[2000:2150], replace(PARAMS, relearn_drift=1))
    segment = Segment.open(index.path("old"), DIMS)
    edges = segment.cell_start[segment.block_start]
    index.remove(segment.ids_at(np.arange(edges[3], edges[4])))
    index.merge_segments(["old"], "bare")
    index.publish(["bare"], ["old"])
    info = index.merge_segments(["bare", "new"], "merged")
    assert info.learned == 2000
    merged = Segment.open(index.path("merged"), DIMS)
    assert merged.cell_start[merged.block_start[3]] == merged.cell_start[merged.block_start[4]]
    index.publish(["merged"], ["bare", "new"])
    assert index.search(LIKE[2100], 1)[0].tolist() == [2100]


def test_text_of_another_kind_is_noticed_and_recall_returns(tmp_path: Path) -> None:
    """A codebook of reference text alone; then chat comes."""
    base, queries = real_vectors()
    chat, questions = base[:1300], queries[:200]
    rows = np.concatenate([base[11_500:], chat])
    ids = np.arange(len(rows))
    first = len(rows) - len(chat)
    params = BlockParams(learn_rows=1000, scan_least=2000, candidates=90)
    truth = nearest(rows, questions, 10)

    def merged(name: str, drift: float) -> tuple[float, int]:
        index = BlockIndex(tmp_path, 384, replace(params, relearn_drift=drift))
        assert index.open(["reference", "chat"]) == []
        info = index.merge_segments(["reference", "chat"], name)
        index.open([name])
        found = [index.search(query, 10)[0] for query in questions]
        hits = [len(set(f) & set(t)) for f, t in zip(found, truth, strict=True)]
        return sum(hits) / truth.size, info.learned

    index = BlockIndex(tmp_path, 384, params)
    index.write_segment("reference", ids[:first], rows[:first])
    index.write_segment("chat", ids[first:], rows[first:])
    directed = int(rows.any(axis=1).sum())
    stale, learned_from = merged("stale", 1.0)
    assert learned_from < directed - 1000
    fresh, learned_from = merged("fresh", params.relearn_drift)
    assert learned_from == directed
    assert fresh >= 0.96
    assert fresh > stale + 0.04


def test_more_text_of_the_same_kind_is_no_drift(tmp_path: Path) -> None:
    base, _ = real_vectors()
    rows = base[np.random.default_rng(1).permutation(len(base))][:27_500]
    index = BlockIndex(tmp_path, 384, BlockParams(learn_rows=20_000))
    index.write_segment("old", np.arange(26_000), rows[:26_000])
    index.write_segment("new", np.arange(26_000, 27_500), rows[26_000:])
    index.open(["old", "new"])
    info = index.merge_segments(["old", "new"], "merged")
    assert info.learned == int(rows[:26_000].any(axis=1).sum())
    assert info.drift < 0.03
