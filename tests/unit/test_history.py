"""A few figures a day: written once a day at most, bounded, merged, and drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from nimad.config import Config
from nimad.core import history, maintenance
from nimad.core.history import KEY, LONGEST
from nimad.core.store import MemoryStore
from nimad.ctl.chart import chart, resampled
from nimad.ctl.screen import Screen
from nimad.ctl.service_commands import show_history
from nimad.model import Memory, now_ms

DAY = 86_400_000
NOW = now_ms()
CONFIG = Config().replace(embedder="hash", graph__engine="none")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    made = MemoryStore.open(tmp_path / "s", CONFIG)
    yield made
    made.close()


def at(store: MemoryStore, days: float) -> str:
    """Set the clock that many days ahead; that day."""
    now = NOW + int(days * DAY)
    store.clock.now = lambda: now  # type: ignore[misc]
    return date.fromtimestamp(0).fromordinal(date(1970, 1, 1).toordinal() + now // DAY).isoformat()


def written(store: MemoryStore) -> list[Any]:
    found: list[Any] = json.loads(store.records.meta(KEY) or "[]")
    return found


def test_a_day_is_written_once_when_it_is_over(store: MemoryStore) -> None:
    first = at(store, 0)
    store.remember(Memory("The kettle leaks."))
    for took in [2.0] * 90 + [50.0] * 10:
        store.history.note(took)
    maintenance.finish(store)
    assert written(store) == []
    (today,) = store.history.days()
    assert (today["day"], today["memories"], today["queries"]) == (first, 1, 100)
    assert today["median_ms"] == pytest.approx(2, rel=0.1)
    assert today["slow_ms"] == pytest.approx(50, rel=0.1)
    second = at(store, 1)
    store.history.note(1.0)
    head = len(written(store))
    for _ in range(3):
        store.history.follow()
    assert head == 0 and [day[0] for day in written(store)] == [first]
    assert [day["day"] for day in store.history.days()] == [first, second]


def test_the_parts_of_a_day_are_one_day(tmp_path: Path) -> None:
    for n in range(3):
        store = MemoryStore.open(tmp_path / "s", CONFIG)
        day = at(store, 0)
        store.remember(Memory(f"kettle {n}"))
        for _ in range(10):
            store.history.note(1.0 + n)
        store.close()
    store = MemoryStore.open(tmp_path / "s", CONFIG)
    (only,) = written(store)
    assert only[0] == day and only[3] == 30 and only[1] == 3
    assert only[4] == pytest.approx(2, rel=0.1)
    store.close()
    store = MemoryStore.open(tmp_path / "s", CONFIG)
    assert written(store) == [only]
    store.close()


def test_it_is_bounded_and_has_nothing_of_a_memory(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 30
    monkeypatch.setattr(history, "LONGEST", most)
    store.remember(Memory("zyxgnu", who="zyxgnu", namespace="zyxgnu"))
    for n in range(most + 20):
        at(store, n)
        store.history.note(1.0)
        store.history.follow()
    days = written(store)
    assert len(days) == most and days == sorted(days)
    assert "zyxgnu" not in str(store.records.meta(KEY))
    assert len(str(store.records.meta(KEY))) < 50 * most and most < LONGEST == 400


def test_a_clock_that_is_not_set_writes_nothing(store: MemoryStore) -> None:
    store.clock.now = lambda: 1000  # type: ignore[misc]
    store.history.note(1.0)
    store.history.follow()
    store.history.save()
    assert written(store) == []


@pytest.mark.parametrize(
    ("values", "width", "height", "lines"),
    [
        ([0, 1, 2, 4, 8], 10, 1, [" ▁▂▄█"]),
        ([1, None, 8], 10, 1, ["▁ █"]),
        ([0, 8, 16], 10, 2, ["  █", " ██"]),
        ([1, 1, 3, 3], 2, 1, ["▃█"]),
        ([], 10, 1, [""]),
        ([None, 0], 10, 1, ["  "]),
    ],
)
def test_charts(values: list[float | None], width: int, height: int, lines: list[str]) -> None:
    assert chart(values, width, height) == lines


def test_more_days_than_columns_are_means_of_neighbours() -> None:
    assert len(resampled(list(range(400)), 60)) <= 60
    assert resampled([1, None, 3], 1) == [2]


def test_the_days_are_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    days = [
        {
            "day": f"2026-11-{n:02}",
            "memories": 100 * n,
            "bytes": 5000,
            "queries": n % 3,
            "median_ms": 2.0 if n % 3 else None,
            "slow_ms": 9.0 if n % 3 else None,
        }
        for n in (1, 2, 3, 5, 9)
    ]
    assert show_history(Screen(), days) == 0
    shown = capsys.readouterr().out
    assert "100 to 900" in shown and "2026-11-01 to 2026-11-09" in shown
    assert "0 a day to 2 a day" in shown and "2 ms" in shown and "9 ms" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert show_history(Screen(), []) == 0
    assert "nothing is known" in capsys.readouterr().out
