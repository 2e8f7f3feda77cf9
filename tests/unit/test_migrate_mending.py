"""The quarantine is listed and tried again; the backup comes back byte for byte."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nimad.check import check
from nimad.core.store import MemoryStore
from nimad.errors import Busy, NotFound, SourceCorrupt, UsageError
from nimad.legacy import mapping
from nimad.migrate.manager import MigrationManager
from tests.legacy import stores
from tests.legacy.moving import attach, migrate, opened, status

Opened = tuple[MemoryStore, MigrationManager]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Opened]:
    with opened(tmp_path / "state") as made:
        yield made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return stores.small_store(tmp_path / "graph.sqlite")


@pytest.fixture
def picky(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A reader that does not know what to make of memories 5 and 17, as an older one may."""
    real = mapping.text_problem
    refused = ("memory number 5", "memory number 17")
    monkeypatch.setattr(
        mapping, "text_problem", lambda value: "not yet" if value in refused else real(value)
    )
    return monkeypatch


def test_rows_come_in_when_they_can_be_read(
    source: Path, here: Opened, picky: pytest.MonkeyPatch
) -> None:
    store, manager = here
    told = migrate(manager, source)
    assert (told["copied"], told["relations"]) == (28, 16)
    listed = manager.quarantine("graph", 0, 100)
    nodes = [row for row in listed["rows"] if row["kind"] == "node"]
    assert nodes == [{"kind": "node", "key": key, "reason": "not yet"} for key in (5, 17)]
    assert listed["total"] == len(listed["rows"]) == told["quarantined"]
    paged = [manager.quarantine("graph", at, 1)["rows"][0] for at in range(listed["total"])]
    assert paged == listed["rows"]

    picky.undo()
    assert manager.retry_quarantined("graph") == {"name": "graph", "retried": listed["total"]}
    with pytest.raises(Busy):
        manager.retry_quarantined("graph")
    manager.finish()
    told = status(manager, "graph")
    assert (told["state"], told["verified"], told["quarantined"]) == ("verified", 30, 0)
    assert store.records.counts() == {"memories": 30, "turns": 10, "relations": 20}
    assert store.query("memory number 17").hits[0].memory.source == ("graph", 17)
    assert manager.verify("graph")["ok"]
    assert check(store) == []


def test_what_still_cannot_be_read_stays_listed(
    source: Path, here: Opened, picky: pytest.MonkeyPatch
) -> None:
    _, manager = here
    before = migrate(manager, source)
    manager.retry_quarantined("graph")
    manager.finish()
    after = status(manager, "graph")
    assert after["quarantine"] == before["quarantine"] and after["copied"] == 28


def test_nothing_to_retry_changes_nothing(source: Path, here: Opened) -> None:
    store, manager = here
    migrate(manager, source)
    head = store.records.head()
    assert manager.retry_quarantined("graph")["retried"] == 0
    assert status(manager, "graph")["state"] == "verified" and store.records.head() == head
    with pytest.raises(NotFound):
        manager.retry_quarantined("other")


def test_without_its_backup_nothing_can_be_retried(
    source: Path, here: Opened, picky: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, manager = here
    migrate(manager, source)
    manager.forget_backup("graph")
    with pytest.raises(NotFound, match="backup"):
        manager.retry_quarantined("graph")
    with (tmp_path / "out").open("w+b") as file, pytest.raises(NotFound, match="backup"):
        manager.restore("graph", file.fileno())


# --- the backup -----------------------------------------------------------------------------------


def test_the_backup_comes_back(source: Path, here: Opened, tmp_path: Path) -> None:
    _, manager = here
    attach(manager, source)
    source.unlink()
    with (tmp_path / "out.sqlite").open("w+b") as file:
        told = manager.restore("graph", file.fileno())
    data = (tmp_path / "out.sqlite").read_bytes()
    assert told["bytes"] == len(data) and told["sha256"] == hashlib.sha256(data).hexdigest()
    with opened(tmp_path / "second") as (other, again):
        assert migrate(again, tmp_path / "out.sqlite")["verified"] == 30
        assert other.records.counts()["relations"] == 20


def test_a_damaged_backup_is_not_passed_off_as_whole(
    source: Path, here: Opened, tmp_path: Path
) -> None:
    store, manager = here
    migrate(manager, source)
    (kept,) = (store.state / "snapshots").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    with (tmp_path / "out").open("w+b") as file, pytest.raises(SourceCorrupt):
        manager.restore("graph", file.fileno())
    assert len(check(store)) == 1  # doctor sees it, too
    kept.write_bytes(whole)


def test_only_an_empty_file_is_written_to(source: Path, here: Opened, tmp_path: Path) -> None:
    _, manager = here
    migrate(manager, source)
    full = tmp_path / "full"
    full.write_bytes(b"precious")
    reading, writing = os.pipe()
    empty = tmp_path / "empty"
    empty.touch()
    with full.open("r+b") as file, empty.open("rb") as readable:
        for fd in (file.fileno(), readable.fileno(), writing):
            with pytest.raises(UsageError, match="empty file"):
                manager.restore("graph", fd)
    os.close(reading)
    os.close(writing)
    assert full.read_bytes() == b"precious"
