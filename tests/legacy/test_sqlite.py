"""Reading a snapshot: everything comes, in order; what is broken is told; nothing runs."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nimad.errors import NimadError, SourceCorrupt, SourceNotRecognised
from nimad.legacy import hostile_reader
from nimad.legacy.hostile_reader import pages
from nimad.legacy.snapshot import take_snapshot
from nimad.legacy.source import LegacyNode, Unreadable
from nimad.legacy.sqlite import LegacyGraph
from nimad.legacy.values import canonical
from tests.legacy import stores


def snapshot(source: Path, tmp_path: Path) -> Path:
    """A snapshot as a file of its own."""
    copy = tmp_path / "snapshot.sqlite"
    with take_snapshot(source, tmp_path) as taken:
        copy.write_bytes(os.pread(taken.fd, taken.size_bytes, 0))
    return copy


def all_nodes(graph: LegacyGraph, limit: int = 100) -> list[LegacyNode | Unreadable]:
    mapper = graph.mapper("graph")
    return list(pages(lambda after: graph.nodes(mapper, after, limit), lambda row: row.key))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "agent"
    directory.mkdir()
    return directory / "graph.sqlite"


@pytest.mark.parametrize("schema", [1, 3])
@pytest.mark.parametrize("limit", [1, 7, 30, 1000])
def test_pages_give_every_row_once(source: Path, tmp_path: Path, schema: int, limit: int) -> None:
    stores.small_store(source, schema=schema)
    with LegacyGraph.open(snapshot(source, tmp_path)) as graph:
        assert graph.shape.schema == schema
        nodes = all_nodes(graph, limit)
        assert [node.key for node in nodes] == list(range(1, 31))
        edges = list(pages(lambda after: graph.edges(after, limit), lambda row: row.key))
        turns = list(pages(lambda after: graph.turns(after, limit), lambda row: row.key))
        assert (len(edges), len(turns)) == (20, 10)
        assert graph.nodes(graph.mapper("g"), (1 << 63) - 1, 10) == []
        totals = graph.survey()
    assert (totals.nodes, totals.edges, totals.turns) == (30, 20, 10)
    assert totals.by_layer == {"contemplation": 10, "input": 10, "output": 10}
    assert totals.text_bytes == sum(len(f"memory number {key}") for key in range(1, 31))


def test_ids_with_gaps_and_below_zero(source: Path, tmp_path: Path) -> None:
    stores.create(source)
    keys = [-(1 << 63), -5, 0, 1, 500, (1 << 63) - 1]
    stores.insert(source, "memory_nodes", [{**stores.node(1), "id": key} for key in keys])
    with LegacyGraph.open(snapshot(source, tmp_path)) as graph:
        assert [node.key for node in all_nodes(graph, 2)] == keys


def test_every_value_comes_back_from_both_schemas(source: Path, tmp_path: Path) -> None:
    stores.create(source, schema=3)
    odd = [
        stores.node(1, who=None, affect_json=None, fe_score=None, text="", summary=""),
        stores.node(2, text="Ελληνικά 日本語 العربية 😀👩‍👩‍👧 e\u0301"),
        stores.node(3, text="x" * 3000, who="a\x00b\x01\x1b[31m\r\n\t"),
        stores.node(4, embedding=stores.embedding(0.5), strength=0.25, is_ghost=1),
        stores.node(5, embedding=b"\0\1\2\3", last_accessed=1_700_000_000_000),
        stores.node(6, text="O'Brien said \"; DROP TABLE memory_nodes; --"),
        stores.node(7, fe_score=3.5, created_at="once", dismissal_count=-1),
    ]
    stores.insert(source, "memory_nodes", odd)
    with LegacyGraph.open(snapshot(source, tmp_path)) as graph:
        mapper = graph.mapper("graph")
        found = all_nodes(graph)
    for node, given in zip(found, odd, strict=True):
        assert isinstance(node, LegacyNode)
        assert canonical(mapper.row(node.memory)) == canonical(node.row)
        assert node.memory.text == given["text"] and node.memory.who == given["who"]
        assert dict(zip(mapper.columns, node.row, strict=True)).items() >= given.items()
    torn = found[4]
    assert isinstance(torn, LegacyNode) and torn.notes[0][0] == "embedding"
    whole = found[3]
    assert isinstance(whole, LegacyNode) and whole.notes == []


def test_a_table_of_many_columns(source: Path, tmp_path: Path) -> None:
    stores.small_store(source)
    with closing(sqlite3.connect(source)) as connection:
        for number in range(900):
            connection.execute(f"ALTER TABLE memory_nodes ADD COLUMN more_{number} TEXT")
        connection.execute("UPDATE memory_nodes SET more_899 = 'kept' WHERE id = 7")
        connection.commit()
    with LegacyGraph.open(snapshot(source, tmp_path)) as graph:
        node = all_nodes(graph)[6]
        assert isinstance(node, LegacyNode) and (node.memory.extra or {})["more_899"] == "kept"


def test_rows_that_cannot_be_read_do_not_stop_the_rest(source: Path, tmp_path: Path) -> None:
    stores.create(source, loose=True)
    stores.insert(source, "memory_nodes", [stores.node(key) for key in range(1, 11)])
    stores.execute(
        source,
        "UPDATE memory_nodes SET text = CAST(x'ff41' AS TEXT) WHERE id = 2;"
        "UPDATE memory_nodes SET text = x'00' WHERE id = 3;"
        "UPDATE memory_nodes SET text = 12 WHERE id = 4;"
        "UPDATE memory_nodes SET who = CAST(x'ff42' AS TEXT) WHERE id = 5;"
        "UPDATE memory_nodes SET text = zeroblob(17000000) WHERE id = 6;"
        "UPDATE memory_nodes SET layer = 'dream', timestamp = 'x' WHERE id = 7;",
    )
    with LegacyGraph.open(snapshot(source, tmp_path)) as graph:
        found = all_nodes(graph)
        assert graph.survey().unreadable == 4
        assert graph.survey().by_layer["dream"] == 1
    reasons = {row.key: row.reason for row in found if isinstance(row, Unreadable)}
    assert reasons == {
        2: "its text is not UTF-8",
        3: "its text is a BLOB",
        4: "its text is a number",
        6: "it is larger than 16 MiB",
    }
    kept = {row.key: row for row in found if isinstance(row, LegacyNode)}
    assert len(kept) == 6
    assert kept[5].memory.blobs == {"who:text": b"\xffB"} and kept[5].notes[0][0] == "who"
    assert kept[7].memory.layer == "note"


def test_edges_and_turns_that_cannot_be_read(source: Path, tmp_path: Path) -> None:
    stores.create(source)
    stores.execute(
        source,
        "DROP TABLE memory_edges; DROP TABLE memory_turns;"
        "CREATE TABLE memory_edges(source_id, target_id, relation);"
        "CREATE TABLE memory_turns(turn_id, input_node_id, rowid);"
        "INSERT INTO memory_edges VALUES (1, 2, 'a'), (1, 'x', 'b'), (1, 2, NULL);"
        "INSERT INTO memory_turns VALUES ('t', 1, 0), (NULL, 1, 0), ('u', 'x', 0), ('v', NULL, 0)",
    )
    with LegacyGraph.open(snapshot(source, tmp_path)) as graph:
        edges, turns = graph.edges(None, 10), graph.turns(None, 10)
    assert [type(row).__name__ for row in edges] == ["LegacyEdge", "Unreadable", "Unreadable"]
    assert [type(row).__name__ for row in turns] == [
        "LegacyTurn",
        "Unreadable",
        "Unreadable",
        "LegacyTurn",
    ]
    assert [row.key for row in turns] == [1, 2, 3, 4]


def test_a_store_without_edges_and_turns(source: Path, tmp_path: Path) -> None:
    stores.create(source)
    stores.execute(source, "DROP TABLE memory_edges; DROP TABLE memory_turns")
    with LegacyGraph.open(snapshot(source, tmp_path)) as graph:
        assert (graph.edges(None, 10), graph.turns(None, 10)) == ([], [])


def test_a_page_ends_when_it_grows_large(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostile_reader, "PAGE_BYTES", 10_000)
    stores.create(source)
    rows = [stores.node(key, text="x" * 3000) for key in range(1, 21)]
    stores.insert(source, "memory_nodes", rows)
    with LegacyGraph.open(snapshot(source, tmp_path)) as graph:
        assert len(graph.nodes(graph.mapper("g"), None, 100)) == 4
        assert len(all_nodes(graph)) == 20


def test_nothing_that_the_file_brings_along_runs(source: Path, tmp_path: Path) -> None:
    """Triggers, views, expression indexes and generated columns that would cost or write."""
    stores.small_store(source)
    stores.execute(
        source,
        "CREATE TRIGGER bomb BEFORE INSERT ON memory_nodes BEGIN SELECT RAISE(ABORT, 'x'); END;"
        "CREATE VIEW memory_bomb AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n)"
        " SELECT i FROM n;"
        "CREATE INDEX slow ON memory_nodes(length(text));"
        "ALTER TABLE memory_nodes ADD COLUMN huge AS (zeroblob(2000000000)) VIRTUAL;",
    )
    with LegacyGraph.open(snapshot(source, tmp_path)) as graph:
        assert "huge" not in graph.shape.nodes
        assert graph.survey().nodes == 30
        connection = graph.reader._connection
        with pytest.raises(sqlite3.OperationalError):
            connection.execute("DELETE FROM memory_nodes")
        with pytest.raises(sqlite3.OperationalError):
            connection.execute("SELECT load_extension('x')")
        with pytest.raises(sqlite3.OperationalError):
            connection.execute("ATTACH ':memory:' AS other")


def test_a_view_in_place_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "hostile.sqlite"
    stores.execute(path, "CREATE VIEW memory_nodes AS SELECT 1 AS id")
    with pytest.raises(SourceNotRecognised, match="is a view"):
        LegacyGraph.open(path)


def test_reading_that_never_ends_is_stopped(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores.small_store(source, count=3000)
    copy = snapshot(source, tmp_path)
    monkeypatch.setattr(hostile_reader, "PAGE_SECONDS", -1.0)
    monkeypatch.setattr(hostile_reader, "STEPS_BETWEEN_CHECKS", 10)
    with pytest.raises(SourceCorrupt, match="unreasonably long"):
        LegacyGraph.open(copy).survey()


def damage(path: Path, table: str, sql: str, change: bytes) -> None:
    """Overwrite the head of one page of a table."""
    with closing(sqlite3.connect(path)) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)
        ).fetchone()
    data = bytearray(path.read_bytes())
    child = int.from_bytes(data[(root - 1) * size + 8 :][:4], "big")
    at = (child - 1) * size if sql == "child" else (root - 1) * size
    data[at : at + len(change)] = change
    path.write_bytes(data)


@pytest.mark.parametrize("table", ["memory_nodes", "memory_edges", "memory_turns"])
def test_a_damaged_page_in_the_middle(source: Path, tmp_path: Path, table: str) -> None:
    stores.small_store(source, count=3000, mode="delete")
    damage(source, table, "root", b"\xff" * 64)
    with pytest.raises(NimadError) as caught:
        copy = snapshot(source, tmp_path)
        with LegacyGraph.open(copy) as graph:
            graph.survey()
    assert type(caught.value) is SourceCorrupt
    assert "\n" not in caught.value.message


def test_a_tree_that_leads_back_into_itself(source: Path, tmp_path: Path) -> None:
    stores.small_store(source, count=3000, mode="delete")
    with closing(sqlite3.connect(source)) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'memory_nodes'"
        (root,) = connection.execute(sql).fetchone()
    data = bytearray(source.read_bytes())
    page = memoryview(data)[(root - 1) * size : root * size]
    cells = int.from_bytes(page[3:5], "big")
    assert page[0] == 5 and cells > 3
    pointers = [int.from_bytes(page[12 + 2 * at : 14 + 2 * at], "big") for at in range(cells)]
    page[pointers[2] : pointers[2] + 4] = page[pointers[1] : pointers[1] + 4]
    del page
    source.write_bytes(data)
    with LegacyGraph.open(snapshot(source, tmp_path)) as graph, pytest.raises(SourceCorrupt):
        graph.survey()


def test_random_damage_never_does_harm(source: Path, tmp_path: Path) -> None:
    """Any bytes: every row that comes is a row, or one of our errors ends it."""
    stores.small_store(source, count=300, schema=3, mode="delete")
    good = source.read_bytes()
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    broken = tmp_path / "broken.sqlite"
    refused = 0
    for _ in range(60):
        data = bytearray(good)
        for _ in range(chance.choice((1, 10, 200))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        broken.write_bytes(data)
        try:
            with LegacyGraph.open(broken) as graph:
                graph.survey()
        except NimadError as error:
            refused += 1
            assert "\n" not in error.message, seed
    assert refused > 0, seed


@pytest.mark.parametrize("name", ["graph.sqlite", "graph_v3.sqlite"])
def test_the_real_stores(tmp_path: Path, legacy_dir: Path, name: str) -> None:
    expected: dict[str, Any] = json.loads((legacy_dir / "expected.json").read_text())[name]
    with LegacyGraph.open(snapshot(legacy_dir / name, tmp_path)) as graph:
        totals = graph.survey()
        assert totals.nodes == expected["nodes"] and totals.turns == expected["turns"]
        assert totals.edges == expected["edges_valid"] + expected["edges_dangling"]
        assert totals.by_layer == expected["layers"] and totals.unreadable == 0
        mapper = graph.mapper("graph")
        ghosts = notes = 0
        for node in all_nodes(graph, 500):
            assert isinstance(node, LegacyNode)
            assert canonical(mapper.row(node.memory)) == canonical(node.row)
            ghosts += (node.memory.extra or {}).get("is_ghost", 0)
            notes += len(node.notes)
    assert ghosts == expected.get("ghosts", 0)
    assert notes == (1 if "ghosts" in expected else 0)
