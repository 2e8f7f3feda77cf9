"""Builds legacy graph databases for the tests: both schemas, whole or broken on purpose."""

from __future__ import annotations

import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests import forked

SCHEMA_3 = (
    ", embedding BLOB DEFAULT NULL, strength REAL DEFAULT 1.0, decay_rate REAL DEFAULT 0.01,"
    " last_accessed INTEGER DEFAULT 0, is_ghost INTEGER DEFAULT 0,"
    " dismissal_count INTEGER DEFAULT 0"
)
NODES = """
CREATE TABLE memory_nodes (
  id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp INTEGER NOT NULL,
  layer TEXT NOT NULL CHECK(layer IN ('input','contemplation','output','legacy_vsa')),
  text TEXT NOT NULL, summary TEXT NOT NULL, who TEXT DEFAULT '', affect_json TEXT DEFAULT '{{}}',
  session_key TEXT DEFAULT '', conversation_id TEXT DEFAULT '', turn_id TEXT DEFAULT '',
  fe_score REAL DEFAULT 0.5, created_at TEXT DEFAULT (datetime('now')){more});
"""
LOOSE_NODES = """
CREATE TABLE memory_nodes (
  id INTEGER PRIMARY KEY, timestamp, layer, text, summary, who, affect_json, session_key,
  conversation_id, turn_id, fe_score, created_at, embedding, strength, decay_rate, last_accessed,
  is_ghost, dismissal_count, "odd ""name" );
"""
REST = """
CREATE TABLE memory_edges (
  id INTEGER PRIMARY KEY AUTOINCREMENT, source_id INTEGER NOT NULL, target_id INTEGER NOT NULL,
  relation TEXT NOT NULL, weight REAL DEFAULT 1.0,
  FOREIGN KEY (source_id) REFERENCES memory_nodes(id),
  FOREIGN KEY (target_id) REFERENCES memory_nodes(id));
CREATE TABLE memory_turns (
  id INTEGER PRIMARY KEY AUTOINCREMENT, turn_id TEXT UNIQUE NOT NULL, input_node_id INTEGER,
  contemplation_node_id INTEGER, output_node_id INTEGER, timestamp INTEGER NOT NULL,
  affect_json TEXT DEFAULT '{}');
"""
WORDS = """
CREATE VIRTUAL TABLE memory_fts USING fts5(
  text, summary, who, layer, content=memory_nodes, content_rowid=id);
CREATE TRIGGER memory_nodes_ai AFTER INSERT ON memory_nodes BEGIN
  INSERT INTO memory_fts(rowid, text, summary, who, layer)
  VALUES (new.id, new.text, new.summary, new.who, new.layer); END;
CREATE INDEX idx_nodes_timestamp ON memory_nodes(timestamp);
CREATE INDEX idx_nodes_turn ON memory_nodes(turn_id);
CREATE INDEX idx_edges_source ON memory_edges(source_id);
"""


def create(path: Path, schema: int = 1, mode: str = "wal", loose: bool = False) -> None:
    """An empty store; `loose` takes away the types and the checks, as a hostile file may."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        nodes = LOOSE_NODES if loose else NODES.format(more=SCHEMA_3 if schema == 3 else "")
        connection.executescript(nodes + REST + ("" if loose else WORDS))


def insert(path: Path, table: str, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows given by column name."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for row in rows:
            names = ", ".join('"' + name.replace('"', '""') + '"' for name in row)
            marks = ", ".join("?" * len(row))
            sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"
            connection.execute(sql, tuple(row.values()))


def execute(path: Path, script: str) -> None:
    """Run statements, one transaction each."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(script)


def node(key: int, text: Any = None, **more: Any) -> dict[str, Any]:
    """A row of memory_nodes; every third is an input, a contemplation, an output."""
    said = f"memory number {key}" if text is None else text
    layer = ("input", "contemplation", "output")[(key - 1) % 3]
    return {
        "id": key,
        "timestamp": 1_700_000_000_000 + key * 1000,
        "layer": layer,
        "text": said,
        "summary": said[:80],
        "who": "Ada",
        "affect_json": '{"CARE": 0.5}',
        "session_key": "agent:main:s1",
        "conversation_id": "s1",
        "turn_id": f"turn_{(key - 1) // 3}",
        "fe_score": (key % 10) / 10,
        "created_at": "2026-03-01 10:00:00",
        **more,
    }


def embedding(seed: float) -> bytes:
    """384 float32, little-endian."""
    return struct.pack("<384f", *(seed + at / 384 for at in range(384)))


def small_store(path: Path, count: int = 30, schema: int = 1, mode: str = "wal") -> Path:
    """`count` memories in turns of three, each turn's memories linked in a chain."""
    create(path, schema, mode)
    insert(path, "memory_nodes", [node(key) for key in range(1, count + 1)])
    edges = [
        {"source_id": key, "target_id": key + 1, "relation": "triggered", "weight": 1.0}
        for key in range(1, count)
        if key % 3
    ]
    insert(path, "memory_edges", edges)
    turns = [
        {
            "turn_id": f"turn_{at}",
            "input_node_id": 3 * at + 1,
            "contemplation_node_id": 3 * at + 2,
            "output_node_id": 3 * at + 3,
            "timestamp": 1_700_000_000_000 + at,
        }
        for at in range(count // 3)
    ]
    insert(path, "memory_turns", turns)
    return path


WRITER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA wal_autocheckpoint=0")
COLUMNS = "id, timestamp, layer, text, summary"
INSERT = f"INSERT INTO memory_nodes({COLUMNS}) VALUES (?, 1, 'input', ?, '')"
def add(key, text=None):
    connection.execute(INSERT, (key, text or f"memory {key}"))
exec(sys.argv[2])
print("ready", flush=True)
exec(sys.argv[3])
sys.stdin.read()
"""


@contextmanager
def writer(path: Path, before: str = "", after: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has the store open: it runs `before`, says so, then runs `after`.

    Both are Python; `connection` and `add(key, text)` are there.

    Another process, because SQLite's locks are the process's: opening and closing the file in
    this one would drop them.
    """
    command = [sys.executable, "-c", WRITER, str(path), before, after]
    process = forked.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
