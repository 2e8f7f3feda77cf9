"""Tables of any SQLite database that is not ours, read from a private copy, row by row.

As of a legacy graph, only base tables and stored columns are read, so nothing that the file brings
along runs; a virtual table, whose extension is not loaded, is never touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from nimad.errors import NimadError
from nimad.legacy.hostile_reader import RowReader
from nimad.legacy.schema import has_row_ids, open_source, quoted, sqlite_errors
from nimad.legacy.snapshot import consistent_copy
from nimad.legacy.values import BrokenText

PAGE = 200
"""Rows that are read at a time [rows]."""


class Tables:
    """The tables of a copy, while it is open."""

    def __init__(self, path: Path) -> None:
        self._connection = open_source(path, "mode=ro")
        self._reader = RowReader(self._connection, path)

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()

    def columns(self, table: str) -> tuple[str, ...]:
        """The stored columns of a base table; none where there is no such table."""
        sql = "SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = ?"
        with self._reader.guarded():
            if not [1 for (page,) in self._connection.execute(sql, (table,)) if page]:
                return ()
            info = self._connection.execute(f"PRAGMA table_info({quoted(table)})").fetchall()
            names = tuple(str(row[1]) for row in info)
            keyed = has_row_ids(self._connection, table, set(map(str.lower, names)))
        return names if keyed else ()

    def rows(self, table: str, wanted: Sequence[str]) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """Each row: its id, and its values by column (None: the table has no such column; text that
        is not UTF-8 is repaired), or why it cannot be read.  Raises SourceCorrupt."""
        stored = self.columns(table)
        after: int | None = None
        while page := self._reader.page(quoted(table), stored, wanted, after, PAGE):
            for key, row in page:
                if isinstance(row, str):
                    yield key, row
                    continue
                values = (
                    value.decode("utf-8", "replace") if isinstance(value, BrokenText) else value
                    for value in row
                )
                yield key, dict(zip(wanted, values, strict=True))
            after = page[-1][0]


@contextmanager
def open_tables(path: Path) -> Iterator[Tables]:
    """The tables of a database as they are at one moment.  Raises as `take_snapshot`."""
    with consistent_copy(path) as (copy, _), closing(Tables(copy)) as tables:
        yield tables


def table_names(path: Path) -> set[str]:
    """The names of the tables that a database has without its write-ahead log; none where it is
    none, or cannot be read.  Nothing beside it changes."""
    try:
        with sqlite_errors(path), closing(open_source(path, "mode=ro&immutable=1")) as connection:
            found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            return {str(name) for (name,) in found.fetchmany(1000)}
    except NimadError:
        return set()
