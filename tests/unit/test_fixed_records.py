"""A store on a disk that takes no writes: read whole, never changed, and refused each write."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nimad.background.worker import Worker
from nimad.backup.restoring import restore
from nimad.backup.writing import write_backup
from nimad.check import check
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.errors import DiskFailed, DiskReadOnly, NimadError, StateBusy
from nimad.migrate.manager import MigrationManager
from nimad.model import Memory
from nimad.serve.access import Peer
from nimad.serve.service_verbs import Traffic
from nimad.serve.verb_table import verbs
from nimad.serve.verbs import Call
from nimad.store.records import Records

REFUSAL = DiskReadOnly(detail="a test")
PEER = Peer(os.getpid(), 0, 0)


def content(state: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in state.glob("records.sqlite*")}


@pytest.fixture(params=["closed", "cut off"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """What a clean end leaves, or a power cut, whose WAL is not folded; with strays and damage."""
    store = MemoryStore.open(tmp_path / "made", Config())
    store.remember_many([Memory(text=f"kettle number {n}") for n in range(300)])
    while any(projection.follow() for projection in store.projections):
        pass
    store.remember(Memory(text="the newest kettle"))
    with store.records.write() as tx:
        tx.execute("INSERT INTO tombstones (id) VALUES (7)")  # of a living memory: damage
    if request.param == "cut off":
        shutil.copytree(tmp_path / "made", tmp_path / "state")
    store.close()
    if request.param == "closed":
        shutil.copytree(tmp_path / "made", tmp_path / "state")
    (tmp_path / "state" / "blocks" / "seg-00000099.nsb").write_bytes(b"never committed")
    (tmp_path / "state" / "records.sqlite-wal.tmp").write_bytes(b"left by a crash")
    for file in (tmp_path / "state" / "words").glob("*.nsw"):
        file.write_bytes(file.read_bytes()[:-1])
    yield tmp_path / "state"


def test_all_is_read_and_the_records_stay_as_they_are(state: Path) -> None:
    before = content(state)
    store = MemoryStore.open(state, Config(), REFUSAL)
    with pytest.raises(StateBusy):
        MemoryStore.open(state, Config(), REFUSAL)
    assert store.records.counts()["memories"] == 301
    assert len(store.export(0, 1000)) == 301
    assert store.query("the newest kettle", k=1).hits[0].memory.id == 301
    assert 7 in {hit.memory.id for hit in store.query("kettle number 6", k=5, mode="meaning").hits}
    check(store)
    for write in (
        lambda: store.remember(Memory(text="x")),
        lambda: store.forget([1], purge=True),
        lambda: store.records.checkpoint(),
        lambda: store.records.compact(),
        lambda: store.projections[0].rebuild(),
    ):
        with pytest.raises(DiskReadOnly, match="a test"):
            write()
    store.close()
    assert content(state) == before
    store = MemoryStore.open(state, Config())
    assert len(store.export(0, 1000)) == 301 and store.remember(Memory(text="x")) == 302
    store.close()
    assert not (state / "blocks" / "seg-00000099.nsb").exists()


def test_a_backup_goes_to_another_disk(state: Path, tmp_path: Path) -> None:
    before = content(state)
    store = MemoryStore.open(state, Config(), REFUSAL)
    with (tmp_path / "backup").open("w+b") as file:
        made = write_backup(store, file.fileno(), str(file.name))
        store.close()
        assert not made["noted"] and content(state) == before
        file.seek(0)
        restore(file, file.name, tmp_path / "restored", lambda *_: None)
    store = MemoryStore.open(tmp_path / "restored", Config())
    assert len(store.export(0, 1000)) == made["memories"] == 301
    assert store.records.value("PRAGMA integrity_check") == "ok"
    store.close()


GIVEN: dict[str, Any] = {
    "id": 1,
    "other": 2,
    "text": "kettle",
    "name": "Maya",
    "namespace": "default",
    "kind": "markdown",
    "path": "/notes",
    "identity": "1",
    "cypher": "MATCH (m) RETURN m.id",
    "when": "2024",
    "ask": "who",
    "since": "2020",
}
"""What a verb is asked with, by parameter."""


def test_every_reading_verb_answers(state: Path, tmp_path: Path) -> None:
    store = MemoryStore.open(state, Config(), REFUSAL)
    migrations = MigrationManager(store, Worker(lambda: store.config))
    for verb in verbs(store, migrations, Traffic("x.sock")):
        if verb.access != "read":
            continue
        needed = [n for n in verb.takes or {} if n in GIVEN and n not in ("namespace", "time_zone")]
        with (tmp_path / "out").open("w+b") as out:
            call = Call({name: GIVEN[name] for name in needed}, PEER, [out.fileno()])
            if verb.name == "documents.find":
                call.params = {"namespace": "default"}
            try:
                verb.answer(call)
            except NimadError as error:
                # there is no such source or goal, nor yet a graph
                assert error.code == "not_found" or verb.name == "graph", (verb.name, error)
    store.close()


def test_what_must_be_brought_up_to_date_is_not_served(tmp_path: Path) -> None:
    store = MemoryStore.open(tmp_path / "state", Config())
    with store.records.write() as tx:
        tx.execute("DELETE FROM meta WHERE key = 'text_form'")
    store.close()
    with pytest.raises(DiskReadOnly):
        MemoryStore.open(tmp_path / "state", Config(), REFUSAL)
    MemoryStore.open(tmp_path / "state", Config()).close()


def test_what_the_disk_does_not_give_at_a_start_keeps_nobody_from_the_rest(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each statement of a start in turn meets a sector that cannot be read."""
    failing, made = -1, 0
    read = Records.read

    def read_or_fail(records: Records, *arguments: Any) -> list[tuple[Any, ...]]:
        nonlocal made
        made += 1
        if made - 1 == failing:
            raise DiskFailed(detail="a sector")
        return read(records, *arguments)

    monkeypatch.setattr(Records, "read", read_or_fail)
    MemoryStore.open(state, Config(), REFUSAL).close()
    statements, served = made, 0
    for number in range(statements):
        failing, made = number, 0
        try:
            store = MemoryStore.open(state, Config(), REFUSAL)
        except DiskFailed:
            continue
        finally:
            failing = -1
        served += 1
        assert store.get(300).text == "kettle number 299"
        assert len(store.export(0, 1000)) == 301
        assert not store.takes_writes() or store.reads_whole()
        with contextlib.suppress(NimadError):
            assert store.query("the newest kettle", k=1).hits[0].memory.id == 301
        store.close()
    assert served >= statements // 2, f"{served} of {statements}"
