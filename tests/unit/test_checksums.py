"""What is not what was written is noticed, named, and does not keep the rest from being found."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nimad.check import check
from nimad.config import Config
from nimad.core import integrity, maintenance
from nimad.core.store import MemoryStore
from nimad.ctl.injection import frame
from nimad.disk import container
from nimad.disk.container import Container
from nimad.errors import NimadError, RecordsDamaged
from nimad.index import segment
from nimad.model import DamagedMemory, Filter, Memory, Relation, Turn
from nimad.serve.wire import exported, imported, memory_json
from nimad.store import checksums, dates, row_checksums, rows, schema
from nimad.store.bounded import get_within
from nimad.store.records import Records

CONFIG = Config().replace(**{"graph.engine": "none"})
FULL = Memory(
    text="Maya planted basil and tomatoes on the balcony",
    who="Maya",
    where="balcony",
    timestamp=1_700_000_000_000,
    layer="input",
    importance=0.5,
    tags=("garden", "herbs"),
    namespace="home",
    conversation="c1",
    session="s1",
    turn="t1",
    affect="calm",
    summary="Maya planted basil",
    created=1_700_000_000_001,
    last_accessed=1_700_000_000_002,
    access_count=3,
    extra={"mood": 7},
    blobs={"embedding": b"\x00\x01\x02", "other": b""},
)


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with closing(Records.open(tmp_path / "records.sqlite")) as opened:
        yield opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    opened = MemoryStore.open(tmp_path / "state", CONFIG)
    yield opened
    opened.close()


def add(records: Records, *memories: Memory) -> list[int]:
    with records.write() as tx:
        return tx.add_memories([replace(memory) for memory in memories])


def harm(records: Records, sql: str, *parameters: Any) -> None:
    """Change the file behind the store's back."""
    with closing(sqlite3.connect(records.path, isolation_level=None)) as outside:
        outside.execute("PRAGMA synchronous = OFF")
        outside.execute(sql, parameters)


def damage(records: Records, table: str, sql: str, *parameters: Any) -> None:
    """Change a row as a flipped bit does: no trigger takes its checksum away."""
    name = f"{table}_changed"
    (again,) = records.rows("SELECT sql FROM sqlite_schema WHERE name = ?", (name,)) or [("",)]
    if again[0]:
        harm(records, f"DROP TRIGGER {name}")
    harm(records, sql, *parameters)
    if again[0]:
        harm(records, again[0])


def columns(records: Records, table: str = "memories") -> list[tuple[str, str]]:
    return records.rows(f"SELECT name, type FROM pragma_table_info('{table}')")


def test_a_change_of_any_column_is_noticed(records: Records) -> None:
    """Of all columns there are, those of later versions too."""
    first, second, third = add(records, FULL, FULL, FULL)
    assert checksums.damaged(records, [first, second, third]) == []
    for name, kind in columns(records):
        if name == "id":
            continue
        (kept,) = records.rows(f"SELECT {name} FROM memories WHERE id = ?", (second,))
        other = kept[0] + "x" if isinstance(kept[0], str) else (kept[0] or 0) + 1
        harm(records, f"UPDATE memories SET {name} = ? WHERE id = ?", other, second)
        noticed = checksums.damaged(records, [first, second, third])
        assert noticed == [second], f"{name} {kind}"
        harm(records, f"UPDATE memories SET {name} = ? WHERE id = ?", kept[0], second)
    assert checksums.damaged(records, [first, second, third]) == []


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE memories SET id = 9 WHERE id = 2",
        "UPDATE blobs SET data = x'000103' WHERE memory = 9 AND name = 'embedding'",
        "UPDATE blobs SET name = 'another' WHERE memory = 9 AND name = 'other'",
        "DELETE FROM blobs WHERE memory = 9 AND name = 'other'",
        "UPDATE names SET name = 'homf' WHERE name = 'home'",
        "UPDATE memories SET text = CAST(x'ff' AS TEXT) WHERE id = 9",
        "UPDATE memories SET text = x'4d' WHERE id = 9",
        "UPDATE memories SET who = NULL WHERE id = 9",
        "UPDATE memories SET tags = '[\"garden\"' WHERE id = 9",
        "UPDATE memories SET importance = 0.5000000000000001 WHERE id = 9",
    ],
)
def test_a_change_of_any_kind_is_noticed(records: Records, sql: str) -> None:
    add(records, FULL, FULL)
    harm(records, "UPDATE memories SET id = 9, checksum = NULL WHERE id = 2")
    harm(records, "UPDATE blobs SET memory = 9 WHERE memory = 2")
    checksums.complete(records, [9])
    assert checksums.damaged(records, [1, 9]) == []
    harm(records, sql.replace("SET id = 9 WHERE id = 2", "SET id = 8 WHERE id = 9"))
    found = checksums.damaged(records, [int(number) for number in records.ids()])
    assert found and found[-1] in (8, 9)
    assert len(records.get([1, 8, 9])) == 2  # served with what can be read of it


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
moments = st.integers(0, 2**47)
memories = st.builds(
    Memory,
    text=names,
    who=names | st.none(),
    where=names | st.none(),
    timestamp=moments,
    layer=st.sampled_from(["input", "note", "legacy_vsa"]),
    importance=st.floats() | st.none() | st.sampled_from([0, 1, -0.0, 5e-324]),
    tags=st.lists(names, max_size=3).map(tuple),
    namespace=names,
    conversation=names | st.none(),
    session=names | st.none(),
    turn=names | st.none(),
    affect=names | st.none(),
    summary=names | st.none(),
    created=moments,
    last_accessed=moments | st.none(),
    access_count=st.integers(0, 2**53),
    extra=st.dictionaries(names, names | st.floats() | st.integers() | st.booleans()),
    blobs=st.dictionaries(names, st.binary(max_size=9), max_size=2),
)


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.lists(memories, min_size=1, max_size=5))
def test_what_was_written_is_never_called_damaged(records: Records, given: list[Memory]) -> None:
    """Whatever it holds: SQLite gives some values back in another form than they went in."""
    ids = add(records, *given)
    assert checksums.damaged(records, ids) == []
    checksums.complete(records, ids)
    assert checksums.damaged(records, ids) == []
    lacking = records.value("SELECT count(*) FROM memories WHERE checksum IS NULL")
    assert lacking == 0


@given(st.text(st.characters(), max_size=12), st.integers(1, 5))
def test_a_long_text_is_summed_up_in_parts_as_the_whole_is(text: str, part: int) -> None:
    memory = Memory(text=text, affect=text, extra={text: text}, timestamp=1)
    names: Any = SimpleNamespace(known={}, id=lambda name: 1)
    sums = []
    for long in (part, rows.LONG):
        with mock.patch.object(rows, "LONG", long):
            sums.append(rows.to_row(memory, names, None, None)[-1])
    assert sums[0] == sums[1]


def test_what_nimad_changes_itself_is_not_damage(store: MemoryStore) -> None:
    """Access counts, and turns that are joined."""
    ids = store.remember_many([replace(FULL, turn=None), replace(FULL, last_accessed=None)])
    for _ in range(3):
        store.writer.accesses.count(ids)
    store.writer.accesses.save(store.records)
    assert store.records.get(ids)[ids[1]].access_count == 6
    with store.records.write() as tx:
        tx.execute("INSERT INTO turns (id, name, source) VALUES (77, 'other', 5)")
        tx.execute("UPDATE memories SET turn = 77, checksum = checksum + 77 WHERE id = ?", (1,))
        tx.add_turns([(Turn("t1", ids[1], None, None, 1), "k", None)], 5)
    assert checksums.damaged(store.records, ids) == []


def test_rows_of_older_versions_get_theirs_in_idle_time(store: MemoryStore) -> None:
    ids = store.remember_many([replace(FULL, text=f"memory {n}") for n in range(1200)])
    harm(store.records, "UPDATE memories SET checksum = NULL")
    maintenance.finish(store)
    assert store.records.value("SELECT count(*) FROM memories WHERE checksum IS NULL") == 0
    assert checksums.damaged(store.records, ids) == []


def look_again(store: MemoryStore) -> None:
    """As if a month had passed."""
    store.integrity._finished = {"records": 0, "rows": 0, "files": 0}
    maintenance.finish(store)


def test_it_is_found_in_idle_time_named_kept_and_gone_once_it_is_mended(
    store: MemoryStore,
) -> None:
    ids = store.remember_many([replace(FULL, text=f"memory {n}") for n in range(1200)])
    maintenance.finish(store)
    assert store.degraded() == {}
    number = ids[700]
    harm(store.records, "UPDATE memories SET who = 'Mayb' WHERE id = ?", number)
    maintenance.finish(store)
    assert store.degraded() == {}  # only once a month
    look_again(store)
    assert str(number) in store.degraded()["records"]
    found = [problem for problem in check(store) if problem.part == "records"]
    assert f"memory {number} is not what was written" in " ".join(p.what for p in found)
    assert all("rebuild" not in problem.fix for problem in found)
    store.close()
    again = MemoryStore.open(store.state, CONFIG)
    try:
        assert str(number) in again.degraded()["records"]
        again.words.rebuild()  # does not make it final
        assert any(f"memory {number} " in problem.what for problem in check(again))
        harm(again.records, "UPDATE memories SET who = 'Maya' WHERE id = ?", number)
        again.words.rebuild()
        assert [p.what for p in check(again) if p.severity == "error"] == []
        assert again.degraded() == {}
    finally:
        again.close()


@pytest.mark.parametrize("blobs", [{}, FULL.blobs], ids=["no blobs", "blobs"])
def test_a_damaged_memory_is_never_given_as_what_was_written(
    store: MemoryStore, blobs: dict[str, bytes]
) -> None:
    """Not even the first time, before any look: it says so itself, and the answer, too."""
    first, second = store.remember_many(
        [replace(FULL, turn=None, blobs=blobs, text=f"{word} on the balcony") for word in "AB"]
    )
    harm(store.records, "UPDATE memories SET text = 'C on the balcony' WHERE id = ?", first)
    answer = store.query("balcony", strictness=0)
    told = {hit.memory.id: memory_json(hit.memory).get("damaged") for hit in answer.hits}
    assert told == {first: True, second: None} and answer.degraded == ["records"]
    assert str(first) in store.degraded()["records"]
    line = exported(store.export(0, 10)[0])
    assert line["damaged"] and imported(line, "default").extra == {"damaged": True, **FULL.extra}
    assert frame([memory_json(store.get(number)) for number in (first, second)]).count("\n[") == 1


def test_a_damaged_blob_is_damage_of_its_memory(store: MemoryStore) -> None:
    first, second = store.remember_many([FULL, replace(FULL, turn=None)])
    harm(store.records, "UPDATE blobs SET data = x'00' WHERE memory = ? AND name = 'other'", first)
    assert [type(store.get(number)) for number in (first, second)] == [DamagedMemory, Memory]


@pytest.mark.parametrize("moment", [1 << 61, -(1 << 61)])
def test_a_damaged_time_is_no_date(store: MemoryStore, moment: int) -> None:
    number = store.remember(FULL)
    sql = "UPDATE memories SET timestamp = ?1, created = ?1, last_accessed = ?1 WHERE id = ?2"
    harm(store.records, sql, moment, number)
    line = exported(store.export(0, 10)[0])
    assert [line[name] for name in ("timestamp", "created", "last_accessed")] == [None] * 3


def test_the_records_are_looked_at_after_a_power_cut(store: MemoryStore) -> None:
    """A card may lose what it had confirmed; a clean end asks for nothing."""
    number = store.remember(FULL)
    maintenance.finish(store)
    harm(store.records, "UPDATE memories SET who = 'Mayb' WHERE id = ?", number)
    maintenance.finish(store)
    assert store.degraded() == {}
    left = store.state.with_name("left")
    shutil.copytree(store.state, left)  # with the WAL, as a cut leaves it
    with closing(MemoryStore.open(left, CONFIG)) as after_cut:
        maintenance.finish(after_cut)
        assert str(number) in after_cut.degraded()["records"]


def test_what_breaks_on_damaged_records_is_told_as_damage(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows in no order, as a card that lost a page leaves them, break a start or `doctor` anywhere;
    on sound records it is a bug, and told as one."""
    store.remember(FULL)
    monkeypatch.setattr(store.words, "check", lambda: [][0])
    with pytest.raises(IndexError):
        check(store)
    sql = "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema"
    sql += " WHERE name = 'memories_key') WHERE name = 'turns_output'"
    with closing(sqlite3.connect(store.records.path, isolation_level=None)) as outside:
        outside.execute("PRAGMA writable_schema = ON")
        outside.execute(sql)
    found = {problem.part: problem for problem in check(store)}
    assert "SQLite reports" in found["check"].what and "backup" in found["check"].fix
    monkeypatch.setattr("nimad.recall.ranking.Recall.load", lambda _: [][0])
    store.close()
    with pytest.raises(RecordsDamaged, match="SQLite reports"):
        MemoryStore.open(store.state, CONFIG)


def test_a_forgotten_memory_is_no_damage_any_more(store: MemoryStore) -> None:
    first, second = store.remember_many(
        [replace(FULL, turn=None), replace(FULL, turn=None, text="another")]
    )
    harm(store.records, "UPDATE memories SET who = 'Mayb' WHERE id = ?", first)
    look_again(store)
    assert "records" in store.degraded()
    store.forget([first])
    assert [p.what for p in check(store) if p.severity == "error"] == []
    assert store.degraded() == {} and store.get(second).who == "Maya"


def test_memories_larger_than_a_step_are_looked_at(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity, "STEP_BYTES", 1000)
    ids = store.remember_many([replace(FULL, text="x" * n) for n in (10, 5000, 10, 6000, 10)])
    harm(store.records, "UPDATE memories SET affect = 'x' WHERE id = ?", ids[3])
    look_again(store)
    assert str(ids[3]) in store.degraded()["records"]


def test_segments_are_read_whole_once_a_week(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of large ones are not looked at when they are opened."""
    monkeypatch.setattr(segment, "_CHECK_ROWS_UP_TO", 0)
    monkeypatch.setattr(container, "STEP", 1 << 16)
    monkeypatch.setattr(container, "_READ", 1 << 16)
    with closing(MemoryStore.open(tmp_path / "state", CONFIG)) as store:
        store.remember_many([replace(FULL, text=f"memory {n} of many") for n in range(3000)])
        store.semantic.flush()
        (path,) = (store.state / "blocks").glob("*.nsb")
        maintenance.finish(store)
        place = Container.open(path, "segment", 1, 2).regions["rows"].offset + 300_000
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 4]))
    with closing(MemoryStore.open(tmp_path / "state", CONFIG)) as store:
        maintenance.finish(store)
        assert store.degraded() == {} and path.exists()  # it was looked at a moment ago
        store.integrity._finished["files"] = 0
        steps = 0
        while "blocks" not in store.degraded():
            assert maintenance.step(store)
            steps += 1
        assert steps > 1
        assert store.query("memory 7 of many").hits
        maintenance.finish(store)
        assert store.degraded() == {}
        assert [entry.name for entry in (store.state / "aside").iterdir()] == [path.name]
        assert [p.what for p in check(store) if p.severity == "error"] == []


MORE_ROWS = (
    "INSERT INTO goals (memory, priority, since, state) VALUES (1, 0.5, 1, 'open')",
    "INSERT INTO broadcasts (memory, at, affect, score) VALUES (2, 1, 0, 0.5)",
    "INSERT INTO suggestions (kind, first, second, score, created) VALUES ('near', 1, 2, 0.5, 1)",
    "INSERT INTO phi (memory, method, phi, uncertainty, quality) VALUES (3, 99, 0.5, 0.1, 0.2)",
    "INSERT INTO departed (namespace, board, number) VALUES (1, 0, 5000)",
    "INSERT INTO stamps (memory, time) VALUES (1, 1)",
    "INSERT INTO cursors (namespace, writer, kind, seq) VALUES ('home', 'w', 'memories', 3)",
    "INSERT INTO boards (id, store, name) VALUES (-1, 's', 'kitchen')",
    "INSERT INTO forgotten (id) VALUES (5000)",
    "INSERT INTO sources (name, kind, path, fingerprint, format, sha256, bytes, strategy, stage,"
    " attached) VALUES ('old', 'mem0', '/x', 'f', 1, '', 1, 'full', 'rolled_back', 1)",
    "INSERT INTO quarantine VALUES (1, 'item', 'k', 'too large', NULL)",
    "INSERT INTO later VALUES (1, 'node', 4, '{}', NULL)",
)
"""A row for most tables that remembering alone leaves empty."""


def dump(store: MemoryStore) -> dict[str, Any]:
    """All that is stored and no projection, nor what a start writes; and some answers."""
    left = {*row_checksums.ELSEWHERE} - {"memories", "blobs"}
    rows: dict[str, Any] = {}
    for (table,) in store.records.rows("SELECT name FROM sqlite_schema WHERE type = 'table'"):
        if table not in left:
            left_out = {"checksum", "last_accessed", "access_count"}  # to ask counts as access
            named = ", ".join(n for n, _ in columns(store.records, table) if n not in left_out)
            where = "WHERE key IN ('identity', 'text_form')" if table == "meta" else ""
            rows[table] = store.records.rows(f"SELECT {named} FROM {table} {where} ORDER BY 1, 2")
    for mode in ("hybrid", "meaning"):
        hits = store.query("What about the kettle?", k=5, mode=mode).hits
        rows[mode] = [(hit.memory.id, hit.memory.text) for hit in hits]
    rows["filter"] = [hit.memory.id for hit in store.query("bees", where=Filter(who="maya")).hits]
    return rows


def flip_bits(directory: Path, flips: int) -> None:
    """Each is noticed at use or in idle time, mended, or without effect on anything."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    choose = random.Random(seed)
    base = directory / "state"
    with closing(MemoryStore.open(base, CONFIG)) as store:
        store.remember_many(
            [
                replace(
                    FULL,
                    text=f"memory {n} about the {choose.choice(['kettle', 'bees'])}",
                    session=f"s{n % 7}",
                    turn=f"t{n // 3}",
                    layer=("input", "contemplation", "output")[n % 3],
                )
                for n in range(300)
            ]
        )
        for sql in MORE_ROWS:
            harm(store.records, sql)
        with store.records.write() as tx:
            tx.add_relations(
                [(Relation(n, n + 1, "follows", 0.5), None, None) for n in range(1, 99)]
            )
        store.remember(Memory("the first", namespace="notes", key="k"))
        maintenance.finish(store)
        assert check(store) == []
        wanted = dump(store)
    size = (base / "records.sqlite").stat().st_size
    for _ in range(flips):
        place, bit = choose.randrange(size), 1 << choose.randrange(8)
        flipped = directory / "flipped"
        shutil.rmtree(flipped, ignore_errors=True)
        shutil.copytree(base, flipped)
        with (flipped / "records.sqlite").open("r+b") as file:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ bit]))
        unnoticed = changes_unnoticed(flipped, wanted)
        assert unnoticed == [], f"seed {seed}: bit {bit} of byte {place}"


def changes_unnoticed(state: Path, wanted: dict[str, Any]) -> list[str]:
    """What differs, though no error tells of it, no look finds or mends it."""
    with suppress(NimadError), closing(MemoryStore.open(state, CONFIG)) as store:
        before = differing(store, wanted)
        look_again(store)
        if before and "records" not in store.degraded() and not check(store):
            return differing(store, wanted)
    return []


def differing(store: MemoryStore, wanted: dict[str, Any]) -> list[str]:
    """What is there or gone; a measurement that is gone is made again."""
    found = dump(store)
    parts = [(part, found[part], wanted[part]) for part in wanted]
    new = [f"{part}: {odd}" for part, now, then in parts for odd in now if odd not in then]
    lost = [(part, odd) for part, now, then in parts for odd in then if odd not in now]
    return [*new, *(f"{part} lost {odd}" for part, odd in lost if part != "phi")]


def test_flipped_bits_anywhere_in_the_file(tmp_path: Path) -> None:
    flip_bits(tmp_path, 12)


@pytest.mark.slow
def test_many_flipped_bits_anywhere_in_the_file(tmp_path: Path) -> None:
    flip_bits(tmp_path, 400)


def test_each_update_of_memories_keeps_the_checksum() -> None:
    """Or sets it to NULL, so that idle time makes it anew."""
    root = Path(integrity.__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        for part in path.read_text(encoding="utf-8").split("UPDATE memories SET")[1:]:
            known = part.split("WHERE")[0]
            assert "checksum" in known or path.name == "schema_versions.py", f"{path.name}: {known}"


def test_a_checksum_that_goes_missing_is_noticed(store: MemoryStore) -> None:
    """A bit that flips in the head of a row takes the last column away; see `rows.LACKING`."""
    ids = store.remember_many([Memory(f"memory {n}") for n in range(5)])
    maintenance.finish(store)
    with store.records.write() as tx:
        dates.move(tx, [(ids[0], 1000, 1)])
    assert checksums.damaged(store.records, ids) == []  # it may lack: its time was set right
    look_again(store)
    assert store.records.value("SELECT count(*) FROM memories WHERE checksum IS NULL") == 0
    harm(store.records, f"UPDATE memories SET checksum = NULL WHERE id = {ids[3]}")
    assert "damaged" in memory_json(store.records.get([ids[3]])[ids[3]])
    for _ in range(2):  # the look gives it none
        assert checksums.damaged(store.records, ids) == [ids[3]]
        look_again(store)
        assert "records" in store.degraded()


def test_a_damaged_history_begins_anew(store: MemoryStore) -> None:
    store.remember(Memory("one"))
    for value in ("", "{", "[[1", "[1]", "[[]]", '{"a": 1}', "null"):
        harm(store.records, "INSERT OR REPLACE INTO meta (key, value) VALUES ('history', ?)", value)
        assert store.history.days()[-1]["memories"] == 1
        store.history.save()


def test_a_damaged_memory_that_is_cut_says_so(store: MemoryStore) -> None:
    ids = store.remember_many([Memory(f"{n} {'long ' * 300}") for n in range(20)])
    harm(store.records, "UPDATE memories SET text = 'x' || text WHERE id = 7")
    found = [memory_json(each) for each in get_within(store.records, ids, 20_000).values()]
    assert all(each["cut"] for each in found)
    assert [each["id"] for each in found if "damaged" in each] == [7]


# --- relations and turns --------------------------------------------------------------------------


def linked(store: MemoryStore) -> None:
    """Two turns, and relations between their memories."""
    layers = ("input", "output")
    turns = [Memory(f"said {n}", turn=f"t{n // 2}", layer=layers[n % 2]) for n in range(4)]
    first, second, *_ = store.remember_many(turns)
    with store.records.write() as tx:
        tx.add_relations([(Relation(first, second, "answers", 0.5), "k", {"a": 1})] * 3)


def looked_at(store: MemoryStore, *, complete: bool = False) -> list[str]:
    return [row for some in row_checksums.damaged(store.records, complete=complete) for row in some]


def test_a_change_of_any_column_of_a_relation_or_turn_is_noticed(store: MemoryStore) -> None:
    linked(store)
    assert looked_at(store, complete=True) == []
    for table, named in (("relations", "relation 2 of"), ("turns", "turn 2 of")):
        harm(store.records, f"DROP TRIGGER {table}_changed")
        for name, _ in columns(store.records, table):
            if name == "id":
                continue
            kept = store.records.value(f"SELECT {name} FROM {table} WHERE id = 2")
            other = f"{kept}x" if isinstance(kept, str) else (kept or 0) + 1
            harm(store.records, f"UPDATE {table} SET {name} = ? WHERE id = 2", other)
            (told,) = looked_at(store)
            assert told.startswith(named), f"{table}.{name}: {told}"
            harm(store.records, f"UPDATE {table} SET {name} = ? WHERE id = 2", kept)
        assert looked_at(store) == []
    harm(store.records, "UPDATE names SET name = 'answfrs' WHERE name = 'answers'")
    assert looked_at(store) == [f"relation {n} of the memories 1, 2" for n in (1, 2, 3)]


def test_rows_that_nimad_changes_are_no_damage(store: MemoryStore) -> None:
    linked(store)
    assert looked_at(store, complete=True) == []
    store.forget([1])
    assert looked_at(store) == []
    assert store.records.rows("SELECT id FROM turns WHERE checksum = 0") == [(1,)]
    assert looked_at(store, complete=True) == []
    assert store.records.rows("SELECT id FROM turns WHERE checksum = 0") == []


def test_a_damaged_relation_is_told_by_idle_time_and_doctor(store: MemoryStore) -> None:
    linked(store)
    maintenance.finish(store)
    damage(store.records, "relations", "UPDATE relations SET target = 4 WHERE id = 3")
    told = "relation 3 of the memories 1, 4 is not what was written: its checksum differs"
    assert [problem.what for problem in store.integrity.check()] == [told]
    assert told in store.degraded()["records"]
    store.integrity._finished["rows"] = 0
    maintenance.finish(store)
    assert told in store.degraded()["records"]
    again = integrity.Integrity(store.records, store.health, [])
    assert told in store.degraded()["records"], "kept over a restart"
    damage(store.records, "relations", "UPDATE relations SET target = 2 WHERE id = 3")
    assert again.check() == [] and store.degraded() == {}


# --- every other table ----------------------------------------------------------------------------


def fill_every_table(records: Records) -> list[str]:
    """Put a row into each table that has none; the tables."""
    sql = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
    tables = [name for (name,) in records.rows(sql)]
    for table in tables:
        if table.startswith("sqlite_") or records.rows(f"SELECT 1 FROM {table}"):
            continue
        info = records.rows("SELECT name, type FROM pragma_table_info(?)", (table,))
        named = [(name, kind) for name, kind in info if name != "checksum"]
        values = [
            900 + n if kind in ("INTEGER", "REAL") else f"v{n}" for n, (_, kind) in enumerate(named)
        ]
        marks = ", ".join("?" * len(named))
        into = f"{table} ({', '.join(name for name, _ in named)})"
        harm(records, f"INSERT INTO {into} VALUES ({marks})", *values)
    return tables


def test_each_table_is_looked_at_or_says_why_not(store: MemoryStore) -> None:
    """A change of any column of any table is noticed: a new table needs a checksum, or a reason."""
    linked(store)
    tables = fill_every_table(store.records)
    looked_at(store, complete=True)
    for table in tables:
        if table in row_checksums.ELSEWHERE:
            continue
        for name, _ in columns(store.records, table):
            ((row, kept),) = store.records.rows(
                f"SELECT {key_of(store.records, table)}, {name} FROM {table} LIMIT 1"
            )
            step = 1000 if name == key_of(store.records, table) else 1
            other = f"{kept}x" if isinstance(kept, str) else (kept or 0) + step
            where = f"{key_of(store.records, table)} = ?"
            damage(store.records, table, f"UPDATE {table} SET {name} = ? WHERE {where}", other, row)
            assert any(table.removesuffix("s") in line for line in looked_at(store)), name
            moved = other if name == key_of(store.records, table) else row
            damage(
                store.records, table, f"UPDATE {table} SET {name} = ? WHERE {where}", kept, moved
            )
        assert looked_at(store) == [], table
    assert {*row_checksums.ELSEWHERE} <= {*tables}


def test_a_checksum_that_goes_missing_from_any_table_is_noticed(store: MemoryStore) -> None:
    """As `rows.CHECKSUMMED` has it for memories: a look gives a damaged row no new one."""
    linked(store)
    tables = fill_every_table(store.records)
    looked_at(store, complete=True)
    checked = [t for t in tables if ("checksum", "INTEGER") in columns(store.records, t)]
    assert {*tables} - {*checked} == {*row_checksums.ELSEWHERE} - {"memories", "hot", "changes"}
    for table in {*checked} - {*row_checksums.ELSEWHERE}:
        harm(store.records, f"UPDATE {table} SET checksum = NULL")
        for complete in (False, True, False) if table != "phi" else (False,):  # made again
            told = looked_at(store, complete=complete)
            assert told and all(table.removesuffix("s") in line for line in told), table
        harm(store.records, f"UPDATE {table} SET checksum = 0")
        assert looked_at(store, complete=True) == [], "what is new or was changed is none"
    with store.records.write() as tx:
        tx.add_hot([(1, bytes(2)), (2, bytes(2))])
    assert [number for number, _ in store.records.hot()] == [1, 2], "nor one that is no vector"
    before = rows.row_checksum(2, bytes(2))  # as an earlier build wrote it
    harm(store.records, "UPDATE hot SET checksum = ? WHERE id = 2", before)
    harm(store.records, "UPDATE hot SET checksum = NULL WHERE id = 1")
    assert 1 not in dict(store.records.hot()) and 2 in dict(store.records.hot())
    harm(store.records, "UPDATE changes SET checksum = NULL WHERE seq = 1")
    assert store.records.changes(0, 9) is None


def test_rows_of_an_older_version_get_a_checksum_and_then_need_it(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    with closing(schema.connect(path)) as old:
        schema.make(old, 18)
        old.execute("PRAGMA user_version = 18")
        old.execute("INSERT INTO relations (origin, target, relation) VALUES (1, 2, 1)")
        old.execute("INSERT INTO changes (op, kind, first, last) VALUES ('add', 'relation', 1, 1)")
    with closing(Records.open(path)) as records:
        assert records.changes(0, 9) and records.value("SELECT checksum FROM relations") is None
        assert [*chain(*row_checksums.damaged(records, complete=False))] == []
        assert [*chain(*row_checksums.damaged(records, complete=True))] == []
        assert records.value("SELECT checksum FROM relations") > 0
        harm(records, "UPDATE relations SET checksum = NULL")
        assert [*chain(*row_checksums.damaged(records, complete=True))] != []


def key_of(records: Records, table: str) -> str:
    """The first column of a table's key."""
    sql = "SELECT name FROM pragma_table_info(?) WHERE pk = 1"
    return str(records.value(sql, (table,)))


def test_a_damaged_hot_vector_is_made_again_of_its_text(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with closing(MemoryStore.open(state, CONFIG)) as store:
        for first in range(0, 600, 60):  # what comes in bulk does not stand there
            store.remember_many([Memory(f"memory {first + n}") for n in range(60)])
        vector = store.records.value("SELECT vector FROM hot WHERE id = 7")
    with closing(Records.open(state / "records.sqlite")) as records:
        harm(
            records, "UPDATE hot SET vector = ? WHERE id = 7", bytes([vector[0] ^ 64]) + vector[1:]
        )
    with closing(MemoryStore.open(state, CONFIG)) as store:
        assert 7 not in dict(store.records.hot())
        assert store.query("memory 6", mode="meaning", k=1).hits[0].memory.id == 7
        maintenance.finish(store)
        assert check(store) == []


def test_a_damaged_change_is_made_up_for_by_the_records(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with closing(MemoryStore.open(state, CONFIG)) as store:
        store.remember_many([Memory("the kettle whistles"), Memory("a blue door")])
        assert store.query("kettle").hits
        (change,) = store.records.rows("SELECT max(seq) FROM changes")
        store.remember(Memory("the beehive hums"))
        harm(store.records, "UPDATE changes SET last = 2 WHERE seq > ?", *change)
        assert store.records.changes(0, 9) is None
        assert [hit.memory.id for hit in store.query("beehive").hits] == [3]


def test_a_damaged_number_gives_none_again_and_is_told(store: MemoryStore) -> None:
    store.remember_many([Memory(f"memory {n}") for n in range(9)])
    store.forget([8, 9])
    assert store.integrity.check() == []
    harm(store.records, "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'memories'")
    (problem,) = store.integrity.check()
    assert problem.what == "sqlite_sequence (memories) is not what nimad writes"
    assert store.remember(Memory("the tenth")) == 10


def test_a_damaged_trigger_is_told(store: MemoryStore) -> None:
    harm(store.records, "DROP TRIGGER memories_deleted")
    (problem,) = store.integrity.check()
    assert problem.what == "memories_deleted is not what nimad writes"


def test_what_is_made_of_other_rows_is_mended_in_idle_time(store: MemoryStore) -> None:
    store.remember(Memory("by the window", who="Zoë"))
    with store.records.write() as tx:
        tx.insert("phi", memory=1, method=99, phi=0.5, uncertainty=0.1, quality=0.2)
    look_again(store)
    damage(store.records, "names", "UPDATE names SET folded = 'x' WHERE name = 'note'")
    damage(store.records, "phi", "UPDATE phi SET phi = 0.75")
    assert len(store.integrity.check()) == 2
    maintenance.finish(store)
    assert store.degraded() == {}
    assert store.records.value("SELECT folded FROM names WHERE name = 'note'") == "note"
    assert store.records.rows("SELECT * FROM phi") == []
    assert looked_at(store) == []


def test_tombstones_that_are_not_what_was_written_cost_no_memory(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with closing(MemoryStore.open(state, CONFIG)) as store:
        store.remember_many([Memory(f"memory {n}") for n in range(20)])
        store.semantic.flush()
        store.forget([7])
        harm(store.records, "UPDATE tombstones SET id = 6")
    with closing(MemoryStore.open(state, CONFIG)) as store:
        maintenance.finish(store)
        assert check(store) == [] and 6 in store.blocks.ids() and 7 not in store.blocks.ids()
    with closing(MemoryStore.open(state, CONFIG)) as store:
        assert check(store) == []


def test_what_was_found_before_cannot_be_read_any_more(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with closing(MemoryStore.open(state, CONFIG)) as store:
        store.remember(Memory("a blue door"))
        maintenance.finish(store)
        harm(store.records, "UPDATE meta SET value = '{' WHERE key = 'integrity'")
    with closing(MemoryStore.open(state, CONFIG)) as store:
        maintenance.finish(store)
        assert store.degraded() == {} and check(store) == []
