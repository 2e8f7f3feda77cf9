"""A source that is still written to: each row comes in once, what changed is told, nothing large
is written, and the backup stays whole."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from nimad.core.store import MemoryStore
from nimad.errors import SourceChanged, UsageError
from nimad.legacy import source_changes
from nimad.legacy.detect import detect
from nimad.migrate import delta
from nimad.migrate.manager import MigrationManager
from tests.legacy import stores
from tests.legacy.moving import migrate, opened, status

Opened = tuple[MemoryStore, MigrationManager]


class Follower:
    """What nimactl does, without its loop."""

    def __init__(self, manager: MigrationManager, path: Path) -> None:
        self.manager, self.path = manager, path
        self.seen = source_changes.look(path, None).seen

    def send(self, data: bytes, **wrong: Any) -> dict[str, Any]:
        fd = os.memfd_create("delivery")
        try:
            os.write(fd, data)
            digest = hashlib.sha256(data).hexdigest()
            asked: dict[str, Any] = {"name": "graph", "sha256": digest, "size": len(data)}
            return self.manager.append(fd, **{**asked, **wrong})
        finally:
            os.close(fd)

    def deliver(self, confirmed: bool = True) -> dict[str, Any]:
        found = source_changes.look(self.path, self.seen)
        reply = self.send(found.delivery())
        if confirmed:
            self.seen = found.seen
        self.manager.finish()
        return reply


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return stores.small_store(tmp_path / "graph.sqlite", count=30)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Opened]:
    with opened(tmp_path / "state") as made:
        yield made


@pytest.fixture
def follower(source: Path, here: Opened) -> Follower:
    migrate(here[1], source)
    return Follower(here[1], source)


def grow(source: Path, first: int, last: int) -> None:
    """Memories, an edge from each to the next, a turn."""
    stores.insert(source, "memory_nodes", [stores.node(n) for n in range(first, last + 1)])
    edges = [{"source_id": n, "target_id": n + 1, "relation": "later"} for n in range(first, last)]
    stores.insert(source, "memory_edges", edges)
    turn = {"turn_id": f"late_{first}", "input_node_id": first, "timestamp": 5}
    stores.insert(source, "memory_turns", [turn])


def test_what_came_later_comes_in_once(source: Path, here: Opened, follower: Follower) -> None:
    store, manager = here
    (snapshot,) = (store.state / "snapshots").iterdir()
    before = snapshot.read_bytes()
    grow(source, 31, 36)
    assert follower.deliver() == {
        "name": "graph",
        "taken": True,
        "whole": False,
        "rows": {"node": 6, "edge": 5, "turn": 1},
    }
    told = status(manager, "graph")
    assert (told["state"], told["total"], told["copied"], told["encoded"], told["verified"]) == (
        *("verified", 36, 36, 36, 36),
    )
    assert store.records.counts() == {"memories": 36, "relations": 25, "turns": 11}
    assert len(store.blocks.ids()) == 36 and told["followed"]
    assert store.query("memory number 34", 1).hits[0].memory.text == "memory number 34"
    assert snapshot.read_bytes() == before, "nothing large is written again"
    found = manager.verify("graph")
    assert found["ok"] and found["memories"]["identical"] == 36
    assert (found["relations"]["identical"], found["turns"]["identical"]) == (25, 11)


@pytest.mark.slow
@pytest.mark.alone
def test_a_delivery_costs_little_more_than_its_bytes(source: Path, follower: Follower) -> None:
    head = source_changes.look(source, follower.seen).delivery()
    lines = {
        "one value of many": b'["node",99,' + b"[]," * 4_000_000 + b"0]\n",
        "many values": b'["edge",9,1,1,null,null]\n' * 600_000,
        "many keys": b'["gone",1]\n' * 1_500_000,
        "brackets in a text": b'["node",99,"' + b"[" * 2_000_000 + b'"]\n',
    }
    for name, line in lines.items():
        tracemalloc.start()
        with suppress(UsageError):
            assert not follower.send(head + line)["taken"], name
        assert tracemalloc.get_traced_memory()[1] < 140 << 20, name
        tracemalloc.stop()


def test_nothing_new_is_no_difference(source: Path, follower: Follower) -> None:
    found = source_changes.look(source, follower.seen)
    assert not found and found.delivery().count(b"\n") == 1


def test_the_same_delivery_twice_adds_nothing(
    source: Path, here: Opened, follower: Follower
) -> None:
    store, manager = here
    grow(source, 31, 33)
    follower.deliver(confirmed=False)
    head = store.records.head()
    follower.deliver()
    assert store.records.head() == head
    assert status(manager, "graph")["total"] == 33 == store.records.counts()["memories"]
    assert manager.verify("graph")["ok"]


def test_many_small_deliveries(source: Path, here: Opened, follower: Follower) -> None:
    store, manager = here
    for first in range(31, 61, 3):
        grow(source, first, first + 2)
        follower.deliver()
    assert store.records.counts() == {"memories": 60, "relations": 40, "turns": 20}
    assert status(manager, "graph")["verified"] == 60 and manager.verify("graph")["ok"]


def test_changed_and_deleted_rows_are_told(source: Path, here: Opened, follower: Follower) -> None:
    store, manager = here
    stores.execute(
        source,
        "UPDATE memory_nodes SET text = 'rewritten' WHERE id = 5;"
        "DELETE FROM memory_nodes WHERE id = 30;"
        "UPDATE memory_edges SET weight = 0.1 WHERE id = 3;",
    )
    follower.deliver()
    told = status(manager, "graph")
    assert (told["state"], told["changed"], told["removed"]) == ("verified", 1, 1)
    assert store.get(5).text == "memory number 5" and store.get(30).text == "memory number 30"
    assert manager.verify("graph")["ok"]


def test_a_turn_under_way_is_completed(source: Path, here: Opened, follower: Follower) -> None:
    store, manager = here
    grow(source, 31, 31)
    follower.deliver()
    stores.insert(source, "memory_nodes", [stores.node(32)])
    stores.execute(source, "UPDATE memory_turns SET output_node_id = 32 WHERE turn_id = 'late_31'")
    follower.deliver()
    row = store.records.rows("SELECT input, output FROM turns WHERE name = 'late_31'")
    assert row == [(31, 32)] and manager.verify("graph")["ok"]


def test_an_edge_that_waited_for_its_memory(source: Path, here: Opened) -> None:
    _store, manager = here
    stores.execute(
        source,
        "INSERT INTO memory_edges(source_id, target_id, relation) VALUES (1, 31, 'early')",
    )
    assert migrate(manager, source)["quarantined"] == 1
    follower = Follower(manager, source)
    grow(source, 31, 32)
    follower.deliver()
    told = status(manager, "graph")
    assert (told["quarantined"], told["relations"], told["state"]) == (0, 22, "verified")


def test_what_was_forgotten_or_purged_does_not_come_back(
    source: Path, here: Opened, follower: Follower
) -> None:
    store, manager = here
    grow(source, 31, 34)
    follower.deliver()
    store.forget([31])
    store.forget([32], purge=True)
    follower.seen = {
        kind: source_changes.Seen() for kind in source_changes.KINDS
    }  # all of it once more
    follower.deliver()
    assert store.records.counts()["memories"] == 32
    assert manager.verify("graph")["ok"]
    for path in store.state.rglob("*"):
        if path.is_file():
            assert b"memory number 32" not in path.read_bytes()


def test_while_the_first_migration_is_under_way(source: Path, here: Opened) -> None:
    store, manager = here
    from nimad.store import sources
    from tests.legacy.moving import attach

    attach(manager, source, batch_size=7)
    follower = Follower(manager, source)
    (found,) = sources.all_sources(store.records)
    manager._pipeline.advance(found)
    grow(source, 31, 40)
    follower.deliver()
    assert status(manager, "graph")["verified"] == 40 and manager.verify("graph")["ok"]


def test_a_whole_snapshot_takes_the_place_of_what_was_appended(
    source: Path, here: Opened, follower: Follower
) -> None:
    store, manager = here
    grow(source, 31, 40)
    follower.deliver()
    grow(source, 41, 42)
    assert migrate(manager, source)["verified"] == 42
    assert store.records.value("SELECT count(*) FROM later") == 0
    assert store.records.counts()["memories"] == 42
    again = Follower(manager, source)
    grow(source, 43, 43)
    again.deliver()
    assert manager.verify("graph")["memories"]["identical"] == 43


def test_too_much_and_other_columns_ask_for_the_whole(
    source: Path, here: Opened, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = here
    grow(source, 31, 32)
    monkeypatch.setattr(delta, "KEPT_BYTES", 100)
    assert follower.deliver()["whole"]
    stores.execute(source, "ALTER TABLE memory_nodes ADD COLUMN more TEXT")
    reply = follower.deliver()
    assert (reply["taken"], reply["whole"]) == (False, True)
    monkeypatch.setattr(delta, "MOST_BYTES", 10)
    assert not follower.deliver()["taken"]
    assert store.records.counts()["memories"] == 32


def test_rolled_back_means_the_end(source: Path, here: Opened, follower: Follower) -> None:
    store, manager = here
    grow(source, 31, 32)
    follower.deliver()
    manager.rollback("graph")
    assert store.records.value("SELECT count(*) FROM later") == 0
    with pytest.raises(UsageError, match="rolled back"):
        follower.deliver()


BAD: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda data: b"",
    "no JSON": lambda data: data + b"{\n",
    "a key that is none": lambda data: data + b'["gone", "1"]\n',
    "a large key": lambda data: data + b'["gone", 99999999999999999999]\n',
    "too few values": lambda data: data + b'["node", 99, 1]\n',
    "an unknown kind": lambda data: data + b'["soul", 1]\n',
    "a nested value": lambda data: data + b'["edge", 99, 1, 2, [3], 4]\n',
    "half a character": lambda data: data + b'["edge", 99, 1, 2, "\\ud800", 4]\n',
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_delivery_is_refused_whole(
    source: Path, here: Opened, follower: Follower, what: str
) -> None:
    store, _ = here
    grow(source, 31, 32)
    data = source_changes.look(source, follower.seen).delivery()
    head = store.records.head()
    with pytest.raises(UsageError):
        follower.send(BAD[what](data))
    with pytest.raises(SourceChanged):
        follower.send(data, sha256="0" * 64)
    with pytest.raises(UsageError):
        follower.send(data, size=len(data) + 1)
    assert store.records.head() == head


# --- looking --------------------------------------------------------------------------------------


def rows_of(difference: source_changes.Difference) -> tuple[int, int]:
    return difference.rows, difference.gone


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_looking_leaves_the_source_alone(tmp_path: Path, mode: str) -> None:
    path = stores.small_store(tmp_path / "graph.sqlite", mode=mode)
    seen = source_changes.look(path, None).seen
    stores.insert(path, "memory_nodes", [stores.node(31)])
    listing = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert rows_of(source_changes.look(path, seen)) == (1, 0)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == listing
    assert detect(path).kind == "nima-sqlite"


def test_a_live_writer_is_seen_and_not_kept_waiting(tmp_path: Path) -> None:
    path = stores.small_store(tmp_path / "graph.sqlite")
    seen = source_changes.look(path, None).seen
    with stores.writer(path, "add(31); add(32)"):
        before = source_changes.signature(path)
        found = source_changes.look(path, seen)
        assert rows_of(found) == (2, 0)
        connection = sqlite3.connect(path, timeout=30)
        with connection:
            connection.execute("DELETE FROM memory_nodes WHERE id = 4")
        connection.close()
        assert source_changes.signature(path) != before
        assert rows_of(source_changes.look(path, found.seen)) == (0, 1)


def test_a_log_without_its_memory(tmp_path: Path) -> None:
    """What a crash of the whole machine leaves: -wal, but no -shm."""
    path = stores.small_store(tmp_path / "graph.sqlite")
    seen = source_changes.look(path, None).seen
    with stores.writer(path, "add(31)"):
        data = {suffix: Path(f"{path}{suffix}").read_bytes() for suffix in ("", "-wal")}
    other = tmp_path / "copy"
    other.mkdir()
    for suffix, content in data.items():
        (other / f"graph.sqlite{suffix}").write_bytes(content)
    assert rows_of(source_changes.look(other / "graph.sqlite", seen)) == (1, 0)
    assert sorted(p.name for p in other.iterdir()) == ["graph.sqlite", "graph.sqlite-wal"]
