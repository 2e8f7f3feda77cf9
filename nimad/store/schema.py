"""The tables of records.sqlite: created, recognised, and refused when a newer nimad wrote them.

Application id 0x6E696D61 ("nima"); the version is `PRAGMA user_version`.  A file of an older
version is brought up to date in one transaction when it is opened (`UPGRADES`): a crash before its
COMMIT leaves the file as it was, and the next start does it again.

======= ======================================================================================
version what is new
======= ======================================================================================
1       -
2       `pending`, `later`, `dense`, `dense_items`; columns of `sources` for following and for
        hypervectors
3       a turn belongs to a namespace, conversation and session: turns of the same name in two
        sessions, which were one row, are taken apart (one of two namespaces in one session stays
        as it was); `turns` are found by their members
4       `forgotten`
5       `words` holds texts in the common form (`nimad.text`), as `names.folded` does
6       `memories.checksum`: NULL until idle time has read the row (nimad/store/checksums.py)
7       `unset_clock`; a timestamp of a graph that is in another unit than milliseconds is read by
        its size, and kept as it was in `extra`
8       `memories.origin`, `memories.agent`
9       words are in files of their own (nimad/core/words.py); an FTS5 table `words` of before stays
        until idle time has taken it out
10      `phi`
11      `goals`, `broadcasts`, `suggestions`
12      `memories.key`, `forgotten.successor`
13      `turns.gone`
14      no `memories_facets`; numbers are given by nimad, without AUTOINCREMENT: both cost a page in
        each transaction
15      `boards`, `departed`, `stamps`, `cursors`: what a fleet shares (docs/fleet.md)
16      `relations.checksum`, `turns.checksum` (nimad/store/row_checksums.py)
======= ======================================================================================

=========== ==================================================================================
table       what a row is
=========== ==================================================================================
memories    one memory; `layer`, `namespace`, `agent`, `conversation`, `session`, `place` are
            `names` ids, `turn` a `turns` id; a `timestamp` or `created` of 0 is no date; `summary`
            is a number n where it is the first n characters of `text`, else the text itself or
            NULL; `key` is that of a document; `origin` is NULL where nobody told it, or `source`
            tells that it was taken over; `source_key` is the row's id in its source
unset_clock memories that were stored while the clock was not set (core/clock.py): the boot, by how
            much the clock was `ahead` of the time since then [ms], and which `fields` it gave
names       interned strings: sessions and the like repeat thousands of times; `folded` is the
            common form, by which they are compared
blobs       binary columns of a legacy row, byte for byte
turns       one exchange, told apart by source, name, namespace, conversation and session (0: none);
            `listed` is 0 while only a memory has named it (no row in the source); `gone`: the
            roles whose memories were forgotten, as bits
relations   one edge between two memories
hot         vectors (float16) of memories that no segment holds yet
segments    the block segments that count; a file without a row is garbage
pending     segments of an index that is being made anew for an embedder; not in use yet
tombstones  forgotten memories that a listed segment still holds
forgotten   what a purge of a forgotten memory needs, until one has removed its traces: its key in
            its source, [source, number] of the fillers that it named; `successor`: the newest
            version of a document that it was
changes     ranges of ids added or deleted, in order
sources     one legacy source and how far each stage came
quarantine  rows of a source that were not taken over, with the reason
later       rows of a followed source that came after its snapshot (`follow`: the last of them)
dense       files of converted legacy hypervectors that count; a file without a row is garbage
dense_items names of the fillers and roles in those files
phi         how well a memory's hypervector comes apart (cognition/phi_of_memories.py): `method` is
            the version that measured it, `phi` NULL where it could not; goes with the memory
goals       what else is known of a memory that is a goal: until when, whether it is open, by which
            memory it was reached (`by`)
broadcasts  which memories `step` put into the workspace, the last some hundred
suggestions pairs of memories that `dream` found, and whether they were rejected
boards      other stores of the fleet; ids are below 0, and are the `source` of memories of theirs,
            whose `source_key` is the id there
departed    memories of shared namespaces that are gone: the `number` in the store of a `board` (0:
            here), whether it was purged, and whether the fleet learns of it from here (`mine`)
stamps      when documents and goals of shared namespaces last changed (store/stamps.py)
cursors     how far each stream of the fleet's hub was read
meta        single values (embedder and revision of the vectors, ...)
=========== ==================================================================================

Ids of memories, turns and relations and numbers of changes are never given twice: triggers keep
the highest one that was deleted in `sqlite_sequence`, and the next one (`next_number`) is above it.
AUTOINCREMENT would write that table with each row.  `auto_vacuum = INCREMENTAL` and `secure_delete`
exist for `forget --purge`: freed pages are cut off the file, deleted cells are overwritten.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC
from pathlib import Path

from nimad.errors import RecordsDamaged, StateTooNew
from nimad.store.rows import blob_checksum
from nimad.text import FORM, common_form
from nimad.times import read

APPLICATION_ID = 0x6E696D61
SCHEMA = 16
TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE memories (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  text TEXT NOT NULL,
  who TEXT,
  place INTEGER,
  timestamp INTEGER NOT NULL,
  layer INTEGER NOT NULL,
  importance REAL,
  tags TEXT,
  namespace INTEGER NOT NULL,
  conversation INTEGER,
  session INTEGER,
  turn INTEGER,
  affect TEXT,
  summary,
  created INTEGER NOT NULL,
  last_accessed INTEGER,
  access_count INTEGER NOT NULL DEFAULT 0,
  source INTEGER,
  source_key,
  extra TEXT
);
CREATE UNIQUE INDEX memories_source ON memories (source, source_key) WHERE source IS NOT NULL;
CREATE INDEX memories_facets ON memories (namespace, layer, timestamp, who);
CREATE TABLE blobs (
  memory INTEGER NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (memory, name)
) WITHOUT ROWID;
CREATE TABLE turns (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  source INTEGER NOT NULL DEFAULT 0,
  source_key,
  listed INTEGER NOT NULL DEFAULT 0,
  input INTEGER, contemplation INTEGER, output INTEGER,
  timestamp INTEGER, affect TEXT, extra TEXT
);
CREATE UNIQUE INDEX turns_name ON turns (source, name);
CREATE TABLE relations (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  origin INTEGER NOT NULL, target INTEGER NOT NULL,
  relation INTEGER NOT NULL, weight REAL,
  source INTEGER, source_key, extra TEXT
);
CREATE INDEX relations_origin ON relations (origin);
CREATE INDEX relations_target ON relations (target);
CREATE TABLE hot (id INTEGER PRIMARY KEY, vector BLOB NOT NULL);
CREATE TABLE segments (
  name TEXT PRIMARY KEY, rows INTEGER NOT NULL, bytes INTEGER NOT NULL, digest TEXT NOT NULL,
  first_id INTEGER NOT NULL, last_id INTEGER NOT NULL, created INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE tombstones (id INTEGER PRIMARY KEY);
CREATE TABLE changes (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  op TEXT NOT NULL, kind TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL
);
CREATE TABLE sources (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, path TEXT NOT NULL, fingerprint TEXT NOT NULL,
  format INTEGER NOT NULL, snapshot TEXT, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL,
  strategy TEXT NOT NULL, batch_size INTEGER NOT NULL DEFAULT 0,
  stage TEXT NOT NULL, paused INTEGER NOT NULL DEFAULT 0, error TEXT,
  total INTEGER NOT NULL DEFAULT 0, total_edges INTEGER NOT NULL DEFAULT 0,
  total_turns INTEGER NOT NULL DEFAULT 0,
  node_cursor INTEGER NOT NULL DEFAULT 0, edge_cursor INTEGER NOT NULL DEFAULT 0,
  turn_cursor INTEGER NOT NULL DEFAULT 0, encode_cursor INTEGER NOT NULL DEFAULT 0,
  copied INTEGER NOT NULL DEFAULT 0, relations INTEGER NOT NULL DEFAULT 0,
  turns INTEGER NOT NULL DEFAULT 0, encoded INTEGER NOT NULL DEFAULT 0,
  linked INTEGER NOT NULL DEFAULT 0, verified INTEGER NOT NULL DEFAULT 0,
  attached INTEGER NOT NULL, started INTEGER, finished INTEGER, report TEXT
);
CREATE TABLE quarantine (
  source INTEGER NOT NULL, kind TEXT NOT NULL, key NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY (source, kind, key)
) WITHOUT ROWID;
"""
"""What version 1 had; later versions are made of it by `UPGRADES`."""

OTHER_UNIT = (
    "source IN (SELECT id FROM sources WHERE kind = 'nima-sqlite') AND timestamp != 0"
    " AND read_time(timestamp) IS NOT timestamp AND json_type(extra, '$.timestamp') IS NULL"
)
"""Rows of a graph whose time is none of milliseconds; its other forms were kept in `extra`."""

NUMBERED = {"memories": "id", "turns": "id", "relations": "id", "changes": "seq"}
"""Tables whose numbers are never given twice, and the column that has them."""
KEEP_NUMBERS = "".join(
    f"""
INSERT INTO sqlite_sequence (name, seq) SELECT '{table}', 0
  WHERE '{table}' NOT IN (SELECT name FROM sqlite_sequence);
CREATE TRIGGER IF NOT EXISTS {table}_deleted AFTER DELETE ON {table} BEGIN
  UPDATE sqlite_sequence SET seq = old.{column} WHERE name = '{table}' AND seq < old.{column}; END;
"""
    for table, column in NUMBERED.items()
)

UPGRADES = {
    2: """
CREATE TABLE pending (
  name TEXT PRIMARY KEY, signature TEXT NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL,
  digest TEXT NOT NULL, first_id INTEGER NOT NULL, last_id INTEGER NOT NULL,
  created INTEGER NOT NULL
) WITHOUT ROWID;
ALTER TABLE sources ADD COLUMN follow INTEGER NOT NULL DEFAULT 0;
CREATE TABLE later (
  source INTEGER NOT NULL, kind TEXT NOT NULL, key INTEGER NOT NULL, row TEXT NOT NULL,
  PRIMARY KEY (source, kind, key)
) WITHOUT ROWID;
ALTER TABLE sources ADD COLUMN total_dense INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sources ADD COLUMN dense_cursor INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sources ADD COLUMN converted INTEGER NOT NULL DEFAULT 0;
CREATE TABLE dense (
  name TEXT PRIMARY KEY, source INTEGER NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL,
  digest TEXT NOT NULL, dimension INTEGER NOT NULL, created INTEGER NOT NULL,
  kind TEXT NOT NULL DEFAULT 'rows'
) WITHOUT ROWID;
CREATE TABLE dense_items (
  source INTEGER NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
  PRIMARY KEY (source, number)
) WITHOUT ROWID;
""",
    3: """
ALTER TABLE turns ADD COLUMN namespace INTEGER NOT NULL DEFAULT 0;
ALTER TABLE turns ADD COLUMN conversation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE turns ADD COLUMN session INTEGER NOT NULL DEFAULT 0;
DROP INDEX turns_name;
CREATE TEMP TABLE parts AS
  SELECT turn, namespace, coalesce(conversation, 0) AS conversation,
    coalesce(session, 0) AS session, min(id) AS first
  FROM memories WHERE turn IS NOT NULL GROUP BY turn, 3, 4;
CREATE INDEX temp.parts_turn ON parts (turn, first);
UPDATE turns SET (namespace, conversation, session) = (
    SELECT namespace, coalesce(conversation, 0), coalesce(session, 0)
    FROM memories WHERE id = coalesce(input, contemplation, output)
  ) WHERE coalesce(input, contemplation, output) IN (SELECT id FROM memories);
UPDATE turns SET (namespace, conversation, session) = (
    SELECT namespace, conversation, session FROM parts WHERE turn = turns.id ORDER BY first LIMIT 1
  ) WHERE namespace = 0 AND id IN (SELECT turn FROM parts);
CREATE UNIQUE INDEX turns_identity ON turns (source, name, namespace, conversation, session);
CREATE TEMP TABLE apart AS
  SELECT p.*, t.source, t.name FROM parts p JOIN turns t ON t.id = p.turn
  WHERE (p.conversation, p.session) != (t.conversation, t.session);
CREATE INDEX temp.apart_turn ON apart (turn);
INSERT INTO turns (source, name, namespace, conversation, session)
  SELECT source, name, namespace, conversation, session FROM apart ORDER BY first;
UPDATE memories SET turn = (
    SELECT t.id FROM apart a JOIN turns t ON (t.source, t.name, t.namespace, t.conversation,
      t.session) = (a.source, a.name, a.namespace, a.conversation, a.session)
    WHERE a.turn = memories.turn AND (a.conversation, a.session)
      = (coalesce(memories.conversation, 0), coalesce(memories.session, 0))
  ) WHERE turn IN (SELECT turn FROM apart) AND EXISTS (
    SELECT 1 FROM apart a WHERE a.turn = memories.turn AND (a.conversation, a.session)
      = (coalesce(memories.conversation, 0), coalesce(memories.session, 0)));
CREATE TEMP TABLE mixed AS
  SELECT DISTINCT turn AS id FROM apart WHERE source = 0 UNION
  SELECT t.id FROM apart a JOIN turns t ON (t.source, t.name, t.namespace, t.conversation,
    t.session) = (a.source, a.name, a.namespace, a.conversation, a.session) WHERE a.source = 0;
CREATE TEMP TABLE members AS
  SELECT m.turn, n.name AS role, min(m.id) AS id
  FROM memories m JOIN names n ON n.id = m.layer
  WHERE m.turn IN (SELECT id FROM mixed) AND n.name IN ('input', 'contemplation', 'output')
  GROUP BY 1, 2;
CREATE INDEX temp.members_turn ON members (turn);
UPDATE turns SET
    input = (SELECT id FROM members WHERE turn = turns.id AND role = 'input'),
    contemplation = (SELECT id FROM members WHERE turn = turns.id AND role = 'contemplation'),
    output = (SELECT id FROM members WHERE turn = turns.id AND role = 'output')
  WHERE id IN (SELECT id FROM mixed);
UPDATE turns SET listed = coalesce(input, contemplation, output) IS NOT NULL,
    timestamp = (SELECT timestamp FROM memories WHERE id IN
      (turns.input, turns.contemplation, turns.output) ORDER BY id LIMIT 1)
  WHERE id IN (SELECT id FROM mixed);
INSERT INTO changes (op, kind, first, last) SELECT 'add', 'turn', id, id FROM mixed ORDER BY id;
DROP TABLE temp.parts;
DROP TABLE temp.apart;
DROP TABLE temp.mixed;
DROP TABLE temp.members;
CREATE INDEX turns_input ON turns (input) WHERE input IS NOT NULL;
CREATE INDEX turns_contemplation ON turns (contemplation) WHERE contemplation IS NOT NULL;
CREATE INDEX turns_output ON turns (output) WHERE output IS NOT NULL;
""",
    4: """
CREATE TABLE forgotten (
  id INTEGER PRIMARY KEY, source INTEGER, source_key, items TEXT NOT NULL DEFAULT '[]'
);
INSERT INTO forgotten (id) SELECT id FROM tombstones;
""",
    5: """
ALTER TABLE names ADD COLUMN folded TEXT;
CREATE INDEX names_folded ON names (folded);
""",
    6: """
ALTER TABLE memories ADD COLUMN checksum INTEGER;
""",
    7: f"""
CREATE TABLE unset_clock (
  memory INTEGER PRIMARY KEY, boot TEXT NOT NULL, ahead INTEGER NOT NULL, fields INTEGER NOT NULL
);
INSERT INTO changes (op, kind, first, last)
  SELECT 'change', 'memory', min(id), max(id) FROM memories WHERE {OTHER_UNIT} HAVING count(*);
UPDATE memories SET extra = json_set(coalesce(extra, '{{}}'), '$.timestamp', timestamp),
  timestamp = coalesce(read_time(timestamp), 0), checksum = NULL WHERE {OTHER_UNIT};
INSERT INTO changes (op, kind, first, last)
  SELECT 'add', 'turn', min(id), max(id) FROM turns WHERE {OTHER_UNIT} HAVING count(*);
UPDATE turns SET extra = json_set(coalesce(extra, '{{}}'), '$.timestamp', timestamp),
  timestamp = read_time(timestamp) WHERE {OTHER_UNIT};
""",
    8: """
ALTER TABLE memories ADD COLUMN origin TEXT;
ALTER TABLE memories ADD COLUMN agent INTEGER;
""",
    9: """
DELETE FROM meta WHERE key = 'words_gap';
""",
    10: """
CREATE TABLE phi (
  memory INTEGER PRIMARY KEY, method INTEGER NOT NULL, phi REAL, uncertainty REAL NOT NULL,
  quality REAL NOT NULL
);
""",
    11: """
CREATE TABLE goals (
  memory INTEGER PRIMARY KEY, priority REAL NOT NULL, since INTEGER NOT NULL, due INTEGER,
  state TEXT NOT NULL, closed INTEGER, by INTEGER
);
CREATE TABLE broadcasts (
  id INTEGER PRIMARY KEY AUTOINCREMENT, memory INTEGER NOT NULL, at INTEGER NOT NULL,
  affect INTEGER NOT NULL, score REAL NOT NULL
);
CREATE INDEX broadcasts_memory ON broadcasts (memory);
CREATE TABLE suggestions (
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL,
  first INTEGER NOT NULL, second INTEGER NOT NULL, score REAL NOT NULL,
  created INTEGER NOT NULL, rejected INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX suggestions_pair ON suggestions (first, second);
CREATE INDEX suggestions_second ON suggestions (second);
""",
    12: """
ALTER TABLE memories ADD COLUMN key TEXT;
CREATE UNIQUE INDEX memories_key ON memories (namespace, key) WHERE key IS NOT NULL;
ALTER TABLE forgotten ADD COLUMN successor INTEGER;
""",
    13: """
ALTER TABLE turns ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;
""",
    14: f"""
DROP INDEX IF EXISTS memories_facets;
{KEEP_NUMBERS}
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, ' AUTOINCREMENT', '')
  WHERE type = 'table' AND name IN ({", ".join(f"'{table}'" for table in NUMBERED)});
PRAGMA writable_schema = RESET;
""",
    15: """
CREATE TABLE boards (id INTEGER PRIMARY KEY, store TEXT NOT NULL UNIQUE, name TEXT NOT NULL);
CREATE TABLE departed (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, namespace INTEGER NOT NULL, board INTEGER NOT NULL,
  number INTEGER NOT NULL, purge INTEGER NOT NULL DEFAULT 0, mine INTEGER NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX departed_memory ON departed (board, number);
CREATE TABLE stamps (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, memory INTEGER NOT NULL UNIQUE, time INTEGER NOT NULL,
  mine INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE cursors (
  namespace TEXT NOT NULL, writer TEXT NOT NULL, kind TEXT NOT NULL, seq INTEGER NOT NULL,
  PRIMARY KEY (namespace, writer, kind)
) WITHOUT ROWID;
""",
    16: "".join(
        f"""
ALTER TABLE {table} ADD COLUMN checksum INTEGER;
CREATE TRIGGER {table}_changed AFTER UPDATE ON {table} WHEN new.checksum = old.checksum BEGIN
  UPDATE {table} SET checksum = NULL WHERE id = new.id; END;
"""
        for table in ("relations", "turns")
    ),
}
"""By the version it leads to: the statements that bring an older file there."""

REFOLD = """
UPDATE names SET folded = common_form(name);
INSERT OR REPLACE INTO meta (key, value) VALUES ('text_form', ?)
"""
"""What another common form asks for (another Unicode, or rules of another version of nimad)."""


def last_number(table: str) -> str:
    """SQL for the highest number that was ever given in a table of NUMBERED; 0: none was."""
    column = NUMBERED[table]
    return (
        f"max(ifnull((SELECT max({column}) FROM {table}), 0),"
        f" ifnull((SELECT seq FROM sqlite_sequence WHERE name = '{table}'), 0))"
    )


def decode(data: bytes) -> str:
    """A text of SQLite: a bit that flipped must not keep what is around it from being read."""
    return data.decode("utf-8", "replace")


def connect(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    """A connection with our settings; transactions are begun explicitly."""
    connection = sqlite3.connect(
        path, timeout=30.0, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    connection.text_factory = decode
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cache_size = -2000")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.create_function("blob_checksum", 2, blob_checksum, deterministic=True)
    if readonly:
        connection.execute("PRAGMA query_only = ON")
    else:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = FAST")
        connection.execute("PRAGMA journal_size_limit = 1048576")
        connection.create_function("common_form", 1, common_form, deterministic=True)
        connection.create_function("read_time", 1, _read_time, deterministic=True)
    return connection


def _read_time(value: int | None) -> int | None:
    """SQL's `read_time`: a number as epoch milliseconds; NULL for what is no time."""
    with suppress(ValueError):
        return read(value, UTC).at
    return None


@contextlib.contextmanager
def temporary_files_in(directory: Path) -> Iterator[None]:
    """Let SQLite's temporary files, which have no name, lie in a directory: they hold texts."""
    before = os.environ.get("SQLITE_TMPDIR")
    os.environ["SQLITE_TMPDIR"] = str(directory)
    try:
        yield
    finally:
        os.environ.pop("SQLITE_TMPDIR")
        if before is not None:
            os.environ["SQLITE_TMPDIR"] = before


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Create the tables in an empty file, or check that the file is ours, and bring it up to date.

    Raises StateTooNew for a newer schema, RecordsDamaged for a file that is not ours, and what
    SQLite raises (the caller translates it).  A crash
    before the one COMMIT leaves the file as it was; the next start does it again.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    empty = not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if not empty and application != APPLICATION_ID:
        raise RecordsDamaged(path=path, detail="it is a database, but not one of nimad's")
    if version > SCHEMA:
        raise StateTooNew(path=path, found=version, known=SCHEMA)
    if empty:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")  # what sqlite3 mended may have left it
    if empty:
        make(connection)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # never a file without its tables
    elif version < SCHEMA:
        _apply(connection, [UPGRADES[number] for number in range(version + 1, SCHEMA + 1)])
    form = connection.execute("SELECT value FROM meta WHERE key = 'text_form'").fetchone()
    if form is None or form[0] != FORM:
        _apply(connection, [REFOLD.replace("?", f"'{FORM}'")])


def make(connection: sqlite3.Connection, version: int = SCHEMA) -> None:
    """Create the tables of a version in an empty database."""
    _apply(connection, [TABLES, *(UPGRADES[number] for number in range(2, version + 1))])


def _apply(connection: sqlite3.Connection, scripts: list[str]) -> None:
    """Run the statements of scripts and note the version: all of it, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for script in scripts:
            for statement in script.split(";\n"):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
