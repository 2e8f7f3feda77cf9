"""Lazy sources are found by their words, encoded when somebody finds them, and never twice; warm
memories come first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from nimad.core import maintenance
from nimad.core.store import MemoryStore
from nimad.errors import Degraded
from nimad.migrate import encode_on_hit, encode_stage
from nimad.migrate.manager import MigrationManager
from nimad.store import sources
from tests.legacy import stores
from tests.legacy.moving import attach, migrate, opened, status
from tests.threads import PATIENCE, Background, setting

Opened = tuple[MemoryStore, MigrationManager]
pytestmark = pytest.mark.usefixtures("at_usual_priority")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return stores.small_store(tmp_path / "graph.sqlite", count=60)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Opened]:
    with opened(tmp_path / "state") as made:
        yield made


def held(store: MemoryStore) -> list[int]:
    return [int(number) for number in store.blocks.ids()]


def test_it_is_copied_linked_and_compared_but_not_called_verified(
    source: Path, here: Opened
) -> None:
    store, manager = here
    told = migrate(manager, source, strategy="lazy")
    assert (told["state"], told["copied"], told["encoded"], told["verified"]) == ("lazy", 60, 0, 0)
    assert store.records.counts() == {"memories": 60, "relations": 40, "turns": 20}
    assert held(store) == []
    found = manager.verify("graph")
    assert found["ok"] and found["memories"]["identical"] == 60
    assert (found["vectors_missing"], found["vectors_waiting"]) == (0, 60)


@pytest.mark.parametrize("mode", ["hybrid", "words"])
def test_words_find_what_is_not_encoded_and_get_it_encoded(
    source: Path, here: Opened, mode: str
) -> None:
    store, manager = here
    migrate(manager, source, strategy="lazy")
    (hit, *_) = store.query("memory number 17", 3, mode).hits
    assert hit.memory.text == "memory number 17"
    manager.finish()
    assert len(held(store)) == 3 and hit.memory.id in held(store)
    told = status(manager, "graph")
    assert (told["state"], told["encoded"], told["verified"]) == ("lazy", 3, 3)
    store.get(50)
    store.query("memory number 17", 3, mode)
    manager.finish()
    assert len(held(store)) == 4 == status(manager, "graph")["encoded"]
    assert manager.verify("graph")["vectors_waiting"] == 56


def test_a_hybrid_query_scores_them_as_if_they_were_encoded(source: Path, tmp_path: Path) -> None:
    """Not only found: by words they are compared in meaning, too, before they have a vector."""
    asked = "what was memory number 17 about"
    found = []
    for strategy in ("lazy", "full"):
        with opened(tmp_path / strategy, embedder="static") as (store, manager):
            migrate(manager, source, strategy=strategy)
            assert len(held(store)) == (0 if strategy == "lazy" else 60)
            found.append(store.query(asked, 1).hits[0])
    lazy, full = found
    assert lazy.memory.text == full.memory.text == "memory number 17"
    assert abs(lazy.parts["cosine"] - full.parts["cosine"]) < 0.01
    assert lazy.parts["semantic"] > 0.1


def test_with_the_last_of_them_it_is_verified(source: Path, here: Opened) -> None:
    store, manager = here
    migrate(manager, source, strategy="lazy")
    for number in range(1, 61):
        store.get(number)
    manager.finish()
    told = status(manager, "graph")
    assert (told["state"], told["encoded"], told["verified"]) == ("verified", 60, 60)
    assert manager.verify("graph")["vectors_waiting"] == 0


def test_a_restart_forgets_nothing_that_was_encoded(source: Path, tmp_path: Path) -> None:
    with opened(tmp_path / "state") as (store, manager):
        migrate(manager, source, strategy="lazy")
        store.get(7)
        manager.finish()
    with opened(tmp_path / "state") as (store, manager):
        assert held(store) == [7] and store.semantic.unencoded_ids == []
        assert status(manager, "graph")["encoded"] == 1
        store.get(8)
        manager.finish()
        assert held(store) == [7, 8]


@pytest.mark.parametrize("strategy", ["full", "incremental"])
def test_another_strategy_encodes_the_rest_once(
    source: Path, here: Opened, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    store, manager = here
    migrate(manager, source, strategy="lazy")
    for number in (3, 30, 60):
        store.get(number)
    manager.finish()
    maintenance.finish(store)
    sealed: list[int] = []
    real = encode_stage.segments.seal

    def seal(records: object, index: object, ids: np.ndarray, *rest: object) -> None:
        sealed.extend(ids.tolist())
        real(records, index, ids, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(encode_stage.segments, "seal", seal)
    told = migrate(manager, source, strategy=strategy)
    assert (told["state"], told["encoded"], told["verified"]) == ("verified", 60, 60)
    assert sorted(sealed) == [n for n in range(1, 61) if n not in (3, 30, 60)]
    assert held(store) == list(range(1, 61))


def test_a_rebuild_encodes_all(source: Path, here: Opened) -> None:
    store, manager = here
    migrate(manager, source, strategy="lazy")
    store.get(9)
    manager.finish()
    maintenance.rebuild(store, "blocks")
    told = status(manager, "graph")
    assert (told["state"], told["encoded"], told["verified"]) == ("verified", 60, 60)


def test_what_was_forgotten_is_waited_for_no_longer(source: Path, here: Opened) -> None:
    store, manager = here
    migrate(manager, source, strategy="lazy")
    store.forget(list(range(2, 61)))
    store.get(1)
    manager.finish()
    assert status(manager, "graph")["state"] == "verified"
    assert manager.verify("graph")["ok"] and held(store) == [1]


def test_new_rows_of_a_lazy_source(source: Path, here: Opened) -> None:
    store, manager = here
    migrate(manager, source, strategy="lazy")
    stores.insert(source, "memory_nodes", [stores.node(61, turn_id="t")])
    told = migrate(manager, source, strategy="lazy")
    assert (told["state"], told["copied"], told["encoded"]) == ("lazy", 61, 0)
    assert store.query("memory number 61", 1).hits[0].memory.text == "memory number 61"


def test_a_hit_of_an_incremental_source_comes_to_the_front(source: Path, here: Opened) -> None:
    store, manager = here
    attach(manager, source, strategy="incremental")
    pipeline = manager._pipeline
    while status(manager, "graph")["stage"] == "attached":
        (found,) = sources.all_sources(store.records)
        pipeline.advance(found)
    store.get(2)
    assert manager._encode_on_hit.step() == 1 and held(store) == [2]
    assert status(manager, "graph")["encoded"] == 1
    manager.finish()
    told = status(manager, "graph")
    assert (told["state"], told["encoded"]) == ("verified", 60) and len(held(store)) == 60


def test_the_queue_is_bounded_and_takes_the_latest_first(
    source: Path, here: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, manager = here
    migrate(manager, source, strategy="lazy")
    monkeypatch.setattr(encode_on_hit, "MOST_QUEUED", 10)
    monkeypatch.setattr(encode_on_hit, "STEP_ROWS", 4)
    for number in range(1, 31):
        store.get(number)
    assert manager._encode_on_hit.step() == 4 and held(store) == [27, 28, 29, 30]
    manager.finish()
    assert held(store) == list(range(21, 31))


def test_what_was_found_during_a_merge_waits_for_its_end(source: Path, here: Opened) -> None:
    """Nothing is dropped when `maintenance` is not free, nor when the embedder fails."""
    store, manager = here
    migrate(manager, source, strategy="lazy")
    store.get(7)
    held_back, let_go = threading.Event(), threading.Event()

    def merge() -> None:
        with store.maintenance:
            held_back.set()
            assert let_go.wait(PATIENCE)

    with Background(merge), setting(let_go):
        assert held_back.wait(PATIENCE)
        assert manager._encode_on_hit.step() == 0 and held(store) == []
        due = manager._encode_on_hit.due_in()
        assert due is not None and due > 1, "not tried without a pause"
    assert manager._encode_on_hit.step() == 1 and held(store) == [7]


def test_an_embedder_that_fails_drops_nothing(
    source: Path, here: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, manager = here
    migrate(manager, source, strategy="lazy")
    store.get(7)
    with monkeypatch.context() as patch:
        error = Degraded(part="embedder", detail="away on purpose")
        patch.setattr(store.embedder, "embed", lambda texts: (_ for _ in ()).throw(error))
        with pytest.raises(Degraded):
            manager._encode_on_hit.step()
    manager.finish()
    assert held(store) == [7]


def test_nothing_is_queued_where_nothing_waits(source: Path, here: Opened) -> None:
    store, manager = here
    migrate(manager, source)
    store.get(3)
    assert not manager._encode_on_hit.needed and manager._encode_on_hit.due_in() is None


def test_the_thread_encodes_what_was_found_soon(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode_on_hit, "GATHER_SECONDS", 0.1)
    with opened(tmp_path / "state", migration__idle_seconds=0.0) as (store, manager):
        manager.worker.start()
        attach(manager, source, strategy="lazy")
        wait_for(lambda: status(manager, "graph")["state"] == "lazy")
        store.config = store.config.replace(migration__idle_seconds=3600.0)
        manager.worker.touch()  # far from idle
        store.query("memory number 5", 2)
        wait_for(lambda: len(held(store)) == 2)


def wait_for(done: Callable[[], bool], seconds: float = PATIENCE) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until
        time.sleep(0.02)


# --- what comes first ---------------------------------------------------------------------------


def test_accessed_memories_are_encoded_first(tmp_path: Path, here: Opened) -> None:
    store, manager = here
    path = tmp_path / "graph.sqlite"
    stores.create(path, schema=3)
    accessed = {4: 500, 9: 900, 2: 100}
    rows = [stores.node(n, last_accessed=accessed.get(n, 0)) for n in range(1, 13)]
    stores.insert(path, "memory_nodes", rows)
    migrate(manager, path, strategy="lazy")
    assert encode_stage.warm(store, 1, 0).tolist() == [9, 4, 2]


def test_without_accesses_the_youngest_come_first(source: Path, here: Opened) -> None:
    store, manager = here
    migrate(manager, source, strategy="lazy")
    assert encode_stage.warm(store, 1, 0).tolist() == list(range(60, 45, -1))
    store.get(58)
    manager.finish()
    assert 58 not in encode_stage.warm(store, 1, 0)


def test_small_batches_in_that_order_hold_each_memory_once(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode_stage, "SEGMENT_ROWS", 10)
    with opened(tmp_path / "state") as (store, manager):
        told = migrate(manager, source, strategy="incremental", batch_size=7)
        assert (told["state"], told["encoded"]) == ("verified", 60)
        assert held(store) == list(range(1, 61))
