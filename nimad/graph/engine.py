"""The adapter to the graph database: LadybugDB, or kuzu, which it descends from.

The only importer of `ladybug` and `kuzu`; the selected one is imported when a database is opened.
Measured with ladybug 0.22.0 and kuzu 0.11.3:

- One process can load one of them: both register the same names with pybind11.
- An open, idle database wakes nobody (one context switch in 4 s, with two engine threads).
- Both write checkpoints by themselves unless told not to, at commit and on closing, and kuzu ends
  the process when one fails while closing.  So neither may: `Engine.checkpoint` is called when its
  failure can be handled.
- A checkpoint waits for readers (kuzu gives up after 5 s): the caller keeps them out.
- A query result that outlives its database is a segmentation fault in kuzu: none leaves `_run`.
- Parameters make prepared statements, which are kept with memory of the pool (ladybug) or lose
  0.5 MB each (kuzu): 100 different ones fill a pool of 64 MiB.  So ids stand in the text, and
  strings only travel in `tables`' CSV.
- Reading beside a write transaction is safe and sees the state before it.
- A full pool fails a statement ("Buffer manager exception ... The buffer pool is full"), and a
  checkpoint too; with 4 MiB after 117,000 rows.  What was committed stays; closed and opened
  again, it goes on.
- After a failed write to its log (a full disk), ladybug writes again when it is closed, and ends
  the process when that fails too.  Such a database is left alone for good: `close` abandons it.
- A log that ends in the middle (a power cut) makes ladybug refuse the file unless told otherwise:
  then it goes on from the last whole transaction, as kuzu does.  Of 59 logs cut or altered, all
  opened so, rows and position together.  kuzu's log has no checksums: of 20 altered ones it read 3
  wrongly and crashed over 2.
- A statement that fails inside a transaction ends the transaction.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nimad.errors import (
    Busy,
    DiskFull,
    EngineUnsupported,
    GraphFailed,
    GraphMemory,
    NimadError,
)

log = logging.getLogger(__name__)

ENGINES = ("ladybug", "kuzu")
KUZU_PAGE = 4096  # [bytes]
THREADS = 2  # [threads] with one, a long write delays every reader; more only cost memory
MIB = 1 << 20
MOST_ABANDONED = 5
_abandoned: list[str] = []

Rows = list[list[Any]]


@dataclass(frozen=True)
class GraphLimits:
    """What the engine may take: memory for its pages, and address space [bytes].

    The pool is a limit, not a reservation.  Making the graph of 100,000 memories anew needs 24 MiB
    of it, of 300,000 at most 64, of a million more than 64 and at most 128.
    """

    buffer_pool_bytes: int = 64 * MIB
    max_db_size_bytes: int = 1 << 32

    @classmethod
    def for_memory(cls, total_bytes: int) -> GraphLimits:
        """Limits for a board with that much RAM: 1/32 of it, from 64 to 256 MiB."""
        return cls(buffer_pool_bytes=min(max(total_bytes // 32, 64 * MIB), 256 * MIB))


def check_supported(name: str, page_size: int | None = None) -> None:
    """Raise EngineUnsupported when the engine cannot run here.

    kuzu gives memory back in frames of 4 KiB; a kernel with larger pages (Raspberry Pi 5: 16 KiB)
    refuses that and the engine fails after some thousand rows.  `page_size` [bytes] is the kernel's
    unless given.
    """
    if name not in ENGINES:
        raise EngineUnsupported(engine=name, detail=f"known are {' and '.join(ENGINES)}")
    page = page_size or os.sysconf("SC_PAGE_SIZE")
    if name == "kuzu" and page != KUZU_PAGE:
        raise EngineUnsupported(
            engine=name,
            detail=f"the kernel's memory pages are {page} bytes, and kuzu works with {KUZU_PAGE}",
        )
    if importlib.util.find_spec(name) is None:
        raise EngineUnsupported(engine=name, detail=f"the Python package {name} is not installed")
    if other := next((other for other in ENGINES if other != name and other in sys.modules), None):
        raise EngineUnsupported(engine=name, detail=f"this process has loaded {other}; restart it")


def check_writable() -> None:
    """Raise DiskFull when writing has failed so often that trying again would do more harm.

    Each time costs the memory and the descriptors of an abandoned database.
    """
    if len(_abandoned) >= MOST_ABANDONED:
        times = len(_abandoned)
        raise DiskFull(detail=f"writing the graph failed {times} times; restart nimad with room")


def _module(name: str) -> Any:
    try:
        if name == "kuzu":
            import kuzu

            return kuzu
        import ladybug
    except ImportError as error:  # installed, but not for this machine
        raise EngineUnsupported(engine=name, detail=str(error)) from error
    return ladybug


class Engine:
    """One open database file.

    `read` may be called by many threads at once; `write`, `transaction`, `checkpoint` and `close`
    by one thread at a time; the last two only while nobody reads.

    Attributes:
        tainted: something failed in a way that only closing and opening again puts right; what was
            committed is there then.
    """

    def __init__(self, path: Path, name: str, limits: GraphLimits) -> None:
        """Open or create `path`.

        Raises EngineUnsupported (not for this machine, no address space), Busy (another process
        has it), DiskFull, and GraphFailed when the file is damaged or not this engine's.
        """
        check_supported(name)
        self.name = name
        self.tainted = False
        self._unsafe = False  # destroying it might end the process
        self._idle: list[Any] = []
        self._module = _module(name)
        try:
            self._database = self._module.Database(
                str(path),
                buffer_pool_size=limits.buffer_pool_bytes,
                max_db_size=1 << (limits.max_db_size_bytes.bit_length() - 1),  # a power of two only
                max_num_threads=THREADS,
                auto_checkpoint=False,
                **({"throw_on_wal_replay_failure": False} if name == "ladybug" else {}),
            )
        except Exception as error:
            raise _refused(name, path, error) from error
        try:
            self._writer = self._connect()
            self.write("CALL force_checkpoint_on_close=false")
        except BaseException:
            self._database.close()
            raise

    def read(self, cypher: str, *, read_only: bool = False) -> Rows:
        """The rows of a query, on a connection of its own. Raises GraphFailed.

        `read_only` makes the engine refuse what would write; otherwise the caller knows its query.
        """
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            if read_only:
                return _run_read_only(connection, cypher)
            return _run(connection, cypher)
        finally:
            self._idle.append(connection)

    def write(self, cypher: str) -> Rows:
        """Run a statement inside the transaction, or in one of its own.

        Raises GraphFailed, DiskFull.
        """
        try:
            return _run(self._writer, cypher)
        except NimadError as error:
            if isinstance(error, DiskFull) or "IO exception" in str(error) or "WAL" in str(error):
                self.tainted = self._unsafe = True
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside commits or nothing does; durable (fdatasync) when the block has ended.

        Raises GraphFailed, GraphMemory or DiskFull; then nothing was committed.
        """
        self.write("BEGIN TRANSACTION")
        try:
            yield
        except BaseException:
            self._roll_back()
            raise
        self._commit()

    def _commit(self) -> None:
        try:
            self.write("COMMIT")
        except NimadError as error:
            if "Transaction committed successfully" in str(error):  # but its checkpoint failed
                log.warning("the graph will be opened again: %s", error.message)
                self.tainted = True
                self._unsafe |= not isinstance(error, GraphMemory)
                return
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        with suppress(NimadError):  # a failed statement has already ended the transaction
            self.write("ROLLBACK")

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file; nothing is lost when that fails.

        Raises GraphFailed, GraphMemory, DiskFull.
        """
        try:
            self.write("CHECKPOINT")
        except NimadError as error:
            self.tainted = True
            self._unsafe |= not isinstance(error, GraphMemory)
            raise

    def close(self) -> None:
        """Give the file free, without writing to it. Never raises.

        One that failed to write is never destroyed: it costs its memory until the process ends.
        """
        if self._unsafe:
            _abandoned.append(self.name)
            for thing in (self._writer, *self._idle, self._database):
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
            return
        for connection in (self._writer, *self._idle):
            with suppress(Exception):
                connection.close()
        self._idle.clear()
        with suppress(Exception):
            self._database.close()

    def _connect(self) -> Any:
        return self._module.Connection(self._database)


def _run(connection: Any, cypher: str) -> Rows:
    try:
        result = connection.execute(cypher)
        try:
            rows: Rows = result.get_all()
            return rows
        finally:
            result.close()
    except Exception as error:
        raise _translated(error) from error


def _run_read_only(connection: Any, cypher: str) -> Rows:
    _run(connection, "BEGIN TRANSACTION READ ONLY")
    try:
        return _run(connection, cypher)
    finally:
        with suppress(NimadError):  # a failed statement has already ended the transaction
            _run(connection, "ROLLBACK")


def _translated(error: Exception) -> NimadError:
    """The engine's exception as ours; what it quotes of a row is left out."""
    text = str(error).partition("Line/record")[0].strip() or type(error).__name__
    if "Cannot write to file" in text or "No space left" in text:
        return DiskFull(detail=f"the graph cannot be written ({text})")
    if "Buffer manager exception" in text or "buffer pool is full" in text:
        return GraphMemory(detail=text)
    return GraphFailed(detail=text)


def _refused(name: str, path: Path, error: Exception) -> NimadError:
    text = str(error)
    if "Could not set lock" in text:
        return Busy(detail=f"another process has {path} open")
    if "Mmap for size" in text or "mmap" in text.lower():
        return EngineUnsupported(engine=name, detail=f"it gets no address space ({text})")
    failure = _translated(error)
    if isinstance(failure, DiskFull):
        return failure
    return GraphFailed(detail=f"{path} does not open ({failure.fields['detail']})")
