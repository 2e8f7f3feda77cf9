"""Takes a records file back to an older schema: what later versions brought is dropped."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from nimad.store import schema
from nimad.text import common_form

_COLUMNS = (
    "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c"
    " WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.sql NOT LIKE '%VIRTUAL%'"
    " AND t.name NOT LIKE 'words%'"
)
_TRIGGERS = "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
_INDEXES = "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"


def take_back(connection: sqlite3.Connection, version: int) -> None:
    """Drop what `version` had not: triggers, indexes, tables and columns; rows stay as they are."""
    with closing(sqlite3.connect(":memory:")) as old:
        old.create_function("common_form", 1, common_form)
        old.create_function("read_time", 1, lambda value: value)
        for script in (schema.TABLES, *(schema.UPGRADES[n] for n in range(2, version + 1))):
            old.executescript(script)
        known = set(old.execute(_COLUMNS).fetchall())
        indexes = set(old.execute(_INDEXES).fetchall())
        triggers = set(old.execute(_TRIGGERS).fetchall())
    for (name,) in set(connection.execute(_TRIGGERS).fetchall()) - triggers:
        connection.execute(f"DROP TRIGGER {name}")
    for (name,) in set(connection.execute(_INDEXES).fetchall()) - indexes:
        connection.execute(f"DROP INDEX {name}")
    tables = {table for table, _ in known}
    found = connection.execute(_COLUMNS).fetchall()
    for table in {table for table, _ in found} - tables:
        connection.execute(f"DROP TABLE {table}")
    for table, column in set(found) - known:
        if table in tables:
            connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    connection.execute(f"PRAGMA user_version = {version}")
