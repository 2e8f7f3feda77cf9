"""A purge whose steps fail: the others are done, what is left is told and tried again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from nimad.check import check
from nimad.core import maintenance, status
from nimad.core.store import MemoryStore
from nimad.disk import durable
from nimad.errors import DiskFull
from nimad.migrate.manager import MigrationManager
from nimad.model import Memory
from nimad.store import sources
from tests.legacy import stores
from tests.legacy.moving import migrate, opened

SECRET = "memory number 17"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[tuple[MemoryStore, MigrationManager, Path]]:
    """A store with a migrated source of 30 memories, and its snapshot."""
    (tmp_path / "agent").mkdir()
    source = tmp_path / "agent" / "graph.sqlite"
    stores.small_store(source)
    with opened(tmp_path / "state") as (store, manager):
        migrate(manager, source)
        (name,) = [each.snapshot for each in sources.all_sources(store.records)]
        assert name is not None
        yield store, manager, store.state / "snapshots" / name


def purge_secret(store: MemoryStore) -> dict[str, str]:
    found = store.query(SECRET).hits[0].memory
    assert found.text == SECRET
    return store.forget([found.id], purge=True).unfinished


def traces(store: MemoryStore) -> list[str]:
    """Files that still hold the text."""
    files = [path for path in store.state.rglob("*") if path.is_file()]
    return [path.name for path in files if SECRET.encode() in path.read_bytes()]


def test_a_snapshot_that_sqlite_cannot_read_is_deleted(
    here: tuple[MemoryStore, MigrationManager, Path],
) -> None:
    store, _, snapshot = here
    raw = bytearray(snapshot.read_bytes())
    raw[4096:] = b"\xa5" * (len(raw) - 4096)
    snapshot.write_bytes(raw + SECRET.encode())
    assert purge_secret(store) == {}
    assert not snapshot.exists() and traces(store) == []
    assert status.describe(store)["waiting"] == {}
    maintenance.finish(store)
    assert store.setbacks.reasons() == {}


def test_names_in_a_hostile_snapshot_are_quoted(
    here: tuple[MemoryStore, MigrationManager, Path],
) -> None:
    store, _, snapshot = here
    snapshot.chmod(0o600)
    with closing(sqlite3.connect(snapshot)) as database:
        database.execute(
            'CREATE TRIGGER "a""b" BEFORE DELETE ON memory_nodes'
            " BEGIN SELECT RAISE(FAIL, 'no'); END"
        )
    assert purge_secret(store) == {}
    assert snapshot.exists() and traces(store) == []
    with closing(sqlite3.connect(snapshot)) as database:
        assert database.execute("SELECT count(*) FROM memory_nodes").fetchone() == (29,)


def test_a_step_that_fails_is_tried_again_and_stops_nothing(
    here: tuple[MemoryStore, MigrationManager, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _, snapshot = here
    (store.state / "aside" / "old").write_text(SECRET)
    steps: list[str] = []
    for projection in store.projections:
        name, real = projection.name, projection.scrub
        noted = partial(steps.append, name)
        monkeypatch.setattr(
            projection, "scrub", lambda note, noted=noted, real=real: noted() or real(note)
        )
    with monkeypatch.context() as broken:
        broken.setattr(
            "nimad.core.purge.scrub_snapshot",
            lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")),
        )
        left = purge_secret(store)
    assert list(left) == ["snapshots"] and "No space left" in left["snapshots"]
    assert set(steps) == {projection.name for projection in store.projections}
    assert traces(store) == [snapshot.name], "everything else was scrubbed"
    assert not (store.state / "aside" / "old").exists()
    told = status.describe(store)["waiting"]["purge"]
    assert told == "traces of 1 memories are still to be removed"
    assert [p for p in check(store) if p.part == "maintenance" and "purge" in p.what]
    steps.clear()
    maintenance.finish(store)
    assert traces(store) == [] and steps == [], "only what had failed is done again"
    assert status.describe(store)["waiting"] == {}


@pytest.mark.parametrize("part", ["words", "blocks", "graph", "dense", "columns"])
def test_each_part_may_fail_once(
    here: tuple[MemoryStore, MigrationManager, Path], monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    store, _, _ = here
    (projection,) = [each for each in store.projections if each.name == part]

    def fail(note: object) -> None:
        raise DiskFull(detail="on purpose")

    with monkeypatch.context() as broken:
        broken.setattr(projection, "scrub", fail)
        assert list(purge_secret(store)) == [part]
        maintenance.finish(store)
        assert "on purpose" in store.setbacks.reasons()["purge"]
    assert store.query("memory number 3").hits, "the daemon goes on"
    store.setbacks.clear()  # a minute later
    maintenance.finish(store)
    assert traces(store) == [] and store.purge.unfinished() is None


def test_a_second_purge_does_all_steps_for_both(
    here: tuple[MemoryStore, MigrationManager, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _, _ = here
    with monkeypatch.context() as broken:
        broken.setattr(
            store.words, "scrub", lambda note: (_ for _ in ()).throw(DiskFull(detail="full"))
        )
        assert list(purge_secret(store)) == ["words"]
    other = store.remember(Memory("the heron stands in the brook"))
    assert store.forget([other], purge=True).unfinished == {}
    assert traces(store) == [] and store.purge.unfinished() is None
    assert durable.size_of(store.state / "records.sqlite-wal") < 100_000
