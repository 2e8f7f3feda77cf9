"""What ranking needs of every memory, as columns: no SQL for a filter or a neighbour.

A row is a memory; rows are in the order of ids.  `nimad.recall.columns_follower` fills them from
the records, `nimad.recall.session_neighbours` tells which rows are neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.disk import private_map
from nimad.index.kernels.contract import Parted
from nimad.index.kernels.loader import load_kernels
from nimad.index.rowsets import distinct
from nimad.model import FIELDS
from nimad.recall.late_order import LateOrder
from nimad.recall.narrow import MOST_CODED, Coded, Ids, Table, Times, any_of, code_type
from nimad.recall.subjects import Subjects
from nimad.text import common_bytes

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]
Session = tuple[int, int | None, int | None]
"""Namespace, conversation and session: ids of names."""

NONE = -1
"""As a row: no neighbour.  As a code: no value."""
CODES = {
    name: {choice: code for code, choice in enumerate(field.choices, 1)}
    for name, field in FIELDS.items()
    if field.choices and name != "layer"
}
"""Fields of few values: the code of each value; 0 where there is none."""
_KINDS: dict[str, tuple[type, float]] = {
    "namespace": (np.int32, NONE),
    "layer": (np.int32, NONE),
    "asks": (np.bool_, False),
    "instructs": (np.bool_, False),
    **dict.fromkeys(CODES, (np.uint8, 0)),
    "alive": (np.bool_, False),
}
"""What a kind tells, and what it is of a row that does not say."""
KIND = np.dtype([(name, kind) for name, (kind, _) in _KINDS.items()])
"""A kind: of these few are different."""
TABLES: dict[str, tuple[Any, Any]] = {
    "kind": (KIND, tuple(empty for _, empty in _KINDS.values())),
    "session": (np.int32, NONE),
    "who": (np.int32, NONE),
    "importance": (np.float32, 0.5),
}
"""Columns of which a table has the values, their types, and what stands where there is none."""
_PLAIN: dict[str, tuple[type, float]] = {
    "time": (np.int64, 0),
    "before": (np.int32, NONE),
    "after": (np.int32, NONE),
    "words": (np.uint16, 0),
    "length": (np.float32, 0),
    "print": (np.int64, 0),
}
"""The others, in memory; ids without gaps need no array."""
MOST_WORDS = (1 << 16) - 1
"""Length of the longest text that BM25 tells from longer ones [words]."""
_SCANNED = 20_000
"""Comparisons of fingerprints that take as long as a few are looked up in their order."""


@dataclass(frozen=True)
class Packed:
    """The columns as a file has them, each as narrow as its values.

    Attributes:
        count: of the rows.  first: the id of the first row, where no id is left out.
        base: see `Times`.
        arrays: those of all rows by the name of their region, mostly that of the column: `id` only
            with gaps; `time`, and `time_high` where that is narrower.
        tables: of the columns in TABLES those that are kept as codes.
        sessions: as `session_keys`.  order: uint32[count], the rows by their fingerprints.
    """

    count: int
    first: int
    base: int
    arrays: dict[str, NDArray[Any]]
    tables: dict[str, NDArray[Any]]
    sessions: NDArray[np.int32]
    order: NDArray[np.uint32]


class Columns:
    """The columns; each attribute of the first list is one over the rows (see `narrow`).

    Not for several threads: a lock of `nimad.recall.ranking` keeps readers and changes apart.

    Attributes:
        id, time: of int64; a time of 0 is no date.  namespace, layer: of int32, ids of names.
        session, who: of int32, codes given here; -1 where there is none.  A session below that
            stands for memories of a namespace without sessions (`columns_follower.loose_session`);
            a `who` below it for a speaker in the text (`speaker_prefix`).
        before, after: int32[n], the row of the neighbour in the session, or -1.
        importance: of float32.  words: uint8 or uint16[n], how many the text has, at most
            MOST_WORDS.
        length: float32[n], of the mixed vector (`semantic`); 0 while unknown, or when neighbours
            changed.
        print: int64[n], the fingerprint of the text (see `fingerprint`).
        origin (each field of CODES): of uint8, the code of its value.
        asks: of bool, whether the text ends as a question.  instructs: of bool, whether it is a
            standing instruction (`layers.is_instruction`).  alive: of bool, whether it exists.
        kind: of KIND, these three and origin, namespace and layer together.  kinds: those that are
            different; each of these columns is a field of them.

        count, dead: rows, and those that are not alive.
        subjects: the names in `who` and their codes.
        seen: the last change of the records that is in the columns; -1 before the first.
        version: counts the changes of the columns.
        edits: counts those of rows that were there already; new rows alone change only `version`.
        layout: counts the times that memories got other rows.
        changed: rows that came or went since the columns were in a file.
        word_parts, before_parts, after_parts: these columns as kernels take them.
        mapped: rows that lie in the file (nimad/disk/private_map.py); their pages can be given back
            as long as nothing is written to them, which `touch` tells.
    """

    id: Ids
    time: Times
    session: Coded
    who: Coded
    before: NDArray[np.int32]
    after: NDArray[np.int32]
    namespace: Coded
    layer: Coded
    importance: Coded
    words: NDArray[Any]
    length: Floats
    asks: Coded
    instructs: Coded
    print: NDArray[np.int64]
    alive: Coded
    kind: Coded
    kinds: NDArray[Any]

    def __init__(self) -> None:
        self.version = self.edits = self.layout = 0
        self.changed = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.count = 0
        self.dead = 0
        self.seen = -1
        self.note_edit()
        self.layout += 1
        self.subjects = Subjects()
        self._sessions: dict[Session, int] | NDArray[np.int32] = {}
        self._ends: dict[int, int] | None = {}
        self.mapped = 0
        self._order: NDArray[np.uint32] | None = None
        self._late = LateOrder()
        self._written: set[str] = set()
        self._first = self._base = 0
        self._every_id: Rows | None = None
        self._tables: dict[str, Table | None] = {
            name: Table(np.zeros(0, kind)) for name, (kind, _) in TABLES.items()
        }
        self._store: dict[str, NDArray[Any]] = {
            **{name: np.zeros(0, kind) for name, (kind, _) in _PLAIN.items()},
            **{name: np.zeros(0, np.uint8) for name in TABLES},
        }
        self._show_rows()

    def append(self, fields: Mapping[str, Sequence[Any] | NDArray[Any]]) -> None:
        """Add rows: the values of some columns; the others are empty."""
        new = len(fields["id"])
        start, end = self.count, self.count + new
        values = {name: fields.get(name, empty) for name, (_, empty) in _PLAIN.items()}
        values |= self._place_ids(np.array(fields["id"], np.int64))
        values |= self._place_times(np.array(values["time"], np.int64))
        for name, (kind, empty) in TABLES.items():
            given = np.full(new, np.array(empty, kind), kind)
            if name in fields:
                given[:] = fields[name]
            for part in given.dtype.names or ():
                given[part] = fields.get(part, _KINDS[part][1])
            values[name] = self._codes_of(name, given)
        if self.words.dtype == np.uint8 and np.max(values["words"], initial=0) > 255:
            self._widen("words", self.words, np.uint16)
        room = len(self._store["print"])
        if end > room:
            self._copy(max(end, room + room // 4, 1024))
        for name, array in self._store.items():
            array[start:end] = values[name]
        self.count = end
        self._show_rows()

    def _copy(self, room: int) -> None:
        """Keep the columns in memory, with room for so many rows."""
        for name, array in self._store.items():
            self._store[name] = np.zeros(room, array.dtype)
            self._store[name][: self.count] = array[: self.count]
        self.mapped = 0

    def _place_ids(self, ids: Rows) -> dict[str, Rows]:
        """What the array of ids is given for new ones; nothing as long as none is left out."""
        if not self.count and "id" not in self._store:
            self._first = int(ids[0]) if len(ids) else 0
        if not self.id.has_room(int(ids[-1]) if len(ids) else 0):
            self._widen("id", self.id[:], np.int64)
        if "id" not in self._store and len(ids):
            follow = int(ids[0]) == self._first + self.count
            if not follow or int(ids[-1] - ids[0]) != len(ids) - 1:
                self._widen("id", self.id[:], np.int64)
        return {"id": ids} if "id" in self._store else {}

    def _place_times(self, times: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """What the arrays of times are given for new ones."""
        if self.time.high is not None:
            if halves := self.time.split(times):
                return dict(zip(("time", "time_high"), halves, strict=True))
            self._widen_times()
        return {"time": times}

    def _widen_times(self) -> None:
        """All times as they are."""
        self._widen("time", self.time[:], np.int64)
        self._store.pop("time_high", None)
        self._show_rows()

    def _codes_of(self, name: str, values: NDArray[Any]) -> Sequence[int] | NDArray[Any]:
        """What the array of a coded column is given for some values."""
        table, array = self._tables[name], self._store[name]
        if table is None:
            return values
        codes = table.codes_of(values)
        kind = code_type(len(table.values))
        if kind.itemsize > array.itemsize:
            if len(table.values) > MOST_CODED and name != "kind":  # the values take no more room
                self._widen(name, table.values.take(array[: self.count]), values.dtype)
                self._tables[name] = None
                return values
            self._widen(name, array[: self.count], kind)
        return codes

    def _widen(self, name: str, values: NDArray[Any], kind: Any) -> None:
        """Keep a column in memory, in a type that has room for what comes."""
        self._store[name] = np.zeros(len(self._store["print"]), kind)
        self._store[name][: self.count] = values
        self._written.add(name)

    def set_times(self, rows: Rows, times: NDArray[np.int64]) -> None:
        """Some memories have other times."""
        self._widen_times()
        self._store["time"][rows] = times

    def mark_dead(self, rows: Rows) -> None:
        """The memories of some rows are gone; the rows stay until `compact`."""
        self.ends()  # which are looked for by what is alive
        self.touch(("kind",), rows)
        kinds = self.kind[rows]
        kinds["alive"] = False
        codes = self._codes_of("kind", kinds)
        self._store["kind"][rows] = codes
        self._show_rows()
        self.changed += len(rows)
        self.dead += len(rows)
        self.note_edit()

    def compact(self) -> None:
        """Take the dead rows out; no row has one as its neighbour."""
        kept = np.flatnonzero(self.alive[:])
        place = np.full(self.count + 1, NONE, np.int32)  # the last one for row -1, no neighbour
        place[kept] = np.arange(len(kept))
        ids = self.id[kept]
        self._store = {name: array[kept] for name, array in self._store.items()}
        self._store["id"] = ids
        self.mapped, self._order = 0, None
        self._late.clear()
        for name in ("before", "after"):
            self._store[name] = place[self._store[name]]
        self.count, self.dead = len(kept), 0
        self._show_rows()
        self._ends = None
        self.note_edit()
        self.layout += 1

    def note_edit(self) -> None:
        """Rows that were there already have changed."""
        self.edits += 1
        self.version += 1

    @property
    def sessions(self) -> dict[Session, int]:
        """The code of each session; made when it is first asked for."""
        if not isinstance(self._sessions, dict):
            self._sessions = {
                (space, None if talk == NONE else talk, None if session == NONE else session): code
                for code, (space, talk, session) in enumerate(self._sessions.tolist())
            }
        return self._sessions

    @property
    def session_keys(self) -> NDArray[np.int32]:
        """int32[s, 3]: namespace, conversation and session by code; NONE for none."""
        if isinstance(self._sessions, dict):
            keys = [[NONE if key is None else key for key in known] for known in self._sessions]
            return np.array(keys, np.int32).reshape(-1, 3)
        return self._sessions

    def ends(self, upto: int | None = None) -> dict[int, int]:
        """The last row of each session, by its code; kept from the first call on, which looks at
        the rows below `upto`: those that have their neighbours."""
        if self._ends is None:
            here = slice(upto)
            open_end = (self.session[here] > NONE) & (self.after[here] == NONE)
            last = np.flatnonzero(self.alive[here] & open_end)
            self._ends = dict(zip(self.session[last].tolist(), last.tolist(), strict=True))
        return self._ends

    def forget_ends(self) -> None:
        """The neighbours changed: find the ends of sessions anew."""
        self._ends = None

    def adopt(self, packed: Packed) -> None:
        """Take arrays with room for more rows in place of what there is; a number of rows that is
        the same keeps the lengths."""
        length = self.length if self.count == packed.count else np.zeros(0, np.float32)
        self._store = {**packed.arrays, "length": np.zeros(len(packed.arrays["print"]), np.float32)}
        self._store["length"][: len(length)] = length
        self._tables = {
            name: Table(packed.tables[name]) if name in packed.tables else None for name in TABLES
        }
        self._first, self._base = packed.first, packed.base
        self.count = self.mapped = packed.count
        self._sessions, self._order = packed.sessions, packed.order
        self._late.clear()
        self._ends, self._written = None, set()
        self._show_rows()

    def packed(self) -> Packed:
        """A copy of everything but the lengths; what is forgotten leaves no trace in it."""
        ids, times = self.id.packed(), self.time.packed()
        coded: dict[str, Coded] = {name: getattr(self, name).packed() for name in TABLES}
        prints = self.print.copy()
        prints[~self.alive[:]] = 0
        arrays = {"id": ids.held, "time": times.low, "time_high": times.high, "print": prints}
        arrays |= {name: column.codes for name, column in coded.items()}
        arrays |= {"before": self.before.copy(), "after": self.after.copy()}
        arrays["words"] = self.words.astype(code_type(int(self.words.max(initial=0)) + 1))
        return Packed(
            count=self.count,
            first=ids.first,
            base=times.base,
            arrays={name: array for name, array in arrays.items() if array is not None},
            tables={n: column.table for n, column in coded.items() if column.table is not None},
            sessions=self.session_keys.copy(),
            order=np.argsort(prints, kind="stable").astype(np.uint32),
        )

    def touch(self, names: Iterable[str], rows: Rows | int) -> None:
        """Some columns are written to at some rows: those that are mapped stay in memory."""
        if self.mapped and np.min(rows, initial=self.mapped) < self.mapped:
            self._written.update(names)

    def give_back(self) -> None:
        """Let go of the pages of mapped columns that were only read."""
        for name in self._store.keys() - self._written - {"length"}:
            private_map.give_back(self._store[name][: self.mapped])
        if self._order is not None:
            private_map.give_back(self._order)

    def load(self) -> None:
        """Keep mapped columns in memory: a file that is gone takes its room until no map of it is
        left."""
        if self.mapped:
            self._copy(len(self._store["print"]))
            self._show_rows()
        self._order = None  # what is not mapped must not be given back

    def forget_lengths(self) -> None:
        """The vectors are others now."""
        self._store["length"] = np.zeros_like(self._store["length"])
        self._show_rows()

    def _show_rows(self) -> None:
        rows = {name: array[: self.count] for name, array in self._store.items()}
        for name in ("before", "after", "words", "length", "print"):
            setattr(self, name, rows[name])
        self.id = Ids(rows.get("id"), self._first, self.count)
        self.time = Times(rows["time"], rows.get("time_high"), self._base)
        for name, table in self._tables.items():
            setattr(self, name, Coded(rows[name], None if table is None else table.values))
        assert self.kind.table is not None
        self.kinds = self.kind.table
        for name in _KINDS:
            setattr(self, name, Coded(rows["kind"], self.kinds[name]))
        parts = [Parted(array, array[:0]) for array in (self.words, self.before, self.after)]
        self.word_parts, self.before_parts, self.after_parts = parts
        if self._every_id is not None and len(self._every_id) != self.count:
            self._every_id = None

    @property
    def every_id(self) -> Rows:
        """int64[n]: all ids, the same array until rows come or go; for few rows."""
        if self._every_id is None:
            self._every_id = self.id[:]
        return self._every_id

    @property
    def last_id(self) -> int:
        """The highest id of a row, 0 without any."""
        return int(self.id[-1]) if self.count else 0

    def rows_of(self, ids: Rows) -> Rows:
        """The rows of `ids: int64[m]` (ascending); those that are not here are left out."""
        if not self.count or not len(ids):
            return np.zeros(0, np.int64)
        if self.id.held is None:
            rows: Rows = ids - self._first
            if rows[0] < 0 or rows[-1] >= self.count:
                rows = rows[(rows >= 0) & (rows < self.count)]
            return rows
        rows = np.minimum(self.id.searchsorted(ids), self.count - 1)
        found: Rows = rows[self.id[rows] == ids]
        return found

    def spoken_by(self, subjects: Rows) -> Callable[[Rows], NDArray[np.bool_]]:
        """What tells of rows: int64[m] which are of one of some subjects: bool[m]."""
        spoken, wanted = self.who.codes, self.who.codes_of(subjects)
        return lambda rows: any_of(spoken[rows], wanted)

    def same_as(self, text: str) -> Rows:
        """int64[m]: the rows whose text is this one in the common form."""
        rows = self._with_prints(np.array([fingerprint(text)]))
        kept: Rows = rows[self.alive[rows]]
        return kept

    def _with_prints(self, prints: NDArray[np.int64]) -> Rows:
        """int64[m], ascending: the rows with one of some fingerprints.

        Of many, most are found by their order, those that came last are looked at one by one.
        """
        if self.count * len(prints) < _SCANNED:
            return np.flatnonzero(any_of(self.print, prints))
        found: list[NDArray[Any]] = []
        count = 0
        mapped = [] if self._order is None else [self._order]
        late = self._late.of(self.print, sum(map(len, mapped)))
        for order in (*mapped, late) if len(late) else mapped:
            count += len(order)
            spans = load_kernels().seek(self.print, order, prints).tolist()
            found += [order[first:end] for first, end in spans if first < end]
        if count < self.count:
            found.append(np.flatnonzero(any_of(self.print[count:], prints)) + count)
        if not found:
            return np.zeros(0, np.int64)
        return np.sort(np.concatenate(found).astype(np.int64))

    def said(self, rows: Rows) -> list[tuple[int, int, int]]:
        """What each row says, who, and in which namespace: equal where text and speaker are, in the
        common form.  "I have a sister" of two namespaces is of two people."""
        parts = (self.print, self.who, self.namespace)
        return list(zip(*(part[rows].tolist() for part in parts), strict=True))

    def copies(self, rows: Rows, mask: NDArray[np.bool_]) -> list[Rows]:
        """For each row, the other rows in the mask that say the same."""
        near = self._with_prints(distinct(self.print[rows]))
        near = near[mask[near]]
        if len(near) == len(rows):
            return [rows[:0]] * len(rows)
        groups: dict[tuple[int, int, int], list[int]] = {}
        for row, key in zip(near.tolist(), self.said(near), strict=True):
            groups.setdefault(key, []).append(row)
        return [
            np.array([other for other in groups.get(key, ()) if other != row], np.int64)
            for row, key in zip(rows.tolist(), self.said(rows), strict=True)
        ]


def fingerprint(text: str) -> int:
    """64 bits of the common form of a text, of the text itself where that is empty; about 1 µs for
    a sentence.  Equal ones are the same text, but for one chance in 2**64."""
    return int(fingerprints([text])[0])


def fingerprints(texts: Iterable[str]) -> NDArray[np.int64]:
    """The same of several texts."""
    said = (common_bytes(text) or text.encode("utf-8", "surrogatepass") for text in texts)
    digests = [blake2b(each, digest_size=8).digest() for each in said]
    return np.frombuffer(b"".join(digests), "<i8")
