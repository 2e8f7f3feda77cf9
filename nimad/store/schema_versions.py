"""How the tables of records.sqlite came to be: those of version 1, and what each version changed.

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
17      a `checksum` in nearly all tables; the highest numbers that were deleted stand twice in
        `sqlite_sequence`, below 0 under the table's name with a - before it
18      `blobs` with row ids: in an index, a look at a blob of 12 MB reads many of them whole
19      a row that is due for a checksum has 0 there, for NULL is also what a flipped bit leaves
20      `forgotten_successor`: each document that was replaced read all that was ever forgotten
======= ======================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping

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


CHECKED = (
    *(("hot", None), ("changes", None), ("meta", "key"), ("names", "id"), ("sources", "id")),
    *(("quarantine", "source kind key"), ("later", "source kind key")),
    *(("forgotten", "id"), ("segments", "name"), ("pending", "name"), ("dense", "name")),
    *(("dense_items", "source number"), ("phi", "memory"), ("goals", "memory")),
    *(("broadcasts", "id"), ("suggestions", "id"), ("boards", "id"), ("departed", "seq")),
    *(("stamps", "seq"), ("cursors", "namespace writer kind"), ("unset_clock", "memory")),
)
"""Tables that version 17 gave a checksum, and the columns of their keys; None: rows are never
changed."""


def add_checksum(table: str, key: str | None) -> str:
    """SQL that gives a table a checksum, which a change of a row takes away again; `key` are the
    columns of its key, None where rows are never changed."""
    column = f"\nALTER TABLE {table} ADD COLUMN checksum INTEGER;\n"
    if key is None:
        return column
    same = " AND ".join(f"{name} = new.{name}" for name in key.split())
    return f"""{column}\
CREATE TRIGGER {table}_changed AFTER UPDATE ON {table} WHEN new.checksum = old.checksum BEGIN
  UPDATE {table} SET checksum = NULL WHERE {same}; END;
"""


def mark_due(tables: Mapping[str, str]) -> str:
    """SQL that makes 0 the checksum of a row that is new or was changed; by table the columns of
    its key.

    A default that SQLite computes is written with each new row, and does not stand for a column
    that a damaged row lacks, as a constant would.  It concerns nothing that is stored: this way to
    change it is that of https://www.sqlite.org/lang_altertable.html#otheralter.
    """
    named = ", ".join(f"'{table}'" for table in tables)
    sql = f"""
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'checksum INTEGER', 'checksum INTEGER DEFAULT (0 + 0)')
  WHERE type = 'table' AND name IN ({named});
PRAGMA writable_schema = RESET;
"""
    for table, key in tables.items():
        same = " AND ".join(f"{name} = new.{name}" for name in key.split())
        sql += f"""
DROP TRIGGER {table}_changed;
CREATE TRIGGER {table}_changed AFTER UPDATE ON {table}
  WHEN new.checksum = old.checksum AND old.checksum BEGIN
  UPDATE {table} SET checksum = 0 WHERE {same}; END;
"""
    return sql


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
    16: add_checksum("relations", "id") + add_checksum("turns", "id"),
    17: "".join(add_checksum(table, key) for table, key in CHECKED)
    + "".join(
        f"""
DROP TRIGGER {table}_deleted;
INSERT INTO sqlite_sequence (name, seq)
  SELECT '-{table}', -seq FROM sqlite_sequence WHERE name = '{table}';
CREATE TRIGGER {table}_deleted AFTER DELETE ON {table} BEGIN
  UPDATE sqlite_sequence SET seq = iif(name = '{table}', 1, -1) * old.{column}
    WHERE name IN ('{table}', '-{table}') AND abs(seq) < old.{column}; END;
"""
        for table, column in NUMBERED.items()
    ),
    18: """
ALTER TABLE blobs RENAME TO blobs_before;
CREATE TABLE blobs (memory INTEGER NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL);
INSERT INTO blobs (memory, name, data) SELECT memory, name, data FROM blobs_before;
DROP TABLE blobs_before;
CREATE UNIQUE INDEX blobs_memory ON blobs (memory, name);
""",
    19: """
UPDATE changes SET checksum = row_checksum(seq, op, kind, first, last) WHERE checksum IS NULL;
UPDATE hot SET checksum = row_checksum(id, vector) WHERE checksum IS NULL;
"""
    + mark_due({"relations": "id", "turns": "id", **{table: key for table, key in CHECKED if key}}),
    20: """
CREATE INDEX forgotten_successor ON forgotten (successor) WHERE successor IS NOT NULL;
""",
}
"""By the version it leads to: the statements that bring an older file there."""

REFOLD = """
UPDATE names SET folded = common_form(name);
INSERT OR REPLACE INTO meta (key, value) VALUES ('text_form', ?)
"""
"""What another common form asks for (another Unicode, or rules of another version of nimad)."""
