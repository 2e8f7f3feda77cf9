"""The benchmarks tell the truth: ids, figures, corpus and report, on small sets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import blocks, corpus, report
from tests.vectors import clustered, nearest


def test_given_vectors_are_searched_and_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors, queries = clustered(900, 48, seed=1), clustered(20, 48, seed=2)
    np.save(tmp_path / "v.npy", vectors.astype(np.float16))
    np.save(tmp_path / "q.npy", queries)
    files = ["--vectors", tmp_path / "v.npy", "--queries", tmp_path / "q.npy"]
    given = [*files, "-k", "7", "--out", tmp_path / "ids", "--json"]
    assert blocks.main([str(argument) for argument in given]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert list(figures) == [
        *("n", "p50_ms", "p95_ms", "build_us_per_memory"),
        *("disk_bytes_per_memory", "resident_bytes_per_memory"),
    ]
    assert figures["n"] == 900
    assert 0 < figures["p50_ms"] <= figures["p95_ms"]
    assert 48 + 64 < figures["disk_bytes_per_memory"] < 200
    assert 60 < figures["resident_bytes_per_memory"] < 80
    ids = np.load(tmp_path / "ids")
    assert (ids.dtype, ids.shape) == (np.int64, (20, 7))
    assert corpus.recall(ids, nearest(vectors, queries, 7)) > 0.95


def test_fewer_rows_than_asked_for(tmp_path: Path) -> None:
    found, figures = blocks.measured(clustered(3, 16, seed=1), clustered(2, 16, seed=2), 5)
    assert figures["n"] == 3
    assert np.sort(found, axis=1).tolist() == [[-1, -1, 0, 1, 2]] * 2


def test_a_grown_corpus_is_made_of_new_rows_near_the_old_ones() -> None:
    base = clustered(660, 32, seed=3).astype(np.float16)
    grown = corpus.grown(base, 1500)
    assert np.array_equal(grown[:660], base)
    assert np.array_equal(grown, corpus.grown(base, 1500))
    made = corpus.unit(grown[660:].astype(np.float32))
    likeness = made @ corpus.unit(base.astype(np.float32)).T
    assert np.linalg.norm(grown[660:].astype(np.float32), axis=1) == pytest.approx(1, abs=1e-2)
    assert np.median(likeness.max(axis=1)) > 0.8
    assert np.mean(likeness.max(axis=1) > 0.999) < 0.1
    assert np.array_equal(corpus.grown(base, 10), base[:10])


def test_the_exact_answer_is_exact() -> None:
    vectors, queries = clustered(500, 24, seed=4), clustered(9, 24, seed=5)
    halves = vectors.astype(np.float16)
    truth = nearest(halves.astype(np.float32), queries, 10)
    assert np.array_equal(corpus.exact(halves, queries, 10), truth)
    assert corpus.recall(truth[:, ::-1], truth) == 1
    assert corpus.recall(np.where(truth % 2, truth, -1), truth) == np.mean(truth % 2)


def test_a_report_keeps_what_was_not_measured_anew(tmp_path: Path) -> None:
    def run(size: int, recall: float) -> report.Run:
        row = {"engine": "nimad", "setting": "s", "recall": recall, "p50_ms": 1.5}
        return {"size": size, "corpus": "text", "results": [row], "absent": {"x": "not installed"}}

    (tmp_path / "performance.md").write_text(f"# Mine\n\n{report.BEGIN}\nold\n{report.END}\nend\n")
    report.write([run(10, 0.5), run(200, 0.6)], tmp_path)
    report.write([run(200, 0.7)], tmp_path)
    page = (tmp_path / "performance.md").read_text()
    assert page.startswith("# Mine\n") and page.endswith("end\n") and "old" not in page
    assert page.index("### 10 memories") < page.index("### 200 memories")
    assert "**0.5**" in page and "**0.7**" in page and "0.6" not in page
    assert "Not run: x (not installed)." in page
    assert [run["size"] for run in json.loads((tmp_path / "performance.json").read_text())["runs"]]
