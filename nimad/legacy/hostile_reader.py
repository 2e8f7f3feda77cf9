"""Reads rows of a hostile SQLite file in pages, by their own ids, within limits.

No code that the file can bring along runs: schema functions are not trusted, only named base
tables and stored columns are read, triggers do not fire on reading, extensions cannot be loaded.
The size of a value, the bytes of a page and the time that a page takes are limited.  A row that
SQLite cannot hand over becomes a reason, and the rest goes on; a damaged page of the file, or ids
that do not rise (a tree that leads back into itself), end the reading with SourceCorrupt.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from nimad.disk.failures import Fault, sqlite_fault
from nimad.errors import SourceCorrupt
from nimad.legacy.schema import (
    Shape,
    identify,
    open_source,
    quoted,
    row_key,
    sqlite_errors,
    translate,
)
from nimad.legacy.source import Row
from nimad.legacy.values import FIRST_ID, LAST_ID, BrokenText

MAX_VALUE_BYTES = 16 << 20
"""Largest value, and largest row, that is read [bytes]."""
PAGE_BYTES = 1 << 20
"""Size at which a page ends early [bytes]."""
PAGE_SECONDS = 60.0
"""Time that a page may take before the source counts as damaged [seconds]."""
STEPS_BETWEEN_CHECKS = 50_000
"""Steps of SQLite's virtual machine between two looks at the clock [instructions]."""

YIELD_EVERY = 64
"""Rows read between two calls of `give_way`: 0.3 ms."""

SIZED = frozenset({str, bytes, BrokenText})

T = TypeVar("T")


def open_reader(path: Path) -> tuple[RowReader, Shape]:
    """Open a snapshot, one file whatever stands beside it, and say what is in it.  Raises
    SourceNotRecognised and SourceCorrupt."""
    connection = open_source(path, "mode=ro&immutable=1")
    try:
        reader = RowReader(connection, path)
        with reader.guarded():
            return reader, identify(connection, path)
    except BaseException:
        connection.close()
        raise


def pages(read: Callable[[int | None], Sequence[T]], key: Callable[[T], int]) -> Iterator[T]:
    """All rows that `read(after)` gives page by page, until a page is empty."""
    after: int | None = None
    while page := read(after):
        yield from page
        after = key(page[-1])


def in_steps(rows: Iterable[T], give_way: Callable[[], object], every: int = 16) -> Iterator[T]:
    """Some rows, with `give_way` before each so many of them."""
    for place, row in enumerate(rows):
        if not place % every:
            give_way()
        yield row


class RowReader:
    """A guarded connection.  Used by one thread at a time.  `give_way` is called now and then."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection, self._path = connection, path
        self._deadline = 0.0
        self.give_way: Callable[[], object] = lambda: None
        for limit, value in (
            (sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES),
            (sqlite3.SQLITE_LIMIT_SQL_LENGTH, 1 << 20),
            (sqlite3.SQLITE_LIMIT_COLUMN, 2000),
            (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 50),
            (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
            (sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0),
        ):
            connection.setlimit(limit, value)
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA temp_store=MEMORY")  # no text of a memory in a temporary file
        connection.set_progress_handler(
            lambda: time.monotonic() > self._deadline, STEPS_BETWEEN_CHECKS
        )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def guarded(self) -> AbstractContextManager[None]:
        """Start the clock of one step, and turn what SQLite raises in it into our errors."""
        self._deadline = time.monotonic() + PAGE_SECONDS
        return sqlite_errors(self._path)

    def page(
        self,
        table: str,
        stored: Sequence[str],
        wanted: Sequence[str],
        after: int | None,
        limit: int,
    ) -> list[tuple[int, Row | str]]:
        """Up to `limit` rows after the row id `after` (None: the first ones), by row id.

        `stored` are all columns of the table, `wanted` those to read (one that the table lacks is
        None).  Each item is (row id, values), or (row id, why the row cannot be read).  A page may
        be short; only an empty one is the end.  Raises SourceCorrupt and MemoryError.
        """
        query = _Query(table, stored, wanted)
        first = FIRST_ID if after is None else after + 1
        if first > LAST_ID:
            return []
        with self.guarded():
            try:
                found = self._read(query.page, first, limit)
            except sqlite3.Error as error:
                # None: a text that is not UTF-8 (Python's own complaint has no SQLite code).
                if sqlite_fault(error) not in (None, Fault.TOO_BIG):
                    raise
                found = self._read_singly(query, first, limit)
        for key, _ in found:
            if key < first:
                raise SourceCorrupt(path=self._path, detail=f"{table} repeats its row ids")
            first = key + 1
        return found

    def _read(self, sql: str, first: int, limit: int) -> list[tuple[int, Row | str]]:
        found: list[tuple[int, Row | str]] = []
        size = 0
        for row in self._connection.execute(sql, (first, limit)):
            found.append((row[0], row[1:]))
            size += sum([len(value) for value in row if value.__class__ in SIZED])
            if size > PAGE_BYTES:
                break
            if not len(found) % YIELD_EVERY:
                self.give_way()
        return found

    def _read_singly(self, query: _Query, first: int, limit: int) -> list[tuple[int, Row | str]]:
        """The same page row by row, so that only the rows that are broken are lost."""
        keys = [key for key, _ in self._read(query.keys, first, limit)]
        found: list[tuple[int, Row | str]] = []
        self._connection.text_factory = _decode
        try:
            for key in keys:
                try:
                    row = self._connection.execute(query.one, (key,)).fetchone()
                except sqlite3.Error as error:
                    if sqlite_fault(error) is not Fault.TOO_BIG:
                        raise translate(error, self._path) from error
                    row = f"it is larger than {MAX_VALUE_BYTES >> 20} MiB"
                if row is None:
                    raise SourceCorrupt(
                        path=self._path, detail=f"row {key} is listed but not there"
                    )
                found.append((key, row))
            return found
        finally:
            self._connection.text_factory = str


class _Query:
    """The three statements that read a table, with every name quoted."""

    def __init__(self, table: str, stored: Sequence[str], wanted: Sequence[str]) -> None:
        names = {name.lower(): quoted(name) for name in stored}
        columns = ", ".join(names.get(name.lower(), "NULL") for name in wanted)
        key = row_key(tuple(stored))
        # NOT INDEXED: an index may be damaged, or be an expression; the rows are the truth.
        where = f"FROM {table} NOT INDEXED WHERE {key} >= ? ORDER BY {key} LIMIT ?"
        self.page = f"SELECT {key}, {columns} {where}"
        self.keys = f"SELECT {key} {where}"
        self.one = f"SELECT {columns} FROM {table} NOT INDEXED WHERE {key} = ?1"


def _decode(raw: bytes) -> str | BrokenText:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return BrokenText(raw)
