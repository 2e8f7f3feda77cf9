"""The gate, the log and the progress of migrations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nimad.background.idle_conditions import NoRecentRequests
from nimad.migrate import log as log_module
from nimad.migrate.log import MigrationLog, progress_line
from nimad.migrate.run import WEIGHTS, Progress
from nimad.store.sources import COLUMNS, Source


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_gate_opens_after_a_quiet_while() -> None:
    clock = Clock()
    gate = NoRecentRequests(lambda: 3.0, clock)
    assert gate.closed_for() == 0.0
    gate.touch()
    assert gate.closed_for() == 3.0
    clock.now += 2
    assert gate.closed_for() == pytest.approx(1.0)
    gate.touch()
    clock.now += 3
    assert gate.closed_for() == 0.0


def test_lines_have_the_legacy_format(tmp_path: Path) -> None:
    log = MigrationLog(tmp_path / "migration.log", clock=lambda: 1_771_000_000.0)
    log.heading("Migration")
    log.info(progress_line(1, 20, 0.025, 95.4, "graph: 500 of 9770 copied"))
    log.info(progress_line(1, 20, 0.0, None, "graph"))
    log.warn("two\nlines \x1b[31m")
    lines = (tmp_path / "migration.log").read_text().splitlines()
    assert lines[0] == lines[2] == "=" * 60
    pattern = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] \[(INFO|WARN|ERROR)\] "
    assert all(re.match(pattern, line) for line in lines[3:])
    assert lines[3].endswith(
        "[INFO] Batch 1/20 (2.5% complete, ETA: 95s) graph: 500 of 9770 copied"
    )
    assert "ETA: unknown" in lines[4]
    assert lines[5].endswith("[WARN] two?lines ?[31m")


def test_the_log_begins_anew_when_it_is_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "LARGEST", 500)
    log = MigrationLog(tmp_path / "migration.log")
    for number in range(40):
        log.info(f"line {number}")
    assert log.path.stat().st_size < 700
    assert "line 39" in log.path.read_text()
    assert log.path.with_name("migration.log.1").exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_log_that_cannot_be_written_costs_only_lines(tmp_path: Path) -> None:
    MigrationLog(tmp_path / "nowhere" / "migration.log").error("lost")
    assert not list(tmp_path.iterdir())


def source(**fields: object) -> Source:
    values = {**dict.fromkeys(COLUMNS, 0), "stage": "attached", "total": 100, **fields}
    return Source(**values)  # type: ignore[arg-type]


def test_the_share_grows_with_every_stage() -> None:
    progress = Progress()
    assert sum(WEIGHTS.values()) == pytest.approx(1.0)
    ways = [
        source(),
        source(copied=50),
        source(copied=100, stage="copied"),
        source(copied=100, stage="copied", encoded=60),
        source(copied=100, stage="encoded", encoded=100),
        source(copied=100, stage="encoded", encoded=100, linked=30),
        source(copied=100, stage="linked", encoded=100, linked=100),
        source(copied=100, stage="verified", encoded=100, linked=100, verified=100),
    ]
    shares = [progress.share(each) for each in ways]
    assert shares == sorted(set(shares)) and (shares[0], shares[-1]) == (0.0, 1.0)
    progress.ahead["encoded"] = 20
    assert progress.done(ways[3], "encoded") == 80


def test_the_eta_follows_the_pace() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.begin(source())
    assert progress.eta(source()) is None
    clock.now += 10
    encoded = 100 * (0.5 - WEIGHTS["copied"]) / WEIGHTS["encoded"]
    half = source(copied=100, stage="copied", encoded=encoded)
    assert progress.share(half) == pytest.approx(0.5, abs=0.01)
    assert progress.eta(half) == pytest.approx(10.0, rel=0.02)
    assert progress.rows_per_second(half) == pytest.approx(5.0, rel=0.02)
    assert progress.eta(source(stage="verified")) == 0.0


def test_an_empty_source() -> None:
    progress = Progress()
    progress.begin(source(total=0))
    assert progress.share(source(total=0)) == 0.0
    assert progress.share(source(total=0, stage="verified")) == 1.0
