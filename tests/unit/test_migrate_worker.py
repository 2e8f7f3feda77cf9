"""The background thread: moves sources, waits for quiet, tends the store, sleeps, stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nimad.background import worker
from nimad.background.maintenance_job import WordsJob
from nimad.check import check
from nimad.config import Config
from nimad.core import setbacks, words
from nimad.core.store import MemoryStore
from nimad.errors import Busy, DiskFailed, DiskFull
from nimad.migrate import copy_stage
from nimad.migrate.manager import MigrationManager
from nimad.model import Memory
from tests.legacy import stores
from tests.legacy.moving import CALM, attach, opened, status
from tests.pace import slowness
from tests.threads import PATIENCE

Opened = tuple[MemoryStore, MigrationManager]
pytestmark = pytest.mark.usefixtures("at_usual_priority")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return stores.small_store(tmp_path / "graph.sqlite", count=300)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Opened]:
    settings = {"migration__idle_seconds": 0.3, "blocks__flush_rows": 100}
    with opened(tmp_path / "state", **settings) as made:
        made[1]._pipeline._waits = (0.0, 0.01, 0.01, 0.01)
        yield made


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def verified(manager: MigrationManager, name: str = "graph") -> bool:
    return bool(status(manager, name)["state"] == "verified")


def test_words_of_a_large_source_do_not_gather_in_memory(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The migration has the thread, but they come before it; then of many files one is made."""
    monkeypatch.setattr(words, "MOST", 40)
    monkeypatch.setattr(words, "HELD", 3)
    waiting, files = [0], [0]
    settings = {"embedder": "hash", "graph__engine": "none", **CALM}
    with closing(MemoryStore.open(tmp_path / "state", Config().replace(**settings))) as store:
        thread = worker.Worker(lambda: store.config)
        thread.add(WordsJob(store, thread))
        manager = MigrationManager(store, thread)
        real = store.take_in

        def take_in(memories: Sequence[Memory]) -> None:
            real(memories)
            waiting.append(store.terms.waiting)
            files.append(len(store.terms.sealed))

        monkeypatch.setattr(store, "take_in", take_in)
        try:
            attach(manager, source, batch_size=10)
            thread.start()
            until(lambda: verified(manager))
        finally:
            thread.stop()
        assert len(waiting) == 31 and max(waiting) == 40
        assert max(files) == 3, "of more than may be held one is made at once"
        assert store.terms.covered >= 240 and check(store) == []


def test_a_source_moves_in_by_itself(source: Path, here: Opened) -> None:
    store, manager = here
    manager.worker.start()
    attach(manager, source, batch_size=10)
    until(lambda: verified(manager))
    assert store.records.counts()["memories"] == 300


def test_a_source_goes_on_after_a_stop(source: Path, tmp_path: Path) -> None:
    with opened(tmp_path / "state") as (_, manager):
        manager.worker.start()
        attach(manager, source, batch_size=1)
        until(lambda: status(manager, "graph")["copied"] > 3)
        manager.worker.stop()
        assert status(manager, "graph")["state"] == "copying"
    with opened(tmp_path / "state") as (_, manager):
        manager.worker.start()
        until(lambda: verified(manager))


def test_incremental_waits_for_quiet(source: Path, here: Opened) -> None:
    store, manager = here
    quiet, store.config = store.config, store.config.replace(migration__idle_seconds=3600.0)
    manager.worker.start()
    manager.worker.touch()
    attach(manager, source, strategy="incremental")
    end = time.monotonic() + 0.6
    while time.monotonic() < end:
        assert status(manager, "graph")["copied"] == 0
        assert not manager.status()["idle"]
        time.sleep(0.02)
    store.config = quiet
    manager.worker.wake()
    until(lambda: verified(manager))


def test_full_waits_for_nobody(source: Path, here: Opened) -> None:
    _, manager = here
    manager.worker.start()
    attach(manager, source)
    end = time.monotonic() + PATIENCE
    while not verified(manager):
        manager.worker.touch()
        assert time.monotonic() < end
        time.sleep(0.01)


def test_steps_between_two_looks_at_the_gate_are_short(source: Path, here: Opened) -> None:
    store, manager = here
    stores.insert(source, "memory_nodes", [stores.node(key) for key in range(301, 3001)])
    took: list[float] = []
    real = manager._pipeline.advance

    def advance(due: Any) -> None:
        began = time.process_time()
        real(due)
        took.append(time.process_time() - began)

    manager._pipeline.advance = advance  # type: ignore[method-assign]
    before = slowness()
    manager.worker.start()
    attach(manager, source, strategy="incremental")
    until(lambda: verified(manager))
    usual = sorted(took)[len(took) // 2] / max(before, slowness())
    assert len(took) > 20 and usual < 0.15, "50 ms are aimed at"
    assert store.records.counts()["memories"] == 3000


def test_others_come_in_between(source: Path, here: Opened) -> None:
    """Rollback, pause and attach do not wait for the end of a long migration."""
    store, manager = here
    manager.worker.start()
    attach(manager, source, batch_size=1)
    until(lambda: status(manager, "graph")["copied"] > 3)
    assert manager.pause() == ["graph"]
    held = status(manager, "graph")["copied"]
    assert held < 300
    time.sleep(0.1)
    assert status(manager, "graph")["copied"] == held
    manager.resume()
    until(lambda: status(manager, "graph")["copied"] > held)
    manager.rollback("graph")
    assert store.records.counts()["memories"] == 0
    assert status(manager, "graph")["state"] == "rolled_back"


def test_queries_and_remember_go_on_meanwhile(source: Path, here: Opened) -> None:
    store, manager = here
    manager.worker.start()
    attach(manager, source, batch_size=5)
    mine = 0
    while not verified(manager):
        store.remember(Memory(f"said meanwhile, number {mine}"))
        assert store.query("said meanwhile", mode="words").hits
        mine += 1
    assert mine > 0 and store.records.counts()["memories"] == 300 + mine
    assert manager.verify("graph")["ok"]


def test_upkeep_is_done_when_it_is_quiet(here: Opened) -> None:
    store, manager = here
    store.remember_many([Memory(f"note {number}") for number in range(150)])
    assert store.blocks.stats()["hot"] == 150
    manager.worker.start()
    until(lambda: store.blocks.stats()["hot"] == 0 and store.blocks.stats()["segments"] == 1)


def test_a_resting_thread_sleeps(here: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    _, manager = here
    wakes: list[float] = []
    real = worker.Worker._work

    def work(self: worker.Worker) -> float | None:
        wakes.append(time.monotonic())
        return real(self)

    monkeypatch.setattr(worker.Worker, "_work", work)
    manager.worker.start()
    until(lambda: wakes)
    until(lambda: time.monotonic() - wakes[-1] > 1.0)


def fail_first(
    error: BaseException, times: int, monkeypatch: pytest.MonkeyPatch
) -> threading.Event:
    """The commit of a copied batch fails so often; the event tells that it did."""
    failed = threading.Event()
    left = [times]
    real = copy_stage._commit

    def commit(*args: Any) -> Any:
        if left[0]:
            left[0] -= 1
            failed.set()
            raise error
        return real(*args)

    monkeypatch.setattr(copy_stage, "_commit", commit)
    return failed


def test_after_three_failed_batches_it_pauses_and_says_where(
    source: Path, here: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, manager = here
    monkeypatch.setattr(setbacks, "FIRST_PAUSE", 0.05)
    real, attempts = copy_stage._commit, [0]

    def commit(run: Any, of: Any, mapper: Any, page: Any) -> Any:
        if page[-1].key > 40 and attempts[0] < 15:  # three batches of five attempts each
            attempts[0] += 1
            raise DiskFailed(detail="the card is tired")
        return real(run, of, mapper, page)

    monkeypatch.setattr(copy_stage, "_commit", commit)
    manager.worker.start()
    attach(manager, source, batch_size=20)
    until(lambda: status(manager, "graph")["state"] == "paused")
    told = status(manager, "graph")["error"]
    assert "offset 40 of 300" in told and "the card is tired" in told
    assert "nimactl migrate --resume graph" in told and attempts == [15]
    assert status(manager, "graph")["copied"] == 40
    assert manager.resume() == ["graph"]
    until(lambda: verified(manager))
    assert status(manager, "graph")["error"] is None


def test_a_batch_that_succeeds_wipes_the_slate(
    source: Path, here: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, manager = here
    monkeypatch.setattr(setbacks, "FIRST_PAUSE", 0.02)
    real, failures = copy_stage._commit, [0] * 400

    def commit(run: Any, of: Any, mapper: Any, page: Any) -> Any:
        if failures[page[-1].key] < 10:  # each batch fails twice, with all its retries
            failures[page[-1].key] += 1
            raise Busy(detail="locked")
        return real(run, of, mapper, page)

    monkeypatch.setattr(copy_stage, "_commit", commit)
    manager.worker.start()
    attach(manager, source, batch_size=100)
    until(lambda: verified(manager))


def test_what_cannot_pass_stops_it_at_once(
    source: Path, here: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, manager = here
    fail_first(RuntimeError("a bug"), 1, monkeypatch)
    manager.worker.start()
    attach(manager, source)
    until(lambda: status(manager, "graph")["state"] == "failed")
    assert "a bug" in status(manager, "graph")["error"]
    assert manager.resume() == ["graph"]
    until(lambda: verified(manager))
    assert status(manager, "graph")["error"] is None


def test_a_full_disk_is_no_failure(
    source: Path, here: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, manager = here
    monkeypatch.setattr(setbacks, "FIRST_PAUSE", 0.2)
    failed = fail_first(DiskFull(detail="full on purpose"), 7, monkeypatch)
    manager.worker.start()
    attach(manager, source)
    assert failed.wait(PATIENCE)
    until(lambda: verified(manager))


def test_what_waits_for_room_is_tried_more_and_more_seldom_and_alone(
    source: Path, here: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One source has no room for a while: another moves in meanwhile, maintenance goes on."""
    store, manager = here
    monkeypatch.setattr(setbacks, "FIRST_PAUSE", 0.05)
    elsewhere = tmp_path / "elsewhere"  # beside the first one it would be taken for a copy of it
    elsewhere.mkdir()
    other = stores.small_store(elsewhere / "other.sqlite", count=30)
    real, attempts, room = copy_stage._commit, [0], threading.Event()

    def commit(run: Any, of: Any, mapper: Any, page: Any) -> Any:
        if of.name == "graph" and not room.is_set():
            attempts[0] += 1
            raise DiskFull(detail="full on purpose")
        return real(run, of, mapper, page)

    monkeypatch.setattr(copy_stage, "_commit", commit)
    manager.worker.start()
    attach(manager, source)
    until(lambda: attempts[0] > 5)
    assert status(manager, "graph")["state"] == "copying"
    attach(manager, other)
    until(lambda: verified(manager, "other"))
    room.set()
    until(lambda: verified(manager))
    log = (store.state / "migration.log").read_text()
    assert "graph: tried again in 0s" in log and "nimactl migrate --resume" not in log


def test_stopping_does_not_wait_for_a_retry(
    source: Path, here: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, manager = here
    manager._pipeline._waits = (10 * PATIENCE,)
    failed = fail_first(Busy(detail="locked"), 99, monkeypatch)
    manager.worker.start()
    attach(manager, source)
    assert failed.wait(PATIENCE)
    began = time.monotonic()
    manager.worker.stop()
    assert time.monotonic() - began < PATIENCE
    assert status(manager, "graph")["error"] is None
