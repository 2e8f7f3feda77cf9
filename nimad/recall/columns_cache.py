"""The columns in a file, so that a start need not read every memory: a projection, never the truth.

It is a container (see `nimad.disk.container`) of format "columns", version 8, little-endian.  Each
column has the narrowest type that holds its values, which the length of its region tells: bytes for
each of n rows.

    region    type              content
    --------  ----------------  -------------------------------------------------------------
    state     int64[6]          number of the last change in it, rows, dead rows, highest code of a
                                subject + 1, id of the first row, base of the times
    sessions  int32[s, 3]       namespace, conversation, session (ids of names; -1: none) by code
    subjects  int64[k, 2]       for each spelling in `who`: the id of a memory that has it, its code
    order     uint32[n]         the rows in the order of their fingerprints
    (field)   see `KIND`        for each kind its namespace, layer and so on, one region each
    kind      uint8, 16, 32[n]  the kind of each row
    T.of      int32, float32    of T, which is session, who or importance: the values; absent where
                                T has the values themselves
    T         uint8, uint16[n]  their places there, or int32, float32[n]
    id        uint32, int64[n]  absent where each id follows the one before it
    time_high uint8, uint16[n]  epoch milliseconds, less the base, without the lower 32 bits; absent
                                where `time` has them whole
    time      uint32, int64[n]  the lower 32 bits; 0 in both is no date
    before    int32[n]          the row of the neighbour in the session, or -1; `after` alike
    words     uint8, uint16[n]  length of the text
    print     int64[n]          fingerprint of the text, 0 of what is forgotten

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
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.disk.container import Container, write_container
from nimad.disk.durable import crash_point, fsync_dir
from nimad.disk.mapped import keep_replaced, remove_waiting
from nimad.disk.private_map import map_rows
from nimad.errors import FormatCorrupt, FormatTooNew, FormatTooOld
from nimad.recall.columns import KIND, TABLES, Columns, Packed
from nimad.recall.narrow import Coded, Ids
from nimad.recall.subjects import LONG, Subjects, held
from nimad.store.bounded import size_of
from nimad.store.records import Records

log = logging.getLogger(__name__)

FORMAT, VERSION = "columns", 8
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


WIDTHS: dict[str, tuple[Any, ...]] = {
    "order": (np.uint32,),
    "kind": (np.uint8, np.uint16, np.uint32),
    "session": (np.uint8, np.uint16, np.int32),
    "who": (np.uint8, np.uint16, np.int32),
    "importance": (np.uint8, np.uint16, np.float32),
    "id": (np.uint32, np.int64),
    "time_high": (np.uint8, np.uint16),
    "time": (np.uint32, np.int64),
    "before": (np.int32,),
    "after": (np.int32,),
    "words": (np.uint8, np.uint16),
    "print": (np.int64,),
}
"""The types that a column may have."""
_MISSING = {"id", "time_high"}
"""Columns that a file need not have."""


@dataclass(frozen=True)
class Saved:
    """What is in the file: see its regions."""

    seen: int
    dead: int
    subjects: Subjects
    packed: Packed

    @property
    def count(self) -> int:
        """Of the rows."""
        return self.packed.count

    @classmethod
    def of(cls, columns: Columns) -> Saved:
        """A copy of everything but the lengths."""
        subjects = Subjects(columns.subjects.next_code, columns.subjects.spelled)
        return cls(columns.seen, columns.dead, subjects, columns.packed())

    def restore(self, columns: Columns) -> None:
        """Fill columns with it, in place of reading the memories."""
        columns.clear()
        columns.adopt(self.packed)
        columns.subjects = self.subjects
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
        self._written = "", -1
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
            self._written = digest, version
            columns.changed = max(0, columns.changed - changed)
            self.position = saved.seen
        return True

    def map_saved(self) -> None:
        """Let the columns lie in the file that was just written; where they changed since, it is
        due again, for the one before is still mapped.  Nothing may read them meanwhile."""
        digest, version = self._written
        columns = self._columns
        if self._path is None:
            return
        if version != columns.version:
            columns.changed += columns.count
            return
        try:
            container = Container.open(self._path, FORMAT, VERSION, VERSION)
            if container.digest == digest:
                columns.adopt(map_columns(container))
                remove_waiting(self._path.parent)
        except (FormatCorrupt, OSError) as error:  # they stay in memory
            log.warning("%s cannot be mapped: %s", self._path.name, error)

    def discard(self) -> None:
        """Delete the file, durably: something that it tells of is to be purged."""
        if self._path is None:
            return
        with self._lock:
            keep_replaced(self._path, gone=True)
            self._path.unlink(missing_ok=True)
            fsync_dir(self._path.parent)
            self._columns.changed += self._columns.count
            self.position = None


def save(path: Path, records: Records, saved: Saved) -> str:
    """Write the file and make it count; its id.  Raises DiskFull."""
    known: dict[str, int] = {}

    def note(number: int, name: str) -> None:
        known.setdefault(held(name), number)

    _each_spelling(records, note)
    codes = saved.subjects.spelled.items()
    spelled = [(known[name], code) for name, code in codes if name in known]
    packed, next_code = saved.packed, saved.subjects.next_code
    state = [saved.seen, saved.count, saved.dead, next_code, packed.first, packed.base]
    arrays = {
        "state": np.array(state, "<i8"),
        "sessions": packed.sessions,
        "subjects": np.array(spelled, "<i8").reshape(-1, 2),
        "order": packed.order,
        **{field: packed.tables["kind"][field] for field in KIND.names or ()},
        **{f"{n}.of": table for n, table in packed.tables.items() if n != "kind"},
        **packed.arrays,
    }
    regions = [(name, [array.tobytes()]) for name, array in arrays.items()]
    keep_replaced(path)
    summary = write_container(path, FORMAT, VERSION, regions)
    crash_point("columns.written")
    with records.write() as tx:
        tx.set_meta(DIGEST, summary.digest)
    return summary.digest


def _each_spelling(
    records: Records, enter: Callable[[int, str], None], among: list[int] | None = None
) -> None:
    """`enter` the names in `who` with a memory that has it, of all memories or of some.  All long
    ones at once might not fit in memory, so they come from each memory by itself."""
    given = [] if among is None else [json.dumps(among)]
    of = "" if among is None else " AND id IN (SELECT value FROM json_each(?))"
    size = size_of("who")
    sql = f"CAST(who AS TEXT) FROM memories WHERE who != ''{of} AND {size}"

    records.chosen(f"SELECT min(id), {sql} <= {LONG} GROUP BY who", given, enter)
    records.chosen(f"SELECT id, {sql} > {LONG} ORDER BY id", given, enter)


def map_columns(container: Container) -> Packed:
    """The columns in a file, with room for more rows.  Raises FormatCorrupt where they have other
    lengths, OSError."""
    _, count, _, _, first, base = _array(container, "state", np.int64).tolist()
    room = count + count // ROOM_SHARE + ROOM_ROWS
    arrays = {}
    for name, kinds in WIDTHS.items():
        if name in _MISSING and name not in container.regions:
            continue
        fitting = {count * np.dtype(kind).itemsize: kind for kind in kinds}
        kind = fitting.get(len(container.region(name)))
        if kind is None:
            detail = "its columns have different lengths"
            raise FormatCorrupt(path=container.path, detail=detail)
        arrays[name] = map_rows(container.path, container.regions[name].offset, kind, count, room)
    order = arrays.pop("order")[:count]
    fields = {field: _array(container, field, KIND[field]) for field in KIND.names or ()}
    kinds_table = np.zeros(len(fields["alive"]), KIND)
    for field, values in fields.items():
        kinds_table[field] = values
    tables = {"kind": kinds_table}
    for name, (kind, _) in TABLES.items():
        if f"{name}.of" in container.regions:
            tables[name] = _array(container, f"{name}.of", kind)
    sessions = _array(container, "sessions", np.int32).reshape(-1, 3)
    return Packed(count, first, base, arrays, tables, sessions, order)


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
        seen, count, dead, next_code, *_ = _array(container, "state", np.int64).tolist()
        if seen > records.head():
            return None
        packed = map_columns(container)
        spelled = _array(container, "subjects", np.int64).reshape(-1, 2)
        # where the memory that stands for a spelling is gone, others of the same code are asked
        code_of, subjects, found = dict(spelled.tolist()), Subjects(next_code), set()

        def enter(number: int, name: str) -> None:
            found.add(number)
            subjects.enter(name, code_of[number])

        _each_spelling(records, enter, list(code_of))
        if lost := code_of.keys() - found:
            who = Coded(packed.arrays["who"][:count], packed.tables.get("who"))[:]
            ids = Ids(packed.arrays.get("id"), packed.first, count)[:count]
            others = ids[np.isin(who, [code_of[number] for number in lost])]
            code_of |= zip(ids.tolist(), who.tolist(), strict=True)
            _each_spelling(records, enter, others.tolist())
        return Saved(seen, dead, subjects, packed)
    except FormatTooOld:  # an upgrade
        log.info("%s is of an earlier nimad; the memories are read instead", path.name)
        return None
    except (FormatCorrupt, FormatTooNew) as error:
        log.warning("%s The memories are read instead.", error.message)
        return None


def _array(container: Container, region: str, kind: Any) -> NDArray[Any]:
    dtype = np.dtype(kind).newbyteorder("<")
    return np.frombuffer(container.region(region), dtype).astype(kind)
