"""Hypervectors of a source come in compact, are searched, unbound, and go with their memories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nimad.check import check
from nimad.core import maintenance
from nimad.core.store import MemoryStore
from nimad.errors import NoHypervector, NotFound
from nimad.legacy.sqlite import LegacyGraph
from nimad.migrate import hypervector_stage
from nimad.migrate.manager import MigrationManager
from nimad.model import Memory
from nimad.store import hypervector_files, phi_rows
from tests.hypervectors import Episodes, Rows, episodes, neighbours, sparse_rows
from tests.legacy import stores
from tests.legacy.moving import attach, migrate, opened, status

COUNT, DIMENSION = 60, 3000
Opened = tuple[MemoryStore, MigrationManager]


@pytest.fixture(scope="module")
def told() -> Episodes:
    return episodes(COUNT, DIMENSION)


def reader(told: Episodes) -> Rows:
    names = [("role", name, row) for name, row in told.roles.items()]
    names += [("filler", name, row) for name, row in told.codebook.items()]
    return Rows(told.vectors, names)


@pytest.fixture
def rows(told: Episodes, monkeypatch: pytest.MonkeyPatch) -> Rows:
    """The graph database of the test has these hypervectors, as a checkpoint would."""
    made = reader(told)
    monkeypatch.setattr(LegacyGraph, "dense", lambda _: made)
    return made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "agent").mkdir()
    return stores.small_store(tmp_path / "agent" / "graph.sqlite", count=COUNT)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Opened]:
    with opened(tmp_path / "state", embedder="hash", graph__engine="none") as made:
        yield made


def key_of(store: MemoryStore, key: int) -> int:
    sql = "SELECT id FROM memories WHERE source_key = ?"
    return int(store.records.value(sql, (key,)))


def files(store: MemoryStore) -> list[str]:
    return sorted(path.name for path in (store.state / "dense").iterdir())


def test_they_come_in_with_the_memories(source: Path, here: Opened, rows: Rows) -> None:
    store, manager = here
    migrate(manager, source)
    shown = status(manager, "graph")
    assert (shown["state"], shown["converted"], shown["total_dense"]) == ("verified", COUNT, COUNT)
    found = manager.verify("graph")
    assert found["ok"] and found["hypervectors"]["identical"] == COUNT
    assert "60 hypervectors of 3000 dimensions converted" in (
        store.state / "migration.log"
    ).read_text(encoding="utf-8")
    listed = hypervector_files.files(store.records)
    assert {file.kind for file in listed} >= {"rows", "items"}
    assert len(listed) == len(files(store))
    whole = rows.vectors.nbytes + sum(row.nbytes for _, _, row in rows.names)
    assert whole / sum(file.bytes for file in listed) > 7


def test_the_nearest_are_those_of_the_dense_vectors(source: Path, here: Opened, rows: Rows) -> None:
    store, manager = here
    migrate(manager, source)
    truth = neighbours(rows.vectors)
    ids = [key_of(store, key) for key in rows.keys().tolist()]
    hits = 0
    for place, number in enumerate(ids):
        answer = store.similar(number, 10, dense=True)
        assert len(answer.hits) == 10 and number not in [hit.memory.id for hit in answer.hits]
        hits += len({hit.memory.id for hit in answer.hits} & {ids[i] for i in truth[place]})
        score = float(rows.vectors[place] @ rows.vectors[ids.index(answer.hits[0].memory.id)])
        assert answer.hits[0].score == pytest.approx(score, abs=0.04)
    assert hits / (10 * COUNT) > 0.85


def test_roles_are_unbound(source: Path, here: Opened, rows: Rows, told: Episodes) -> None:
    store, manager = here
    migrate(manager, source)
    right = total = 0
    for place, fillers in enumerate(told.fillers):
        for role, filler in fillers.items():
            found = store.dense.unbind(key_of(store, place + 1), role, 3)
            assert len(found) == 3 and found[0][1] > found[1][1]
            right, total = right + (found[0][0] == filler), total + 1
    assert right / total > 0.98
    with pytest.raises(NotFound, match="role"):
        store.dense.unbind(key_of(store, 1), "WHY")


def test_phi_of_before_goes_when_a_hypervector_comes(
    source: Path, here: Opened, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, manager = here
    other = store.remember(Memory(text="by hand"))
    sealed = store.dense.seal

    def measured(source: int, kind: str, *given: Any) -> None:
        ids = store.records.ids().tolist() if kind == "rows" else []
        with store.records.write() as tx:
            phi_rows.keep(tx, [phi_rows.PhiRow(number, 0.5, 0.0, 0.5) for number in ids], 1)
        sealed(source, kind, *given)

    monkeypatch.setattr(store.dense, "seal", measured)
    migrate(manager, source)
    left = {row.memory for row in phi_rows.highest(store.records, 1, 1000)}
    assert other in left and len(left) == 1


def test_without_a_hypervector_the_error_says_so(source: Path, here: Opened, rows: Rows) -> None:
    store, manager = here
    other = store.remember(Memory(text="by hand"))
    migrate(manager, source)
    with pytest.raises(NoHypervector) as raised:
        store.similar(other, dense=True)
    assert str(other) in raised.value.message and raised.value.exit == 1
    with pytest.raises(NotFound):
        store.similar(99_999, dense=True)


def test_it_goes_on_where_it_stopped(
    source: Path, here: Opened, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, manager = here
    monkeypatch.setattr(hypervector_stage, "FILE_BYTES", 20_000)
    monkeypatch.setattr(hypervector_stage, "STEP_VALUES", 4 * DIMENSION)
    attach(manager, source)
    sealed = store.dense.seal
    seen = 0

    def failing(*given: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            raise NotFound(kind="luck", id=1)
        sealed(*given)

    monkeypatch.setattr(store.dense, "seal", failing)
    with pytest.raises(NotFound, match="luck"):
        manager.finish()
    assert 0 < status(manager, "graph")["converted"] < COUNT
    assert rows.asked < 4 * COUNT
    manager.finish()
    assert status(manager, "graph")["converted"] == COUNT
    assert status(manager, "graph")["state"] == "verified"
    assert len(store.dense.files.ids()) == len(set(store.dense.files.ids())) == COUNT


def test_forgetting_takes_them_along(source: Path, here: Opened, rows: Rows) -> None:
    store, manager = here
    migrate(manager, source)
    gone, near = key_of(store, 5), key_of(store, 6)
    store.forget([gone])
    assert gone not in {hit.memory.id for hit in store.similar(near, 59, dense=True).hits}
    assert len(store.similar(near, 59, dense=True).hits) == 58
    maintenance.finish(store)
    assert gone not in store.dense.files.ids() and len(store.dense.files.ids()) == COUNT - 1
    assert status(manager, "graph")["converted"] == COUNT - 1
    assert len(files(store)) == len(hypervector_files.files(store.records))


def test_a_purge_leaves_no_filler_behind(source: Path, here: Opened, rows: Rows) -> None:
    store, manager = here
    rows.names.append(("filler", "memory number 7", rows.vectors[0]))
    rows.names.append(("filler", "memory number", rows.vectors[1]))
    migrate(manager, source)
    number = key_of(store, 7)
    source_id = store.get(number).source
    assert source_id is not None
    store.forget([number], purge=True)
    names = {item.name for item in hypervector_files.items(store.records, 1)}
    assert "memory number 7" not in names and "memory number" in names
    held = sum(len(each.file) for each in store.dense.files.items())
    assert held == len(names) and number not in store.dense.files.ids()
    assert len(files(store)) == len(hypervector_files.files(store.records))


def test_a_rollback_removes_them(source: Path, here: Opened, rows: Rows) -> None:
    store, manager = here
    migrate(manager, source)
    manager.rollback("graph")
    assert files(store) == [] and hypervector_files.files(store.records) == []
    assert hypervector_files.items(store.records, 1) == [] and not len(store.dense.files.ids())
    migrate(manager, source)
    assert status(manager, "graph")["converted"] == COUNT


@pytest.mark.parametrize("kind", ["rows", "items"])
def test_a_damaged_file_is_made_anew(source: Path, tmp_path: Path, rows: Rows, kind: str) -> None:
    state = tmp_path / "state"
    quiet = {"embedder": "hash", "graph__engine": "none"}
    with opened(state, **quiet) as (store, manager):
        migrate(manager, source)
        victim = next(file for file in hypervector_files.files(store.records) if file.kind == kind)
    path = state / "dense" / f"{victim.name}.nsd"
    raw = bytearray(path.read_bytes())
    raw[700] ^= 1
    path.write_bytes(raw)
    with opened(state, **quiet) as (store, manager):
        assert store.degraded() == {"dense": "hypervectors of graph are converted again"}
        assert [entry.name for entry in (state / "aside").iterdir()] == [path.name]
        manager.finish()
        assert store.degraded() == {} and status(manager, "graph")["state"] == "verified"
        assert store.dense.unbind(key_of(store, 1), "WHO")
        assert len(store.dense.files.ids()) == COUNT
        path.with_name(path.name).parent.parent.joinpath("aside", path.name).unlink()


def test_damage_without_a_backup_is_told(source: Path, tmp_path: Path, rows: Rows) -> None:
    state = tmp_path / "state"
    with opened(state, embedder="hash", graph__engine="none") as (store, manager):
        migrate(manager, source)
        manager.forget_backup("graph")
        victim = next(
            file for file in hypervector_files.files(store.records) if file.kind == "rows"
        )
        path = state / "dense" / f"{victim.name}.nsd"
        raw = bytearray(path.read_bytes())
        raw[-2000] ^= 1
        path.write_bytes(raw)
        told = [problem for problem in check(store) if problem.part == "dense"]
        assert [problem.severity for problem in told] == ["error", "warning"]
        assert "damaged" in told[0].what and "being set aside" in told[1].what
        assert path.exists(), "doctor only reads"
        maintenance.finish(store)
        told = [problem for problem in check(store) if problem.part == "dense"]
        assert [problem.severity for problem in told] == ["warning"]
        assert "60 hypervectors are lost" in told[0].what
        with pytest.raises(NoHypervector):
            store.similar(key_of(store, 1), dense=True)
        (state / "aside" / path.name).unlink()
        with store.records.write() as tx:
            tx.execute("UPDATE sources SET total_dense = 0")


def test_verifying_finds_a_wrong_one(source: Path, here: Opened, rows: Rows) -> None:
    _, manager = here
    migrate(manager, source)
    rows.vectors = rows.vectors.copy()
    rows.vectors[3] = -rows.vectors[3]
    found = manager.verify("graph")
    assert not found["ok"] and found["hypervectors"]["differing"] == 1
    (difference,) = found["differences"]
    assert (difference["kind"], difference["id"]) == ("hypervector", 4)
    assert "cosine -0.9" in difference["detail"]


def test_later_snapshots_add_to_them(
    source: Path, here: Opened, told: Episodes, rows: Rows
) -> None:
    store, manager = here
    rows.vectors = told.vectors[:40]
    migrate(manager, source)
    assert status(manager, "graph")["total_dense"] == 40
    rows.vectors = told.vectors
    rows.names.append(("filler", "one more", told.vectors[0]))
    stores.insert(source, "memory_nodes", [stores.node(COUNT + 1, turn_id="")])
    migrate(manager, source)
    shown = status(manager, "graph")
    assert (shown["converted"], shown["total_dense"], shown["state"]) == (60, 60, "verified")
    assert "one more" in {item.name for item in hypervector_files.items(store.records, 1)}


def test_sparse_ones_keep_their_blocks(
    source: Path, here: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Rows(sparse_rows(COUNT, 20, 100, 4), block_size=100)
    monkeypatch.setattr(LegacyGraph, "dense", lambda _: made)
    store, manager = here
    migrate(manager, source)
    assert manager.verify("graph")["hypervectors"]["identical"] == COUNT
    truth = neighbours(made.vectors, 5)
    ids = [key_of(store, key) for key in made.keys().tolist()]
    hits = [
        len(
            {hit.memory.id for hit in store.similar(i, 5, dense=True).hits}
            & {ids[n] for n in truth[place]}
        )
        for place, i in enumerate(ids)
    ]
    assert np.mean(hits) > 4.8


def test_sparse_ones_stand_beside_dense_ones(
    source: Path, here: Opened, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every shape has its own empty basis: that of the fillers must not be taken for theirs."""
    store, manager = here
    migrate(manager, source)
    other = stores.small_store(source.parent / "other.sqlite", count=30)
    stores.execute(other, "UPDATE memory_nodes SET text = 'other ' || text")
    made = Rows(sparse_rows(30, 20, 100, 4), block_size=100)
    monkeypatch.setattr(LegacyGraph, "dense", lambda _: made)
    assert migrate(manager, other)["state"] == "verified"
    (first, *_) = store.export(COUNT, 1)
    assert store.similar(first.id, 3, dense=True).hits


def test_what_suits_no_quantiser_is_verified_by_its_code(
    source: Path, here: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A constant vector is one strong frequency: its form is coarse, and yet nothing is wrong."""
    flat = np.ones((COUNT, 2000), np.float32)
    flat[:, :COUNT] += np.eye(COUNT, dtype=np.float32) / 100
    made = Rows(flat)
    monkeypatch.setattr(LegacyGraph, "dense", lambda _: made)
    _, manager = here
    assert migrate(manager, source)["state"] == "verified"
    assert manager.verify("graph")["hypervectors"]["identical"] == COUNT
    made.vectors[7] = -made.vectors[7]  # the snapshot says something else than what was coded
    found = manager.verify("graph")
    assert (found["ok"], found["hypervectors"]["differing"]) == (False, 1)
    made.vectors[7] = -made.vectors[7]
