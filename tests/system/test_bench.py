"""`nimactl bench` measures a nimad of its own, and leaves nothing behind."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from nimad.ctl import bench
from nimad.ctl.main import main


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "STEP_SECONDS", 0.3)
    monkeypatch.setattr(bench, "REST_SECONDS", 0.0)
    monkeypatch.setattr(bench, "STARTS", 1)
    monkeypatch.setattr(bench, "COMMANDS", 1)
    monkeypatch.setattr(signal, "signal", lambda *_: None)


def test_it_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "card"
    home.mkdir()
    assert main(["bench", "--in", str(home), "--memories", "100"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "|---|---|" and all(line.count("|") == 3 for line in lines)
    assert any("query" in line and " ms |" in line for line in lines)
    assert list(home.iterdir()) == []


def test_figures_for_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "bench", "--in", str(tmp_path), "--memories", "100"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["memories"] >= 100 and found["remember_count"] > 1
    assert found["page_bytes"] % 4096 == 0 and found["start_ms"] > 0
    assert str(tmp_path) not in json.dumps(found)


def test_a_board_that_is_slower_than_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "STEP_SECONDS", 0.0)
    found = bench.timed("query", lambda: None)
    assert found["query_count"] == 2 and found["query_p50_ms"] == found["query_p95_ms"]


def test_it_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "rate_together", interrupt)
    assert main(["bench", "--in", str(tmp_path), "--memories", "100"]) == 130
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--in", str(tmp_path / "none")]) == 64
    assert "cannot be used" in capsys.readouterr().err
