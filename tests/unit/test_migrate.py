"""A source comes in whole, once, and goes again without a trace; whatever is odd in it."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nimad.core.store import MemoryStore
from nimad.errors import (
    Busy,
    DiskFull,
    NimadError,
    NotFound,
    SourceChanged,
    SourceCorrupt,
    SourceUnsupported,
    UsageError,
)
from nimad.legacy.snapshot import take_snapshot
from nimad.legacy.sqlite import LegacyGraph
from nimad.migrate import copy_stage, rollback, snapshots, verification
from nimad.migrate.manager import MigrationManager
from nimad.model import Memory
from nimad.store import sources
from nimad.store.transaction import Transaction
from tests.legacy import stores
from tests.legacy.moving import attach, migrate, opened, status
from tests.pace import measure_pace

Opened = tuple[MemoryStore, MigrationManager]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "agent").mkdir()
    return tmp_path / "agent" / "graph.sqlite"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Opened]:
    with opened(tmp_path / "state") as made:
        yield made


def counts(store: MemoryStore) -> tuple[int, int, int]:
    found = store.records.counts()
    return found["memories"], found["relations"], found["turns"]


# --- coming in ----------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", [1, 3])
def test_everything_comes_in(source: Path, here: Opened, schema: int) -> None:
    store, manager = here
    stores.small_store(source, schema=schema)
    reply = attach(manager, source)
    assert (reply["name"], reply["new"], reply["total"]) == ("graph", True, 30)
    report = reply["report"]
    assert (report["schema"], report["memories"], report["relations"]) == (schema, 30, 20)
    assert report["layers"] == {"contemplation": 10, "input": 10, "output": 10}
    assert status(manager, "graph")["state"] == "attached"
    manager.finish()
    assert counts(store) == (30, 20, 10)
    told = status(manager, "graph")
    assert told["state"] == told["stage"] == "verified"
    assert {told[name] for name in ("total", "copied", "encoded", "linked", "verified")} == {30}
    assert (told["quarantined"], told["error"], told["eta_seconds"]) == (0, None, 0)
    memory = store.query("memory number 17").hits[0].memory
    assert memory.text == "memory number 17" and memory.source == ("graph", 17)
    assert memory.turn == "turn_5" and memory.session == "agent:main:s1"
    assert len(store.blocks.ids()) == 30


def test_batches_do_not_change_what_comes_in(tmp_path: Path, source: Path) -> None:
    stores.small_store(source)
    digests = set()
    for size in (1, 7, 1000):
        with opened(tmp_path / f"state{size}") as (store, manager):
            assert migrate(manager, source, batch_size=size)["batch_size"] == size
            assert counts(store) == (30, 20, 10)
            digests.add(manager.verify("graph")["digest"])
    assert len(digests) == 1


def test_odd_rows(source: Path, here: Opened) -> None:
    store, manager = here
    stores.create(source, loose=True)
    rows = [
        stores.node(1, text="", who=None),
        stores.node(2, text="x" * 3000, layer="dream"),
        stores.node(3, embedding=b"\0\1\2\3", **{'odd "name': "kept"}),
        stores.node(4, text="😀 " * 10, fe_score=7.5),
        stores.node(5, text=b"\xff"),
        stores.node(6, timestamp=None),
    ]
    stores.insert(source, "memory_nodes", rows)
    edges = [(1, 2, "a", 0.5), (1, 999, "b", 1.0), (998, 999, "c", 1.0), (1, 5, "d", None)]
    names = ("source_id", "target_id", "relation", "weight")
    stores.insert(source, "memory_edges", [dict(zip(names, edge, strict=True)) for edge in edges])
    turn = {"turn_id": "t", "input_node_id": 1, "output_node_id": 777, "timestamp": 5}
    stores.insert(source, "memory_turns", [turn])
    told = migrate(manager, source)
    assert told["state"] == "verified" and told["copied"] == 5
    reasons = {(row["kind"], row["key"]): row["reason"] for row in told["quarantine"]}
    assert reasons == {
        ("node", 5): "its text is a BLOB",
        ("edge", 2): "target memory 999 does not exist",
        ("edge", 3): "source memory 998 and target memory 999 do not exist",
        ("edge", 4): "target memory 5 does not exist",
        ("turn", 1): "its output memory 777 cannot be found; the rest is kept",
        ("field embedding", 3): "4 bytes long instead of 1536; kept as it is",
    }
    by_key = {memory.source[1]: memory for memory in store.export(0, 100) if memory.source}
    assert by_key[1].who is None and by_key[1].text == ""
    assert by_key[2].layer == "note" and by_key[2].extra == {"layer": "dream"}
    assert by_key[3].blobs["embedding"] == b"\0\1\2\3"
    assert by_key[3].extra == {'odd "name': "kept"}
    assert by_key[4].importance is None and by_key[4].extra == {"fe_score": 7.5}


def test_turns_of_the_same_name_in_two_sessions(source: Path, here: Opened) -> None:
    store, manager = here
    stores.create(source)
    stores.execute(
        source,
        "ALTER TABLE memory_turns RENAME TO strict; CREATE TABLE memory_turns AS"
        " SELECT * FROM strict; DROP TABLE strict",
    )
    rows = [stores.node(key, turn_id="1", session_key=f"s{(key - 1) // 3}") for key in range(1, 10)]
    stores.insert(source, "memory_nodes", rows)
    turns = [
        {
            "id": number + 1,
            "turn_id": "1",
            "input_node_id": 3 * number + 1,
            "output_node_id": 3 * number + 3,
            "timestamp": 5,
        }
        for number in (0, 1, 1)  # the third session's is missing, the second's is there twice
    ]
    stores.insert(source, "memory_turns", [*turns[:2], {**turns[2], "id": 3}])
    told = migrate(manager, source)
    assert told["state"] == "verified"
    assert [(row["key"], row["reason"]) for row in told["quarantine"]] == [
        (3, "its name is that of turn 2 already")
    ]
    assert counts(store) == (9, 0, 2)
    ids = {memory.source[1]: memory.id for memory in store.export(0, 100) if memory.source}
    for key, fellow in ((1, [3]), (3, [1]), (4, [6]), (6, [4]), (7, []), (2, [])):
        assert [r.memory.source for r in store.related(ids[key])] == [("graph", i) for i in fellow]
    assert manager.verify("graph")["turns"]["identical"] == 2


def test_an_empty_store(source: Path, here: Opened) -> None:
    _, manager = here
    stores.create(source)
    told = migrate(manager, source)
    assert (told["state"], told["total"], told["eta_seconds"]) == ("verified", 0, 0)


def test_extra_columns_of_edges_and_turns_are_kept(source: Path, here: Opened) -> None:
    store, manager = here
    stores.small_store(source)
    stores.execute(
        source,
        "ALTER TABLE memory_edges ADD COLUMN why TEXT; ALTER TABLE memory_turns ADD COLUMN x BLOB;"
        "UPDATE memory_edges SET why = 'because' WHERE id = 1;"
        "UPDATE memory_turns SET x = x'00ff' WHERE id = 2;",
    )
    assert migrate(manager, source)["state"] == "verified"
    kept = store.records.value("SELECT extra FROM relations WHERE source_key = 1")
    assert json.loads(kept) == {"why": "because"}
    kept = store.records.value("SELECT extra FROM turns WHERE source_key = 2")
    assert json.loads(kept) == {"x": {"$blob": "AP8="}}


def test_a_start_offset_leaves_rows_out_until_they_are_asked_for(
    source: Path, here: Opened
) -> None:
    store, manager = here
    stores.small_store(source)
    told = migrate(manager, source, start_offset=12)
    assert (told["state"], told["total"], told["copied"]) == ("verified", 18, 18)
    assert migrate(manager, source)["copied"] == 30
    assert counts(store) == (30, 20, 10)
    with pytest.raises(UsageError, match="fewer"):
        attach(manager, source, start_offset=31)


def test_the_real_stores(tmp_path: Path, legacy_dir: Path) -> None:
    expected = json.loads((legacy_dir / "expected.json").read_text())
    settings = {"embedder": "static", "graph__engine": "ladybug"}
    with opened(tmp_path / "state", **settings) as (store, manager):
        total = 0
        for name in ("graph.sqlite", "graph_v3.sqlite"):
            due = expected[name]
            with measure_pace() as pace:
                told = migrate(manager, legacy_dir / name)
            assert told["state"] == "verified" and pace.seconds < 12
            assert told["verified"] == due["nodes"] and told["turns"] == due["turns"]
            assert told["relations"] == due["edges_valid"]
            found = manager.verify(told["name"])
            assert found["ok"] and found["memories"]["identical"] == due["nodes"]
            assert told["quarantined"] == due["edges_dangling"] + (name == "graph_v3.sqlite")
            total += due["nodes"]
        assert store.records.counts()["memories"] == store.graph.counts()["memories"] == total


# --- again --------------------------------------------------------------------------------------


def test_again_adds_nothing(source: Path, here: Opened) -> None:
    store, manager = here
    stores.small_store(source)
    migrate(manager, source)
    head = store.records.head()
    reply = attach(manager, source)
    assert (reply["new"], reply["report"]["already"]) == (False, 30)
    assert status(manager, "graph")["state"] == "verified"
    manager.finish()
    assert store.records.head() == head and len(list((store.state / "snapshots").iterdir())) == 1


def test_what_came_later_is_picked_up(source: Path, here: Opened) -> None:
    store, manager = here
    stores.small_store(source)
    stores.execute(
        source,
        "INSERT INTO memory_edges(source_id, target_id, relation) VALUES (1, 31, 'later');"
        "UPDATE memory_turns SET output_node_id = NULL WHERE id = 10;",
    )
    assert migrate(manager, source)["quarantined"] == 1
    stores.insert(source, "memory_nodes", [stores.node(31), stores.node(32)])
    stores.execute(
        source,
        "UPDATE memory_turns SET output_node_id = 30 WHERE id = 10;"
        "INSERT INTO memory_edges(source_id, target_id, relation) VALUES (31, 32, 'new');"
        "INSERT INTO memory_turns(turn_id, input_node_id, timestamp) VALUES ('turn_10', 31, 5);"
        "UPDATE memory_nodes SET text = 'rewritten' WHERE id = 5;"
        "DELETE FROM memory_nodes WHERE id = 30;",
    )
    told = migrate(manager, source)
    assert counts(store) == (32, 22, 11)
    assert (told["state"], told["changed"], told["removed"]) == ("verified", 1, 1)
    assert store.get(5).text == "memory number 5" and store.get(30).text == "memory number 30"
    turn = store.records.rows("SELECT output FROM turns WHERE name = 'turn_9'")
    assert turn == [(30,)]
    again = manager.verify("graph")
    assert again["ok"] and (again["changed"], again["removed"]) == (1, 1)
    assert [path.name for path in (store.state / "snapshots").iterdir()] == ["graph.2.sqlite"]


def test_what_was_forgotten_does_not_come_back(source: Path, here: Opened) -> None:
    store, manager = here
    stores.small_store(source)
    migrate(manager, source)
    store.forget([3])
    store.forget([4], purge=True)
    assert manager.verify("graph")["ok"]
    stores.insert(source, "memory_nodes", [stores.node(31)])
    told = migrate(manager, source)
    assert (told["state"], told["forgotten"]) == ("verified", 2)
    assert store.records.counts()["memories"] == 29
    for path in store.state.rglob("*"):
        if path.is_file():
            assert b"memory number 4\x00" not in path.read_bytes()
    snapshot = next((store.state / "snapshots").iterdir())
    connection = sqlite3.connect(snapshot)
    assert connection.execute("SELECT id FROM memory_nodes WHERE id IN (3, 4)").fetchall() == []
    connection.close()


@pytest.mark.parametrize("young", [1, 5, 15, 16, 17])
@pytest.mark.parametrize("home", ["same", "other"])
def test_a_store_that_was_young_is_known_when_it_has_grown(
    here: Opened, tmp_path: Path, young: int, home: str
) -> None:
    """A copy beside it made in its first days, or its former place, holds no memory twice."""
    store, manager = here
    for place, number in (("same", young), (home, 40)):
        (tmp_path / place).mkdir(exist_ok=True)
        path = tmp_path / place / f"{number}.sqlite"
        stores.create(path)
        stores.insert(path, "memory_nodes", [stores.node(n) for n in range(1, number + 1)])
        migrate(manager, path)
    assert counts(store)[0] == 40
    stores.create(tmp_path / "third.sqlite")
    stores.insert(tmp_path / "third.sqlite", "memory_nodes", [stores.node(1, text="another")])
    migrate(manager, tmp_path / "third.sqlite")
    assert counts(store)[0] == 41


def test_a_moved_store_is_known(source: Path, here: Opened, tmp_path: Path) -> None:
    store, manager = here
    stores.small_store(source)
    migrate(manager, source)
    moved = tmp_path / "elsewhere.sqlite"
    source.rename(moved)
    stores.insert(moved, "memory_nodes", [stores.node(31)])
    assert attach(manager, moved)["name"] == "graph"
    manager.finish()
    assert counts(store)[0] == 31 and status(manager, "graph")["path"] == str(moved)


def test_a_new_store_at_an_old_path_is_another_source(source: Path, here: Opened) -> None:
    store, manager = here
    stores.small_store(source)
    migrate(manager, source)
    source.unlink()
    stores.create(source)
    fresh = [stores.node(key, text=f"another life {key}") for key in range(1, 6)]
    stores.insert(source, "memory_nodes", fresh)
    assert migrate(manager, source)["name"] == "graph-2"
    assert counts(store)[0] == 35


def test_a_store_that_only_begins_alike_is_another_source(
    source: Path, here: Opened, tmp_path: Path
) -> None:
    store, manager = here
    stores.small_store(source, count=60)
    migrate(manager, source)
    other = stores.small_store(tmp_path / "other.sqlite", count=30)
    assert migrate(manager, other)["name"] == "other"
    assert counts(store)[0] == 90


def test_names(source: Path, here: Opened, tmp_path: Path) -> None:
    _, manager = here
    stores.small_store(source)
    assert attach(manager, source, name="home")["name"] == "home"
    with pytest.raises(UsageError, match="known already, as home"):
        attach(manager, source, name="work")
    other = stores.small_store(tmp_path / "ünlaut & co.sqlite", count=3)
    with pytest.raises(UsageError, match="belongs to another"):
        attach(manager, other, name="home")
    assert attach(manager, other)["name"] == "ünlaut-co"
    manager.finish()


# --- what is refused ----------------------------------------------------------------------------


def test_a_dry_run_writes_nothing(source: Path, here: Opened) -> None:
    store, manager = here
    stores.small_store(source)
    stores.execute(
        source, "INSERT INTO memory_edges(source_id, target_id, relation) VALUES (1, 99, 'x')"
    )
    before = sorted((path, path.stat().st_mtime_ns) for path in store.state.rglob("*"))
    reply = attach(manager, source, dry_run=True)
    assert (reply["new"], reply["total"]) == (True, 30)
    report = reply["report"]
    assert (report["dangling"], report["relations"]) == (1, 20)
    assert report["refusals"] == [{"kind": "edge", "key": 21, "reason": "memory 99 does not exist"}]
    assert report["batches"] == 1 and report["estimate_seconds"] >= 0
    assert manager.status()["sources"] == []
    left = [path.relative_to(store.state) for path in (store.state / "snapshots").iterdir()]
    assert left == []
    after = sorted((path, path.stat().st_mtime_ns) for path in store.state.rglob("*"))
    changed = {path.name for path, _ in set(after) ^ set(before)}
    assert changed <= {"snapshots"}  # the copy came and went


def test_what_is_handed_over_is_checked(source: Path, here: Opened, tmp_path: Path) -> None:
    store, manager = here
    stores.small_store(source)
    with take_snapshot(source) as taken:
        good = taken.request(strategy="full")
        wrongs: tuple[tuple[dict[str, Any], type[Exception]], ...] = (
            ({"sha256": "0" * 64}, SourceChanged),
            ({"size": 5}, SourceChanged),
            ({"kind": "torch"}, SourceUnsupported),
        )
        for wrong, error in wrongs:
            with pytest.raises(error):
                manager.attach(taken.fd, replace(good, **wrong))
    for kind in (os.pipe()[0], os.open(tmp_path, os.O_RDONLY)):
        with pytest.raises(UsageError):
            manager.attach(kind, good)
    assert manager.status()["sources"] == [] and not list((store.state / "snapshots").iterdir())


def test_what_is_not_asked_for_is_as_configured(source: Path, here: Opened) -> None:
    store, manager = here
    stores.small_store(source)
    store.config = store.config.replace(migration__strategy="lazy", migration__batch_size=7)
    with take_snapshot(source) as taken:
        manager.attach(taken.fd, taken.request())
    told = status(manager, "graph")
    assert (told["strategy"], told["batch_size"]) == ("lazy", 7)


def test_a_damaged_snapshot_is_refused_whole(source: Path, here: Opened) -> None:
    store, manager = here
    stores.small_store(source, count=3000, mode="delete")
    data = bytearray(source.read_bytes())
    data[40 * 4096 : 41 * 4096] = b"\xff" * 4096
    source.write_bytes(data)
    with pytest.raises(SourceCorrupt) as refused:
        attach(manager, source)
    assert refused.value.message.startswith(str(source)), "the file people know, not the copy"
    assert counts(store) == (0, 0, 0) and not list((store.state / "snapshots").iterdir())


def test_no_space_for_the_snapshot(
    source: Path, here: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, manager = here
    stores.small_store(source)
    monkeypatch.setattr(snapshots, "MARGIN_BYTES", 1 << 60)
    with pytest.raises(DiskFull):
        attach(manager, source)
    monkeypatch.undo()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(DiskFull):
        attach(manager, source)
    assert not list((store.state / "snapshots").iterdir())


def test_a_copy_across_file_systems(
    source: Path, here: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, manager = here
    stores.small_store(source, count=3000)

    def elsewhere(*_: object) -> int:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "copy_file_range", elsewhere)
    assert migrate(manager, source)["state"] == "verified"


# --- errors on the way --------------------------------------------------------------------------


def failing(error: BaseException, times: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make the commit of a copied batch fail the first `times` times; sizes of all attempts."""
    sizes: list[int] = []
    real = copy_stage._commit

    def commit(run: Any, source: Any, mapper: Any, page: Any) -> Any:
        sizes.append(len(page))
        if len(sizes) <= times:
            raise error
        return real(run, source, mapper, page)

    monkeypatch.setattr(copy_stage, "_commit", commit)
    return sizes


@pytest.fixture
def patient(here: Opened) -> Opened:
    here[1]._pipeline._waits = (0.0, 0.01, 0.01, 0.01)
    return here


def test_errors_that_pass(source: Path, patient: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    store, manager = patient
    stores.small_store(source)
    failing(Busy(detail="database is locked"), 4, monkeypatch)
    assert migrate(manager, source)["state"] == "verified"
    log = (store.state / "migration.log").read_text()
    assert "[WARN] Batch failed (attempt 4/5)" in log and "Batch succeeded on retry 5" in log
    assert counts(store) == (30, 20, 10)


def test_errors_that_do_not_pass(
    source: Path, patient: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, manager = patient
    stores.small_store(source)
    sizes = failing(ValueError("a bug"), 1, monkeypatch)
    with pytest.raises(ValueError, match="a bug"):
        migrate(manager, source)
    assert len(sizes) == 1 and counts(store) == (0, 0, 0)
    manager.finish()
    assert counts(store) == (30, 20, 10)


def test_too_little_memory_halves_the_batch(
    source: Path, patient: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, manager = patient
    stores.small_store(source)
    sizes = failing(MemoryError(), 4, monkeypatch)
    assert migrate(manager, source, batch_size=16)["state"] == "verified"
    assert sizes[:5] == [16, 8, 4, 2, 1] and set(sizes[5:]) == {1}
    assert counts(store) == (30, 20, 10)


def test_a_graph_that_fails_does_not_hold_the_memories_up(source: Path, tmp_path: Path) -> None:
    from nimad.errors import GraphFailed

    stores.small_store(source)
    with opened(tmp_path / "state", graph__engine="ladybug") as (store, manager):

        def broken(*_: object) -> None:
            raise GraphFailed(detail="broken on purpose")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store.graph, "rebuild", broken)
            assert migrate(manager, source)["state"] == "verified"
        assert store.health.reasons() == {}
        assert store.graph.query("MATCH (m:Memory) RETURN count(*)").rows == [[30]]
    assert "broken on purpose" in (tmp_path / "state" / "migration.log").read_text()


# --- verifying ----------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["full", "incremental", "lazy"])
def test_a_source_that_is_told_whole_is_found(
    source: Path, tmp_path: Path, strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = sources.update
    stores.small_store(source)
    found: list[str] = []
    with opened(tmp_path / "state", graph__engine="ladybug") as (store, manager):

        def look() -> None:
            told = status(manager, "graph")["state"]
            if told in ("verified", "lazy"):
                assert store.query("memory number 17").hits[0].memory.text
                found.append(told)

        def updated(tx: Transaction, *args: Any, **kwargs: Any) -> None:
            update(tx, *args, **kwargs)
            tx.after_commit(look)

        rebuild = store.graph.rebuild
        monkeypatch.setattr(sources, "update", updated)
        monkeypatch.setattr(store.graph, "rebuild", lambda: (look(), rebuild()))
        migrate(manager, source, strategy=strategy)
    assert len(found) >= 2


@pytest.mark.parametrize("least", [1000, 3])
def test_verification_finds_what_was_tampered_with(
    source: Path, here: Opened, monkeypatch: pytest.MonkeyPatch, least: int
) -> None:
    """Also of relations that come in several pages: a tenth of all, and no fewer than `least`."""
    monkeypatch.setattr(verification, "RELATIONS_PAGE", least)
    sizes: list[int] = []
    edges = LegacyGraph.edges

    def noted(self: LegacyGraph, after: int | None, limit: int) -> Any:
        sizes.append(limit)
        return edges(self, after, limit)

    monkeypatch.setattr(LegacyGraph, "edges", noted)
    store, manager = here
    stores.small_store(source)
    migrate(manager, source)
    changes = (
        "UPDATE memories SET affect = 'x' WHERE id = 7",
        "UPDATE memories SET timestamp = timestamp + 1 WHERE id = 8",
        "UPDATE relations SET weight = 0.5 WHERE source_key = 3",
        "DELETE FROM relations WHERE source_key = 4",
        "UPDATE turns SET timestamp = 1 WHERE source_key = 2",
    )
    with store.records.write() as tx:
        for change in changes:
            tx.execute(change)
    sizes.clear()
    found = manager.verify("graph")
    assert sizes == [1000] * 2 or sizes == [3] * 8
    assert not found["ok"]
    assert (found["memories"]["identical"], found["memories"]["differing"]) == (28, 2)
    assert (found["relations"]["differing"], found["relations"]["missing"]) == (1, 1)
    assert found["turns"]["differing"] == 1
    told = {(d["kind"], d["id"], d["field"]): d["detail"] for d in found["differences"]}
    assert told["memory", 7, "affect_json"] == "1 characters here, 13 characters in the source"
    assert ("memory", 8, "timestamp") in told and ("relation", 4, "") in told
    assert len(told) == 5
    with store.records.write() as tx:
        tx.execute("UPDATE memories SET affect = '{\"CARE\": 0.5}' WHERE id = 7")
        tx.execute("UPDATE memories SET timestamp = timestamp - 1 WHERE id = 8")


def test_verification_finds_a_missing_row_and_vector(source: Path, here: Opened) -> None:
    store, manager = here
    stores.small_store(source)
    migrate(manager, source)
    import numpy as np

    store.blocks.remove(np.array([9], np.int64))
    with store.records.write() as tx:
        tx.delete_memories([12])
    store.blocks.remove(np.array([12], np.int64))
    found = manager.verify("graph")
    assert not found["ok"] and found["memories"]["missing"] == 1 and found["vectors_missing"] == 1
    store.remember(Memory("so that the checks at the end have their way"))
    with store.records.write() as tx:
        tx.execute("UPDATE sources SET copied = copied - 1")
        tx.add_hot([(9, np.zeros(store.embedder.dims, np.float16).tobytes())])
    store.semantic.unencoded_ids = [9]
    from nimad.core import maintenance

    maintenance.rebuild(store, "blocks")


def test_a_source_that_fails_its_verification_says_so(
    source: Path, here: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, manager = here
    stores.small_store(source)
    monkeypatch.setattr(verification.Comparison, "_vectors", lambda self: None)
    real = verification.Comparison._compare

    def compare(self: Any, rows: Any) -> None:
        real(self, rows)
        self.findings.memories.differing += 1

    monkeypatch.setattr(verification.Comparison, "_compare", compare)
    attach(manager, source)
    with pytest.raises(NimadError) as caught:
        manager.finish()
    assert caught.value.code == "verify_failed"
    assert status(manager, "graph")["stage"] == "linked"
    monkeypatch.undo()
    manager.finish()
    assert status(manager, "graph")["state"] == "verified"


def test_verbs_that_come_too_early_or_too_late(source: Path, here: Opened) -> None:
    store, manager = here
    for verb in (manager.verify, manager.rollback, manager.forget_backup, manager.status):
        with pytest.raises(NotFound):
            verb("nobody")
    stores.small_store(source)
    attach(manager, source)
    for verb in (manager.verify, manager.forget_backup):
        with pytest.raises(Busy):
            verb("graph")
    manager.finish()
    freed = manager.forget_backup("graph")["freed_bytes"]
    assert freed > 0 and not list((store.state / "snapshots").iterdir())
    for verb in (manager.verify, manager.forget_backup):
        with pytest.raises(NotFound, match="backup"):
            verb("graph")
    stores.insert(source, "memory_nodes", [stores.node(31)])
    assert migrate(manager, source)["state"] == "verified"
    assert store.records.counts()["memories"] == 31


# --- going again --------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["none", "ladybug"])
def test_rollback_removes_exactly_that_source(source: Path, tmp_path: Path, engine: str) -> None:
    stores.small_store(source, count=60)
    other = tmp_path / "other.sqlite"
    stores.create(other)
    stores.insert(other, "memory_nodes", [stores.node(1, text="from elsewhere")])
    with opened(tmp_path / "state", graph__engine=engine) as (store, manager):
        before = store.remember(Memory("remembered before", turn="mine", layer="input"))
        migrate(manager, source)
        migrate(manager, other)
        between = store.remember(Memory("remembered between"))
        removed = manager.rollback("graph")["removed"]
        assert removed == {"memories": 60, "relations": 40, "turns": 20}
        assert counts(store) == (3, 0, 2 if engine == "?" else 1)
        left = [memory.text for memory in store.export(0, 10)]
        assert left == ["remembered before", "from elsewhere", "remembered between"]
        assert store.get(before).turn == "mine" and store.get(between).source is None
        assert not store.query("memory number 17", mode="words").hits
        assert status(manager, "graph")["state"] == "rolled_back"
        assert [p.name for p in (store.state / "snapshots").iterdir()] == ["other.sqlite"]
        assert sorted(store.blocks.ids()) == sorted(store.records.ids())
        with pytest.raises(UsageError, match="already"):
            manager.rollback("graph")
        assert attach(manager, source)["new"]
        manager.finish()
        assert status(manager, "graph")["verified"] == 60 and counts(store)[0] == 63


def test_rollback_in_the_middle(source: Path, here: Opened) -> None:
    store, manager = here
    stores.small_store(source, count=60)
    attach(manager, source, batch_size=10)
    for _ in range(3):
        manager._pipeline.advance(manager_source(manager))
    assert 0 < store.records.counts()["memories"] < 60
    manager.rollback("graph")
    assert counts(store) == (0, 0, 0)


def manager_source(manager: MigrationManager) -> Any:
    return sources.due_sources(manager._store.records)[0]


def test_pause_and_resume(source: Path, here: Opened) -> None:
    _, manager = here
    stores.small_store(source)
    attach(manager, source)
    assert manager.pause() == ["graph"]
    assert status(manager, "graph")["state"] == "paused"
    manager.finish()
    assert status(manager, "graph")["copied"] == 0
    assert manager.resume(["graph"]) == ["graph"]
    manager.finish()
    assert status(manager, "graph")["state"] == "verified"
    assert (manager.pause(), manager.resume()) == ([], [])
    with pytest.raises(NotFound):
        manager.pause(["nobody"])


def test_no_text_in_the_log(source: Path, here: Opened) -> None:
    store, manager = here
    stores.small_store(source)
    migrate(manager, source)
    manager.rollback("graph")
    log = (store.state / "migration.log").read_text()
    assert "memory number" not in log and "Ada" not in log
    assert "Source: 30 nodes" in log and "Success rate: 100.0%" in log


def test_snapshots_without_a_row_are_swept(source: Path, tmp_path: Path) -> None:
    stores.small_store(source)
    with opened(tmp_path / "state") as (_, manager):
        migrate(manager, source)
    stray = tmp_path / "state" / "snapshots" / "stray.sqlite"
    stray.write_bytes(b"left by a crash")
    with opened(tmp_path / "state") as (_, manager):
        assert not stray.exists()
        assert manager.verify("graph")["ok"]


assert rollback.BATCH > 60, "the rollback tests expect one batch"
