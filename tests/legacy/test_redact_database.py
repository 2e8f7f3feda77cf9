"""A purge makes the kept copy of a graph database anew, whatever else is in it or broken in it."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nimad.errors import NimadError, SourceCorrupt, SourceNotRecognised
from nimad.legacy.redact_database import scrub_snapshot
from nimad.legacy.source import LegacyNode
from nimad.legacy.sqlite import LegacyGraph
from nimad.legacy.values import canonical
from tests.legacy import stores

SECRET = "the word is xylophone"


def in_file(offset: int, data: bytes) -> Callable[[Path], None]:
    """Writes bytes over the file at an offset."""

    def damage(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    return damage


def in_database(script: str) -> Callable[[Path], None]:
    """Runs statements in the database."""
    return lambda path: stores.execute(path, script)


def in_schema(old: str, new: str) -> Callable[[Path], None]:
    """Replaces a part of the statement that made memory_nodes."""

    def change(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA writable_schema=ON")
            sql = "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = 'memory_nodes'"
            connection.execute(sql, (old, new))

    return change


KINDS = {
    "as it was": in_database("SELECT 1"),
    "trigger with a quote in its name": in_database(
        'CREATE TRIGGER "a""b" AFTER DELETE ON memory_nodes BEGIN SELECT 1; END'
    ),
    "trigger that fails": in_database(
        "CREATE TRIGGER t BEFORE DELETE ON memory_nodes BEGIN SELECT raise(ABORT, 'no'); END"
    ),
    "full-text table damaged": in_database("UPDATE memory_fts_data SET block = randomblob(2000)"),
    "full-text table without its parts": in_database(
        "PRAGMA writable_schema=ON; DELETE FROM sqlite_schema WHERE name LIKE 'memory_fts_%'"
    ),
    "full-text table is a view": in_database(
        "DROP TRIGGER memory_nodes_ai; DROP TABLE memory_fts;"
        " CREATE VIEW memory_fts AS SELECT text FROM memory_nodes"
    ),
    "another table repeats the text": in_database(
        "CREATE TABLE cache AS SELECT id, text FROM memory_nodes"
    ),
    "full-text table of another name": in_database(
        "CREATE VIRTUAL TABLE other USING fts5(text);"
        " INSERT INTO other SELECT text FROM memory_nodes"
    ),
    "damaged freelist": in_file(32, (2).to_bytes(4, "big") + (10**9).to_bytes(4, "big")),
    "odd autovacuum byte": in_file(52, (7).to_bytes(4, "big")),
    "unknown collation": in_schema("text TEXT NOT NULL", "text TEXT COLLATE nosuch NOT NULL"),
    "unknown collation of a key": in_schema(
        "layer TEXT NOT NULL CHECK(layer IN ('input','contemplation','output','legacy_vsa'))",
        "layer TEXT COLLATE nosuch NOT NULL",
    ),
    "check that costs": in_schema("summary TEXT NOT NULL", "summary TEXT CHECK(f(summary))"),
    "rows against a constraint": in_schema("fe_score REAL", "fe_score REAL NOT NULL CHECK(0)"),
    "generated column": in_database(
        "ALTER TABLE memory_nodes ADD COLUMN g TEXT AS (hex(zeroblob(10000000))) VIRTUAL"
    ),
    "index on an expression": in_database("CREATE INDEX e ON memory_nodes(length(text))"),
    "edges without an id": in_database(
        "DROP TABLE memory_edges; CREATE TABLE memory_edges (source_id, target_id, relation);"
        " INSERT INTO memory_edges(rowid, source_id, target_id, relation) VALUES (70, 1, 2, 'x')"
    ),
    "a column with a quote in its name": in_database(
        'ALTER TABLE memory_nodes ADD COLUMN "a""b; DROP TABLE c" TEXT'
    ),
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "copy.sqlite"
    stores.create(path, 3, "delete")
    nodes = [stores.node(key) for key in range(1, 40) if key != 7]
    nodes[3]["fe_score"] = None
    stores.insert(path, "memory_nodes", [*nodes, stores.node(7, SECRET, summary=SECRET)])
    stores.insert(
        path,
        "memory_edges",
        [{"source_id": k, "target_id": k + 1, "relation": "r", "weight": 1.0} for k in (3, 8)],
    )
    return path


def told(path: Path) -> dict[str, Any]:
    """All that nimad reads of a copy."""
    with LegacyGraph.open(path) as graph:
        mapper = graph.mapper("s")
        nodes = graph.nodes(mapper, None, 1000)
        return {
            "shape": graph.shape,
            "nodes": {n.key: canonical(n.row) for n in nodes if isinstance(n, LegacyNode)},
            "edges": graph.edges(None, 1000),
            "turns": graph.turns(None, 1000),
        }


@pytest.mark.parametrize("change", KINDS.values(), ids=list(KINDS))
def test_all_but_the_purged_row_stays(store: Path, change: Callable[[Path], None]) -> None:
    change(store)
    before = told(store)
    assert len(before["nodes"]) == 39
    done = scrub_snapshot(store, ["7"])
    assert done.rows == 1 and done.bytes == store.stat().st_size
    del before["nodes"][7]
    assert told(store) == before
    assert b"xylophone" not in store.read_bytes()
    assert sorted(path.name for path in store.parent.iterdir()) == [store.name]
    assert scrub_snapshot(store, [7]).rows == 0, "it may be done again"


def test_a_restored_copy_is_as_nima_made_it(store: Path) -> None:
    with closing(sqlite3.connect(store)) as connection:
        sql = (
            "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name GLOB 'memory_[net]*'"
        )
        before = connection.execute(sql).fetchall()
    scrub_snapshot(store, [7])
    with closing(sqlite3.connect(store)) as connection:
        assert connection.execute(sql).fetchall() == before
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_text_in_utf_16_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "copy.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA encoding = 'UTF-16le'")
        connection.executescript(stores.NODES.format(more="") + stores.REST)
    stores.insert(path, "memory_nodes", [stores.node(1, SECRET), stores.node(2, "Grüße 😀")])
    scrub_snapshot(path, [1])
    assert list(told(path)["nodes"]) == [2]
    assert "xylophone".encode("utf-16-le") not in path.read_bytes()


def test_every_damaged_page_is_an_error_of_ours(store: Path) -> None:
    whole = store.read_bytes()
    page = int.from_bytes(whole[16:18], "big")
    for at in range(0, len(whole), page):
        store.write_bytes(whole[:at] + b"\xa5" * page + whole[at + page :])
        try:
            scrub_snapshot(store, [7])
        except NimadError as error:
            assert isinstance(error, (SourceCorrupt, SourceNotRecognised)), (at, error)
            assert store.read_bytes()[at : at + page] == b"\xa5" * page, "it is left as it was"
        assert not list(store.parent.glob("*.tmp*"))


def test_a_file_that_is_cut_short(store: Path) -> None:
    whole = store.read_bytes()
    for length in (0, 50, 4096, len(whole) // 2):
        store.write_bytes(whole[:length])
        with pytest.raises((SourceCorrupt, SourceNotRecognised)):
            scrub_snapshot(store, [7])


def test_a_row_that_is_too_large_to_be_read_is_left_out(store: Path) -> None:
    stores.execute(
        store, "UPDATE memory_nodes SET affect_json = zeroblob(80000000) WHERE id IN (5, 12)"
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert scrub_snapshot(store, [7]).rows == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000
    assert len(told(store)["nodes"]) == 36 and store.stat().st_size < 1_000_000
