"""The idle gate at work: it closes, says why, is overruled; the thread yields and is lifted; and a
graph that runs out of memory delays nothing but itself."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nimad.background import idle_conditions
from nimad.core.store import MemoryStore
from nimad.errors import Busy, NotFound
from nimad.migrate.manager import MigrationManager
from nimad.probe import heat, priority
from tests.legacy import stores
from tests.legacy.moving import attach, migrate, opened, status
from tests.threads import PATIENCE
from tests.unit.test_migrate_worker import until, verified

Opened = tuple[MemoryStore, MigrationManager]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return stores.small_store(tmp_path / "graph.sqlite", count=300)


@pytest.fixture
def hot(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The temperature of the processor, for the test to set."""
    degrees = [90.0]
    monkeypatch.setattr(heat, "temperature", lambda: degrees[0])
    monkeypatch.setattr(idle_conditions, "OPEN_SECONDS", 0.02)
    monkeypatch.setattr(idle_conditions, "LATEST_SECONDS", 0.1)
    return degrees


@pytest.fixture
def here(tmp_path: Path, hot: list[float]) -> Iterator[Opened]:
    settings = {"migration__idle_seconds": 0, "migration__max_temperature": 75}
    with opened(tmp_path / "state", **settings) as made:
        yield made


def test_a_hot_machine_waits_and_says_why(source: Path, here: Opened, hot: list[float]) -> None:
    _, manager = here
    manager.worker.start()
    attach(manager, source, strategy="incremental")
    time.sleep(0.3)
    told = manager.status()
    assert told["idle"] is False
    assert told["because"] == "processor at 90 °C, over 75 °C"
    assert told["sources"][0]["copied"] == 0
    hot[0] = 50.0
    until(lambda: verified(manager))
    assert manager.status()["because"] is None


def test_now_does_not_wait_and_is_over_when_it_is_done(source: Path, here: Opened) -> None:
    store, manager = here
    manager.worker.start()
    attach(manager, source, strategy="incremental")
    time.sleep(0.1)
    assert status(manager, "graph")["copied"] == 0
    assert manager.now() == ["graph"]
    until(lambda: verified(manager))
    assert status(manager, "graph")["now"] is False
    stores.insert(source, "memory_nodes", [stores.node(301)])
    attach(manager, source, strategy="incremental")
    time.sleep(0.3)
    assert store.records.counts()["memories"] == 300, "the next snapshot waits again"
    manager.now(["graph"])
    until(lambda: store.records.counts()["memories"] == 301 and verified(manager))


def test_now_outlasts_a_restart(source: Path, tmp_path: Path, hot: list[float]) -> None:
    settings = {"migration__max_temperature": 75}
    with opened(tmp_path / "state", **settings) as (_, manager):
        attach(manager, source, strategy="incremental")
        manager.now(["graph"])
    with opened(tmp_path / "state", **settings) as (_, manager):
        assert status(manager, "graph")["now"] is True
        manager.worker.start()
        until(lambda: verified(manager))


def test_now_is_refused_where_nothing_is_due(source: Path, here: Opened) -> None:
    _, manager = here
    assert manager.now() == []
    with pytest.raises(NotFound):
        manager.now(["nobody"])
    attach(manager, source, strategy="incremental")
    manager.pause(["graph"])
    with pytest.raises(Busy, match="graph is due: paused"):
        manager.now(["graph"])
    assert manager.now() == []


# --- priority -------------------------------------------------------------------------------------


def slow_steps(
    manager: MigrationManager, seen: list[tuple[int, int]]
) -> tuple[threading.Event, threading.Event]:
    """Each step notes its policy at its beginning and its end, and takes until it is let go; the
    first event tells that one has begun, the second lets them go."""
    real, begun, let_go = manager._pipeline.advance, threading.Event(), threading.Event()

    def advance(due: Any) -> None:
        before = os.sched_getscheduler(0)
        begun.set()
        assert let_go.wait(PATIENCE)
        seen.append((before, os.sched_getscheduler(0)))
        real(due)

    manager._pipeline.advance = advance  # type: ignore[method-assign]
    return begun, let_go


def test_a_request_lifts_the_step_under_way(source: Path, here: Opened, hot: list[float]) -> None:
    _, manager = here
    hot[0] = 20.0
    seen: list[tuple[int, int]] = []
    begun, let_go = slow_steps(manager, seen)
    manager.worker.start()
    attach(manager, source, strategy="incremental")
    assert begun.wait(PATIENCE)
    manager.worker.touch(watching=True)
    let_go.set()
    until(lambda: verified(manager))
    assert seen[0] == (priority.lowest(), os.SCHED_OTHER), "lifted in the middle"
    assert seen[1][0] == priority.lowest(), "and down again for the next"


def test_full_yields_to_nobody(source: Path, here: Opened) -> None:
    _, manager = here
    seen: list[tuple[int, int]] = []
    slow_steps(manager, seen)[1].set()
    manager.worker.start()
    attach(manager, source, strategy="full")
    until(lambda: verified(manager))
    assert set(seen) == {(os.SCHED_OTHER, os.SCHED_OTHER)}


def test_every_seventh_batch_of_rows_runs_out_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = stores.small_store(tmp_path / "graph.sqlite", count=600)
    from nimad.migrate import copy_stage

    real, calls = copy_stage._commit, [0]

    def sometimes(*given: Any) -> Any:
        calls[0] += 1
        if calls[0] % 7 == 0:
            raise MemoryError
        return real(*given)

    monkeypatch.setattr(copy_stage, "_commit", sometimes)
    with opened(tmp_path / "state") as (store, manager):
        done = migrate(manager, source, batch_size=40)
        assert done["state"] == "verified" and done["copied"] == 600
        assert store.records.counts()["memories"] == 600
    assert "halved: out of memory" in (tmp_path / "state" / "migration.log").read_text()
