"""A purge is a proof: a canary in every column, file and format, and none in any byte afterwards.

The store has memories of its own and of every kind of file that nimad takes over, each with the
canary wherever a text, a name or bytes can stand.  A new column, format or crash point is found by
itself: columns come from the schema, formats from the detector, points from the code that ran.
"""

from __future__ import annotations

import ast
import base64
import inspect
import json
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nimad.check import check
from nimad.config import Config
from nimad.core import maintenance, unwritten
from nimad.core.imports import Delivery, Imports, Origin
from nimad.core.store import MemoryStore
from nimad.index.segment import Segment
from nimad.legacy import detect
from nimad.legacy.bundle import take_bundle
from nimad.legacy.snapshot import take_snapshot
from nimad.legacy.stores import find
from nimad.migrate.manager import MigrationManager
from nimad.model import Memory, Relation
from nimad.recall import columns_cache
from nimad.store import broadcasts, goals, sources, suggestions
from nimad.store.goals import Goal
from nimad.store.suggestions import Pair
from tests import forked
from tests.crash.test_every_point import DURABLE, named_points
from tests.legacy import stores
from tests.legacy.checkpoints import episode, nested, save, sign, sparse, tensor
from tests.legacy.moving import CALM, opened, status

CANARY = "Qxzvörnblume"
SETTINGS = {**CALM, "embedder": "static"}
D = 64


def forms(text: str) -> Iterator[bytes]:
    """How a text may stand in a file."""
    begin = text[:7]  # what a stemmer leaves
    spelled = {begin, begin.casefold(), begin.upper()}
    spelled |= {unicodedata.normalize(form, one) for one in spelled for form in ("NFD", "NFKC")}
    marks = str.maketrans("", "", "\N{COMBINING DIAERESIS}")
    spelled |= {unicodedata.normalize("NFD", one).translate(marks) for one in spelled}
    for one in spelled:
        yield from (one.encode(), one.encode("utf-16-le"), one.encode("utf-16-be"))
        yield json.dumps(one)[1:-1].encode()
        for shift in range(3):
            yield base64.b64encode(bytes(shift) + one.encode())[4:-4]


NEEDLES = sorted(set(forms(CANARY)))


def found_in(state: Path, more: tuple[bytes, ...] = ()) -> dict[str, list[bytes]]:
    """File → the forms that stand in it."""
    files = sorted(path for path in state.rglob("*") if path.is_file())
    there = {}
    for path in files:
        data = path.read_bytes()
        if hits := [needle for needle in (*NEEDLES, *more) if needle in data]:
            there[str(path.relative_to(state))] = hits
    return there


# --- every format ---------------------------------------------------------------------------------


def graph(path: Path, schema: int) -> None:
    """A database with the canary in a memory, its edges, its turn, and tables of others."""
    stores.create(path, schema, "delete")
    nodes = [stores.node(key, f"{path.stem} says {key}") for key in range(1, 31)]
    stores.insert(path, "memory_nodes", nodes)
    secret = {
        "summary": f"S {CANARY}",
        "who": f"W {CANARY}",
        "affect_json": json.dumps({"a": CANARY}),
        "session_key": f"N {CANARY}",
        "conversation_id": f"C {CANARY}",
        "turn_id": f"T {CANARY}",
        "created_at": f"D {CANARY}",
    }
    if schema == 3:
        secret["embedding"] = CANARY.encode() * 96
    stores.insert(path, "memory_nodes", [stores.node(40, f"The word is {CANARY}.", **secret)])
    edges = [(40, 3, f"R {CANARY}"), (4, 40, f"Q {CANARY}"), (4, 999, f"X {CANARY}")]
    for source, target, relation in edges:
        row = {"source_id": source, "target_id": target, "relation": relation, "weight": 1.0}
        stores.insert(path, "memory_edges", [row])
    turn = {"turn_id": f"T {CANARY}", "input_node_id": 40, "timestamp": 5}
    stores.insert(path, "memory_turns", [{**turn, "affect_json": json.dumps([CANARY])}])
    stores.execute(
        path,
        "CREATE TABLE cache AS SELECT id, text FROM memory_nodes;"
        "CREATE INDEX cached ON cache (text);"
        f"CREATE VIEW seen AS SELECT '{CANARY}' AS word;"
        "CREATE VIRTUAL TABLE other USING fts5(text);"
        "INSERT INTO other SELECT text FROM memory_nodes;"
        "DELETE FROM other WHERE rowid > 5;",
    )


def episodes(kind: str) -> list[Any]:
    """Eight, of which one has the canary in every field."""
    fields = ("who", "what", "where", "context", "raw_text")
    said = {field: f"{field} of {kind}: {CANARY} says so" for field in fields}
    more = {"emotions": [CANARY], "themes": [f"t {CANARY}"], "more": {CANARY: [CANARY]}}
    made = [episode(number, raw_text=f"{kind} says {number}") for number in range(8)]
    return [*made[:3], episode(3, **said, **more), *made[4:]]


VECTORS = np.random.default_rng(7).standard_normal((8, D)).astype(np.float32)


def checkpoint(home: Path) -> None:
    found = episodes("nested")
    fillers = {each["what"]: tensor(VECTORS[n] + 9) for n, each in enumerate(found)}
    value = nested(found, tensor(VECTORS), fillers)
    value["state"]["history"] = [f"once {CANARY} was said", {f"k {CANARY}": CANARY.encode()}]
    save(home / "latest.pt", value, checksum=True)
    sign(home / "latest.pt", note=f"of {CANARY}")


def flat(home: Path) -> None:
    save(home / "flat.pt", {"vectors": tensor(VECTORS), "metadata": episodes("flat")})


def metadata_only(home: Path) -> None:
    save(home / "bare.pt", {"metadata": episodes("bare")})


def sparse_pickle(home: Path) -> None:
    rows = np.repeat(VECTORS.astype(np.float64), 10, axis=1)
    value = sparse(episodes("pickle"), rows, 10, as_json=False)
    (home / "sparse_memory.pkl").write_bytes(pickle.dumps(value, 4))


def sparse_json(home: Path) -> None:
    rows = np.repeat(VECTORS.astype(np.float64), 10, axis=1)
    value = {**sparse(episodes("json"), rows, 10, as_json=True), "log": [f"of {CANARY}"]}
    (home / "sparse_memory.json").write_text(json.dumps(value))


FORMATS = {
    "graph1": lambda home: graph(home / "graph1.sqlite", 1),
    "graph3": lambda home: graph(home / "graph3.sqlite", 3),
    "checkpoint": checkpoint,
    "flat": flat,
    "metadata": metadata_only,
    "pickle": sparse_pickle,
    "json": sparse_json,
}


def known_formats() -> set[str]:
    """What the detector may answer, read from its code."""
    tree = ast.parse(inspect.getsource(detect.file_format))
    names = {
        name.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Return) and node.value
        for name in ast.walk(node.value)
        if isinstance(name, ast.Name) and name.id.isupper()
    }
    return {getattr(detect, name) for name in names} | {detect.GRAPH}


def test_every_format_that_is_taken_over_is_here(tmp_path: Path) -> None:
    kinds = set()
    for name, make in FORMATS.items():
        (tmp_path / name).mkdir()
        make(tmp_path / name)
        (found,) = find(tmp_path / name).stores
        if found.kind == detect.GRAPH:
            kinds.add(detect.GRAPH)
        for member in found.members:
            if not member.name.endswith(detect.CHECKSUM):
                head = member.path.read_bytes()[:64]
                kinds.add(detect.file_format(head, member.name))
    assert kinds == known_formats() and len(kinds) >= 4


# --- every column ---------------------------------------------------------------------------------

NUMBERS = "a number, or the name of a file of nimad's"
OWNERS = "what the owner calls the source"
PLANTED = {
    "meta": "",
    "names": "name folded",
    "memories": "text who affect tags summary extra key source_key",
    "blobs": "name data",
    "turns": "name affect extra",
    "relations": "extra",
    "hot": "vector",
    "sources": "error report",
    "quarantine": "reason",
    "later": "row",
    "dense_items": "name",
}
"""Table → its columns that hold the canary before the purge."""
NOT_TEXT = {
    "meta": {"key": "a word of nimad's", "value": "ids, digests, names of embedders"},
    "names": {"id": NUMBERS},
    "memories": dict.fromkeys(
        [
            "id",
            "place",
            "timestamp",
            "layer",
            "importance",
            "namespace",
            "agent",
            "conversation",
            "session",
            "turn",
            "created",
            "last_accessed",
            "access_count",
            "source",
        ],
        NUMBERS,
    )
    | {"origin": "one of five words"},
    "blobs": {"memory": NUMBERS},
    "boards": {"id": NUMBERS, "store": "a UUID", "name": "a name of a board and a UUID"},
    "departed": dict.fromkeys(["seq", "namespace", "board", "number", "purge", "mine"], NUMBERS),
    "stamps": dict.fromkeys(["seq", "memory", "time", "mine"], NUMBERS),
    "cursors": {
        "namespace": "the configuration says it",
        "writer": "a UUID",
        "kind": "a word of nimad's",
        "seq": NUMBERS,
    },
    "turns": dict.fromkeys(
        [
            "id",
            "source",
            "source_key",
            "listed",
            "input",
            "contemplation",
            "output",
            "timestamp",
            "namespace",
            "conversation",
            "session",
            "gone",
        ],
        NUMBERS,
    ),
    "relations": dict.fromkeys(
        ["id", "origin", "target", "relation", "weight", "source", "source_key"],
        NUMBERS,
    ),
    "hot": {"id": NUMBERS},
    "unset_clock": dict.fromkeys(("memory", "boot", "ahead", "fields"), NUMBERS),
    "phi": dict.fromkeys(("memory", "method", "phi", "uncertainty", "quality"), NUMBERS),
    "goals": {
        **dict.fromkeys(("memory", "priority", "since", "due", "closed", "by"), NUMBERS),
        "state": "a word of nimad's",
    },
    "broadcasts": dict.fromkeys(("id", "memory", "at", "affect", "score"), NUMBERS),
    "suggestions": {
        **dict.fromkeys(("id", "first", "second", "score", "created", "rejected"), NUMBERS),
        "kind": "a word of nimad's",
    },
    "sources": {
        **dict.fromkeys(("name", "path", "kind", "fingerprint", "snapshot", "sha256"), OWNERS),
        **dict.fromkeys(
            [
                "id",
                "format",
                "bytes",
                "strategy",
                "batch_size",
                "stage",
                "paused",
                "total",
                "total_edges",
                "total_turns",
                "node_cursor",
                "edge_cursor",
                "turn_cursor",
                "encode_cursor",
                "copied",
                "relations",
                "turns",
                "encoded",
                "linked",
                "verified",
                "attached",
                "started",
                "finished",
                "follow",
                "total_dense",
                "dense_cursor",
                "converted",
            ],
            NUMBERS,
        ),
    },
    "quarantine": {
        "source": NUMBERS,
        "kind": "a word or a column of the source",
        "key": "a number; for what was forgotten a name, in whose place a purge puts a digest",
    },
    "later": dict.fromkeys(("source", "kind", "key"), NUMBERS),
    "dense_items": dict.fromkeys(("source", "number", "kind"), NUMBERS),
}
"""Table → column → why no text of a memory can stand there."""
WITHOUT_TEXT = {
    *("segments", "pending", "tombstones", "changes", "dense", "forgotten", "sqlite_sequence"),
}


def columns(records: Path) -> dict[str, list[str]]:
    """Table → its columns, from the schema."""
    with closing(sqlite3.connect(records)) as connection:
        sql = "SELECT name FROM sqlite_schema WHERE type = 'table'"
        tables = [name for (name,) in connection.execute(sql)]
        return {
            table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            for table in tables
        }


def planted(records: Path, table: str, column: str, vector: bytes) -> bool:
    sql = f"SELECT {column} FROM {table}"
    with closing(sqlite3.connect(records)) as connection:
        values = connection.execute(sql).fetchall()
    raw = [value if isinstance(value, bytes) else str(value).encode() for (value,) in values]
    return any(needle in value for value in raw for needle in (*NEEDLES, vector))


# --- the store ------------------------------------------------------------------------------------


def take_over(manager: MigrationManager, home: Path, name: str) -> None:
    """Migrate the one store of a directory to its end."""
    (found,) = find(home).stores
    if found.kind == detect.GRAPH:
        taken = take_snapshot(found.path)
    else:
        taken = take_bundle(found.members, found.path, home)
    with taken:
        manager.attach(taken.fd, taken.request(strategy="full", name=name))
    manager.finish()
    assert status(manager, name)["state"] == "verified", name


def own_memories(store: MemoryStore) -> None:
    """Memories that were remembered, with the canary in each field."""
    fields: dict[str, Any] = {
        "who": f"w {CANARY}",
        "where": f"p {CANARY}",
        "tags": (CANARY,),
        "session": f"s {CANARY}",
        "conversation": f"c {CANARY}",
        "namespace": f"n {CANARY}",
        "agent": f"a {CANARY}",
        "summary": f"in short {CANARY}",
        "affect": json.dumps({CANARY: 1}),
        "extra": {CANARY: CANARY},
    }
    for layer in ("note", "input"):
        memory = Memory(f"Own: {CANARY}, {layer}.", turn=f"t {CANARY}", layer=layer, **fields)
        memory.blobs = {f"b {CANARY}": CANARY.encode()}
        memory.key = f"k {CANARY} {store.records.head()}"
        number = store.remember(memory)
    item = Delivery({f"of {CANARY}.md#i {CANARY}": Memory(f"Imported: {CANARY}.", timestamp=1)})
    Imports(store).put(Origin("markdown", "/home/maya/notes", "1:2"), item)
    with store.records.write() as tx:
        tx.add_relations([(Relation(number, 1, f"r {CANARY}", 1.0), None, {CANARY: CANARY})])
        tx.add_relations([(Relation(1, number, f"q {CANARY}", 1.0), None, None)])
        goals.add(tx, Goal(number, 0.8, 1, None))
        broadcasts.add(tx, number, 1, 0, 0.5)
        suggestions.add(tx, [Pair("link", 1, number, 0.5)], number)


def plant(store: MemoryStore) -> None:
    """What only an accident leaves: remarks, errors, rows of a followed source."""
    mine = sources.by_name(store.records, "graph1").id
    node = [40, CANARY, [CANARY]]
    with store.records.write() as tx:
        for kind, row in (
            ("node", node),
            ("edge", [40, 3, CANARY, 1.0]),
            ("edge", [3, 40, CANARY, 1.0]),
            ("turn", [CANARY, 40, None, None, 5, CANARY]),
        ):
            tx.execute(
                "INSERT OR REPLACE INTO later (source, kind, key, row) VALUES (?, ?, ?, ?)",
                (
                    mine,
                    kind,
                    40 if kind == "node" else 900 + len(row) + row.index(40),
                    json.dumps(row),
                ),
            )
        sources.quarantine(tx, mine, [("created_at", 40, f"not like {CANARY}")])
        noted = sources.by_name(store.records, "graph1").with_notes(said=[CANARY])
        sources.update(tx, mine, report=noted)
        tx.execute("UPDATE turns SET extra = ? WHERE name = ?", (json.dumps(CANARY), f"T {CANARY}"))


def plant_files(state: Path) -> None:
    """Files of engines that are off, and what was set aside."""
    for name in ("seg-00000099.nsb", "ladybug.db", "kuzu.db.wal.1", "dns-00000009.nsd.3"):
        (state / "aside" / name).write_text(CANARY)
    for name in ("kuzu.db", "kuzu-new.db", "kuzu.db.seal"):
        (state / "graph" / name).write_text(CANARY)


@pytest.fixture(scope="module", params=[pytest.param("none", marks=pytest.mark.slow), "ladybug"])
def filled(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[Path, str, tuple[bytes, ...]]:
    """A state directory, its engine, and bytes of vectors that have to go."""
    home = tmp_path_factory.mktemp("canary")
    state = home / "state"
    with opened(state, **SETTINGS, graph__engine=request.param) as (store, manager):
        store.remember(Memory("the heron stands in the brook"))
        for name, make in FORMATS.items():
            (home / name).mkdir()
            make(home / name)
            take_over(manager, home / name, name)
        own_memories(store)
        store.semantic.flush()
        with pytest.MonkeyPatch.context() as patched:  # so that vectors stand in `hot`, too
            patched.setattr(unwritten, "LATE_ROWS", 1)
            own_memories(store)
        if request.param != "none":
            store.graph.rebuild()
        assert store.query("heron").hits
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(columns_cache, "KEEP_ROWS", 1)
            assert store.recall.keep()
        plant(store)
        vectors = vector_bytes(store)
    with closing(sqlite3.connect(state / "records.sqlite")) as connection:
        connection.execute("UPDATE sources SET error = ? WHERE name = 'graph1'", (CANARY,))
        connection.commit()
    plant_files(state)
    return state, request.param, vectors


def secrets(store: MemoryStore) -> list[int]:
    sql = "SELECT id FROM memories WHERE instr(text, ?) OR instr(who, ?)"
    return [number for (number,) in store.records.rows(sql, (CANARY, CANARY))]


def vector_bytes(store: MemoryStore) -> tuple[bytes, ...]:
    """The vectors of the canary's memories as they lie in files: hot, sealed (its signs lie apart,
    mixed with those of other rows), legacy."""
    doomed = secrets(store)
    rows = store.records.rows("SELECT id, vector FROM hot")
    hot = [vector for number, vector in rows if number in doomed]
    sealed = []
    for name in store.records.segment_names():
        segment = Segment.open(store.blocks.path(name), store.blocks.dims)
        mine = np.array([number for number in doomed if number in segment.ids().tolist()], np.int64)
        sealed += [segment.vectors[row].tobytes() for row in segment.rows_of(mine)]
    assert hot and sealed
    block = np.repeat(VECTORS[3].astype("<f8"), 10)[:60].tobytes()
    legacy = [VECTORS[3].tobytes(), block, base64.b64encode(block)]
    return (*hot, *sealed, *legacy)


# --- the proof ------------------------------------------------------------------------------------

Filled = tuple[Path, str, tuple[bytes, ...]]

PURGE = f"""
import os, sys
from pathlib import Path
from nimad.disk import durable
if len(sys.argv) > 3:
    durable.crash_point = lambda name: print("passed", name, flush=True)
from nimad.config import Config
from nimad.core.store import MemoryStore
config = Config().replace(embedder="static", graph__engine=sys.argv[2])
store = MemoryStore.open(Path(sys.argv[1]), config)
sql = "SELECT id FROM memories WHERE instr(text, '{CANARY}') OR instr(who, '{CANARY}')"
ids = [row[0] for row in store.records.rows(sql)]
print("begin", flush=True)
assert ids and store.forget(ids, purge=True).purged
os._exit(0)
"""


def run_purge(state: Path, engine: str, crash_at: str | None, *more: str) -> tuple[int, list[str]]:
    environment = {**os.environ, **({"NIMAD_CRASH_AT": crash_at} if crash_at else {})}
    # What is told replaces the function before it is imported: that takes a new interpreter.
    run = subprocess.run if more else forked.run
    done = run(
        [sys.executable, "-c", PURGE, str(state), engine, *more],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    lines = done.stdout.partition("begin\n")[2].splitlines()
    return done.returncode, [line.split()[1] for line in lines if line.startswith("passed")]


def copied(filled: Filled, to: Path) -> Path:
    state = to / "state"
    shutil.rmtree(state, ignore_errors=True)
    shutil.copytree(filled[0], state)
    return state


def reopened(state: Path, engine: str) -> MemoryStore:
    return MemoryStore.open(state, Config().replace(**{**SETTINGS, "graph__engine": engine}))


def test_every_column_is_thought_of(filled: Filled) -> None:
    for table, names in columns(filled[0] / "records.sqlite").items():
        if table not in WITHOUT_TEXT:
            mine = PLANTED.get(table, "").split()
            known = {*mine, *NOT_TEXT.get(table, {}), "checksum"}
            assert sorted(known) == sorted({*names, "checksum"}), table


def test_the_canary_is_planted(filled: Filled) -> None:
    state, engine, vectors = filled
    for table, names in PLANTED.items():
        for column in names.split():
            records = state / "records.sqlite"
            assert planted(records, table, column, vectors[0]), (table, column)
    there = found_in(state, vectors)
    missing = set(vectors) - {needle for hits in there.values() for needle in hits}
    assert not missing
    for name in FORMATS:
        assert any(path.startswith(f"snapshots/{name}") for path in there), name
    assert (state / "columns.nrc").exists()
    assert engine == "none" or any(path.startswith("graph/ladybug") for path in there)


def test_nothing_is_left(filled: Filled, tmp_path: Path) -> None:
    _, engine, vectors = filled
    state = copied(filled, tmp_path)
    with closing(reopened(state, engine)) as store:
        plant_files(state)
        receipt = store.forget(secrets(store), purge=True)
        assert receipt.purged and receipt.unfinished == {}
        assert found_in(state, vectors) == {}
        for table in ("goals", "broadcasts", "suggestions"):
            assert not store.records.value(f"SELECT count(*) FROM {table}"), table
        assert {path.name for path in (state / "snapshots").iterdir()} >= {
            each.snapshot for each in sources.all_sources(store.records) if each.snapshot
        }
        assert len(list((state / "snapshots").iterdir())) == len(FORMATS), "each backup is kept"
        maintenance.finish(store)
        failed = "graph1: it failed; what was told of it went with a purged memory"
        assert [problem.what for problem in check(store)] == [failed]
        assert not np.isin(receipt.forgotten, store.dense.files.ids()).any()
    assert found_in(state, vectors) == {}


def test_nothing_is_left_of_what_was_forgotten_before(filled: Filled, tmp_path: Path) -> None:
    _, engine, vectors = filled
    state = copied(filled, tmp_path)
    with closing(reopened(state, engine)) as store:
        doomed = secrets(store)
        assert not store.forget(doomed).purged
    with closing(reopened(state, engine)) as store:
        receipt = store.forget(doomed, purge=True)
        assert receipt.purged and receipt.forgotten_before == doomed
        assert found_in(state, vectors) == {}


def test_nothing_is_left_once_a_reader_has_gone(filled: Filled, tmp_path: Path) -> None:
    _, engine, vectors = filled
    state = copied(filled, tmp_path)
    with closing(reopened(state, engine)) as store:
        with closing(sqlite3.connect(store.records.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM memories").fetchone()
            receipt = store.forget(secrets(store), purge=True)
            assert list(receipt.unfinished) == ["free pages"] and not receipt.purged
            assert set(found_in(state, vectors)) <= {"records.sqlite", "records.sqlite-wal"}
        store.setbacks.clear()
        maintenance.finish(store)
        assert store.purge.unfinished() is None and found_in(state, vectors) == {}


def test_nothing_is_left_after_a_crash_at_any_point(filled: Filled, tmp_path: Path) -> None:
    _, engine, vectors = filled
    _, passed = run_purge(copied(filled, tmp_path), engine, None, "record")
    points = sorted(set(passed))
    assert set(points) <= named_points() | {f"durable.{point}" for point in DURABLE}
    assert {"forget.committed", "purge.vectors", "purge.snapshots", "purge.cut_off"} <= set(points)
    for point in points:
        state = copied(filled, tmp_path)
        code, _ = run_purge(state, engine, point)
        assert code == -signal.SIGKILL, f"{point} was not reached"
        with closing(reopened(state, engine)) as store:
            maintenance.finish(store)
            assert store.purge.unfinished() is None, point
            assert found_in(state, vectors) == {}, point
