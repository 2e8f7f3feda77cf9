"""Backups of a store: what is in them, while others write; restored whole, or not at all."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nimad.backup import restoring
from nimad.backup.restoring import finish, restore
from nimad.backup.writing import write_backup
from nimad.config import Config
from nimad.core import maintenance
from nimad.core.state_directory import StateLock
from nimad.core.store import MemoryStore
from nimad.ctl import backup_commands
from nimad.disk.backup_file import BackupReader, BackupWriter
from nimad.errors import (
    BackupDamaged,
    Busy,
    DiskFull,
    NimadError,
    StateBusy,
    StateNotEmpty,
    StateTooNew,
    UsageError,
)
from nimad.model import Memory
from nimad.store import backups, schema, sources
from nimad.store.frozen import frozen
from tests.golden import old_state
from tests.legacy import moving, stores
from tests.legacy.moving import migrate, opened
from tests.threads import Background, setting

QUICK = Config().replace(**moving.QUICK)
REMADE = {"segments", "pending", "tombstones", "hot", "changes", "meta", "sqlite_sequence"}
"""Tables that go on changing by themselves after a restore."""


def nothing(step: str, done: int, of: int) -> None:
    """Nobody looks how far it is."""


def taken(store: MemoryStore, path: Path) -> dict[str, Any]:
    with path.open("wb") as file:
        return write_backup(store, file.fileno(), str(path))


def restored(path: Path, state: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        restore(file, path.name, state, nothing)
    return finish(state, QUICK, nothing)


def rows(state: Path) -> dict[str, list[Any]]:
    """All rows of the records but those that projections own."""
    with closing(sqlite3.connect(state / "records.sqlite")) as records:
        tables = records.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        names = sorted({name for (name,) in tables} - REMADE)
        return {name: sorted(map(repr, records.execute(f"SELECT * FROM {name}"))) for name in names}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    with closing(MemoryStore.open(tmp_path / "state", QUICK)) as made:
        made.remember_many([Memory(text=f"note {n} about the garden") for n in range(60)])
        yield made


@pytest.fixture
def backup(store: MemoryStore, tmp_path: Path) -> Path:
    taken(store, tmp_path / "b.tar.gz")
    return tmp_path / "b.tar.gz"


def test_a_migrated_store_comes_back_whole(tmp_path: Path) -> None:
    stores.small_store(tmp_path / "graph.sqlite")
    state = tmp_path / "state"
    with opened(state) as (store, manager):
        migrate(manager, tmp_path / "graph.sqlite")
        store.remember(Memory(text="the key is under the blue pot", blobs={"x": b"\0\xff"}))
        maintenance.finish(store)
        made = taken(store, tmp_path / "b")
        assert [each["name"].split("/")[0] for each in made["files"]] == [
            "records.sqlite",
            "snapshots",
        ]
        assert made["bytes"] == (tmp_path / "b").stat().st_size
    found = restored(tmp_path / "b", tmp_path / "new")
    assert found["problems"] == [] and found["memories"] == made["memories"]
    assert rows(tmp_path / "new") == rows(state)
    for path in (tmp_path / "new").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    with opened(tmp_path / "new") as (again, manager):
        assert "blue pot" in again.query("where is the key?").hits[0].memory.text
        assert manager.verify("graph")["ok"]


def test_a_store_of_the_first_schema_comes_back(tmp_path: Path) -> None:
    state = old_state.unpack("v1", "whole", tmp_path / "state")
    with closing(MemoryStore.open(state, QUICK)) as store:
        taken(store, tmp_path / "b")  # with the words index of then still in it
        maintenance.finish(store)
    assert restored(tmp_path / "b", tmp_path / "new")["problems"] == []
    assert rows(tmp_path / "new") == rows(state)


def test_others_write_on_and_none_of_it_is_in_the_backup(store: MemoryStore) -> None:
    with frozen(store.records) as records:
        store.remember_many([Memory(text=f"later {n} " + "x" * 500) for n in range(3000)])
        assert not store.records.checkpoint()  # nothing is folded into the file meanwhile
        assert store.forget([1]).forgotten == [1]
        content = b"".join(records.content())
        (seen,) = records.connection.execute("SELECT count(*), max(id) FROM memories")
    assert store.records.checkpoint()
    with closing(sqlite3.connect(":memory:")) as copy:
        copy.deserialize(content[:18] + b"\1\1" + content[20:])  # no WAL in memory
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("SELECT count(*), max(id) FROM memories").fetchone() == seen == (60, 60)


def test_backups_one_after_the_other_beside_a_writer(store: MemoryStore, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.001):
            store.remember(Memory(text="the kettle whistles"))

    with Background(write), setting(stop):
        made = [taken(store, tmp_path / f"b{number}") for number in range(5)]
    for number, each in enumerate(made):
        state = tmp_path / f"new{number}"
        with (tmp_path / f"b{number}").open("rb") as file:
            restore(file, "b", state, nothing)
        with closing(sqlite3.connect(state / "records.sqlite")) as records:
            ids = [n for (n,) in records.execute("SELECT id FROM memories ORDER BY id")]
            (sequence,) = records.execute(f"SELECT {schema.last_number('changes')}").fetchone()
        assert ids == list(range(1, each["memories"] + 1))
        assert sequence == each["sequence"]
    assert len({each["sequence"] for each in made}) > 1


def test_a_purge_meanwhile_is_finished_afterwards(store: MemoryStore) -> None:
    secret = store.remember(Memory(text="qxzvworm under the plank"))
    with frozen(store.records):
        receipt = store.forget([secret], purge=True)
        assert not receipt.purged and receipt.unfinished.keys() == {"free pages"}
    store.setbacks.clear()
    maintenance.finish(store)
    assert store.purge.unfinished() is None
    for path in store.state.rglob("*"):
        assert not path.is_file() or b"qxzvworm" not in path.read_bytes(), path


def test_another_programs_reading_is_waited_for_and_told(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nimad.store.frozen.READER_SECONDS", 0.1)
    with closing(sqlite3.connect(store.records.path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM memories").fetchone()
        store.remember(Memory(text="more"))
        with pytest.raises(Busy, match="another program"):
            taken(store, tmp_path / "b")
    assert backups.known(store.records) == []
    assert taken(store, tmp_path / "c")["memories"] == 61


def test_it_is_written_into_an_empty_file_only(store: MemoryStore, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"x")
    with (tmp_path / "old").open("ab") as file, pytest.raises(UsageError, match="empty file"):
        write_backup(store, file.fileno(), "/b")
    with pytest.raises(UsageError, match="open for writing"):
        write_backup(store, os.memfd_create("x", os.MFD_CLOEXEC) and 0, "/b")


# --- a restore ------------------------------------------------------------------------------------


def refused(path: Path, state: Path, error: type[NimadError], match: str = "") -> None:
    """The backup is refused, and nothing is left of it: no directory, or one as empty as it was."""
    with pytest.raises(error, match=match):
        restored(path, state)
    assert not state.exists()
    state.mkdir(mode=0o700)
    (state / "lost+found").mkdir()
    with pytest.raises(error, match=match):
        restored(path, state)
    assert [each.name for each in state.iterdir()] == ["lost+found"]
    shutil.rmtree(state)


def test_nothing_is_restored_over_memories(store: MemoryStore, backup: Path) -> None:
    with pytest.raises(StateBusy):
        restored(backup, store.state)
    store.close()
    with pytest.raises(StateNotEmpty, match="memories"):
        restored(backup, store.state)
    store._lock = StateLock(store.state)


def test_what_a_killed_restore_left_is_no_obstacle(backup: Path, tmp_path: Path) -> None:
    state = tmp_path / "new"
    (state / "snapshots").mkdir(parents=True, mode=0o700)
    (state / "records.sqlite.tmp").write_bytes(b"half")
    (state / "snapshots" / "graph.sqlite").write_bytes(b"of another backup")
    assert restored(backup, state)["memories"] == 60


def test_a_damaged_backup_leaves_nothing(backup: Path, tmp_path: Path) -> None:
    data = bytearray(backup.read_bytes())
    data[-20] ^= 1
    backup.write_bytes(data)
    refused(backup, tmp_path / "new", BackupDamaged, "whole file")
    backup.write_bytes(data[: len(data) // 2])
    refused(backup, tmp_path / "new", BackupDamaged, "cut off")


def forged(backup: Path, change: Callable[[sqlite3.Connection], Any], **also: bytes) -> None:
    """The same backup with other records, sealed anew: what somebody may hand over."""
    reader = BackupReader(io.BytesIO(backup.read_bytes()), "b")
    files = {name: b"".join(chunks) for name, _, chunks in reader.files()}
    copy = backup.with_name("forged.sqlite")
    copy.write_bytes(files["records.sqlite"])
    with closing(sqlite3.connect(copy, isolation_level=None)) as records:
        records.create_function("common_form", 1, str)
        change(records)
        records.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    files |= {"records.sqlite": copy.read_bytes(), **also}
    manifest = {key: reader.manifest[key] for key in ("made", "sequence", "nimad", "memories")}
    with backup.open("wb") as file:
        sizes = {name: len(data) for name, data in files.items()}
        writer = BackupWriter(file, manifest, sizes)
        for name, data in files.items():
            writer.add(name, len(data), [data])
        writer.finish()


SNAPSHOT = (
    "INSERT INTO sources (name, kind, path, fingerprint, format, snapshot, sha256, bytes, strategy,"
    " stage, attached) VALUES ('x', 'x', '/x', '', 1, ?, '', 0, 'full', 'verified', 0)"
)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ("CREATE TRIGGER x AFTER INSERT ON memories BEGIN DELETE FROM memories; END", "'x'"),
        ("CREATE VIEW words_data AS SELECT 1", "'words_data'"),
        ("CREATE VIRTUAL TABLE words USING rtree (a, b, c)", "'words'"),
        ("CREATE TABLE more (x)", "'more'"),
        ("DROP TABLE goals", "'goals'"),
        ("DROP INDEX memories_key", "'memories_key'"),
        ("ALTER TABLE goals ADD COLUMN x AS (priority + 1)", "'goals'"),
        ("PRAGMA application_id = 5", "none of nimad's"),
        ("PRAGMA user_version = 3", "none of nimad's"),
        ("DELETE FROM memories WHERE id = 7", "counts other memories"),
        (SNAPSHOT.replace("?", "'../../records.sqlite'"), "names the file"),
        (SNAPSHOT.replace("?", "'x.sqlite'"), "other files than came"),
        ("INSERT INTO dense VALUES ('../x', 1, 1, 1, '', 1, 1, 'rows', NULL)", "names the file"),
    ],
)
def test_records_that_are_not_as_nimad_makes_them_are_refused(
    backup: Path, tmp_path: Path, change: str, match: str
) -> None:
    forged(backup, lambda records: records.execute(change))
    refused(backup, tmp_path / "new", BackupDamaged, match)


def test_lists_of_files_that_are_made_anew_are_not_believed(backup: Path, tmp_path: Path) -> None:
    def change(records: sqlite3.Connection) -> None:
        records.execute("INSERT INTO segments VALUES ('../../x', 1, 1, '', 1, 1, 1, NULL)")
        words = '{"form": "x", "segments": {"../../y": ["", 1, 1]}}'
        records.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('words', ?)", (words,))

    for name in ("x.nsb", "y.nsw"):
        (tmp_path / name).write_bytes(b"of others")
    forged(backup, change)
    (tmp_path / "deep").mkdir()
    assert restored(backup, tmp_path / "deep" / "new")["problems"] == []
    assert (tmp_path / "x.nsb").read_bytes() == (tmp_path / "y.nsw").read_bytes() == b"of others"


def test_files_that_the_records_do_not_name_are_refused(backup: Path, tmp_path: Path) -> None:
    forged(backup, lambda records: None, **{"snapshots/x.sqlite": b"x"})
    refused(backup, tmp_path / "new", BackupDamaged, "other files than came")
    forged(backup, lambda records: None, **{"snapshots/x.sh": b"x"})
    refused(backup, tmp_path / "new", BackupDamaged, "would write")


def test_a_newer_schema_is_told_as_such(backup: Path, tmp_path: Path) -> None:
    forged(backup, lambda records: records.execute(f"PRAGMA user_version = {schema.SCHEMA + 1}"))
    refused(backup, tmp_path / "new", StateTooNew, "newer nimad")


def test_a_bomb_and_a_full_disk_are_refused_before_a_byte_is_written(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged(backup, lambda records: None, **{"snapshots/x.sqlite": bytes(40 << 20)})
    monkeypatch.setattr(restoring, "MOST_UNPACKED", 20)
    refused(backup, tmp_path / "new", BackupDamaged, "would grow to 40 MiB")
    monkeypatch.setattr(restoring, "MOST_UNPACKED", 10**6)
    monkeypatch.setattr(restoring, "MARGIN_BYTES", 1 << 50)
    refused(backup, tmp_path / "new", DiskFull, "MiB")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root restores for another user")
def test_root_restores_with_the_rights_of_the_directorys_owner(tmp_path: Path) -> None:
    assert backup_commands._rights(tmp_path) == {}
    os.chown(tmp_path, 12345, 54321)
    rights = {"user": 12345, "group": 54321, "extra_groups": []}
    assert backup_commands._rights(tmp_path) == rights


# --- what a purge tells ---------------------------------------------------------------------------


def test_a_purge_names_the_backups_that_may_hold_it(store: MemoryStore, tmp_path: Path) -> None:
    taken(store, tmp_path / "one")
    late = store.remember(Memory(text="the last one"))
    taken(store, tmp_path / "two")

    def named(*ids: int, **how: Any) -> list[str]:
        return [Path(each["path"]).name for each in store.forget(list(ids), **how).backups]

    assert named(late, purge=True, dry_run=True) == ["two"]
    assert named(late, 3, purge=True, dry_run=True) == ["one", "two"]
    assert named(4) == []  # forgotten only
    assert named(4, purge=True) == ["one", "two"]
    new = store.remember(Memory(text="newer than both"))
    assert named(new, purge=True) == []
    taken(store, tmp_path / "one")  # in place of the first
    assert [Path(each["path"]).name for each in backups.known(store.records)] == ["two", "one"]
    assert backups.forget(store.records, [str(tmp_path / "one"), "/elsewhere"]) == 1
    assert named(5, purge=True) == ["two"]


def test_the_snapshot_of_a_source_counts_before_its_rows_came(tmp_path: Path) -> None:
    stores.small_store(tmp_path / "graph.sqlite")
    with opened(tmp_path / "state") as (store, manager):
        migrate(manager, tmp_path / "graph.sqlite")
        (source,) = sources.all_sources(store.records)
        backups.note(store.records, "/early", made=1, sequence=1, last_memory=0, last_source=0)
        backups.note(store.records, "/b", made=1, sequence=1, last_memory=0, last_source=source.id)
        found = store.forget([1], purge=True).backups
        assert [each["path"] for each in found] == ["/b"]


def test_one_that_is_under_way_counts_and_a_failed_one_does_not(store: MemoryStore) -> None:
    unknown = dict.fromkeys(("sequence", "last_memory", "last_source"))
    backups.note(store.records, "/b", made=1, **unknown)
    assert [each["path"] for each in store.forget([1], purge=True).backups] == ["/b"]
    for number in range(backups.MOST + 5):
        backups.note(store.records, f"/b{number}", made=number, **unknown)
    assert len(backups.known(store.records)) == backups.MOST
