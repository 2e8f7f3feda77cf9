"""The graph: built whole, asked in Cypher, and what it refuses; with both engines."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from nimad.check import check
from nimad.config import Config
from nimad.core import graph as core_graph
from nimad.core import maintenance
from nimad.core.store import MemoryStore
from nimad.errors import (
    CypherRefused,
    CypherTooMuch,
    Degraded,
    DiskFailed,
    DiskFull,
    EngineUnsupported,
    GraphFailed,
    GraphMemory,
    NimadError,
)
from nimad.graph import database
from nimad.graph.cypher import BEGINNINGS, CALLS, REFUSED, check_reads
from nimad.graph.database import GraphDatabase
from nimad.graph.files import GraphFiles
from nimad.graph.limits import GraphLimits, check_supported
from nimad.graph.process import EngineProcess
from nimad.keys import ENGINES
from nimad.model import Memory, Relation
from tests.threads import PATIENCE, Background, after, setting
from tests.unit.test_relations import fill

KUZU_RUNS = os.sysconf("SC_PAGE_SIZE") == 4096
COUNT = "MATCH (m:Memory) RETURN count(*)"
Open = Callable[..., MemoryStore]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "kuzu" and not KUZU_RUNS:
        pytest.skip("kuzu works with memory pages of 4 KiB only")
    return str(request.param)


@pytest.fixture
def opening(tmp_path: Path) -> Iterator[Open]:
    """Opens the store of the test, which is closed at the end."""
    opened: list[MemoryStore] = []

    def on(engine: str) -> MemoryStore:
        while opened:
            opened.pop().close()
        settings = Config().replace(embedder="hash", graph__engine=engine)
        opened.append(MemoryStore.open(tmp_path / "state", settings))
        return opened[0]

    yield on
    while opened:
        opened.pop().close()


@pytest.fixture
def store(opening: Open, engine: str) -> MemoryStore:
    return opening(engine)


def family(store: MemoryStore) -> list[int]:
    """Three memories, two of them in a turn, two relations."""
    with store.records.write() as tx:
        ids = tx.add_memories(
            [
                Memory(text="a", who="Ada", layer="input", turn="1", session="s", timestamp=1000),
                Memory(text="b", who="Ben", layer="output", turn="1", session="s"),
                Memory(text="c", importance=0.5, where="home", namespace="work"),
            ]
        )
        relations = [Relation(1, 2, "caused", 0.5), Relation(3, 1, "like", None)]
        tx.add_relations([(relation, None, None) for relation in relations])
    return ids


def ask(store: MemoryStore, cypher: str, **more: Any) -> list[list[Any]]:
    return store.graph.query(cypher, **more).rows


def contents(store: MemoryStore, **more: Any) -> dict[str, list[tuple[Any, ...]]]:
    """What the graph holds."""
    questions = {
        "memories": "MATCH (m:Memory) RETURN m.id, m.layer, m.who, m.place, m.timestamp,"
        " m.importance, m.namespace, m.conversation, m.session, m.source",
        "turns": "MATCH (t:Turn) RETURN t.id, t.name, t.namespace, t.conversation, t.session,"
        " t.timestamp",
        "relations": "MATCH (a:Memory)-[r:Relation]->(b:Memory)"
        " RETURN a.id, b.id, r.id, r.relation, r.weight",
        "members": "MATCH (t:Turn)-[m:Member]->(b:Memory) RETURN t.id, b.id, m.role",
    }
    return {
        name: sorted(map(tuple, ask(store, question, limit=10_000, **more)), key=repr)
        for name, question in questions.items()
    }


def truth(store: MemoryStore) -> dict[str, list[tuple[Any, ...]]]:
    """What the records hold of it; kuzu reads "" as NULL."""
    name = "(SELECT name FROM names WHERE names.id = {})"
    rows = store.records.rows
    found = {
        "memories": rows(
            f"SELECT id, {name.format('layer')}, who, {name.format('place')}, nullif(timestamp, 0),"
            f" importance, {name.format('namespace')}, {name.format('conversation')},"
            f" {name.format('session')}, (SELECT name FROM sources WHERE id = memories.source)"
            " FROM memories"
        ),
        "turns": rows(
            f"SELECT id, name, {name.format('namespace')}, {name.format('conversation')},"
            f" {name.format('session')}, timestamp FROM turns WHERE listed"
        ),
        "relations": rows(
            "SELECT origin, target, id, substr((SELECT name FROM names WHERE id = relation), 1,"
            " 200), CASE WHEN abs(weight) < 1e308 THEN weight END FROM relations"
        ),
        "members": [
            (turn, member, role)
            for turn, *members in rows("SELECT id, input, contemplation, output FROM turns")
            for role, member in zip(("input", "contemplation", "output"), members, strict=True)
            if member is not None
        ],
    }
    empty = "" if store.graph.engine == "ladybug" else None
    return {
        kind: sorted(
            (tuple(empty if value == "" else value for value in row) for row in table), key=repr
        )
        for kind, table in found.items()
    }


# --- what it holds --------------------------------------------------------------------------------


def test_an_empty_store(store: MemoryStore) -> None:
    assert ask(store, COUNT) == [[0]]
    assert store.graph.status()["memories"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_it_holds_what_the_records_hold(store: MemoryStore, seed: int) -> None:
    fill(store.records, random.Random(seed))
    assert contents(store) == truth(store)
    assert store.graph.counts() == store.records.counts()


def test_labels_come_through(store: MemoryStore) -> None:
    labels = [
        '"quoted", with a comma',
        "two\nlines\r\n",
        "back\\slash",
        "\U0001f600 ü",
        "'",
        "x" * 199,
    ]
    with store.records.write() as tx:
        tx.add_memories(
            [Memory(text="t", who=label, where=label, session=label) for label in labels]
        )
        tx.add_relations([(Relation(1, 2, label, 0.1), None, None) for label in labels])
        tx.add_relations([(Relation(1, 2, "y" * 1000, float("inf")), None, None)])
    assert contents(store) == truth(store)


def test_no_text_is_in_it(store: MemoryStore, tmp_path: Path) -> None:
    store.remember(Memory(text="qxzvworm " * 50, extra={"note": "qxzvworm"}, tags=("qxzvworm",)))
    store.graph.rebuild()
    for path in (tmp_path / "state" / "graph").iterdir():
        assert b"qxzvworm" not in path.read_bytes()


def test_values_are_json(store: MemoryStore) -> None:
    family(store)
    cypher = (
        "MATCH p = (a:Memory)-[r:Relation]->(b:Memory) WHERE a.id = 1"
        " RETURN a, r, p, epoch_ms(a.timestamp) AS at, [1, 2.5] AS list, {x: 1} AS struct,"
        " null AS nothing, true AS yes, label(r) AS label, date('2024-02-29') AS day,"
        " interval('1 day') AS time, cast(1.5 AS DECIMAL(4, 2)) AS price, 0.0 / 0.0 AS nan"
    )
    answer = store.graph.query(cypher)
    row = dict(zip(answer.columns, answer.rows[0], strict=True))
    assert json.loads(json.dumps(answer.rows, allow_nan=False)) == answer.rows
    assert row["a"]["label"] == "Memory" and row["a"]["id"] == 1 and row["a"]["who"] == "Ada"
    assert row["r"] == {"label": "Relation", "id": 1, "relation": "caused", "weight": 0.5}
    assert [node["id"] for node in row["p"]["nodes"]] == [1, 2]
    assert row["p"]["relations"] == [row["r"]]
    assert row["at"] == "1970-01-01T00:00:01" and row["day"] == "2024-02-29"
    assert (row["list"], row["struct"], row["nothing"]) == ([1.0, 2.5], {"x": 1}, None)
    assert (row["yes"], row["label"], row["price"]) == (True, "Relation", "1.50")
    assert row["nan"] is None


def test_parameters(store: MemoryStore) -> None:
    family(store)
    cypher = "MATCH (m:Memory) WHERE m.who = $who AND m.id IN $ids RETURN m.id"
    assert ask(store, cypher, parameters={"who": "Ben", "ids": [1, 2, 3]}) == [[2]]
    with pytest.raises(CypherRefused):
        ask(store, cypher, parameters={"ids": [1]})


def test_the_question_of_the_readme(store: MemoryStore) -> None:
    family(store)
    rows = ask(store, "MATCH (m:Memory)-[r]->(n) RETURN r.relation, count(*)")
    assert sorted(rows) == [["caused", 1], ["like", 1]]


# --- what it refuses ------------------------------------------------------------------------------

WRITES = {
    "CREATE": "CREATE (:Memory {id: 99})",
    "MERGE": "MERGE (:Memory {id: 99})",
    "SET": "MATCH (m:Memory) SET m.who = 'x'",
    "DELETE": "MATCH (m:Memory) DELETE m",
    "DETACH": "MATCH (m:Memory) DETACH DELETE m",
    "REMOVE": "MATCH (m:Memory) REMOVE m.who",
    "DROP": "DROP TABLE Member",
    "ALTER": "ALTER TABLE Memory ADD x INT64",
    "RENAME": "ALTER TABLE Memory RENAME TO Other",
    "COPY": "COPY (MATCH (m:Memory) RETURN m.id) TO 'out.csv'",
    "EXPORT": "EXPORT DATABASE 'exported'",
    "IMPORT": "IMPORT DATABASE 'exported'",
    "LOAD": "LOAD FROM '/etc/passwd' (file_format='csv', delim=':') RETURN *",
    "INSTALL": "INSTALL json",
    "UNINSTALL": "UNINSTALL json",
    "UPDATE": "UPDATE json",
    "ATTACH": "ATTACH 'other.db' AS other (dbtype kuzu)",
    "USE": "USE other",
    "BEGIN": "BEGIN TRANSACTION",
    "COMMIT": "COMMIT",
    "ROLLBACK": "ROLLBACK",
    "CHECKPOINT": "CHECKPOINT",
    "COMMENT": "COMMENT ON TABLE Memory IS 'x'",
    "EXPLAIN": "EXPLAIN MATCH (m:Memory) RETURN m.id",
    "PROFILE": "PROFILE MATCH (m:Memory) RETURN m.id",
    "MACRO": "CREATE MACRO f(x) AS x + 1",
}


def test_every_word_that_is_refused_has_its_statement_here() -> None:
    assert WRITES.keys() == REFUSED


@pytest.mark.parametrize("word", sorted(WRITES))
def test_what_writes_is_refused(word: str) -> None:
    for statement in (WRITES[word], WRITES[word].lower(), f"/* x */ {WRITES[word]}"):
        with pytest.raises(CypherRefused):
            check_reads(statement)
    with pytest.raises(CypherRefused, match=f"{word} is refused"):
        check_reads(f"MATCH (m:Memory) {word.lower()} m RETURN m")


@pytest.mark.parametrize(
    "cypher",
    [
        "",
        "   ",
        "// nothing",
        "RETURN 1; RETURN 2",
        "RETURN 1; DROP TABLE Memory",
        "RETURN 'not closed",
        "RETURN `not closed",
        "CALL threads=4",
        "CALL show_tables() RETURN * UNION CALL threads=4",
        "CALL show_indexes() RETURN *",
        "MATCH (m) RETURN m /* ; */; CREATE (:Memory {id: 1})",
        "RETURN 'a' // '\n CREATE (:Memory {id: 1})",
        r"RETURN 'a\\' CREATE (:Memory {id: 1})",
        "(m)",
    ],
)
def test_what_does_not_only_read_is_refused(cypher: str) -> None:
    with pytest.raises(CypherRefused):
        check_reads(cypher)


@pytest.mark.parametrize(
    "cypher",
    [
        "MATCH (m:Memory) WHERE m.who = 'CREATE; DROP' RETURN m.set, $delete;",
        'RETURN "it\'s // no comment" /* DROP */ AS `create`',
        r"RETURN 'it\'s; DROP' AS x",
        *(f"CALL {name.lower()}('Memory') RETURN *" for name in sorted(CALLS)),
        "unwind [1] as x return x",
        "MATCH (m:Memory) RETURN m.id AS created, m.who AS settings, m.layer AS loader",
    ],
)
def test_what_only_reads_passes(cypher: str) -> None:
    check_reads(cypher)


def test_begins_as_said(store: MemoryStore) -> None:
    family(store)
    for cypher in ("OPTIONAL MATCH (m:Memory) RETURN count(m)", "WITH 3 AS x RETURN x"):
        assert ask(store, cypher) == [[3]]
    assert ask(store, "CALL show_tables() RETURN count(*)") == [[4]]
    assert {*BEGINNINGS} == {"MATCH", "OPTIONAL", "UNWIND", "WITH", "RETURN", "CALL"}


def test_what_gets_past_the_words_reaches_nothing(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's process opens no other file and writes none, whatever it is asked."""
    ids = family(store)
    ask(store, COUNT)
    before = store.graph._database._files.main.read_bytes()
    monkeypatch.setattr(database, "check_reads", lambda cypher: None)
    monkeypatch.setattr(core_graph, "check_reads", lambda cypher: None)
    target = tmp_path / "out.csv"
    for statement in (
        f"COPY (MATCH (m:Memory) RETURN m.id) TO '{target}'",
        WRITES["LOAD"],
        f"ATTACH '{tmp_path}/other.db' AS other (dbtype kuzu)",
        *(WRITES[word] for word in ("CREATE", "SET", "DROP", "ALTER", "MERGE", "CHECKPOINT")),
    ):
        with pytest.raises((CypherRefused, GraphFailed)):
            ask(store, statement)
    assert not target.exists()
    assert store.graph._database._files.main.read_bytes() == before
    assert ask(store, COUNT) == [[len(ids)]]


def test_a_wrong_question_says_what_is_wrong(store: MemoryStore) -> None:
    family(store)
    with pytest.raises(CypherRefused, match="Nowhere"):
        ask(store, "MATCH (m:Nowhere) RETURN m")
    with pytest.raises(CypherRefused, match=r"Parser|parser"):
        ask(store, "MATCH (m:Memory RETURN m")
    assert ask(store, COUNT) == [[3]]


# --- limits ---------------------------------------------------------------------------------------


def test_rows_are_limited(store: MemoryStore) -> None:
    answer = store.graph.query("UNWIND range(1, 100) AS x RETURN x", limit=7)
    assert answer.more and answer.rows == [[x] for x in range(1, 8)]
    assert not store.graph.query("UNWIND range(1, 7) AS x RETURN x", limit=7).more


def test_an_answer_fits_in_a_frame(store: MemoryStore) -> None:
    answer = store.graph.query(
        "UNWIND range(1, 3000) AS x RETURN repeat('ab\"', 1000)", limit=10_000
    )
    assert answer.more and 0 < len(json.dumps(answer.rows)) < 1 << 20
    with pytest.raises(NimadError) as caught:
        store.graph.query("RETURN repeat('x', 2000000)")
    assert caught.value.code == "reply_too_large"


def test_time_is_limited(store: MemoryStore) -> None:
    family(store)
    began = time.monotonic()
    with pytest.raises(CypherTooMuch, match="time"):
        ask(
            store,
            "MATCH (a:Memory), (b:Memory) UNWIND range(1, 100000) AS x"
            " UNWIND range(1, 100000) AS y WITH x, y WHERE x * y = 7 RETURN count(*)",
            seconds=0.3,
        )
    assert time.monotonic() - began < PATIENCE
    assert ask(store, COUNT) == [[3]]


def test_an_engine_that_does_not_stop_in_time_is_ended(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    family(store)
    ask(store, COUNT)
    pid = store.graph.pid
    assert pid is not None
    monkeypatch.setattr(database, "GRACE", 0.1)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(CypherTooMuch, match="time"):
        ask(store, COUNT, seconds=0.1)
    assert ask(store, COUNT) == [[3]] and store.graph.pid != pid


def test_memory_is_limited(store: MemoryStore) -> None:
    family(store)
    with pytest.raises(CypherTooMuch, match="memory"):
        ask(store, "UNWIND range(1, 100000000) AS x RETURN collect(x)")
    assert ask(store, COUNT) == [[3]]


# --- how far behind -------------------------------------------------------------------------------


def test_an_answer_says_how_far_behind_it_is(store: MemoryStore) -> None:
    family(store)
    first = store.graph.query(COUNT)
    assert (first.rows, first.behind, first.watermark) == ([[3]], 0, store.records.head())
    store.remember(Memory(text="later"))
    second = store.graph.query(COUNT)
    assert (second.rows, second.behind, second.built) == ([[3]], 1, first.built)
    assert store.graph.status()["behind"] == 1
    third = store.graph.query(COUNT, fresh=True)
    assert (third.rows, third.behind) == ([[4]], 0)
    fourth = store.graph.query(COUNT, fresh=True)
    assert fourth.built == third.built, "what is fresh is not made again"


def test_single_changes_never_make_it_anew(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_graph, "FAR_ROWS", 20)
    maintenance.finish(store)
    assert store.graph.status()["built"] is None, "nobody has asked yet"
    store.remember_many([Memory(text=str(number)) for number in range(40)])
    built = store.graph.query(COUNT).built
    for number in range(10):
        store.remember(Memory(text=f"single {number}"))
    maintenance.finish(store)
    assert store.graph.status()["built"] == built
    store.forget([*range(1, 16)])
    maintenance.finish(store)
    assert store.graph.status()["behind"] == 0, "25 of 40 rows changed"
    assert ask(store, COUNT) == [[35]]


def test_an_idle_engine_ends(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "IDLE_SECONDS", 0.2)
    ask(store, COUNT)
    until = time.monotonic() + PATIENCE
    while store.graph.pid is not None and time.monotonic() < until:
        time.sleep(0.05)
    assert store.graph.pid is None
    assert ask(store, COUNT) == [[0]]


def test_the_daemon_never_loads_an_engine(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.model import Memory
store = MemoryStore.open(Path(sys.argv[1]), Config().replace(embedder="hash"))
store.remember(Memory(text="a"))
store.related(1, 5)
assert store.graph.pid is None
assert store.graph.query("MATCH (m:Memory) RETURN m.id").rows == [[1]]
store.close()
print([name for name in ("ladybug", "kuzu", "nimad.graph.engine") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "state"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


# --- damage and crashes ---------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["altered", "cut", "gone", "no seal"])
def test_damage_is_found_and_made_anew_when_asked(
    opening: Open, engine: str, tmp_path: Path, damage: str
) -> None:
    store = opening(engine)
    family(store)
    ask(store, COUNT)
    store.close()
    path = tmp_path / "state" / "graph" / f"{engine}.db"
    data = bytearray(path.read_bytes())
    if damage == "altered":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "gone":
        path.unlink()
    else:
        path.with_name(f"{engine}.db.seal").write_text("sealed 1 00000000\n")
    store = opening(engine)
    assert ask(store, COUNT) == [[3]]
    aside = [found.name for found in (tmp_path / "state" / "aside").iterdir()]
    assert bool(aside) == (damage in ("altered", "cut"))


def test_doctor_finds_damage_and_idle_time_mends_it(store: MemoryStore, engine: str) -> None:
    family(store)
    ask(store, COUNT)
    store.graph.close()
    path = store.state / "graph" / f"{engine}.db"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    assert "graph" in [problem.part for problem in check(store) if problem.severity == "error"]
    assert "graph" in store.degraded()
    maintenance.finish(store)
    assert store.degraded() == {} and ask(store, COUNT) == [[3]]


def test_an_engine_that_ends_takes_nothing_along(store: MemoryStore) -> None:
    family(store)
    ask(store, COUNT)
    pid = store.graph.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    with after(0.3, os.kill, pid, signal.SIGKILL), pytest.raises(GraphFailed, match="signal"):
        ask(store, COUNT)
    assert ask(store, COUNT) == [[3]]
    assert list((store.state / "aside").iterdir()) == []


def test_leftovers_and_other_engines_files_are_swept(
    opening: Open, engine: str, tmp_path: Path
) -> None:
    store = opening(engine)
    family(store)
    ask(store, COUNT)
    store.close()
    directory = tmp_path / "state" / "graph"
    (other,) = set(ENGINES) - {engine}
    for name in (f"{engine}-new.db", f"{engine}-new.db.wal", f"{other}.db", f"{other}.db.seal"):
        (directory / name).write_bytes(b"rubbish")
    (directory / f"{engine}-new.db.seal").write_text("{}")
    store = opening(engine)
    assert sorted(path.name for path in directory.iterdir()) == [
        f"{engine}.db",
        f"{engine}.db.seal",
    ]
    assert ask(store, COUNT) == [[3]]


def test_a_purge_drops_it(store: MemoryStore, tmp_path: Path) -> None:
    number = store.remember(Memory(text="x", who="Zzyzxperson"))
    ask(store, COUNT)
    store.forget([number], purge=True)
    for path in (tmp_path / "state").rglob("*"):
        assert path.is_dir() or b"Zzyzxperson" not in path.read_bytes(), path
    assert ask(store, COUNT) == [[0]]


def test_a_build_that_a_purge_ends_begins_again(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the purge does not wait for it."""
    monkeypatch.setattr("nimad.core.purge.CUT_OFF_SECONDS", PATIENCE)
    ids = family(store)
    reading, purged = threading.Event(), threading.Event()
    real = core_graph.graph_rows.lines
    seen: list[float] = []

    def slow(records: Any, give_way: Any) -> Any:
        for page in real(records, give_way):
            seen.append(store.graph.fraction)
            yield page
            reading.set()
            assert purged.wait(PATIENCE)

    monkeypatch.setattr(core_graph.graph_rows, "lines", slow)

    def purge() -> None:
        assert reading.wait(PATIENCE)
        with after(0.2, purged.set):
            assert store.forget([ids[2]], purge=True).purged

    with Background(purge):
        assert store.graph.rebuild() == 2
    assert ask(store, COUNT) == [[2]]
    assert seen[0] == 0 and 0 < max(seen) < 1


def test_without_an_engine_it_says_so_and_keeps_nothing(opening: Open, engine: str) -> None:
    store = opening(engine)
    store.remember(Memory(text="x", who="Zzyzxperson"))
    ask(store, COUNT)
    store = opening("none")
    with pytest.raises(Degraded, match=r"graph\.engine is none"):
        ask(store, COUNT)
    assert list((store.state / "graph").iterdir()) == []
    assert store.graph.rebuild() is None and store.graph.status()["engine"] == "none"
    maintenance.finish(store)


# --- building -------------------------------------------------------------------------------------


def fail_copies(monkeypatch: pytest.MonkeyPatch, times: int) -> list[dict[str, Any]]:
    """The first `times` copies of the table Relation run out of memory."""
    asked: list[dict[str, Any]] = []
    real = EngineProcess.ask

    def sometimes(self: EngineProcess, request: dict[str, Any], seconds: float = 60) -> Any:
        asked.append(request)
        copies = [one for one in asked if one.get("table") == "Relation"]
        if request.get("table") == "Relation" and len(copies) <= times:
            raise GraphMemory(detail="the buffer pool is full")
        return real(self, request, seconds)

    monkeypatch.setattr(EngineProcess, "ask", sometimes)
    return asked


def test_a_build_without_memory_goes_on_in_smaller_parts(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store.records, random.Random(7))
    monkeypatch.setattr(database, "SMALL_PART", 5)
    monkeypatch.setattr(core_graph.graph_rows, "PAGE", 2)
    asked = fail_copies(monkeypatch, 1)
    assert contents(store) == truth(store)
    assert any(request["do"] == "checkpoint" for request in asked)


def test_many_rows_come_in_parts(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store.records, random.Random(8))
    monkeypatch.setattr(database, "EDGES", 5)
    monkeypatch.setattr(core_graph.graph_rows, "PAGE", 2)
    assert contents(store) == truth(store)


def test_a_build_that_cannot_be_made_is_reported_and_the_old_one_stays(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    family(store)
    built = store.graph.query(COUNT).built
    store.remember(Memory(text="later"))
    with monkeypatch.context() as patch:
        fail_copies(patch, 9)
        with pytest.raises(GraphMemory):
            ask(store, COUNT, fresh=True)
        answer = store.graph.query(COUNT)
    assert (answer.rows, answer.behind, answer.built) == ([[3]], 1, built)
    assert ask(store, COUNT, fresh=True) == [[4]]


def test_a_pool_that_is_really_too_small(tmp_path: Path, engine: str) -> None:
    graph = GraphDatabase(tmp_path / "graph", engine, GraphLimits(buffer_pool_bytes=1 << 20))
    graph.open()
    lines = [f'{number},"input",,,{number},,,,,\n' for number in range(1, 20_001)]
    with pytest.raises(NimadError) as caught:
        graph.build(database.About(1, 20_000, {}), lambda: [("Memory", lines)])
    assert caught.value.code in ("graph_memory", "graph_failed", "engine_unsupported")
    assert [path.name for path in (tmp_path / "graph").iterdir()] == []


def test_a_full_disk_is_asked_about_first(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    family(store)
    real = os.statvfs

    def full(path: Any) -> Any:
        status = list(real(path))
        status[4] = 10  # f_bavail
        return os.statvfs_result(status)

    with monkeypatch.context() as patch:
        patch.setattr(os, "statvfs", full)
        with pytest.raises(DiskFull):
            ask(store, COUNT)
    assert ask(store, COUNT) == [[3]]


@pytest.mark.parametrize("told", [None, DiskFull, GraphFailed])
def test_a_failing_disk_is_told_as_that_whatever_the_engine_says(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, told: type[NimadError] | None
) -> None:
    family(store)

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def cannot_write(self: EngineProcess, request: dict[str, Any], seconds: float = 60) -> Any:
        assert told is not None
        raise told(detail="Cannot write to file")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        if told is not None:
            patch.setattr(EngineProcess, "ask", cannot_write)
        with pytest.raises(DiskFailed):
            ask(store, COUNT)
    assert ask(store, COUNT) == [[3]]


def test_the_old_one_serves_while_a_new_one_is_made(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    family(store)
    ask(store, COUNT)
    store.remember(Memory(text="later"))
    begun, go_on = threading.Event(), threading.Event()
    real = GraphDatabase._fill

    def slow(self: GraphDatabase, *given: Any, **more: Any) -> dict[str, int]:
        begun.set()
        assert go_on.wait(PATIENCE)
        return real(self, *given, **more)

    monkeypatch.setattr(GraphDatabase, "_fill", slow)
    with Background(store.graph.rebuild), setting(go_on):
        assert begun.wait(PATIENCE)
        assert ask(store, COUNT) == [[3]]
    assert ask(store, COUNT) == [[4]]


ENDLESS = (  # with longer lists Kuzu has no memory for it, and says so at once
    "UNWIND range(1, 30000) AS x UNWIND range(1, 30000) AS y UNWIND range(1, 30000) AS z"
    " WITH x, y, z WHERE x * y * z = -1 RETURN count(*)"
)


@contextmanager
def asking_without_end(store: MemoryStore) -> Iterator[None]:
    """The engine's process is busy with a question, which fails as soon as the process ends: long
    before its ten minutes are over."""

    def ask_it() -> None:
        with pytest.raises(NimadError):
            ask(store, ENDLESS, seconds=5 * PATIENCE)

    engine = psutil.Process(store.graph.pid)
    before, deadline = sum(engine.cpu_times()[:2]), time.monotonic() + PATIENCE
    with Background(ask_it):
        while sum(engine.cpu_times()[:2]) < before + 0.1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield


def test_a_new_one_does_not_wait_for_a_question(store: MemoryStore) -> None:
    family(store)
    ask(store, COUNT)
    store.remember(Memory(text="later"))
    with asking_without_end(store):
        store.graph.rebuild()
        assert store.graph.status()["behind"] == 0
        store.graph.close()  # nor does the end of the daemon
    assert ask(store, COUNT) == [[4]]


def test_a_purge_does_not_wait_for_a_question(store: MemoryStore) -> None:
    ids = family(store)
    ask(store, COUNT)
    with asking_without_end(store):
        assert store.forget([ids[2]], purge=True).purged
    assert ask(store, COUNT) == [[2]]


def test_what_comes_during_a_build_is_not_half_in_it(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tables are of one moment."""
    family(store)
    real = core_graph.graph_rows.lines

    def busy(records: Any, give_way: Any) -> Any:
        for page in real(records, give_way):
            late = store.remember(Memory(text="late"))
            with store.records.write() as tx:
                tx.add_relations([(Relation(late, 1, "late", None), None, None)])
            yield page

    monkeypatch.setattr(core_graph.graph_rows, "lines", busy)
    store.graph.rebuild()
    assert (ask(store, COUNT), store.graph.counts()["relations"]) == ([[3]], 2)


# --- engines and limits ---------------------------------------------------------------------------


def test_kuzu_needs_pages_of_4_kib() -> None:
    with pytest.raises(EngineUnsupported, match="16384 bytes"):
        check_supported("kuzu", page_size=16384)
    check_supported("ladybug", page_size=16384)
    with pytest.raises(EngineUnsupported, match="known are"):
        check_supported("neo4j")


def test_an_engine_that_is_not_there(
    opening: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    store = opening("ladybug")
    assert "not installed" in store.degraded()["graph"]
    with pytest.raises(EngineUnsupported, match="not installed"):
        ask(store, COUNT)
    with pytest.raises(EngineUnsupported):
        store.graph.rebuild()


def test_limits_follow_the_board() -> None:
    mib = 1 << 20
    assert GraphLimits.for_memory(1024 * mib).buffer_pool_bytes == 64 * mib
    assert GraphLimits.for_memory(4096 * mib).buffer_pool_bytes == 128 * mib
    assert GraphLimits.for_memory(65536 * mib).buffer_pool_bytes == 256 * mib


@pytest.mark.parametrize("size", [64 << 20, 100_000_000, 3 << 30])
def test_any_address_space_will_do(tmp_path: Path, engine: str, size: int) -> None:
    graph = GraphDatabase(tmp_path / "graph", engine, GraphLimits(max_db_size_bytes=size))
    graph.open()
    graph.build(database.About(1, 1, {}), lambda: [("Memory", ["1,,,,5,,,,,\n"])])
    answer = graph.ask("MATCH (m:Memory) RETURN m.timestamp", {}, limit=1, seconds=5)
    assert answer is not None and answer.rows == [[5]]
    graph.close()


def test_a_flipped_bit_of_a_seal_is_noticed(tmp_path: Path) -> None:
    """It says which changes the graph knows: a wrong number would be a wrong answer."""
    files = GraphFiles(tmp_path, "ladybug")
    files.new.write_bytes(b"a graph")
    files.swap_in(4711, {"Memory": 3}, {"memories": 7})
    (sealed,) = tmp_path.glob("*.seal")
    kept, whole = files.seal(), sealed.read_bytes()
    assert kept is not None and kept.watermark == 4711
    for at in range(8 * len(whole)):
        raw = bytearray(whole)
        raw[at // 8] ^= 1 << at % 8
        sealed.write_bytes(raw)
        assert files.seal() in (None, kept), (at, bytes(raw))
    told = json.loads(whole)
    del told["check"]  # as earlier versions wrote it
    sealed.write_text(json.dumps(told))
    assert files.seal() == kept
