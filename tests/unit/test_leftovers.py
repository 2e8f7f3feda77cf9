"""Files that an error left in the place of a projection: told, removed in idle time, and before a
purge says that it is done."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nimad.check import check
from nimad.core import maintenance, purge, words
from nimad.core.segments import seal
from nimad.core.store import MemoryStore
from nimad.dense import files as dense_files
from nimad.disk.mapped import remove_file
from nimad.errors import DiskFull
from nimad.index import blocks
from nimad.legacy.sqlite import LegacyGraph
from nimad.model import Memory
from nimad.store.transaction import Transaction
from tests.hypervectors import Rows, episodes
from tests.legacy import stores
from tests.legacy.moving import migrate, opened

PARTS = {"blocks": blocks, "words": words, "dense": dense_files}
"""Each directory, and the module that removes files there."""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryStore]:
    """A store with a file of each part."""
    told = episodes(30, 3000)
    names = [("role", name, row) for name, row in told.roles.items()]
    names += [("filler", name, row) for name, row in told.codebook.items()]
    monkeypatch.setattr(LegacyGraph, "dense", lambda _: Rows(told.vectors, names))
    source = stores.small_store(tmp_path / "graph.sqlite", count=30)
    with opened(tmp_path / "state") as (store, manager):
        migrate(manager, source)
        maintenance.rebuild(store, "words")
        maintenance.finish(store)
        assert all(files(store, part) for part in PARTS)
        yield store


def files(store: MemoryStore, *parts: str) -> set[Path]:
    return {path for part in parts or PARTS for path in (store.state / part).iterdir()}


@contextmanager
def failing(part: str) -> Iterator[None]:
    """No file of a part can be removed."""

    def refuse(path: Path) -> None:
        if path.parent.name == part:
            raise OSError(errno.EIO, "made up", str(path))
        remove_file(path)

    with pytest.MonkeyPatch.context() as patched:
        for module in (PARTS[part], purge):
            patched.setattr(module, "remove_file", refuse)
        yield


@pytest.mark.parametrize("part", PARTS)
def test_a_purge_whose_old_file_stays_is_not_at_its_end(store: MemoryStore, part: str) -> None:
    """The list had changed already: a second look at what is listed finds nothing to do."""
    with failing(part):
        receipt = store.forget([3], purge=True)
        assert not receipt.purged and {*receipt.unfinished} == {part, "leftovers"}
        maintenance.finish(store)
        stray = [path for each in store.projections for path in each.strays()]
        assert [path.parent.name for path in stray] == [part]
        assert store.purge.unfinished() is not None
    for name in ("purge", "leftovers"):
        store.setbacks.clear(name)
    maintenance.finish(store)
    assert store.purge.unfinished() is None
    assert not stray[0].exists()
    assert check(store) == []


def test_a_segment_that_could_not_be_listed_goes_in_idle_time(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(store)
    store.remember_many([Memory(f"later {n}") for n in range(10)])

    def refuse(*_: Any) -> None:
        raise DiskFull(detail="made up")

    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "list_segment", refuse)
        with pytest.raises(DiskFull):
            store.semantic.flush()
    (stray,) = files(store, "blocks") - before
    told = [problem.what for problem in store.semantic.check()]
    assert told == [f"{stray.name} is not listed"]
    assert maintenance.step(store, sparing=True) in (True, False) and stray.exists()
    maintenance.finish(store)
    assert not stray.exists() and check(store) == []
    assert store.semantic.flush() == 10  # their vectors are still there


@pytest.mark.parametrize("part", PARTS)
def test_what_was_half_written_goes_and_foreign_files_stay(store: MemoryStore, part: str) -> None:
    (name, *_) = files(store, part)
    half = name.with_name(name.name + ".tmp")
    mine = [name.with_name("notes.txt"), name.with_name("notes.txt.tmp")]
    for path in (half, *mine):
        path.write_bytes(b"x")
    maintenance.finish(store)
    assert not half.exists() and all(path.exists() for path in mine)


def test_what_is_written_or_listed_is_no_stray(store: MemoryStore) -> None:
    """Segments of an index under way, too, and whatever a seal is about to list."""
    seen: list[set[Path]] = []

    def within(tx: Transaction) -> None:
        seen.append({*store.semantic.strays()})

    ids, rows = store.semantic.index.hot_rows()
    seal(store.records, store.semantic.index, ids, rows, within)
    assert all(not each.strays() for each in store.projections)
    assert len(seen) == 1
