"""The adapter to the graph database: LadybugDB, or kuzu, which it descends from.

The only importer of `ladybug` and `kuzu`, and itself only imported in the engine's process (see
`process`).  Measured with ladybug 0.22.0 and kuzu 0.11.3:

- Both write checkpoints by themselves unless told not to, and kuzu ends the process when one fails
  while closing.  So neither may: `Engine.checkpoint` is called when its failure can be handled.
- A full pool fails a statement ("Buffer manager exception ... The buffer pool is full"), and a
  checkpoint too; with 4 MiB after 117,000 rows.
- Opened read-only, both refuse what changes the database, but not COPY ... TO, EXPORT DATABASE and
  LOAD FROM, which write and read other files (see `cypher` and `worker` for what stops those).
- A client's statement can end the process: `EXPLAIN` after a failed CHECKPOINT is a segmentation
  fault in ladybug, and a query result that outlives its database one in kuzu.
- A value comes as Python's; a node or relation as a dict with the keys `_ID`, `_LABEL`, `_SRC` and
  `_DST` (ladybug) or the same in small letters (kuzu).
"""

from __future__ import annotations

import importlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from nimad.errors import (
    Busy,
    CypherRefused,
    CypherTooMuch,
    DiskFull,
    EngineUnsupported,
    GraphFailed,
    GraphMemory,
    NimadError,
)
from nimad.graph.limits import GraphLimits

THREADS = 2
"""Threads of the engine; more only cost memory [threads]."""


class Engine:
    """One open database file; used by one thread."""

    def __init__(self, path: Path, name: str, limits: GraphLimits, *, read_only: bool) -> None:
        """Open or create `path`.

        Raises EngineUnsupported (not for this machine, no address space), Busy (another process
        has it), DiskFull, and GraphFailed when the file is damaged or not this engine's.
        """
        self.name = name
        try:
            module = importlib.import_module(name)
        except ImportError as error:  # installed, but not for this machine
            raise EngineUnsupported(engine=name, detail=str(error)) from error
        try:
            self._database = module.Database(
                str(path),
                buffer_pool_size=limits.buffer_pool_bytes,
                max_db_size=1 << (limits.max_db_size_bytes.bit_length() - 1),  # a power of two only
                max_num_threads=THREADS,
                auto_checkpoint=False,
                read_only=read_only,
            )
            self._connection = module.Connection(self._database)
        except Exception as error:
            raise _refused(name, path, error) from error

    def run(self, statement: str) -> list[list[Any]]:
        """Run a statement of ours; its rows.  Raises GraphFailed, GraphMemory, DiskFull."""
        try:
            result = self._connection.execute(statement)
            try:
                rows: list[list[Any]] = result.get_all()
                return rows
            finally:
                result.close()
        except Exception as error:
            raise _translated(error) from error

    def ask(self, cypher: str, parameters: dict[str, Any], seconds: float) -> Any:
        """The result of a client's question: an object with `has_next` and `get_next`.

        Raises CypherRefused (it is wrong), CypherTooMuch (time or memory).
        """
        try:
            self._connection.set_query_timeout(max(1, int(seconds * 1000)))
            result = self._connection.execute(cypher, parameters)
        except (Exception, MemoryError) as error:
            raise asked_wrong(error, seconds) from error
        if isinstance(result, list):
            raise CypherRefused(detail="it is more than one statement")
        return result

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file.  Raises GraphFailed, GraphMemory, DiskFull."""
        self.run("CHECKPOINT")

    def close(self) -> None:
        """Give the file free, without writing to it. Never raises."""
        with suppress(Exception):
            self._connection.close()
            self._database.close()


def asked_wrong(error: BaseException, seconds: float) -> NimadError:
    """The engine's exception at a client's question as ours."""
    text = str(error)
    if isinstance(error, MemoryError) or "bad_alloc" in text or "Buffer manager" in text:
        return CypherTooMuch(what="memory", limit="see graph.buffer_pool_mb")
    if "Interrupted" in text:
        return CypherTooMuch(what="time", limit=f"{seconds:g} seconds")
    return CypherRefused(detail=" ".join(text.split())[:1000])


def _translated(error: Exception) -> NimadError:
    """The engine's exception as ours; what it quotes of a row is left out."""
    text = str(error).partition("Line/record")[0].strip() or type(error).__name__
    if "Cannot write to file" in text or "No space left" in text:
        return DiskFull(detail=f"the graph cannot be written ({text})")
    if "Buffer manager exception" in text or "buffer pool is full" in text or "bad_alloc" in text:
        return GraphMemory(detail=text)
    return GraphFailed(detail=text)


def _refused(name: str, path: Path, error: Exception) -> NimadError:
    text = str(error)
    if "Could not set lock" in text:
        return Busy(detail=f"another process has {path} open")
    if "Mmap for size" in text or "mmap" in text.lower():
        return EngineUnsupported(engine=name, detail=f"it gets no address space ({text})")
    failure = _translated(error)
    if isinstance(failure, (DiskFull, GraphMemory)):
        return failure
    return GraphFailed(detail=f"{path} does not open ({failure.fields['detail']})")
