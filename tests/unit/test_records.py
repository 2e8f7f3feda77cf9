"""The records: what goes in comes out, changes are logged, deletions leave nothing behind."""

from __future__ import annotations

import random
import sqlite3
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nimad.check import check
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.disk.failures import Fault, sqlite_fault
from nimad.errors import RecordsDamaged, StateTooNew
from nimad.model import Change, Filter, Memory, Relation
from nimad.store import checksums, rows, schema, sources, words
from nimad.store.records import Records
from tests.plain import search_words
from tests.threads import in_thread


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    opened = Records.open(tmp_path / "records.sqlite")
    yield opened
    opened.close()


def add(records: Records, *memories: Memory) -> list[int]:
    with records.write() as tx:
        return tx.add_memories(memories)


FULL = Memory(
    text="Maya planted basil on the balcony 🌿",
    who="Maya",
    where="balcony",
    timestamp=1_700_000_000_000,
    layer="input",
    importance=0.25,
    tags=("garden", "spring"),
    namespace="home",
    conversation="c1",
    session="s1",
    turn="t1",
    affect='{"CARE": 0.5}',
    summary="Maya planted",
    created=5,
    extra={"nested": {"a": [1, None, "ü"]}},
    blobs={"embedding": b"\x00\x01"},
)


def test_a_memory_comes_back_whole(records: Records) -> None:
    (number,) = add(records, FULL)
    found = records.with_blobs(list(records.get([number]).values()))
    assert found == [FULL]


def test_each_field_of_a_memory_has_its_column(records: Records) -> None:
    """What is added to the model must be added to the schema; insert and select follow."""
    columns = {name for (name,) in records.rows("SELECT name FROM pragma_table_info('memories')")}
    fields = {rows.RENAMED.get(name, name) for name in rows.FIELDS}
    assert columns == fields | {"source_key", "checksum"}


@pytest.mark.parametrize("text", ["", "a\x00b", "\x1b[31m", "x" * 300_000, "日本語", "'; DROP"])
def test_any_text_is_kept_whole(records: Records, text: str) -> None:
    (number,) = add(records, Memory(text=text))
    assert records.get([number])[number].text == text


@pytest.mark.parametrize("summary", [None, "", "Maya", "something else"])
def test_a_summary_is_kept_however_it_is_packed(records: Records, summary: str | None) -> None:
    (number,) = add(records, Memory(text="Maya planted basil", summary=summary))
    assert records.get([number])[number].summary == summary


def test_null_and_empty_stay_different(records: Records) -> None:
    ids = add(records, Memory(text="a", who=None), Memory(text="b", who=""))
    assert [records.get(ids)[i].who for i in ids] == [None, ""]


def test_ids_are_never_reused(records: Records) -> None:
    ids = add(records, Memory(text="a"), Memory(text="b"))
    with records.write() as tx:
        tx.delete_memories(ids)
    assert add(records, Memory(text="c")) == [3]


def test_a_failed_transaction_leaves_nothing(records: Records) -> None:
    with pytest.raises(ZeroDivisionError), records.write() as tx:
        tx.add_memories([Memory(text="lost", session="only here")])
        raise ZeroDivisionError
    assert records.counts()["memories"] == 0
    assert records.head() == 0
    # the interned name of the failed transaction must not be remembered under a stale id
    (number,) = add(records, Memory(text="kept", session="other", conversation="only here"))
    kept = records.get([number])[number]
    assert (kept.session, kept.conversation) == ("other", "only here")


def test_many_memories_come_back_as_they_were(records: Records) -> None:
    many = [replace(FULL, text=f"note {n}", turn=None) for n in range(2 * rows.TOGETHER[0] + 8)]
    many += [Memory("short") for _ in range(rows.TOGETHER[0])]
    ids = add(records, *many)
    found = records.get(ids)
    for number, memory in zip(ids, many, strict=True):
        same = replace(memory, blobs={}, timestamp=memory.timestamp or None)
        assert found[number] == same
    assert checksums.damaged(records, ids) == []
    before = records.value("SELECT count(*) FROM memories")
    with pytest.raises(sqlite3.IntegrityError), records.write() as tx:
        tx.add_memories([Memory("new") for _ in range(rows.TOGETHER[0])])
        twice = [rows.to_row(many[0], rows.Names(tx.connection), None, None)] * rows.TOGETHER[0]
        tx.execute(*rows.insert(twice))
    assert records.value("SELECT count(*) FROM memories") == before, "all of it, or nothing"


def test_what_is_gone_is_told_of_any_ids(records: Records) -> None:
    ids = add(records, *(Memory(f"note {n}") for n in range(9)))
    with records.write() as tx:
        tx.delete_memories(ids[2:4])
        tx.add_hot((number, b"vector") for number in (ids[0], ids[5]))
        assert tx.gone(np.array([ids[8], 999, ids[3], ids[0]])) == [999, ids[3]]
        assert tx.gone(np.zeros(0, np.int64)) == []
        tx.forget_hot(np.array([ids[5], ids[8], 999]))
    assert [number for number, _ in records.hot()] == [ids[0]]


def test_changes_are_logged_as_ranges(records: Records) -> None:
    ids = add(records, *(Memory(text=str(n)) for n in range(5)))
    with records.write() as tx:
        tx.delete_memories([ids[1], ids[3], ids[4]])
    assert records.changes(0, 10) == [
        Change(1, "add", "memory", 1, 5),
        Change(2, "delete", "memory", 2, 2),
        Change(3, "delete", "memory", 4, 5),
    ]
    assert records.ids().tolist() == [1, 3]


def turns(records: Records) -> list[tuple[object, ...]]:
    columns = "name, input, contemplation, output, timestamp, affect, id"
    return records.rows(f"SELECT {columns} FROM turns WHERE listed")


@pytest.mark.parametrize("layer", ["input", "note"])
def test_a_memory_beside_the_members_of_a_turn_keeps_its_turn(tmp_path: Path, layer: str) -> None:
    """It has no place in the turn: a second input, or of a layer that has none."""
    with closing(MemoryStore.open(tmp_path, Config().replace(graph__engine="none"))) as store:
        first, beside = store.remember_many(
            [Memory("said", turn="t", layer="input"), Memory("beside", turn="t", layer=layer)]
        )
        assert store.forget([first]).removed["turns"] == 1
        assert check(store) == [] and store.get(beside).turn == "t"
        assert store.records.counts()["turns"] == 0
        again = store.remember(Memory("said again", turn="t", layer="input"))
        assert store.records.value("SELECT input FROM turns WHERE listed") == again
        store.forget([again, beside], purge=True)
        assert store.records.rows("SELECT * FROM turns") == [] and check(store) == []


def test_deleting_takes_relations_and_places_in_turns(records: Records) -> None:
    ids = add(records, *(Memory(text=t, turn="t", layer=t) for t in ("input", "output")))
    with records.write() as tx:
        tx.add_relations([(Relation(ids[0], ids[1], "produced", 1.0), None, None)])
    assert records.counts() == {"memories": 2, "turns": 1, "relations": 1}
    with records.write() as tx:
        gone = tx.delete_memories([ids[0]])
    assert gone == {"memories": 1, "relations": 1, "turns": 0}
    assert turns(records) == [("t", None, None, ids[1], None, None, 1)]
    with records.write() as tx:
        assert tx.delete_memories([ids[1]])["turns"] == 1
    assert records.counts() == {"memories": 0, "turns": 0, "relations": 0}


@pytest.mark.parametrize("query", ['"', "a OR", "NEAR(", "* ^", "-", "text:x", "\x00", "(" * 50])
def test_a_query_is_text_not_syntax(records: Records, query: str) -> None:
    add(records, FULL)
    search_words(records, words.terms(query))
    search_words(records, [query])


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Filter(), {1, 2, 3}),
        (Filter(who="maya"), {1}),
        (Filter(namespace="home"), {1}),
        (Filter(namespace="nowhere"), set()),
        (Filter(layer="note"), {2, 3}),
        (Filter(where="BALCONY"), {1}),
        (Filter(tags=("garden", "spring")), {1}),
        (Filter(tags=("garden", "autumn")), set()),
        (Filter(after=20), {1, 3}),
        (Filter(before=20), {2}),
        (Filter(after=20, before=21), {3}),
    ],
)
def test_filters(records: Records, where: Filter, expected: set[int]) -> None:
    add(records, FULL, Memory(text="b", timestamp=10), Memory(text="c", timestamp=20))
    assert set(records.matching(where).tolist()) == expected


def test_readers_see_only_what_is_committed(records: Records) -> None:
    seen: list[int] = []
    with records.write() as tx:
        tx.add_memories([Memory(text="pending")])
        in_thread(lambda: seen.append(records.counts()["memories"]))
    assert seen == [0]
    assert records.counts()["memories"] == 1


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    Records.open(path).close()
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(StateTooNew, match=rf"schema 99; this one knows up to {schema.SCHEMA}"):
        Records.open(path)


def test_somebody_elses_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE t (x)")
    raw.commit()
    raw.close()
    with pytest.raises(RecordsDamaged):
        Records.open(path)
    path.write_bytes(b"not a database at all, but long enough to look like one" * 100)
    with pytest.raises(RecordsDamaged):
        Records.open(path)


def test_the_file_is_private_and_gives_space_back(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    records = Records.open(path)
    assert path.stat().st_mode & 0o777 == 0o600
    add(records, *(Memory(text=f"{n} " * 500) for n in range(200)))
    records.checkpoint()
    full = path.stat().st_size
    with records.write() as tx:
        tx.delete_memories(records.ids().tolist())
    records.release_space()
    assert path.stat().st_size < full / 2
    records.close()


def test_the_ledger_of_sources(records: Records) -> None:
    with records.write() as tx:
        number = sources.insert(
            tx,
            name="graph",
            kind="nima-sqlite",
            path="/x",
            fingerprint="f",
            format=1,
            sha256="s",
            bytes=1,
            strategy="full",
            stage="attached",
            attached=1,
        )
        tx.add_memories([Memory(text="a", source=("graph", 7))], number)
        sources.advance(tx, number, copied=1)
        sources.update(tx, number, node_cursor=7, report={"ok": True})
        sources.quarantine(tx, number, [("edge", 3, "no such memory")])
    source = sources.by_name(records, "graph")
    assert (source.copied, source.node_cursor, source.report) == (1, 7, {"ok": True})
    (row,) = sources.quarantine_rows(records, number, limit=10)
    assert row == {"kind": "edge", "key": 3, "reason": "no such memory"}
    assert sources.memory_ids(records, number, [7, 8]) == {7: 1}
    assert records.get([1])[1].source == ("graph", 7)
    assert np.array_equal(records.ids(), [1])
    with pytest.raises(sqlite3.IntegrityError), records.write() as tx:
        tx.add_memories([Memory(text="again", source=("graph", 7))], number)


def test_a_store_of_version_one_is_brought_up_to_date_and_keeps_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    old = sqlite3.connect(path)
    old.executescript(schema.TABLES)
    old.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    old.execute("PRAGMA user_version = 1")
    old.execute("INSERT INTO meta VALUES ('kept', 'yes')")
    old.commit()
    old.close()

    records = Records.open(path)

    assert records.meta("kept") == "yes"
    assert records.value("PRAGMA user_version") == schema.SCHEMA
    assert records.rows("SELECT * FROM dense") == []
    assert records.value("SELECT count(follow) FROM sources") == 0
    records.close()


def test_each_older_version_is_brought_to_the_tables_of_this_one(tmp_path: Path) -> None:
    for version in range(1, schema.SCHEMA + 1):
        path = tmp_path / f"{version}.sqlite"
        with closing(schema.connect(path)) as old:
            schema.make(old, version)
            old.execute(f"PRAGMA user_version = {version}")
        with closing(Records.open(path)) as records, records.reading() as reader:
            assert schema.differences(reader) == [], version


def test_tables_are_not_waited_for_long_where_another_program_writes(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    with closing(sqlite3.connect(path)) as other, closing(schema.connect(path)) as ours:
        ours.execute("PRAGMA busy_timeout = 10")
        ours.execute("PRAGMA journal_mode = WAL")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError) as met:
            schema.prepare(ours, path)
        assert sqlite_fault(met.value) is Fault.LOCKED
        other.execute("ROLLBACK")
        schema.prepare(ours, path)
        assert schema.differences(ours) == []


def test_numbers_go_on_above_what_a_store_with_autoincrement_had_given(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    old = sqlite3.connect(path)
    old.create_function("common_form", 1, lambda name: name)
    old.create_function("read_time", 1, lambda value: value)
    for script in (schema.TABLES, *(schema.UPGRADES[number] for number in range(2, 14))):
        old.executescript(script)
    old.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    old.execute("PRAGMA user_version = 13")
    old.execute("INSERT INTO names (id, name) VALUES (1, 'note')")
    sql = "INSERT INTO memories (id, text, timestamp, layer, namespace, created) VALUES"
    old.executemany(f"{sql} (?, 'x', 1, 1, 1, 1)", [(7,), (9,)])
    old.execute("DELETE FROM memories WHERE id = 9")
    old.execute(
        "INSERT INTO changes (seq, op, kind, first, last) VALUES (4, 'add', 'memory', 7, 9)"
    )
    old.execute("DELETE FROM changes")
    old.commit()
    old.close()

    for expected in (10, 11):  # opened again, and with all that was given deleted
        with closing(Records.open(path)) as records:
            assert records.head() == 2 * expected - 16
            assert add(records, Memory(text="new")) == [expected]
            with records.write() as tx:
                tx.delete_memories([expected])
                tx.prune_changes(records.head() + 1)
            assert checksums.integrity_problems(records) == []


def test_no_copy_of_a_deleted_cell_stays_in_an_unused_part_of_a_page(tmp_path: Path) -> None:
    chance = random.Random(3)  # with which SQLite's own means leave two
    names: dict[int, str] = {}
    gone: list[str] = []
    with closing(Records.open(tmp_path / "records.sqlite")) as records:
        for _ in range(20):
            spoken = [chance.randbytes(8).hex() for _ in range(40)]
            with records.write() as tx:
                made = [Memory(text="x", who=who, timestamp=1, created=1) for who in spoken]
                names.update(zip(tx.add_memories(made), spoken, strict=True))
        for _ in range(8):
            out = chance.sample(sorted(names), 40)
            with records.write() as tx:
                tx.delete_memories(out)
            gone += [names.pop(number) for number in out]
        assert records.compact()
        data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert [who for who in gone if who.encode() in data] == []
        assert all(who.encode() in data for who in names.values())
        assert checksums.integrity_problems(records) == []
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "records.sqlite",
            "records.sqlite-shm",
            "records.sqlite-unfolded",
            "records.sqlite-wal",
        ]


def test_names_are_kept_by_what_they_take() -> None:
    with closing(schema.connect(Path(":memory:"))) as connection:
        schema.make(connection)
        names = rows.Names(connection)
        given = [f"{number} {'x' * 10_000}" for number in range(300)]
        tracemalloc.start()
        made = [names.id(f"{name[:-1]}x") for name in given]
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < 2 * rows.NAMES_HELD and made == [names.id(name) for name in given]
