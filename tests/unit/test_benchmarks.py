"""The benchmarks tell the truth: ids, figures, corpus and report, on small sets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.benchmarks import acceptance, blocks, corpus, report
from tests.benchmarks.life import life
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


@pytest.mark.parametrize(
    ("vectors", "queries", "said"),
    [
        ([[1, 2], [3, np.nan]], [[1, 2]], "--vectors: row 1 of .* is not finite"),
        ([[1, 2]], [[np.inf, 2]], "--queries: row 0 of .* is not finite"),
        ([[1, 2]], [[1, 2, 3]], "2 and 3 dimensions"),
        ([1, 2], [[1, 2]], r"is float32\[2\], not float\[n, d\]"),
        (np.ones((2, 1025)), [[1, 2]], "1025 dimensions, 1 to 1024 are possible"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], vectors: Any, queries: Any, said: str
) -> None:
    np.save(tmp_path / "v.npy", np.array(vectors, np.float32))
    np.save(tmp_path / "q.npy", np.array(queries, np.float32))
    given = ["--vectors", str(tmp_path / "v.npy"), "--queries", str(tmp_path / "q.npy")]
    with pytest.raises(SystemExit) as refusal:
        blocks.main(given)
    assert refusal.value.code == 2
    assert re.search(said, capsys.readouterr().err)


def test_the_life_of_an_index_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.benchmarks.life.ASK_SECONDS", 0.2)
    vectors, queries = clustered(2500, 32, seed=6), clustered(70, 32, seed=7)
    np.save(tmp_path / "rows.npy", vectors.astype(np.float16))
    np.save(tmp_path / "queries.npy", queries)
    (tmp_path / "index").mkdir()
    blocks.built(tmp_path / "index", vectors.astype(np.float16))
    figures = life(tmp_path)
    assert figures["same_bits"] is True
    assert figures["filter_recall"] > 0.95
    assert 2500 * 64 < figures["touched_bytes"] < 2500 * 64 + 40_000
    assert 0 < figures["plain_ms"] < 10 and 0 < figures["first_filter_ms"] < 10
    assert figures["merge_us"] > 0 and figures["merge_bytes"] >= 0
    assert figures["kept_merge_us"] is None  # so few rows have no codebooks


def a_run(**changes: Any) -> report.Run:
    figures = {
        "recall": 0.97,
        "recall_chat": 0.99,
        "p50_ms": 0.1,
        "p95_ms": 0.12,
        "add_us": 9.0,
        "disk_bytes": 458.0,
        "cold_faults": 12.0,
        "cold_bytes": 50_000,
    }
    own = {"engine": "nimad", "setting": "as shipped", **figures, **changes}
    peer = {"engine": "hnswlib M16", "setting": "ef=64", "recall": 0.982, "p50_ms": 0.2}
    loose = {"engine": "faiss HNSW16", "setting": "ef=16", "recall": 0.9, "p50_ms": 0.01}
    brute = {"engine": "numpy", "setting": "float32", "recall": 1.0, "p50_ms": 8.0}
    return {"size": 100_000, "corpus": "text", "results": [own, peer, loose, brute], "absent": {}}


def test_bars_are_compared_with_what_was_measured() -> None:
    made = acceptance.lines(a_run())
    assert all(line["passed"] for line in made)
    compared = next(line for line in made if "hnswlib" in line["what"])
    assert (compared["found"], compared["bar"]) == ("0.5", "at most 1")
    missed = {
        "recall@10, all questions": {"recall": 0.95},
        "recall@10, chat": {"recall_chat": 0.98},
        "p95 / p50": {"p95_ms": 0.16},
        "p50 / that of": {"p50_ms": 0.21},
        "times faster than numpy": {"p50_ms": 0.5},
        "on disk": {"disk_bytes": 461},
        "add": {"add_us": 16},
        "page faults": {"cold_faults": 81},
        "read then": {"cold_bytes": 410_000},
    }
    for what, change in missed.items():
        failed = [line["what"] for line in acceptance.lines(a_run(**change)) if not line["passed"]]
        assert any(name.startswith(what) for name in failed), what
    assert "**FAIL**" in acceptance.table(acceptance.lines(a_run(recall=0.5)))
    assert "**FAIL**" not in acceptance.table(made)


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
    def run(size: int, recall: float, *engines: str) -> report.Run:
        row = {"setting": "s", "recall": recall, "p50_ms": 1.5}
        results = [{"engine": engine, **row} for engine in ("nimad", *engines)]
        bars = [{"what": "recall", "found": str(recall), "bar": "at least 1", "passed": False}]
        absent = {"x": "not installed"}
        return {
            "size": size,
            "corpus": "text",
            "results": results,
            "absent": absent,
            "acceptance": bars,
        }

    (tmp_path / "performance.md").write_text(f"# Mine\n\n{report.BEGIN}\nold\n{report.END}\nend\n")
    report.write([run(10, 0.5), run(200, 0.6, "peer")], tmp_path)
    report.write([run(200, 0.7)], tmp_path)
    page = (tmp_path / "performance.md").read_text()
    assert page.startswith("# Mine\n") and page.endswith("end\n") and "old" not in page
    assert page.index("### 10 memories") < page.index("### 200 memories")
    assert "**0.5**" in page and "**0.7**" in page and "**0.6**" not in page
    assert "| peer | s | 0.6 |" in page and "From an earlier run: peer." in page
    assert "### Bars at 200 memories: 1 of 1 bars missed" in page
    assert "Not run: x (not installed)." in page
    assert [run["size"] for run in json.loads((tmp_path / "performance.json").read_text())["runs"]]
