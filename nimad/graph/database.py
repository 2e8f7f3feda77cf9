"""The graph database of one directory: built whole, asked, closed again.

It knows no records: the caller that builds it hands the rows over.

Crash prose of `build`: the new file is written beside the old one, which serves until the swap (see
`files`); a crash leaves a half built file, which the next start removes.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nimad.dataclass import dataclass
from nimad.disk.durable import crash_point, make_directory, set_aside
from nimad.disk.failures import disk_errors, refusal_beside
from nimad.errors import CypherTooMuch, DiskFull, GraphFailed, GraphMemory
from nimad.graph.cypher import check_reads
from nimad.graph.files import GraphFiles, Seal
from nimad.graph.limits import GraphLimits, Settings, check_supported
from nimad.graph.process import EngineProcess

log = logging.getLogger(__name__)

ROW_BYTES = 200
"""Room that a row may take in a file in the making; 20 to 50 in the end [bytes]."""
EDGES = 100_000
"""Edges handed over at a time; nodes come all at once, which the engines do best [rows]."""
SMALL_PART = 10_000
"""Nodes or edges handed over at a time when memory ran out before [rows]."""
IDLE_SECONDS = 20.0
"""Time without a question after which the process ends [seconds]."""
MOST_ASKED = 100
"""Questions of one process: kuzu keeps 0.5 MB of each [questions]."""
EDGE_TABLES = ("Relation", "Member")
GRACE = 2.0
"""A question that the engine does not end in time ends with its process after this [seconds]."""

Pages = Callable[[], Iterable[tuple[str, Sequence[str]]]]
"""Gives all rows, in the order of `tables.TABLES`: (table, lines of CSV); the same each time."""


@dataclass(frozen=True)
class About:
    """What a graph is built of: see `Seal`."""

    watermark: int
    rows: int
    last: dict[str, int]


@dataclass(frozen=True)
class Answer:
    """Columns and rows of JSON values; `more`: rows were left out; `seal` of the file asked."""

    columns: list[str]
    rows: list[list[Any]]
    more: bool
    seal: Seal


class GraphDatabase:
    """Safe to use from many threads: one question at a time, and one build beside it.

    `_dropping` is held while the files are dropped, `_building` during a build, `_asking` during a
    question, `_swapping` while the files change or are opened; they are taken in this order.  A
    swap waits for no question: one under way keeps the old file, which has no name any more.
    """

    def __init__(self, directory: Path, engine: str, limits: GraphLimits) -> None:
        self.engine = engine
        self._limits = limits
        self._files = GraphFiles(directory, engine)
        self._building, self._asking = threading.Lock(), threading.Lock()
        self._swapping, self._dropping = threading.Lock(), threading.Lock()
        self._drops, self._progress = 0, (0, 1)
        self._process: EngineProcess | None = None
        self._serving: Seal | None = None  # of the file that the process has open
        self._builder: EngineProcess | None = None
        self._asked = 0
        self._used = 0.0
        self._closer: threading.Timer | None = None
        self.seal: Seal | None = None

    def open(self, *, sweep: bool = True) -> None:
        """Look at what is there; `sweep`: remove what a crash, another engine or version left."""
        if sweep:
            make_directory(self._files.directory)
            self._files.sweep()
        self.seal = self._files.seal()

    @property
    def pid(self) -> int | None:
        """The engine's process, while there is one."""
        process = self._process
        return process.pid if process else None

    def verify(self) -> None:
        """Raise GraphFailed when the file is not what was written; does nothing without one."""
        with self._swapping:
            if self.seal is not None:
                self._files.verify()

    def set_aside(self, aside: Path) -> None:
        """Move a damaged file away."""
        with self._asking, self._swapping:
            self._stop()
            for path in self._files.all():
                set_aside(path, aside)
            self.seal = None

    def drop(self) -> None:
        """Remove every file: no byte of them is left.  A question under way fails, a build is
        given up."""
        with self._dropping:
            self._drops += 1
            self._kill()
            with self._building, self._asking, self._swapping:
                self._stop()
                self._files.drop()
                self.seal = None

    def close(self) -> None:
        """End the engine's processes, and what they are busy with. Never raises."""
        self._kill()
        with self._asking:
            self._stop()

    def _kill(self) -> None:
        for process in (self._process, self._builder):
            if process is not None:
                process.kill()

    # --- building -------------------------------------------------------------------------------

    @property
    def fraction(self) -> float:
        """How much of a build is done: rows that were handed over, from 0 to 1."""
        done, rows = self._progress
        return done / max(rows, 1)

    def build(self, about: About, pages: Pages) -> Seal | None:
        """Make the graph anew; the old one serves until the swap.  None when `drop` came in
        between: what was read may hold what is purged.

        Runs out of memory once: it is tried again in small parts.  Raises EngineUnsupported,
        GraphFailed (GraphMemory), DiskFull, DiskFailed, DiskReadOnly; the old one stays then.
        """
        check_supported(self.engine)
        with self._dropping:  # one that waits for its turn comes first
            pass
        with self._building:
            drops, self._progress = self._drops, (0, about.rows)
            try:
                with disk_errors("the graph could not be written"):
                    return self._build(about, pages)
            except BaseException as error:
                with suppress(OSError):
                    self._files.sweep_new()
                if drops != self._drops and isinstance(error, GraphFailed):
                    return None
                # The engine says only that it could not write: the disk is asked why.
                if isinstance(error, (DiskFull, GraphFailed)):
                    refused = refusal_beside(self._files.main)
                    if refused is not None:
                        raise refused(detail=error.fields["detail"]) from error
                raise

    def _build(self, about: About, pages: Pages) -> Seal:
        self._files.check_room(ROW_BYTES * about.rows)
        self._files.sweep_new()
        try:
            counts = self._fill(pages, in_parts=False)
        except GraphMemory as error:
            log.warning("%s It is tried again with fewer rows at a time.", error.message)
            self._files.sweep_new()
            counts = self._fill(pages, in_parts=True)
        crash_point("graph.built")
        free = self._asking.acquire(blocking=False)  # else who asks ends it
        try:
            if free:
                self._stop()
            with self._swapping:
                self._files.swap_in(about.watermark, counts, about.last)
                self.seal = self._files.seal()
        finally:
            if free:
                self._asking.release()
        assert self.seal is not None
        return self.seal

    def _fill(self, pages: Pages, *, in_parts: bool) -> dict[str, int]:
        """Write the new file; table → its rows.  With as little memory as can be `in_parts`."""
        descriptor = os.memfd_create("nimad-graph", os.MFD_CLOEXEC)
        written: dict[str, int] = {}
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace", newline="") as file:
            settings = self._settings(self._files.new, descriptor, in_parts=in_parts)
            process = self._builder = EngineProcess(settings)
            try:
                part = _Part(process, file, in_parts)
                drops = self._drops
                for table, lines in pages():
                    if drops != self._drops:
                        raise GraphFailed(detail="the graph is dropped")
                    self._progress = sum(written.values()), self._progress[1]
                    part.add(table, lines)
                    written[table] = written.get(table, 0) + len(lines)
                part.flush()
                counts: dict[str, int] = process.ask({"do": "finish"})["counts"]
            finally:
                self._builder = None
                process.close()
        if any(counts[table] != number for table, number in written.items()):
            raise GraphFailed(detail=f"{counts} rows are in it, and {written} were written")
        return counts

    def _settings(self, path: Path, rows: int = -1, *, in_parts: bool = False) -> Settings:
        pool, size = self._limits.buffer_pool_bytes, self._limits.max_db_size_bytes
        return Settings(str(path), self.engine, pool, size, rows, in_parts)

    # --- asking ---------------------------------------------------------------------------------

    def ask(
        self, cypher: str, parameters: dict[str, Any], *, limit: int, seconds: float
    ) -> Answer | None:
        """The answer to a question that only reads; None when there is no file.

        Raises CypherRefused, CypherTooMuch, ReplyTooLarge, EngineUnsupported, and GraphFailed when
        the file is damaged or the engine failed.
        """
        check_reads(cypher)
        check_supported(self.engine)
        with self._asking:
            if self._serving != self.seal:
                self._stop()
            process = self._process or self._start()
            if process is None or self._serving is None:
                return None
            serving = self._serving
            try:
                question = {"cypher": cypher, "parameters": parameters, "limit": limit}
                reply = process.ask({"do": "ask", **question, "seconds": seconds}, seconds + GRACE)
            except TimeoutError:
                self._stop()
                raise CypherTooMuch(what="time", limit=f"{seconds:g} seconds") from None
            except GraphFailed:
                self._stop()
                raise
            self._asked += 1
            if self._asked >= MOST_ASKED or self._serving != self.seal:
                self._stop()
            self._used = time.monotonic()
            return Answer(reply["columns"], reply["rows"], reply["more"], serving)

    def start(self) -> bool:
        """Start the engine's process unless it runs; False when there is no file.

        Raises GraphFailed when the file is damaged, EngineUnsupported.
        """
        check_supported(self.engine)
        with self._asking:
            return (self._process or self._start()) is not None

    def _start(self) -> EngineProcess | None:
        with self._swapping:
            if self.seal is None:
                return None
            self._files.verify()
            self._process = EngineProcess(self._settings(self._files.main))
            self._serving = self.seal
        self._asked, self._used = 0, time.monotonic()
        self._close_later(IDLE_SECONDS)
        return self._process

    def _close_later(self, seconds: float) -> None:
        def close_if_idle() -> None:
            with self._asking:
                if self._process is None:
                    return
                left = self._used + IDLE_SECONDS - time.monotonic()
                if left > 0:
                    self._close_later(left)
                else:
                    self._stop()

        self._closer = threading.Timer(seconds, close_if_idle)
        self._closer.daemon = True
        self._closer.start()

    def _stop(self) -> None:
        """End the process; the lock of those who ask is held."""
        if self._closer is not None:
            self._closer.cancel()
            self._closer = None
        if self._process is not None:
            self._process.close()
            self._process = None


class _Part:
    """Rows of one table on their way to the engine."""

    def __init__(self, process: EngineProcess, file: Any, in_parts: bool) -> None:
        self._process, self._file, self._in_parts = process, file, in_parts
        self._table, self._rows = "", 0

    def add(self, table: str, lines: Sequence[str]) -> None:
        """Take lines; those of another table, or one too many, send what was there before."""
        most = EDGES if table in EDGE_TABLES else math.inf
        if self._in_parts:
            most = SMALL_PART
        if table != self._table or self._rows + len(lines) > most:
            self.flush()
        self._table = table
        self._file.writelines(lines)
        self._rows += len(lines)

    def flush(self) -> None:
        """Let the engine read what is there."""
        if not self._rows:
            return
        self._file.flush()
        self._process.ask({"do": "copy", "table": self._table})
        if self._in_parts:
            self._process.ask({"do": "checkpoint"})
        self._file.seek(0)
        self._file.truncate()
        self._rows = 0
