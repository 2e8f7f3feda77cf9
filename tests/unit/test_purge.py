"""A purge whose steps fail: the others are done, what is left is told and tried again."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nimad.backup.writing import write_backup
from nimad.check import check
from nimad.core import maintenance, purge, segments, status
from nimad.core.projection import ENDINGS, Waiters
from nimad.core.store import MemoryStore
from nimad.errors import DiskFull, UsageError
from nimad.index.blocks import BlockIndex
from nimad.index.merge import MergedRows
from nimad.index.writer import MemoryRows
from nimad.migrate.manager import MigrationManager
from nimad.model import Memory
from nimad.store import checksums, schema, sources
from nimad.store.database_files import WAL_BYTES
from nimad.words.index import TermIndex
from tests.legacy import stores
from tests.legacy.moving import migrate, opened
from tests.threads import PATIENCE, Background

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
    (store.state / "aside" / "seg-00000001.nsb").write_text(SECRET)
    steps: list[str] = []
    for projection in store.projections:
        name, real = projection.name, projection.scrub
        noted = partial(steps.append, name)
        monkeypatch.setattr(
            projection, "scrub", lambda note, noted=noted, real=real: noted() or real(note)
        )
    with monkeypatch.context() as broken:
        broken.setattr(
            "nimad.legacy.redact_database.scrub_snapshot",
            lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")),
        )
        left = purge_secret(store)
    assert list(left) == ["snapshots"] and "No space left" in left["snapshots"]
    assert set(steps) == {projection.name for projection in store.projections}
    assert traces(store) == [snapshot.name], "everything else was scrubbed"
    assert not (store.state / "aside" / "seg-00000001.nsb").exists()
    told = status.describe(store)["waiting"]["purge"]
    assert told == "traces of 1 memories are still to be removed"
    assert [p for p in check(store) if p.part == "maintenance" and "purge" in p.what]
    steps.clear()
    maintenance.finish(store)
    assert traces(store) == [] and steps == [], "only what had failed is done again"
    assert status.describe(store)["waiting"] == {}


def test_idle_time_does_not_take_the_purge_that_a_receipt_counts(
    here: tuple[MemoryStore, MigrationManager, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _, _ = here
    found = store.query(SECRET).hits[0].memory
    idle = Background(store.purge.finish)

    def let_idle_time_try(point: str) -> None:
        if point == "forget.committed":
            idle.start()
            idle.join(0.3)

    monkeypatch.setattr(purge, "crash_point", let_idle_time_try)
    receipt = store.forget([found.id], purge=True)
    idle.finish()
    assert receipt.purged and receipt.removed["snapshots"] == 1 and traces(store) == []


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
    wal = (store.state / "records.sqlite-wal").read_bytes()
    assert len(wal) == WAL_BYTES and not any(wal[100_000:])


def test_what_was_forgotten_can_be_purged_later(
    here: tuple[MemoryStore, MigrationManager, Path],
) -> None:
    store, manager, _ = here
    secret = store.query(SECRET).hits[0].memory.id
    own = store.remember(Memory("the heron stands in the brook", who="Zzyzx", session="ssn"))
    store.semantic.flush()
    store.forget([secret, own])
    assert traces(store) != []
    receipt = store.forget([secret, own, 999], purge=True)
    assert (receipt.forgotten, receipt.forgotten_before) == ([], [secret, own])
    assert receipt.missing == [999] and receipt.purged and receipt.removed["snapshots"] == 1
    assert traces(store) == [] and b"Zzyzx" not in (store.state / "records.sqlite").read_bytes()
    assert own not in store.blocks.segment_ids(store.records.segment_names())
    again = store.forget([secret, own], purge=True)
    assert not again.purged and again.missing == [secret, own], "no trace is left to be purged"
    assert manager.verify("graph")["ok"]


def test_all_that_was_forgotten_can_be_purged(
    here: tuple[MemoryStore, MigrationManager, Path],
) -> None:
    store, _, _ = here
    secret = store.query(SECRET).hits[0].memory.id
    store.forget([secret])
    with store.records.write() as tx:
        tx.execute("DELETE FROM forgotten")  # as a version without that table left it
    assert not store.forget([secret], purge=True).purged
    with pytest.raises(UsageError):
        store.forget([], all_forgotten=True)
    with pytest.raises(UsageError):
        store.forget([], purge=True)
    receipt = store.forget([], purge=True, all_forgotten=True)
    assert receipt.purged and traces(store) == []


def test_edges_and_turns_of_a_purged_row_leave_the_backup(
    here: tuple[MemoryStore, MigrationManager, Path],
) -> None:
    store, manager, snapshot = here
    ids = {m.source[1]: m.id for m in store.export(0, 100) if m.source}
    for key in (16, 18, 17):  # one turn of three, one after the other
        assert store.forget([ids[key]], purge=True).purged
    with closing(sqlite3.connect(snapshot)) as database:
        turns = database.execute("SELECT turn_id FROM memory_turns").fetchall()
        ends = database.execute("SELECT source_id, target_id FROM memory_edges").fetchall()
    assert len(turns) == 9 and ("turn_5",) not in turns
    assert not {16, 17, 18} & {key for edge in ends for key in edge} and len(ends) == 18
    assert manager.verify("graph")["ok"]


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError()])
def test_a_backup_that_cannot_be_read_just_now_is_kept(
    here: tuple[MemoryStore, MigrationManager, Path],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    store, _, snapshot = here
    with monkeypatch.context() as broken:
        broken.setattr(
            "nimad.legacy.redact_database.scrub_snapshot",
            lambda *_, **__: (_ for _ in ()).throw(error),
        )
        assert list(purge_secret(store)) == ["snapshots"]
    assert snapshot.exists()
    maintenance.finish(store)
    assert snapshot.exists() and traces(store) == []


def beside(name: str, content: bytes) -> Callable[[Path], None]:
    """Puts a file beside the snapshot, as SQLite names it there."""

    def put(snapshot: Path) -> None:
        Path(f"{snapshot}{name}").write_bytes(content + SECRET.encode())

    return put


def instead(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """Puts something in the place of the snapshot."""

    def put(snapshot: Path) -> None:
        snapshot.unlink()
        make(snapshot)

    return put


HOT = bytes.fromhex("d9d505f920a163d7ffffffff00000000000000000000000b0000020000001000").ljust(512)
"""The header of a journal that SQLite would roll back first, with write access."""
ODD_BACKUPS = {
    "a journal beside it": beside("-journal", HOT),
    "a log beside it": beside("-wal", b"\x37\x7f\x06\x82" + bytes(28)),
    "shared memory beside it": beside("-shm", bytes(32768)),
    "a directory": instead(Path.mkdir),
    "a pipe": instead(os.mkfifo),
    "a link to nothing": instead(lambda path: path.symlink_to("nowhere")),
    "a link to itself": instead(lambda path: path.symlink_to(path.name)),
    "a link to a device": instead(lambda path: path.symlink_to("/dev/zero")),
    "nothing": instead(lambda path: None),
}


@pytest.mark.parametrize("odd", ODD_BACKUPS)
def test_whatever_stands_in_the_place_of_a_backup_a_purge_ends(
    here: tuple[MemoryStore, MigrationManager, Path], odd: str, tmp_path: Path
) -> None:
    store, manager, snapshot = here
    ODD_BACKUPS[odd](snapshot)
    kept = snapshot.is_file()
    assert purge_secret(store) == {} and traces(store) == []
    told = {problem.what for problem in check(store)}
    assert told == (set() if kept else {f"the backup {snapshot.name} is missing"})
    with (tmp_path / "backup").open("w+b") as file:
        assert bool(write_backup(store, file.fileno(), "there")["missing"]) == (not kept)
    if kept:
        assert manager.verify("graph")["ok"]
    manager.rollback("graph")
    assert store.records.value("SELECT count(*) FROM sources WHERE snapshot IS NOT NULL") == 0
    left = list(snapshot.parent.iterdir())
    assert [problem.part for problem in check(store)] == ["snapshots"] * bool(left)
    for path in left:
        (Path.rmdir if path.is_dir() else Path.unlink)(path)


def test_what_is_not_nimads_stays_in_aside(
    here: tuple[MemoryStore, MigrationManager, Path],
) -> None:
    store, _, _ = here
    aside = store.state / "aside"
    (aside / "lost+found").mkdir()
    (aside / "notes.txt").write_text("mine")
    (aside / "ladybug.db").symlink_to(aside / "notes.txt")
    for name in ("kuzu.db.wal.2", "seg-00000007.nsb", "dns-00000001.nsd.1", "ladybug.db.seal"):
        (aside / name).write_text(SECRET)
    assert purge_secret(store) == {}
    assert {path.name for path in aside.iterdir()} == {"lost+found", "notes.txt", "ladybug.db"}
    assert [p.what for p in check(store) if "notes.txt" in p.what]
    for name in ("notes.txt", "ladybug.db"):
        (aside / name).unlink()
    (aside / "lost+found").rmdir()


def test_a_reader_of_the_log_delays_only_the_last_step(
    here: tuple[MemoryStore, MigrationManager, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _, _ = here
    monkeypatch.setattr("nimad.core.purge.CUT_OFF_SECONDS", 0.1)
    with closing(sqlite3.connect(store.records.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM memories").fetchone()
        secret = store.query(SECRET).hits[0].memory.id
        receipt = store.forget([secret], purge=True)
        assert list(receipt.unfinished) == ["free pages"] and not receipt.purged
        assert store.remember(Memory("life goes on"))
        maintenance.finish(store)
        assert "purge" in status.describe(store)["waiting"] and store.purge.unfinished()
    store.setbacks.clear()  # a minute later
    maintenance.finish(store)
    assert traces(store) == [] and store.purge.unfinished() is None


def test_names_of_a_source_are_in_no_log(tmp_path: Path) -> None:
    """A layer of its own, say: no purge reaches migration.log and the journal."""
    path = tmp_path / "graph.sqlite"
    with closing(sqlite3.connect(path)) as made:
        made.execute(
            "CREATE TABLE memory_nodes (id INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL,"
            " layer TEXT NOT NULL, text TEXT NOT NULL, summary TEXT NOT NULL)"
        )
        row = "INSERT INTO memory_nodes VALUES (?, 1700000000000, ?, 'x', 'x')"
        made.executemany(row, [(1, "note"), (2, "qxzlayer"), (3, "qxzother")])
        made.commit()
    with opened(tmp_path / "state") as (store, manager):
        assert migrate(manager, path)["copied"] == 3
        told = (store.state / "migration.log").read_text()
        assert "'note': 1, 'others': 2" in told and "qxz" not in told


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE INDEX a ON memory_nodes(json_extract(affect_json, '$.CARE'))",
        "CREATE INDEX a ON memory_nodes(text) WHERE json_valid(affect_json)",
        "ALTER TABLE memory_nodes ADD COLUMN a TEXT AS (json_extract(affect_json, '$.CARE'))",
        "CREATE TABLE a (value CHECK (json_valid(value)))",
        "CREATE INDEX a ON memory_nodes(strftime('%Y', timestamp / 1000, 'unixepoch'))",
        "CREATE VIEW a AS SELECT json_extract(affect_json, '$.CARE') FROM memory_nodes",
    ],
)
def test_a_source_with_expressions_of_its_own_is_taken_and_purged(tmp_path: Path, sql: str) -> None:
    """SQLite calls its JSON functions unsafe in a schema, and such a schema malformed."""
    path = tmp_path / "graph.sqlite"
    stores.small_store(path, 9, schema=3, mode="delete")
    with closing(sqlite3.connect(path)) as made:
        made.execute(sql)
        made.execute("UPDATE memory_nodes SET text = 'the word is qxzcanary' WHERE id = 3")
        made.commit()
    with opened(tmp_path / "state") as (store, manager):
        assert migrate(manager, path)["copied"] == 9
        (found,) = store.records.ids_of("SELECT id FROM memories WHERE text LIKE '%qxz%'")
        assert store.forget([int(found)], purge=True).removed["snapshots"] == 1
        kept = [file.read_bytes() for file in store.state.rglob("*") if file.is_file()]
        assert (store.state / "snapshots" / "graph.sqlite").exists()
    assert not any(b"qxzcanary" in data for data in kept)


def test_a_check_of_the_records_ends_for_a_purge_and_begins_again(
    here: tuple[MemoryStore, MigrationManager, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's check reads at one moment, which keeps the log, for as long as it takes."""
    store, _, _ = here
    inside, ended, checks = threading.Event(), threading.Event(), []

    class Held(sqlite3.Connection):
        def interrupt(self) -> None:
            super().interrupt()
            ended.set()

    def hold() -> int:
        inside.set()
        assert ended.wait(PATIENCE)
        return 0

    def connect_reader() -> sqlite3.Connection:
        with monkeypatch.context() as held:
            held.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Held))
            checks.append(connection := schema.connect(store.records.path, readonly=True))
        if len(checks) == 1:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM memories").fetchone()
            connection.set_progress_handler(hold, 1)
        return connection

    monkeypatch.setattr(purge, "CUT_OFF_SECONDS", PATIENCE)
    monkeypatch.setattr(store.records, "connect_reader", connect_reader)
    found: list[list[str]] = []
    with Background(lambda: found.append(checksums.integrity_problems(store.records))):
        assert inside.wait(PATIENCE)
        monkeypatch.undo()
        assert purge_secret(store) == {}
    assert found == [[]] and len(checks) == 2


def test_a_merge_of_idle_time_ends_for_a_purge_and_is_done_later(
    here: tuple[MemoryStore, MigrationManager, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of a large store keeps the lock of maintenance for seconds."""
    store, _, _ = here
    for part in range(8):
        store.remember_many([Memory(text=f"kettle {part} {n}") for n in range(5)])
        store.semantic.flush()
    before = store.records.segment_names()
    inside, waits, takes = threading.Event(), told_of_who_waits(monkeypatch), []
    take = MergedRows.take

    def held(rows: MergedRows, picks: NDArray[np.int64]) -> NDArray[np.int8]:
        takes.append(rows)
        if len(takes) == 1:
            inside.set()
            assert waits.wait(PATIENCE)
        return take(rows, picks)

    monkeypatch.setattr(MergedRows, "take", held)
    with Background(store.semantic.follow):
        assert inside.wait(PATIENCE)
        assert purge_secret(store) == {}
    assert len(store.records.segment_names()) == len(before), "the merge changed nothing"
    maintenance.finish(store)
    assert len(store.records.segment_names()) < len(before)


def test_a_merge_of_words_ends_for_a_purge_and_is_done_later(
    here: tuple[MemoryStore, MigrationManager, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _, _ = here
    for part in range(4):
        store.remember_many([Memory(text=f"kettle {part} {n}") for n in range(40)])
        store.query("kettle")
        store.words._replace([], store.terms.freeze())
    before = [segment.name for segment in store.terms.sealed]
    assert len(before) == 4
    inside, waits = threading.Event(), told_of_who_waits(monkeypatch)
    give_way = store.words._give_way

    def held() -> None:
        if not inside.is_set():
            inside.set()
            assert waits.wait(PATIENCE)
        give_way()

    monkeypatch.setattr(store.words, "_give_way", held)
    with Background(in_turn(store)):
        assert inside.wait(PATIENCE)
        assert purge_secret(store) == {}
    left = [segment.name for segment in store.terms.sealed]
    assert left[1:] == before[1:], "the merge changed nothing"
    assert not store.words.strays() and not list((store.state / "words").glob("*.tmp"))
    maintenance.finish(store)
    assert len(store.terms.sealed) < len(before)
    assert len(store.query("kettle", 200).hits) == 160


def test_sealing_in_idle_time_ends_for_a_purge_and_is_done_later(
    here: tuple[MemoryStore, MigrationManager, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _, _ = here
    store.semantic.flush()
    store.remember_many([Memory(text=f"kettle {n}") for n in range(300)])
    before = store.records.segment_names()
    monkeypatch.setattr(store.semantic, "sparing", False)
    with held_inside(store, monkeypatch, MemoryRows, "take", store.semantic.follow):
        assert purge_secret(store) == {}
    assert len(store.records.segment_names()) == len(before), "nothing was sealed"
    assert not store.semantic.strays()
    maintenance.finish(store)
    assert store.blocks.stats()["hot"] == 0
    assert len(store.query("kettle", 400).hits) == 300


def test_a_rebuild_of_words_and_a_check_begin_anew_behind_a_purge(
    here: tuple[MemoryStore, MigrationManager, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _, _ = here
    store.remember_many([Memory(text=f"kettle {n}") for n in range(300)])
    works: list[tuple[Callable[[], object], str, str]] = [
        (store.words.rebuild, "segment_of", "memory number 17"),
        (store.words.check, "freeze", "memory number 18"),
    ]
    for work, inside, secret in works:
        (doomed,) = [hit.memory.id for hit in store.query(secret, 1).hits]
        before = store.records.counts()["memories"]
        with held_inside(store, monkeypatch, TermIndex, inside, work) as later:
            assert store.forget([doomed], purge=True).purged
        assert later == [(before - 1, None)], "once more, behind the purge"
        assert not store.words.strays()
    assert len(store.query("kettle", 400).hits) == 300


@pytest.mark.parametrize("held", ["encode_memories", "write_segment"])
def test_a_rebuild_of_vectors_lets_a_purge_go_first_and_goes_on(
    here: tuple[MemoryStore, MigrationManager, Path], monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    """Between two steps, and while it seals: then it has made nothing of this segment."""
    store, _, _ = here
    store.remember_many([Memory(text=f"kettle {n}") for n in range(300)])
    place = segments if held == "encode_memories" else BlockIndex
    before = store.records.counts()["memories"]
    with held_inside(store, monkeypatch, place, held, store.semantic.rebuild) as later:
        assert purge_secret(store) == {}
    assert later[0] == (before - 1, None), "the purge was next"
    assert not store.semantic.strays() and not store.semantic.missing_vectors()


def test_nothing_ends_for_those_who_wait_without_an_end() -> None:
    waiters = Waiters()
    begun: list[int] = []

    def work(end: Callable[[], object]) -> str:
        begun.append(1)
        with waiters.one_more():
            end()
        return "done"

    assert waiters.do_behind(work) == "done"
    assert len(begun) == ENDINGS + 1


@contextmanager
def held_inside(
    store: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    place: Any,
    name: str,
    work: Callable[[], object],
) -> Iterator[list[tuple[int, object]]]:
    """`work` runs, and stays in its first call of a function until somebody waits for the lock.
    Gives what each later call found: how many memories there are, and the purge that is not done.
    """
    inside, waits, real = threading.Event(), told_of_who_waits(monkeypatch), getattr(place, name)
    later: list[tuple[int, object]] = []

    def held(*given: Any, **more: Any) -> Any:
        if inside.is_set():
            later.append((store.records.counts()["memories"], store.purge.unfinished()))
        else:
            inside.set()
            assert waits.wait(PATIENCE)
        return real(*given, **more)

    with monkeypatch.context() as patched:
        patched.setattr(place, name, held)
        with Background(work):
            assert inside.wait(PATIENCE)
            yield later


def told_of_who_waits(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once somebody waits for the lock of maintenance."""
    waits, one_more = threading.Event(), Waiters.one_more

    @contextmanager
    def told(waiters: Waiters) -> Iterator[None]:
        with one_more(waiters):
            waits.set()
            yield

    monkeypatch.setattr(Waiters, "one_more", told)
    return waits


def in_turn(store: MemoryStore) -> Callable[[], object]:
    """A step of the words, with the lock of maintenance held."""

    def step() -> None:
        with store.maintenance:
            store.words.follow()

    return step
