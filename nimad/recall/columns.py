"""What ranking needs of every memory, as columns: no SQL for a filter or a neighbour.

A row is a memory; rows are in the order of ids.  `nimad.recall.columns_follower` fills them from
the records, `nimad.recall.session_neighbours` tells which rows are neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.disk import private_map
from nimad.index.kernels.contract import Parted
from nimad.index.kernels.loader import load_kernels
from nimad.index.rowsets import distinct
from nimad.model import FIELDS
from nimad.recall.subjects import Subjects
from nimad.text import common_form

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]
Session = tuple[int, int | None, int | None]
"""Namespace, conversation and session: ids of names."""

NONE = -1
"""As a row: no neighbour.  As a code: no value."""
_TYPES: dict[str, tuple[type, float]] = {
    "id": (np.int64, 0),
    "time": (np.int64, 0),
    "session": (np.int32, NONE),
    "who": (np.int32, NONE),
    "before": (np.int32, NONE),
    "after": (np.int32, NONE),
    "namespace": (np.int32, NONE),
    "layer": (np.int32, NONE),
    "importance": (np.float32, 0.5),
    "words": (np.uint16, 0),
    "length": (np.float32, 0),
    "asks": (np.bool_, False),
    "instructs": (np.bool_, False),
    "print": (np.int64, 0),
    "alive": (np.bool_, False),
}
CODES = {
    name: {choice: code for code, choice in enumerate(field.choices, 1)}
    for name, field in FIELDS.items()
    if field.choices and name not in _TYPES
}
"""Fields of few values, a byte each: the code of each value; 0 where there is none."""
_TYPES |= dict.fromkeys(CODES, (np.uint8, 0))
MOST_WORDS = (1 << 16) - 1
"""Length of the longest text that BM25 tells from longer ones [words]."""
_SCANNED = 20_000
"""Fingerprints that are compared as fast as a few are looked up in their order."""
SAVED = {name: kind for name, (kind, _) in _TYPES.items() if name != "length"}
"""The columns that a file holds; lengths depend on the embedder, too."""


class Columns:
    """The columns; each attribute of the first list is an array over the rows.

    Not for several threads: a lock of `nimad.recall.ranking` keeps readers and changes apart.

    Attributes:
        id, time: int64[n]; a time of 0 is no date.  namespace, layer: int32[n], ids of names.
        session, who: int32[n], codes given here; -1 where there is none.  A session below that
            stands for memories of a namespace without sessions (`columns_follower.loose_session`);
            a `who` below it for a speaker in the text (`speaker_prefix`).
        before, after: int32[n], the row of the neighbour in the session, or -1.
        importance: float32[n].  words: uint16[n], how many the text has, at most MOST_WORDS.
        length: float32[n], of the mixed vector (`semantic`); 0 while unknown, or when neighbours
            changed.
        print: int64[n], the fingerprint of the text (see `fingerprint`).
        origin (each field of CODES): uint8[n], the code of its value.
        asks: bool[n], whether the text ends as a question.  instructs: bool[n], whether it is a
            standing instruction (`layers.is_instruction`).  alive: bool[n], whether it exists.

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

    id: Rows
    time: Rows
    session: NDArray[np.int32]
    who: NDArray[np.int32]
    before: NDArray[np.int32]
    after: NDArray[np.int32]
    namespace: NDArray[np.int32]
    layer: NDArray[np.int32]
    importance: Floats
    words: NDArray[np.uint16]
    length: Floats
    asks: NDArray[np.bool_]
    instructs: NDArray[np.bool_]
    print: NDArray[np.int64]
    alive: NDArray[np.bool_]

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
        self._sessions: dict[Session, int] | NDArray[np.int64] = {}
        self._ends: dict[int, int] | None = {}
        self.mapped = 0
        self._order: NDArray[np.uint32] | None = None
        self._written: set[str] = set()
        self._store: dict[str, NDArray[Any]] = {
            name: np.full(0, empty, kind) for name, (kind, empty) in _TYPES.items()
        }
        self._show_rows()

    def append(self, fields: Mapping[str, Sequence[Any] | NDArray[Any]]) -> None:
        """Add rows: the values of some columns; the others are empty."""
        start, end = self.count, self.count + len(fields["id"])
        room = len(self._store["id"])
        if end > room:
            size = max(end, room + room // 4, 1024)
            self.mapped = 0
            for name, (kind, empty) in _TYPES.items():
                grown: NDArray[Any] = np.full(size, empty, kind)
                grown[:start] = self._store[name][:start]
                self._store[name] = grown
        for name, (_, empty) in _TYPES.items():
            self._store[name][start:end] = fields.get(name, empty)
        self.count = end
        self._show_rows()

    def mark_dead(self, rows: Rows) -> None:
        """The memories of some rows are gone; the rows stay until `compact`."""
        self.ends()  # which are looked for by what is alive
        self.touch(("alive",), rows)
        self.alive[rows] = False
        self.changed += len(rows)
        self.dead += len(rows)
        self.note_edit()

    def compact(self) -> None:
        """Take the dead rows out; no row has one as its neighbour."""
        kept = np.flatnonzero(self.alive)
        place = np.full(self.count + 1, NONE, np.int32)  # the last one for row -1, no neighbour
        place[kept] = np.arange(len(kept))
        self._store = {name: self._store[name][kept] for name in _TYPES}
        self.mapped, self._order = 0, None
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
    def session_keys(self) -> NDArray[np.int64]:
        """int64[s, 3]: namespace, conversation and session by code; NONE for none."""
        if isinstance(self._sessions, dict):
            keys = [[NONE if key is None else key for key in known] for known in self._sessions]
            return np.array(keys, np.int64).reshape(-1, 3)
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

    def adopt(
        self,
        arrays: Mapping[str, NDArray[Any]],
        count: int,
        sessions: NDArray[np.int64],
        order: NDArray[np.uint32],
    ) -> None:
        """Take mapped arrays, with room for more rows, in place of what there is; a number of rows
        that is the same keeps the lengths.

        Args:
            sessions: as `session_keys`.  order: uint32[count], the rows by their fingerprints.
        """
        length = self.length if self.count == count else np.zeros(0, np.float32)
        self._store = {**arrays, "length": np.zeros(len(arrays["id"]), np.float32)}
        self._store["length"][: len(length)] = length
        self.count = self.mapped = count
        self._sessions, self._order = sessions, order
        self._ends, self._written = None, set()
        self._show_rows()

    def touch(self, names: Iterable[str], rows: Rows | int) -> None:
        """Some columns are written to at some rows: those that are mapped stay in memory."""
        if self.mapped and np.min(rows, initial=self.mapped) < self.mapped:
            self._written.update(names)

    def give_back(self) -> None:
        """Let go of the pages of mapped columns that were only read."""
        for name in SAVED.keys() - self._written:
            private_map.give_back(self._store[name][: self.mapped])
        if self._order is not None:
            private_map.give_back(self._order)

    def forget_lengths(self) -> None:
        """The vectors are others now."""
        self._store["length"] = np.zeros_like(self._store["length"])
        self._show_rows()

    def _show_rows(self) -> None:
        for name, array in self._store.items():
            setattr(self, name, array[: self.count])
        parts = [Parted(array, array[:0]) for array in (self.words, self.before, self.after)]
        self.word_parts, self.before_parts, self.after_parts = parts

    @property
    def last_id(self) -> int:
        """The highest id of a row, 0 without any."""
        return int(self.id[-1]) if self.count else 0

    @property
    def without_gaps(self) -> bool:
        """Whether each id follows the one before it: the usual case."""
        return self.count > 0 and int(self.id[-1]) - int(self.id[0]) == self.count - 1

    def rows_of(self, ids: Rows) -> Rows:
        """The rows of `ids: int64[m]` (ascending); those that are not here are left out."""
        if not self.count or not len(ids):
            return np.zeros(0, np.int64)
        if self.without_gaps:
            rows = ids - int(self.id[0])
            if rows[0] < 0 or rows[-1] >= self.count:
                rows = rows[(rows >= 0) & (rows < self.count)]
            return rows
        rows = np.minimum(np.searchsorted(self.id, ids), self.count - 1)
        found: Rows = rows[self.id[rows] == ids]
        return found

    def spoken_by(self, subjects: Rows, rows: Rows) -> NDArray[np.bool_]:
        """bool[m]: which rows are of one of some subjects."""
        return any_of(self.who[rows], subjects)

    def same_as(self, text: str) -> Rows:
        """int64[m]: the rows whose text is this one in the common form."""
        rows = self._with_prints(np.array([fingerprint(text)]))
        return rows[self.alive[rows]] if len(rows) else rows

    def _with_prints(self, prints: NDArray[np.int64]) -> Rows:
        """int64[m], ascending: the rows with one of some fingerprints.

        Mapped rows are found by their order, others are looked at one by one.
        """
        order = self._order
        if order is None or self.count < _SCANNED:
            return np.flatnonzero(any_of(self.print, prints))
        count = len(order)
        spans = load_kernels().seek(self.print, order, prints).tolist()
        found: list[NDArray[Any]] = [order[first:end] for first, end in spans if first < end]
        if count < self.count:
            found.append(np.flatnonzero(any_of(self.print[count:], prints)) + count)
        if not found:
            return np.zeros(0, np.int64)
        return np.sort(np.concatenate(found).astype(np.int64))

    def said(self, rows: Rows) -> list[tuple[int, int]]:
        """What each row says, and who: equal where text and speaker are, in the common form."""
        return list(zip(self.print[rows].tolist(), self.who[rows].tolist(), strict=True))

    def copies(self, rows: Rows, mask: NDArray[np.bool_]) -> list[Rows]:
        """For each row, the other rows in the mask that say the same."""
        near = self._with_prints(distinct(self.print[rows]))
        near = near[mask[near]]
        if len(near) == len(rows):
            return [rows[:0]] * len(rows)
        groups: dict[tuple[int, int], list[int]] = {}
        for row, key in zip(near.tolist(), self.said(near), strict=True):
            groups.setdefault(key, []).append(row)
        return [
            np.array([other for other in groups.get(key, ()) if other != row], np.int64)
            for row, key in zip(rows.tolist(), self.said(rows), strict=True)
        ]


def any_of(values: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values are any of a few wanted ones."""
    hit: NDArray[np.bool_] = values == wanted[0]
    for one in wanted[1:]:
        hit |= values == one
    return hit


def fingerprint(text: str) -> int:
    """64 bits of the common form of a text; about 1.5 µs for a sentence.  Equal ones are the same
    text, but for one chance in 2**64."""
    plain = common_form(text).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(plain, digest_size=8).digest(), "little", signed=True)
