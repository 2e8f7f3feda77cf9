"""A damaged words index is noticed, told, and made anew; nothing is lost meanwhile."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nimad.check import check
from nimad.config import Config
from nimad.core import maintenance, status
from nimad.core.store import MemoryStore
from nimad.errors import DiskFull
from nimad.model import Memory
from tests.legacy import stores
from tests.legacy.moving import migrate, opened

DAMAGE = {
    "pages": "UPDATE words_data SET block = zeroblob(length(block)) WHERE id > 10",
    "lost": "DELETE FROM words_data WHERE id > 10",
    "noise": "UPDATE words_data SET block = randomblob(length(block)) WHERE id > 10",
    "structure": "UPDATE words_data SET block = randomblob(length(block)) WHERE id = 10",
    # counts of segments for which FTS5 finds no memory: SQLite tells NOMEM, not CORRUPT
    "huge": "UPDATE words_data SET block = x'b2b725541252f10e4ee8b3fb' WHERE id = 10",
    "huge level": "UPDATE words_data SET block = x'3596e50a4202255eeeb0f596' WHERE id = 10",
    "emptied": "INSERT INTO words (words) VALUES ('delete-all')",
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    opened = MemoryStore.open(tmp_path / "state", Config())
    opened.remember_many([Memory(f"the heron number {n} stands in the brook") for n in range(40)])
    yield opened
    opened.close()


def damage(store: MemoryStore, how: str) -> None:
    with closing(sqlite3.connect(store.records.path)) as outside:
        outside.execute(DAMAGE[how])
        outside.commit()


def reopened(store: MemoryStore) -> MemoryStore:
    store.close()
    return MemoryStore.open(store.state, store.config)


@pytest.mark.parametrize("how", DAMAGE)
def test_idle_time_finds_and_mends_it(store: MemoryStore, how: str) -> None:
    damage(store, how)
    again = reopened(store)
    maintenance.finish(again)
    assert again.degraded() == {} and check(again) == []
    assert len(again.query("heron", k=50, mode="words").hits) == 40
    again.close()


def test_silent_damage_is_looked_for_again(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    maintenance.finish(store)
    damage(store, "pages")
    maintenance.finish(store)
    if sqlite3.sqlite_version_info < (3, 44):  # it sees nothing wrong; a newer one may
        assert store.query("heron", k=50, mode="words").hits == []
    monkeypatch.setattr("nimad.core.words.time.monotonic", lambda: time.time() + 1e6)
    maintenance.finish(store)
    assert len(store.query("heron", k=50, mode="words").hits) == 40


@pytest.mark.parametrize("how", ["lost", "noise", "structure", "huge", "huge level"])
def test_the_query_that_meets_it_goes_on_and_tells(store: MemoryStore, how: str) -> None:
    maintenance.finish(store)  # what a start looks for was looked for
    damage(store, how)
    answer = store.query("the heron number 7 stands in the brook", k=1)
    assert answer.hits[0].memory.text == "the heron number 7 stands in the brook"
    assert answer.degraded == ["words"] == list(status.describe(store)["degraded"])
    maintenance.finish(store)
    assert store.degraded() == {} and check(store) == []
    assert len(store.query("heron", k=50, mode="words").hits) == 40


@pytest.mark.parametrize("how", ["pages", "lost", "noise", "structure", "huge", "huge level"])
def test_writing_goes_on(store: MemoryStore, how: str) -> None:
    damage(store, how)
    number = store.remember(Memory("a badger in the snow"))
    assert store.query("badger").hits[0].memory.id == number
    store.forget([1, 2], purge=True)
    maintenance.finish(store)
    assert [problem for problem in check(store) if problem.severity == "error"] == []


@pytest.mark.parametrize("how", ["structure", "huge", "huge level"])
def test_forgetting_and_doctor_meet_it(store: MemoryStore, how: str) -> None:
    damage(store, how)
    told = [problem for problem in check(store) if problem.part == "words"]
    assert told[0].severity == "error"
    store.forget([1], purge=True)
    maintenance.finish(store)
    assert store.degraded() == {} and check(store) == []


def test_a_real_lack_of_memory_is_no_damage(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MemoryError), store.records.write():
        raise MemoryError
    assert store.degraded() == {}

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    damage(store, "huge")
    with monkeypatch.context() as full:
        full.setattr("nimad.store.schema.connect", fail)  # not even a connection
        with pytest.raises(MemoryError):
            store.remember(Memory("a badger in the snow"))
    store.remember(Memory("a badger in the snow"))


@pytest.mark.parametrize("how", ["structure", "huge", "huge level"])
def test_a_migration_mends_what_it_meets(tmp_path: Path, how: str) -> None:
    source = stores.small_store(tmp_path / "graph.sqlite")
    with opened(tmp_path / "migrated") as (store, manager):
        store.remember_many([Memory(f"the heron number {n}") for n in range(40)])
        damage(store, how)
        assert migrate(manager, source)["state"] == "verified"
        assert len(store.query("memory", k=50, mode="words").hits) == 30


def test_doctor_tells_and_only_tells(store: MemoryStore) -> None:
    damage(store, "emptied")
    first = [problem for problem in check(store) if problem.part == "words"]
    assert first[0].severity == "error" and list(store.degraded()) == ["words"]
    again = [problem for problem in check(store) if problem.part == "words"]
    assert again[0] == first[0], "nothing was mended by looking"
    maintenance.finish(store)
    assert check(store) == []


def test_doctor_is_not_deceived_by_a_connection_that_looked_before(store: MemoryStore) -> None:
    """SQLite 3.46 calls the words malformed on a connection that checked them before a write."""
    for n in range(8):
        assert check(store) == []
        store.remember(Memory(f"a note {n} about the brook"))


def test_access_counts_survive_a_write_that_fails(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nimad.core.accesses.FLUSH_SECONDS", -1.0)
    store.query("heron number 7", k=1)

    def fail(*_: object) -> None:
        raise DiskFull(detail="on purpose")

    with monkeypatch.context() as broken:
        broken.setattr("nimad.core.accesses.Accesses.written", lambda *_: None)
        broken.setattr("nimad.store.records.Transaction.add_hot", fail)
        with pytest.raises(DiskFull):
            store.remember(Memory("a badger"))
    store.remember(Memory("a badger"))
    assert store.records.value("SELECT sum(access_count) FROM memories") == 1
    store.remember(Memory("an otter"))
    assert store.records.value("SELECT sum(access_count) FROM memories") == 1
