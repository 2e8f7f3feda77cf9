"""The verbs that write everything into a client's file as JSON Lines, and take such a file in.

The first line says what it is: {"kind": "export", "format": 2, "nimad", "made", "memories"}.  Then
come sources and their notes, memories as `export` has them (each with its `id` there, no `kind`),
and what names memories by these ids: {"kind", "row"} of `nimad.store.exchange`.

A file may come twice, or again after a crash: a memory is known again by what it says (all of its
fields but its accesses), or by its key in its source; what is here stays as it is.  A batch is one
transaction, its lines are counted, and a bad one is named.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import threading
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from itertools import groupby
from typing import Any, BinaryIO

import numpy as np

from nimad import __version__
from nimad.core.store import MemoryStore
from nimad.core.validate import check_memory
from nimad.disk.failures import disk_errors
from nimad.disk.handed_over import check_handed_over
from nimad.errors import BadRecord, Busy, NimadError, UsageError
from nimad.limits import MAX_IMPORT, MAX_RECORD_FILE
from nimad.model import DEFAULT_NAMESPACE, EVERYTHING, Memory, now_ms
from nimad.serve import protocol, wire
from nimad.serve.verbs import Call, Verb
from nimad.store import exchange, forgotten, goals, identity, keyed, sources
from nimad.store.bounded import ids_of_page
from nimad.store.exchange import Taker
from nimad.store.goals import Goal
from nimad.store.identity import Identity
from nimad.store.records import Records
from nimad.store.transaction import Transaction

FORMAT = 2
"""Version of the format; 1 is memories alone, without a first line."""
PAGE_ROWS, PAGE_BYTES = 200, 2 << 20
"""Number of memories that are read at a time, and their size, unless one is larger [bytes]."""
LINE_BYTES = MAX_RECORD_FILE
"""Length of the longest line that is taken in [bytes]."""
BLOB_PIECE = 3 << 18
"""Size of the pieces in which blobs are written, a multiple of 3 [bytes]."""
CHANGING = ("id", "access_count", "last_accessed", "goal")
"""Fields of a memory's line that do not tell whether it is the same memory."""
FIRST_KINDS = ("source", "note", "board")
"""Kinds that stand before the memories."""


_OF_SOURCE = "SELECT id FROM memories WHERE source = ? AND source_key = ?"


class ExchangeVerbs:
    """Answers from one store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._taking = threading.Lock()

    def all(self) -> list[Verb]:
        """The verbs of this file."""
        return [
            Verb("export.all", "read", self.export, {}, descriptor="an empty file"),
            Verb("import.all", "control", self.import_, {}, descriptor="an export"),
        ]

    def export(self, call: Call) -> dict[str, Any]:
        """Write everything as it is at one moment; how many lines of each kind."""
        store, counts = self._store, Counter[str]()
        check_handed_over(call.fds[0], "export.all", store.state, writable=True)
        store.clock.catch_up()
        with (
            disk_errors("the export could not be written"),
            open(os.dup(call.fds[0]), "wb", buffering=1 << 20) as file,  # noqa: PTH123
            store.records.moment(),
        ):
            number = store.records.counts()["memories"]
            about = {"nimad": __version__, "made": now_ms(), "memories": number}
            if known := store.records.meta(identity.META):
                about["stores"] = json.loads(known)
            file.write(_line({"kind": "export", "format": FORMAT, **about}))
            for kind in FIRST_KINDS:
                counts += _write_rows(file, store.records, kind)
            for page in _pages(store.records):
                for memory, goal in zip(page, goals.each_of(store.records, page), strict=True):
                    told = {} if goal is None else {"goal": wire.goal_json(goal)}
                    _write_memory(file, memory, told)
                counts["memory"] += len(page)
            for kind in exchange.SELECT:
                if kind not in FIRST_KINDS:
                    counts += _write_rows(file, store.records, kind)
        return {"exported": dict(counts)}

    def import_(self, call: Call) -> dict[str, Any]:
        """Take a whole export in; how many rows of each kind were new, and how many known."""
        check_handed_over(call.fds[0], "import.all", self._store.state)
        if not self._taking.acquire(blocking=False):
            raise Busy(detail="another export is being taken in")
        try:
            with open(os.dup(call.fds[0]), "rb", buffering=1 << 20) as file:  # noqa: PTH123
                file.seek(0)
                work = _Import(self._store)
                work.run(file)
        except OSError as error:
            raise UsageError(detail=f"the descriptor cannot be read: {error.strerror}") from None
        finally:
            self._taking.release()
        return {"imported": dict(work.new), "known": dict(work.known)}


def _line(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return f"{text}\n".encode()


def _write_memory(file: BinaryIO, memory: Memory, told: dict[str, Any]) -> None:
    """A memory's line; its blobs come last and in pieces, for they may be large."""
    blobs, memory.blobs = memory.blobs, {}
    line = _line({**wire.exported(memory), **told})
    begin = b',"blobs":{'
    file.write(line[:-2] if blobs else line)
    for name, data in blobs.items():
        file.write(begin + json.dumps(name, ensure_ascii=False).encode() + b':"')
        for first in range(0, len(data), BLOB_PIECE):
            file.write(base64.b64encode(data[first : first + BLOB_PIECE]))
        begin = b'",'
    if blobs:
        file.write(b'"}}\n')


def _write_rows(file: BinaryIO, records: Records, kind: str) -> Counter[str]:
    number = 0
    for row in exchange.rows_of(records, kind):
        file.write(_line({"kind": kind, "row": row}))
        number += 1
    return Counter({kind: number} if number else {})


def _pages(records: Records) -> Iterator[list[Memory]]:
    """All memories by id, with their blobs, some at a time."""
    after, more = 0, True
    while more:
        ids, more = ids_of_page(records, after, PAGE_ROWS, EVERYTHING, PAGE_BYTES)
        if not ids and more:  # one that is larger
            ids, _ = ids_of_page(records, after, 1, EVERYTHING, 1 << 40)
        found = records.get(ids)
        yield records.with_blobs([found[number] for number in ids if number in found])
        after = ids[-1] if ids else after


def _mark(line: dict[str, Any]) -> int:
    """What a memory says, as 64 bits."""
    told = {
        name: value for name, value in line.items() if name not in CHANGING and value is not None
    }
    if isinstance(blobs := told.pop("blobs", None), dict):
        told |= {f"blob {name}": _digest(data) for name, data in blobs.items()}
    text = json.dumps(told, sort_keys=True, ensure_ascii=False)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def _digest(blob: Any) -> str:
    """What tells a blob apart, as it is stored, or as a line has it."""
    if isinstance(blob, str):
        with contextlib.suppress(ValueError):
            blob = base64.b64decode(blob, validate=True)
    return blake2b(blob if isinstance(blob, bytes) else repr(blob).encode()).hexdigest()


class _Stored:
    """The memories that were here before, by what they say; 16 bytes each."""

    def __init__(self, records: Records) -> None:
        marks, ids = array("Q"), array("q")
        for page in _pages(records):
            for memory in page:
                blobs, memory.blobs = memory.blobs, {}
                marks.append(_mark({**wire.exported(memory), "blobs": blobs}))
                ids.append(memory.id)
        order = np.argsort(np.array(marks, np.uint64), kind="stable")
        self._marks, self._ids = np.array(marks, np.uint64)[order], np.array(ids, np.int64)[order]
        self._taken = np.zeros(len(order), np.bool_)

    def take(self, mark: int) -> int | None:
        """The id of a memory that says this and that no other line stands for."""
        at = int(np.searchsorted(self._marks, np.uint64(mark)))
        while at < len(self._marks) and self._marks[at] == mark:
            if not self._taken[at]:
                self._taken[at] = True
                return int(self._ids[at])
            at += 1
        return None


class _Import:
    """One file on its way in: rows that are new, and rows that were here, by kind."""

    def __init__(self, store: MemoryStore) -> None:
        self._store, self._records = store, store.records
        self.new, self.known = Counter[str](), Counter[str]()
        self._taker = Taker(store.records)
        self._there, self._here = array("q"), array("q")  # ids of memories, in the order of lines
        self._rows: list[dict[str, Any]] = []
        self._kind, self._first, self._bytes = "", 0, 0

    def run(self, file: BinaryIO) -> None:
        """Take all lines in.  Raises BadRecord; the batches before that line are stored."""
        number = 1
        header = self._read(file, number)
        if header is None or header.get("kind") != "export":
            raise BadRecord(where="line 1", detail="it is not the first line of a whole export")
        if header.get("format") != FORMAT:
            found = protocol.shown(header.get("format"))
            raise BadRecord(where="line 1", detail=f"its format is {found}, not {FORMAT}")
        self._stored = _Stored(self._records)
        self._from = None  # who the store was that it is of, where it told
        with contextlib.suppress(KeyError, TypeError, ValueError):
            parts = tuple((str(store), int(first)) for store, first in header["stores"])
            self._from = Identity(parts) if parts else None
        while self._add(file, number := number + 1):
            pass
        self._flush()

    def _add(self, file: BinaryIO, number: int) -> bool:
        """Take up the next line; False at the end.  What waits is stored once it is much."""
        fields = self._read(file, number)
        if fields is None:
            return False
        kind = fields.get("kind", "memory") if "text" not in fields else "memory"
        if not self._rows or kind != self._kind or len(self._rows) == MAX_IMPORT:
            self._flush()
            self._kind, self._first = kind, number
        self._rows.append(fields)
        if self._bytes > PAGE_BYTES:
            self._flush()
        return True

    def _read(self, file: BinaryIO, number: int) -> dict[str, Any] | None:
        line = file.readline(LINE_BYTES + 1)
        if not line:
            return None
        try:
            if len(line) > LINE_BYTES:
                raise UsageError(detail=f"the line is longer than {LINE_BYTES >> 20} MiB")
            self._bytes += len(line)
            return protocol.decode_record(line)
        except NimadError as error:
            self._flush()
            raise BadRecord(where=f"line {number}", detail=error.message) from None

    def _flush(self) -> None:
        """Take the lines that wait in, in one transaction."""
        rows, self._rows, self._bytes = self._rows, [], 0
        if not rows:
            return
        if self._kind == "memory":
            self._take_memories(rows)
            return
        if self._kind not in exchange.SELECT:
            detail = f"there is no kind {protocol.shown(self._kind)}"
            raise BadRecord(where=f"line {self._first}", detail=detail)
        try:
            made = [self._translated(row["row"]) for row in rows]
            new = self._taker.take(self._kind, made)
        except (LookupError, TypeError, ValueError) as error:
            where = f"lines {self._first} to {self._first + len(rows) - 1}"
            detail = f"not what an export has of a {self._kind} ({error})"
            raise BadRecord(where=where, detail=detail) from None
        self.new[self._kind] += new
        self.known[self._kind] += len(rows) - new

    def _translated(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row whose ids of memories are those of this store: None for one that is not here."""
        made = dict(row)
        for name in exchange.MEMORIES_OF.get(self._kind, ()):
            if (there := row[name]) is not None:
                at = bisect_left(self._there, there)
                if at == len(self._there) or self._there[at] != there:
                    raise ValueError(f"memory {there} does not stand before it")
                made[name] = self._here[at] or None
        return made

    def _take_memories(self, lines: list[dict[str, Any]]) -> None:
        """Take memories in; those that are here keep their place."""
        here: list[int | None] = []
        fresh: list[tuple[int, Memory, Goal | None]] = []
        for place, fields in enumerate(lines):
            try:
                known, memory, goal = self._read_memory(fields)
            except UsageError as error:
                where = f"line {self._first + place}"
                raise BadRecord(where=where, detail=error.message) from None
            here.append(known)
            if memory is not None:
                fresh.append((place, memory, goal))

        def add(tx: Transaction) -> list[Memory]:
            wanted = []
            for place, memory, goal in fresh:
                there = self._there[len(self._here) + place]
                present, known = self._present(tx, memory, there)
                if present:
                    here[place] = known
                else:
                    wanted.append((memory, goal))
            for source, run in groupby(wanted, lambda each: self._row_id(each[0])):
                added = [memory for memory, _ in run]
                if source is not None and source < 0:
                    tx.add_memories(added, board=source)
                    continue
                tx.add_memories(added, source)
                if source is not None:
                    sources.advance(tx, source, **dict.fromkeys(exchange.COUNTED, len(added)))
            goals.add_each(tx, [m for m, _ in wanted], [g for _, g in wanted])
            return [memory for memory, _ in wanted]

        added = self._store.writer.store([m for _, m, _ in fresh], add) if fresh else []
        for place, memory, _ in fresh:
            here[place] = here[place] or memory.id or None
        self._here.extend(number or 0 for number in here)
        self.new["memory"] += len(added)
        self.known["memory"] += len(lines) - len(added)

    def _read_memory(self, fields: dict[str, Any]) -> tuple[int | None, Memory | None, Goal | None]:
        """The id of what says the same here; or the memory of a line, and the goal that it is."""
        there = fields.get("id")
        if not isinstance(there, int) or there <= (self._there[-1] if self._there else 0):
            raise UsageError(detail="a memory: its id must be above that of the line before")
        source = fields.get("source")
        if source is not None:
            if not isinstance(source, dict) or source.keys() != {"name", "id"}:
                raise UsageError(detail='a memory: source must be {"name", "id"}')
            if source["name"] not in self._taker.sources:
                raise UsageError(detail=f"a memory: no source {source['name']!r} stands before it")
            source["name"] = self._taker.sources[source["name"]][1]
            if self._taker.is_stranger(source["name"], source["id"]):
                source = fields["source"] = None
        known = self._stored.take(_mark(fields))
        self._there.append(there)
        if known is not None:
            return known, None, None
        goal = wire.imported_goal(fields)
        fields.pop("source", None)
        memory = wire.imported(fields, DEFAULT_NAMESPACE)
        if source is not None:
            memory.source = (source["name"], source["id"])
        check_memory(memory)
        return None, memory, goal

    def _row_id(self, memory: Memory) -> int | None:
        """The row of the source that a memory is of."""
        return None if memory.source is None else self._taker.rows[memory.source[0]]

    def _present(self, tx: Transaction, memory: Memory, there: int) -> tuple[bool, int | None]:
        """Whether a row of a source, a document, or what a fleet brought is here already, and its
        id; none where it was forgotten on request, and stays so."""
        if memory.source is not None:
            key = (self._row_id(memory), memory.source[1])
            if key[0] == 0:  # it came from here
                own = tx.rows(
                    "SELECT id FROM memories WHERE id = ? AND ifnull(source, 1) > 0", key[1:]
                )
                return True, own[0][0] if own else None
            found = tx.rows(_OF_SOURCE, key)
            gone = (
                "SELECT 1 FROM quarantine WHERE kind = 'forgotten' AND source = ? AND key IN (?, ?)"
            )
            noted = tx.rows(gone, (*key, forgotten.digest_of(str(key[1]))))
            return bool(found or noted), found[0][0] if found else None
        if memory.key is not None:
            name = (memory.namespace, memory.key)
            known = keyed.documents(tx, [name]).get(name)
            return known is not None, known[0] if known else None
        if self._from is not None:
            board = tx.rows("SELECT id FROM boards WHERE store = ?", (self._from.store_of(there),))
            if board and (found := tx.rows(_OF_SOURCE, (board[0][0], there))):
                return True, found[0][0]
        return False, None
