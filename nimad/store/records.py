"""The records: one SQLite file, one writer behind a lock, readers that never wait for it."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.disk.failures import check_room, check_writable, translated
from nimad.errors import Busy, DiskFailed, DiskFull, NimadError
from nimad.model import UNKNOWN, Change, DamagedMemory, Filter, Memory
from nimad.namespaces import Namespaces
from nimad.store import rows, schema, unfolded
from nimad.store.commits import Commits
from nimad.store.database_files import DatabaseFiles
from nimad.store.long_reads import LongReads
from nimad.store.rows import Row
from nimad.store.transaction import Transaction
from nimad.text import common_form

log = logging.getLogger(__name__)

CHUNK = 500
"""Ids in one IN (...) list: well below SQLite's limit on variables."""
TEXT_ROWS = 256
"""Most texts that are read at a time, for what needs all of them: 5 ms of encoding [rows]."""
TEXT_CHARS = 1 << 20
"""Length of the texts that are read at a time [characters]."""
LONG = 256
"""Longest text that is taken for a short one [bytes]."""
READER_SECONDS = 10.0
"""Longest wait for a reader when the connections are opened anew [seconds]."""


class _Reader:
    """The read-only connection of one thread; `lock` is held while it is read from."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection: sqlite3.Connection | None = connection
        self.lock = threading.RLock()


class Records:
    """The system of record; open it with `Records.open`.

    `write()` serialises writers in this process.  Reads use a connection per thread and see the
    last committed state (WAL).  Every method may raise what `nimad.disk.failures` makes of
    SQLite's errors: RecordsDamaged, DiskFull, DiskFailed, DiskReadOnly, Busy.
    """

    def __init__(self, path: Path, writer: sqlite3.Connection) -> None:
        self.path = path
        self.on_trouble: Callable[[DiskFailed | DiskFull | None], None] = lambda error: None
        """Called with what the disk refused, and with None once it takes a transaction again."""
        self.on_damage: Callable[[set[int]], None] = lambda ids: None
        """Called with the ids of memories that were read and are not what was written."""
        self.cut_off = self.log_missing = False
        """Whether the last process ended without closing them, and their WAL was gone since."""
        self.refusal: NimadError | None = None
        """Why they can only be read (`store.fixed_records`)."""
        self._connect = partial(schema.connect, path, readonly=True)
        self.long_reads = LongReads()
        self._commits = Commits(
            path, self._secure, lambda: self._files.reserve_wal(), lambda e: self.on_trouble(e)
        )
        self._local, self._closed = threading.local(), False
        self._readers: list[_Reader] = []
        self._readers_lock = threading.Lock()
        self._use(writer)

    def _use(self, writer: sqlite3.Connection) -> None:
        self._commits.use(writer)
        writer.execute("SELECT count(*) FROM meta").fetchone()  # so that all its files are open
        self._files = DatabaseFiles(self.path)

    @classmethod
    def open(cls, path: Path) -> Records:
        """Open or create the file (mode 0600).

        Raises StateTooNew for a newer schema, RecordsDamaged for a file that is no records file, or
        lost its WAL, and the errors of the disk (`nimad.disk.failures`).
        """
        check_room(path)
        log_missing = unfolded.is_log_missing(path)
        cut_off = log_missing or path.with_name(f"{path.name}-wal").exists()
        if not path.exists():
            path.touch(mode=0o600)
        with translated(path), contextlib.ExitStack() as undo:
            writer = schema.connect(path)
            undo.callback(writer.close)
            schema.prepare(writer, path)
            opened = cls(path, writer)
            opened.cut_off, opened.log_missing = cut_off, log_missing
            undo.pop_all()
        return opened

    def close(self) -> None:
        """Close every connection; SQLite then folds the WAL into the file."""
        with self.exclusive(), self._readers_lock:
            if self._closed:
                return
            self._closed = True
            with contextlib.suppress(NimadError, OSError):
                if not self._files.intact():
                    self._files.restore_wal()
            self._files.forget_unfolded()
            self._close_connections(wait=-1)

    # --- writing ------------------------------------------------------------------------------

    def write(self) -> AbstractContextManager[Transaction]:
        """One transaction: all of it commits (durable on return), or none of it.

        A crash inside leaves nothing: SQLite discards an uncommitted WAL tail at the next open.
        What could not be made sure of after COMMIT raises: it may be there, or gone after a crash.
        """
        return self._commits.write()

    def write_jointly(self) -> AbstractContextManager[Transaction]:
        """As `write`, but what several threads write so at a time goes to the disk in one COMMIT.

        A part that fails is rolled back alone; an error of the COMMIT is everybody's.  What must
        follow it before anybody else writes is for `Transaction.after_commit`, which may be done
        by another thread.  Readers see none of the parts before.
        """
        return self._commits.write_jointly()

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep other writers out: for what must follow a commit before the next one."""
        return self._commits.exclusive()

    @property
    def waiting_writers(self) -> int:
        """How many threads wait to write."""
        return self._commits.waiting

    def _secure(self, changed: bool = False) -> None:
        """Make sure that what is committed is on the disk, where the next start will find it.

        Crash prose: before connections are opened anew the WAL stands under its name again, whole;
        SQLite deletes it only when all of it is in the file and durable.

        Raises what the disk refuses, StateUnusable, Busy.  To be called with the writer's lock.
        """
        check_writable(self.path.parent)
        if not self._files.intact():
            log.error("the WAL of %s was deleted or replaced: it is restored", self.path)
            self._files.restore_wal()
            with self._readers_lock, translated(self.path):
                self._close_connections(READER_SECONDS)  # which folds what they hold into the file
                self._use(schema.connect(self.path))
        if isinstance(self._commits.trouble, DiskFailed):
            self._files.rewrite_wal()
        if changed:
            self._files.note_unfolded()

    def _close_connections(self, wait: float) -> None:
        """Close every connection once its thread does not read; Busy after `wait` [seconds]."""
        for reader in self._readers:
            if not reader.lock.acquire(timeout=wait):
                raise Busy(detail=f"a long question keeps {self.path.name} open")
            connection, reader.connection = reader.connection, None
            reader.lock.release()
            if connection is not None:
                connection.close()
        self._readers.clear()
        self._commits.writer.close()
        self._files.close()

    def maintain(self, statement: str) -> None:
        """Run a PRAGMA or the like on the writer, outside a transaction.

        As a script, because `execute` would stop after the first step of an incremental vacuum.
        """
        with self.exclusive(), translated(self.path):
            self._commits.writer.executescript(statement)

    def checkpoint(self) -> bool:
        """Fold the WAL into the file and cut it to nothing; whether it is empty now.

        A reader may be in its way, another program's, too: nothing waits for one.  Most pages are
        folded while others write; the writer's lock is held only to cut the WAL off.
        """
        with self.exclusive():
            self._secure()
        with translated(self.path), contextlib.closing(schema.connect(self.path)) as connection:
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            with self.exclusive():
                self._secure()
                busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def release_space(self) -> bool:
        """Give free pages back to the file system; as `checkpoint`."""
        self.maintain("PRAGMA incremental_vacuum")
        return self.checkpoint()

    def drop_unused(self) -> None:
        """See `Transaction.drop_unused`."""
        with self.write() as tx:
            tx.drop_unused()

    def compact(self) -> bool:
        """Write the whole file anew, so that no byte of what was deleted is left; as `checkpoint`.

        `secure_delete` does not reach the copies of moved cells that SQLite leaves in the unused
        part of a page.  Nothing is written while a reader would keep the WAL.  The file is written
        three times, writers wait (0.06 s for 50,000 memories), and twice its size is to be free.
        """
        if not self.checkpoint():
            return False
        with translated(self.path), contextlib.closing(schema.connect(self.path)) as connection:
            connection.executescript("PRAGMA busy_timeout = 0; PRAGMA temp_store = FILE")
            with self.exclusive(), schema.temporary_files_in(self.path.parent):
                self._secure()
                connection.execute("VACUUM")
        return self.checkpoint()

    @property
    def files(self) -> DatabaseFiles:
        """The files of the connections that are open now."""
        return self._files

    def rest(self) -> None:
        """Give back the pages that connections keep, up to 2 MB each; one at work keeps its own."""
        with self.exclusive():
            self._commits.writer.execute("PRAGMA shrink_memory")
        with self._readers_lock:
            readers = list(self._readers)
        for reader in readers:
            if reader.lock.acquire(blocking=False):
                try:
                    if reader.connection is not None:
                        reader.connection.execute("PRAGMA shrink_memory")
                finally:
                    reader.lock.release()

    # --- reading ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """This thread's read-only connection, for a block that reads row by row."""
        while True:
            reader: _Reader | None = getattr(self._local, "reader", None)
            if reader is None or reader.connection is None:
                self._restore_names()
                with self._readers_lock:
                    if self._closed:
                        raise NimadError(detail="the records are closed")
                    reader = _Reader(self._connect())
                    self._readers.append(reader)
                self._local.reader = reader
            with reader.lock:
                if reader.connection is not None:
                    yield reader.connection
                    return

    def connect_reader(self) -> sqlite3.Connection:
        """A connection of the caller's own that only reads."""
        self._restore_names()
        return self._connect()

    def _restore_names(self) -> None:
        """To be called before a connection is opened: it opens what stands under the names now."""
        with contextlib.suppress(DiskFailed, DiskFull, Busy):  # the connection meets it, and tells
            if not (self._closed or self._files.intact()):
                with self.exclusive():
                    self._secure()

    @contextlib.contextmanager
    def moment(self) -> Iterator[None]:
        """All that this thread reads in the block is as it was at its begin."""
        with translated(self.path), self.reading() as reader:
            reader.execute("BEGIN")
            try:
                yield
            finally:
                reader.execute("ROLLBACK")

    def rows(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()
    ) -> list[tuple[Any, ...]]:
        """All rows of a read-only statement."""
        return self.read(sql, parameters, sqlite3.Cursor.fetchall)

    def read(
        self,
        sql: str,
        parameters: Sequence[Any] | Mapping[str, Any],
        take: Callable[[sqlite3.Cursor], list[tuple[Any, ...]]],
    ) -> list[tuple[Any, ...]]:
        """What `take` takes of a read-only statement, twice where a text is no UTF-8, because a bit
        flipped: that stands there as U+FFFD."""
        with translated(self.path), self.reading() as reader:
            reader.text_factory = str  # faster
            try:
                return take(reader.execute(sql, parameters))
            except sqlite3.OperationalError as error:
                if hasattr(error, "sqlite_errorname"):  # SQLite's own, not one of the decoding
                    raise
            finally:
                reader.text_factory = schema.decode
            return take(reader.execute(sql, parameters))

    @contextlib.contextmanager
    def as_far_as_readable(self) -> Iterator[list[DiskFailed]]:
        """Around what a start reads and can do without where nothing can be written either: there
        what the disk does not give is added to the list, not raised (`fixed_records`)."""
        yield []

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The first value of the first row, or None."""
        found = self.rows(sql, parameters)
        return found[0][0] if found else None

    def rows_in(
        self, sql: str, ids: Sequence[int] | NDArray[np.int64]
    ) -> Iterator[tuple[Any, ...]]:
        """The rows of a statement that ends with "... IN", for ids in lists of CHUNK."""
        for start in range(0, len(ids), CHUNK):
            part = [int(number) for number in ids[start : start + CHUNK]]
            yield from self.rows(f"{sql} ({','.join('?' * len(part))})", part)

    def get(self, ids: Sequence[int]) -> dict[int, Memory]:
        """The memories with these ids; those that do not exist are left out.  No blobs."""
        found = self.rows_in(f"{rows.SELECT} WHERE m.id IN", ids)
        return {memory.id: memory for memory in self.memories_of(found)}

    def memories_of(self, found: Iterable[Row]) -> list[Memory]:
        """The memories of rows of SELECT, each compared with its checksum: SQLite has none."""
        memories = [rows.from_row(row) for row in found]
        if damaged := {one.id for one in memories if isinstance(one, DamagedMemory)}:
            self.on_damage(damaged)
        return memories

    def with_blobs(self, memories: list[Memory]) -> list[Memory]:
        """The same memories, their `blobs` filled."""
        by_id = {memory.id: memory for memory in memories}
        sql = "SELECT memory, name, data FROM blobs WHERE memory IN"
        for memory, name, data in self.rows_in(sql, list(by_id)):
            if memory in by_id:  # always, unless a bit flipped
                by_id[memory].blobs[name] = data
        return memories

    def texts(self, after: int, limit: int) -> list[tuple[int, str]]:
        """(id, text) of up to `limit` memories with ids above `after`, by id."""
        sql = "SELECT id, text FROM memories WHERE id > ? ORDER BY id LIMIT ?"
        return self.rows(sql, (after, limit))

    def texts_of(self, ids: Sequence[int]) -> Iterator[list[tuple[int, str]]]:
        """(id, text) of these memories in the order of `ids`, some at a time: so many of them as
        are TEXT_CHARS long if they are as long as the last ones."""
        start, count = 0, TEXT_ROWS // 8
        while start < len(ids):
            part = ids[start : start + count]
            found: dict[int, str] = dict(
                self.rows_in("SELECT id, text FROM memories WHERE id IN", part)
            )
            yield [(number, found[number]) for number in part if number in found]
            start += count
            length = sum(map(len, found.values())) // count
            count = min(max(TEXT_CHARS // (length + 1), 1), TEXT_ROWS)

    def texts_holding(self, part: str, ids: Sequence[int]) -> list[tuple[int, str]]:
        """(id, text) of those of these memories whose text holds a part, of small ASCII letters, in
        any case; and of those that are not all ASCII, where SQLite knows no case."""
        sql = "SELECT id, text FROM memories WHERE id IN (SELECT value FROM json_each(?))"
        sql += " AND (instr(lower(text), ?) OR length(text) != length(CAST(text AS BLOB)))"
        return self.rows(sql, (json.dumps(list(ids)), part))

    def ids(self) -> NDArray[np.int64]:
        """int64[n]: every memory id, sorted."""
        return self.ids_of("SELECT id FROM memories ORDER BY id")

    def ids_of(self, sql: str, parameters: Sequence[Any] = ()) -> NDArray[np.int64]:
        """int64[n]: the first column of a statement's rows; only these take memory."""
        with translated(self.path), self.reading() as reader:
            return np.fromiter((number for (number,) in reader.execute(sql, parameters)), np.int64)

    def matching(self, where: Filter) -> NDArray[np.int64]:
        """int64[n]: the ids that pass a filter, sorted; names are compared in the common form."""
        condition, parameters = self.condition(where)
        return np.sort(self.ids_of(f"SELECT m.id FROM memories m WHERE {condition}", parameters))

    def condition(self, where: Filter) -> tuple[str, list[Any]]:
        """A filter as SQL about a row m of `memories`, and its parameters."""
        clauses: list[str] = []
        parameters: list[Any] = []
        interned = (
            ("namespace", where.namespace),
            ("layer", where.layer),
            ("agent", where.agent),
            ("place", where.where),
        )
        for column, name in interned:
            if name is not None:
                clauses.append(f"m.{column} IN (SELECT id FROM names WHERE folded = ?)")
                parameters.append(common_form(name))
        if where.documents:
            clauses.append("m.key IS NOT NULL")
        chosen: list[tuple[str, Sequence[Any]]] = []  # few values stand in many rows
        if where.tree:
            below, end = f"{where.tree}.", f"{where.tree}/"  # the sign behind the dot
            sql = "SELECT id FROM names WHERE name = ?1 OR name >= ?2 AND name < ?3"
            found = self.rows(sql, (where.tree, below, end))
            chosen.append(("m.namespace", [number for (number,) in found]))
        if where.within is not None:
            chosen.append(("m.namespace", self.names_within(where.within)))
        if where.origin:
            chosen.append((f"ifnull({rows.ORIGIN}, '{UNKNOWN}')", where.origin))
        if where.who is not None:
            who = common_form(where.who)
            chosen.append(("m.who", self.values_of("who", lambda name: common_form(name) == who)))
        if where.tags:
            tags = {common_form(tag) for tag in where.tags}
            held = lambda written: tags <= set(map(common_form, json.loads(written)))  # noqa: E731
            chosen.append(("m.tags", self.values_of("tags", held)))
        for column, values in chosen:
            clauses.append(f"{column} IN (SELECT value FROM json_each(?))")
            parameters.append(json.dumps(values))
        for sign, moment in ((">=", where.after), ("<", where.before)):
            if moment is not None:
                clauses.append(f"m.timestamp {sign} ? AND m.timestamp != 0")
                parameters.append(moment)
        return " AND ".join(clauses) or "1", parameters

    def names_within(self, within: Namespaces) -> list[int]:
        """The ids of those names that are among some namespaces: every filter by them asks here."""
        return [number for name in within.names for (number,) in self.rows(*rows.named(name))]

    def values_of(self, column: str, fits: Callable[[str], object]) -> list[str]:
        """The distinct texts in a column of the memories, empty ones left out, that `fits` takes.
        Long ones come memory by memory: all at once might not fit."""
        sql = f"{column} FROM memories WHERE {column} != '' AND length(CAST({column} AS BLOB))"
        found = self.chosen(f"SELECT DISTINCT {sql} <= {LONG}", (), fits)
        return list({row[0] for row in [*found, *self.chosen(f"SELECT {sql} > {LONG}", (), fits)]})

    def chosen(
        self, sql: str, parameters: Sequence[Any], fits: Callable[..., object]
    ) -> list[tuple[Any, ...]]:
        """The rows of a read-only statement that `fits` takes; of others one is in memory."""
        return self.read(sql, parameters, lambda cursor: [row for row in cursor if fits(*row)])

    def meta(self, key: str) -> Any:
        """A single value, or None."""
        return self.value("SELECT value FROM meta WHERE key = ?", (key,))

    # --- vectors and segments -----------------------------------------------------------------

    def segment_names(self) -> list[str]:
        """The segments that count, oldest first."""
        return [r[0] for r in self.rows("SELECT name FROM segments ORDER BY created, name")]

    def hot(self) -> list[tuple[int, bytes]]:
        """(id, float16 vector) of the memories that no segment holds yet, by id; damaged ones are
        left out."""
        found = self.rows(f"SELECT id, vector, {rows.ROW_CHECKSUM} FROM hot ORDER BY id")
        return [row[:2] for row in found if rows.is_hot(*row)]

    def tombstones(self) -> NDArray[np.int64]:
        """int64[n]: forgotten ids that a listed segment may still hold, sorted."""
        return self.ids_of("SELECT id FROM tombstones ORDER BY id")

    # --- the change log ----------------------------------------------------------------------

    @property
    def commits(self) -> int:
        """Changes with each transaction of this process, before it is acknowledged."""
        return self._commits.ended

    def head(self) -> int:
        """The number of the last change; 0 when nothing ever changed."""
        return int(self.value(f"SELECT {schema.last_number('changes')}"))

    def pruned_to(self) -> int:
        """Changes up to this number are gone: who is behind it must be rebuilt."""
        return int(self.meta("pruned_to") or 0)

    def changes(self, after: int, limit: int) -> list[Change] | None:
        """Up to `limit` changes after a number, in order; None when one is not what was written."""
        sql = f"SELECT seq, op, kind, first, last, {rows.ROW_CHECKSUM} FROM changes WHERE seq > ?"
        found = self.rows(f"{sql} ORDER BY seq LIMIT ?", (after, limit))
        whole = all(known in (None, rows.row_checksum(*row)) for *row, known in found)
        return [Change(*row) for *row, _ in found] if whole else None

    def counts(self) -> dict[str, int]:
        """How many memories, turns and relations there are."""
        tables = {"memories": "memories", "turns": "turns WHERE listed", "relations": "relations"}
        return {name: self.value(f"SELECT count(*) FROM {of}") for name, of in tables.items()}
