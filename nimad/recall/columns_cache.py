"""The columns in a file, so that a start need not read every memory: a projection, never the truth.

It is a container (see `nimad.disk.container`) of format "columns", version 7, little-endian:

    region    type           content
    --------  -------------  ----------------------------------------------------------------
    state     int64[4]       number of the last change in it, rows, dead rows, highest code of a
                             subject + 1
    sessions  int64[s, 3]    namespace, conversation, session (ids of names; -1: none) by code
    subjects  int64[k, 2]    for each spelling in `who`: the id of a memory that has it, its code
    order     uint32[n]      the rows in the order of their fingerprints
    (column)  see `columns`  each column but `length`, one region each

No text is in it: names are read from the records again.  Texts are there as fingerprints, which is
why a purge deletes the file.  A file that is behind the change log still counts: what came and went
since is found by the ids (`ColumnsFollower.sync`).

Crash prose of writing: the file is written and renamed; a crash then leaves a file whose digest the
records do not know, so the next start reads the memories and ignores it.  One transaction notes the
digest; after it the file counts.  A file that does not fit (an older copy of the records was put in
place, a bit flipped) is ignored in the same way, and written anew in idle time.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.disk.container import Container, write_container
from nimad.disk.durable import crash_point, fsync_dir
from nimad.disk.private_map import map_rows
from nimad.errors import FormatCorrupt, FormatTooNew, FormatTooOld
from nimad.recall.columns import SAVED, Columns
from nimad.recall.subjects import Subjects
from nimad.store.records import Records

log = logging.getLogger(__name__)

FORMAT, VERSION = "columns", 7
KEEP_ROWS = 1000
"""Rows that must have changed before the file of a small store is written anew."""
KEEP_SHARE = 8
"""For a large store: one row in eight must have changed, so the card wears little."""
KEEP_CHANGES = 50_000
"""Changes that the file may lag behind, however few rows they are of."""
ROOM_SHARE, ROOM_ROWS = 4, 8192
"""Room behind mapped columns: a row for ROOM_SHARE rows, and ROOM_ROWS; only address space."""
DIGEST = "columns"
"""The key in `meta` of the file that counts."""


@dataclass(frozen=True)
class Saved:
    """What is in the file: see its regions; `columns` by name, `subjects` as (name, code)."""

    seen: int
    count: int
    dead: int
    next_code: int
    sessions: NDArray[np.int64]
    subjects: list[tuple[str, int]]
    columns: Mapping[str, NDArray[Any]]
    order: NDArray[np.uint32]

    @classmethod
    def of(cls, columns: Columns) -> Saved:
        """A copy of everything but the lengths; what is forgotten leaves no trace in it."""
        copied = {name: getattr(columns, name).copy() for name in SAVED}
        copied["print"][~columns.alive] = 0
        return cls(
            seen=columns.seen,
            count=columns.count,
            dead=columns.dead,
            next_code=columns.subjects.next_code,
            sessions=columns.session_keys.copy(),
            subjects=columns.subjects.spellings(),
            columns=copied,
            order=np.argsort(copied["print"], kind="stable").astype(np.uint32),
        )

    def restore(self, columns: Columns) -> None:
        """Fill columns with it, in place of reading the memories."""
        columns.clear()
        columns.adopt(self.columns, self.count, self.sessions, self.order)
        columns.subjects = Subjects(self.subjects, self.next_code)
        columns.seen, columns.dead, columns.changed = self.seen, self.dead, 0


class ColumnsCache:
    """The file of one store's columns; without a path nothing is kept.

    A lock makes writing and deleting the file follow each other.  A purge deletes it after its
    transaction, and what is written is taken from the columns under the lock, after they followed
    the records: so no file that is written later tells of what was purged.

    Attributes:
        position: the last change of the records that is in the file; None without such a file.
    """

    def __init__(self, path: Path | None, records: Records, columns: Columns) -> None:
        self._path = path
        self._records = records
        self._columns = columns
        self._lock = threading.Lock()
        self._written: tuple[str, int, NDArray[np.int64]] = ("", -1, np.zeros((0, 3), np.int64))
        self.position: int | None = None

    def restore(self) -> None:
        """Fill the columns from the file, when it counts; nothing may read them meanwhile."""
        found = self._path and load(self._path, self._records)
        if found:
            found.restore(self._columns)
            self.position = found.seen

    def save_when_due(self, reading: AbstractContextManager[object], most_changes: int) -> bool:
        """Write the file when enough has changed since; whether it did.  Raises DiskFull.

        A start reads from the records what is not in it.  Within `reading` the columns have
        followed the records and nothing changes them.
        """
        columns = self._columns
        least = max(KEEP_ROWS, columns.count // KEEP_SHARE)
        behind = 0 if self.position is None else self._records.head() - self.position
        if self._path is None or (columns.changed < least and behind < most_changes):
            return False
        with self._lock:
            with reading:
                changed, version = columns.changed, columns.version
                saved = Saved.of(columns)
            digest = save(self._path, self._records, saved)
            self._written = digest, version, saved.sessions
            columns.changed = max(0, columns.changed - changed)
            self.position = saved.seen
        return True

    def map_saved(self) -> None:
        """Let the columns lie in the file that was just written, unless they changed since; nothing
        may read them meanwhile."""
        digest, version, sessions = self._written
        columns = self._columns
        if self._path is None or version != columns.version:
            return
        try:
            container = Container.open(self._path, FORMAT, VERSION, VERSION)
            if container.digest == digest:
                arrays = map_columns(container, columns.count)
                order = arrays.pop("order")[: columns.count]
                columns.adopt(arrays, columns.count, sessions, order)
        except (FormatCorrupt, OSError) as error:  # they stay in memory
            log.warning("%s cannot be mapped: %s", self._path.name, error)

    def discard(self) -> None:
        """Delete the file, durably: something that it tells of is to be purged."""
        if self._path is None:
            return
        with self._lock:
            self._path.unlink(missing_ok=True)
            fsync_dir(self._path.parent)
            self._columns.changed += self._columns.count
            self.position = None


def save(path: Path, records: Records, saved: Saved) -> str:
    """Write the file and make it count; its id.  Raises DiskFull."""
    known = dict(records.rows("SELECT who, min(id) FROM memories WHERE who != '' GROUP BY who"))
    spelled = [(known[name], code) for name, code in saved.subjects if name in known]
    state = np.array([saved.seen, saved.count, saved.dead, saved.next_code], "<i8")
    regions = [
        ("state", [state.tobytes()]),
        ("sessions", [saved.sessions.astype("<i8").tobytes()]),
        ("subjects", [np.array(spelled, "<i8").reshape(-1, 2).tobytes()]),
        ("order", [saved.order.tobytes()]),
        *((name, [array.tobytes()]) for name, array in saved.columns.items()),
    ]
    summary = write_container(path, FORMAT, VERSION, regions)
    crash_point("columns.written")
    with records.write() as tx:
        tx.set_meta(DIGEST, summary.digest)
    return summary.digest


def map_columns(container: Container, count: int) -> dict[str, NDArray[Any]]:
    """The columns in a file as arrays of `count` rows with room for more, and `order`.  Raises
    FormatCorrupt where they have other lengths, OSError."""
    room = count + count // ROOM_SHARE + ROOM_ROWS
    made = {}
    for name, kind in {**SAVED, "order": np.uint32}.items():
        if len(container.region(name)) != count * np.dtype(kind).itemsize:
            detail = "its columns have different lengths"
            raise FormatCorrupt(path=container.path, detail=detail)
        offset = container.regions[name].offset
        made[name] = map_rows(container.path, offset, kind, count, room)
    return made


def load(path: Path, records: Records) -> Saved | None:
    """What the file holds, its columns mapped; None when it does not count."""
    wanted = records.meta(DIGEST)
    if wanted is None or not path.exists():
        return None
    try:
        container = Container.open(path, FORMAT, VERSION, VERSION)
        if container.digest != wanted:
            log.info("%s does not fit the records; the memories are read instead", path.name)
            return None
        container.verify()
        seen, count, dead, next_code = _array(container, "state", np.int64).tolist()
        if seen > records.head():
            return None
        columns = map_columns(container, count)
        sessions = _array(container, "sessions", np.int64).reshape(-1, 3)
        spelled = _array(container, "subjects", np.int64).reshape(-1, 2)
        # where the memory that stands for a spelling is gone, others of the same code are asked
        code_of = dict(spelled.tolist())
        ids, who = columns["id"][:count], columns["who"][:count]
        sql = "SELECT min(id), who FROM memories WHERE id IN (SELECT value FROM json_each(?))"
        sql += " AND who != '' GROUP BY who"
        found = records.rows(sql, (json.dumps(list(code_of)),))
        lost = code_of.keys() - {number for number, _ in found}
        if lost:
            others = ids[np.isin(who, [code_of[number] for number in lost])]
            code_of |= zip(ids.tolist(), who.tolist(), strict=True)
            found += records.rows(sql, (json.dumps(others.tolist()),))
        subjects = [(name, code_of[number]) for number, name in found]
        order = columns.pop("order")[:count]
        return Saved(seen, count, dead, next_code, sessions, subjects, columns, order)
    except FormatTooOld:  # an upgrade
        log.info("%s is of an earlier nimad; the memories are read instead", path.name)
        return None
    except (FormatCorrupt, FormatTooNew) as error:
        log.warning("%s The memories are read instead.", error.message)
        return None


def _array(container: Container, region: str, kind: type) -> NDArray[Any]:
    dtype = np.dtype(kind).newbyteorder("<")
    return np.frombuffer(container.region(region), dtype).astype(kind)
