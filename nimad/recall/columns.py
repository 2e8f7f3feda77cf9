"""What ranking needs of every memory, as columns in RAM: no SQL for a filter or a neighbour.

A row is a memory, rows are in the order of ids.  `sync` follows the records' change log, so it does
not matter who wrote; what the log no longer holds is read anew.

The memories of one session form a chain in the order of time (equal times by id).  A session is
namespace, conversation and session together; for memories that name neither conversation nor
session see `chains`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.errors import RecordsDamaged
from nimad.model import Filter
from nimad.recall import chains
from nimad.recall.links import Links
from nimad.recall.reading import NONE, PAGE_SQL, UNSIZED_PAGE_SQL, Session, fields, fingerprint
from nimad.recall.saved import Saved
from nimad.recall.subjects import Subjects
from nimad.store.records import Records
from nimad.store.terms import TermIndex

Rows = NDArray[np.int64]
_PAGE = 5000
_CHANGES = 100_000
_DEAD_SHARE = 4
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
    "words": (np.float32, 0),
    "length": (np.float32, np.nan),
    "asks": (np.bool_, False),
    "print": (np.int64, 0),
    "alive": (np.bool_, False),
}

SAVED = {name: kind for name, (kind, _) in _TYPES.items() if name != "length"}
"""The columns that a file holds; lengths depend on the embedder, too."""


class Columns:
    """The columns; each attribute below is an array over the rows.  Not for several threads.

    Attributes:
        id, time: int64[n].  namespace, layer: int32[n], ids of names.
        session, who: int32[n], codes given here; -1 where there is none.  A session below that
            stands for memories of a namespace without sessions: see `nimad.recall.reading.loose`.
        before, after: int32[n], the row of the neighbour in the chain, or -1.
        importance, words (how many the text has): float32[n].
        length: float32[n], for who computes it: nan while unknown, or when neighbours changed.
        subjects: the names in `who` and their codes.
        print: int64[n], the fingerprint of the text (see `fingerprint`).
        changed: how many rows came or went since the columns were in a file.
        ends: the last row of each session.
        asks: bool[n], whether the text ends as a question.  alive: bool[n], whether it exists.
    """

    id: Rows
    time: Rows
    session: NDArray[np.int32]
    who: NDArray[np.int32]
    before: NDArray[np.int32]
    after: NDArray[np.int32]
    namespace: NDArray[np.int32]
    layer: NDArray[np.int32]
    importance: NDArray[np.float32]
    words: NDArray[np.float32]
    length: NDArray[np.float32]
    asks: NDArray[np.bool_]
    print: NDArray[np.int64]
    alive: NDArray[np.bool_]

    def __init__(self, records: Records, terms: TermIndex) -> None:
        self._records = records
        self._terms = terms
        self.version = 0
        self.changed = 0
        self._links: tuple[int, Links] | None = None
        self.clear()

    def clear(self) -> None:
        """Forget everything; the next `sync` reads it anew."""
        self._terms.clear()
        self.seen = -1
        self.count = 0
        self.dead = 0
        self.version += 1
        self.subjects = Subjects()
        self._sessions: dict[Session, int] = {}
        self.ends: dict[int, int] = {}
        self._store: dict[str, NDArray[Any]] = {
            name: np.full(0, empty, kind) for name, (kind, empty) in _TYPES.items()
        }
        self._show()

    # --- the file -----------------------------------------------------------------------------

    def snapshot(self) -> Saved:
        """A copy of everything but the lengths, for the file."""
        keys = [[NONE if key is None else key for key in session] for session in self._sessions]
        return Saved(
            *(self.seen, self.count, self.dead, self.subjects.next_code),
            np.array(keys, np.int64).reshape(-1, 3),
            self.subjects.spellings(),
            {name: self._store[name][: self.count].copy() for name in SAVED},
        )

    def restore(self, saved: Saved) -> None:
        """Take over what a file held, in place of reading the memories."""
        self.clear()
        self._grow(saved.count)
        for name, values in saved.columns.items():
            self._store[name][: saved.count] = values
        self.subjects = Subjects(saved.subjects, saved.next_code)
        keys = saved.sessions.tolist()
        self._sessions = {
            (space, None if talk == NONE else talk, None if session == NONE else session): code
            for code, (space, talk, session) in enumerate(keys)
        }
        self.seen, self.count, self.dead = saved.seen, saved.count, saved.dead
        self.changed = 0
        self._show()
        self.ends = chains.ends(self)

    # --- following the records ----------------------------------------------------------------

    def stale(self) -> bool:
        """Whether something changed since the last `sync`; 5 µs."""
        return self._records.head() != self.seen

    def sync(self, most: int = 1 << 60) -> bool:
        """Take over what changed since the last call; True when nothing is left.

        `most` bounds the changes and the new memories of one call.  Every call gets further (it
        reads new rows, or ends at a later change), whatever was deleted meanwhile.

        Changes are applied together: the memories that came are those with ids above all known
        ones, so whether they came one by one or at once is the same, and one that is gone again is
        not read at all.  Deletions follow; to delete what is not here does nothing.
        """
        head = self._records.head()
        if head == self.seen:
            return True
        changes = self._records.changes(self.seen, min(most, _CHANGES))
        # asked last: what was pruned while the changes were read would be missing from them
        if self.seen < self._records.pruned_to():
            return self._reconcile(head, most)
        memories = [change for change in changes if change.kind == "memory"]
        last = max((change.last for change in memories if change.op == "add"), default=0)
        if not self._read(last, most):
            return False
        gone = [(c.first, c.last) for c in memories if c.op == "delete"]
        self._delete(gone)
        for first, last in gone:
            self._terms.removed(first, last)
        self.seen = changes[-1].seq if changes else head
        if self.dead * _DEAD_SHARE > self.count:
            self._compact()
        return self.seen >= head

    def _reconcile(self, head: int, most: int) -> bool:
        """As `sync`, when the change log no longer reaches back: by the ids that exist.

        No memory changes what the columns hold of it, and no id is given twice, so nothing needs
        to be read again.
        """
        last = int(self._records.value("SELECT max(id) FROM memories") or 0)
        if not self._read(last, most):
            return False
        gone = self.id[self.alive & ~np.isin(self.id, self._records.ids())]
        self._delete([(number, number) for number in gone.tolist()])
        self._terms.clear()
        self.seen = head
        return True

    def _read(self, last: int, most: int) -> bool:
        """Read the memories above the known ones, up to an id; whether all of them were read."""
        start, first = self.count, self.last_id + 1
        while most and self.last_id < last:
            limit = min(most, _PAGE)
            page = self._read_page(self.last_id + 1, last, limit)
            if page:
                self._append(page)
            if len(page) < limit:
                break
            most -= limit
        added = self.count - start
        if added:
            self._terms.added(first, self.last_id)
            if added > _PAGE // 10:
                chains.chain_all(self)
            else:
                chains.chain_new(self, start)
            self.version += 1
            self.changed += added
        return most > 0

    def _read_page(self, *bounds: int) -> list[tuple[Any, ...]]:
        """Rows of PAGE_SQL; without lengths when the words index that keeps them is damaged."""
        try:
            return self._records.rows(PAGE_SQL, bounds)
        except RecordsDamaged as error:
            page = self._records.rows(UNSIZED_PAGE_SQL, bounds)
            self._terms.report_damage(error)
            return page

    def _append(self, page: Sequence[tuple[Any, ...]]) -> None:
        start, end = self.count, self.count + len(page)
        self._grow(end)
        fresh = fields(page, self.subjects, self._sessions)
        for name, values in fresh.items():
            self._store[name][start:end] = values
        self._store["alive"][start:end] = True
        self.count = end
        self._show()

    def _delete(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Mark the rows of ranges of ids as dead; those that are not here are left out."""
        if not ranges or not self.count:
            return
        first, last = np.array(ranges, np.int64).T
        lows, highs = np.searchsorted(self.id, first), np.searchsorted(self.id, last, "right")
        doomed = np.zeros(self.count, np.bool_)
        for low, high in zip(lows.tolist(), highs.tolist(), strict=True):
            doomed[low:high] = True
        rows = np.flatnonzero(doomed & self.alive)
        if not len(rows):
            return
        self.alive[rows] = False
        self.print[rows] = 0  # what is forgotten leaves no trace
        self.changed += len(rows)
        self.dead += len(rows)
        chains.unchain(self, rows)
        self.version += 1

    def _compact(self) -> None:
        """Take the dead rows out; no chain leads to one."""
        kept = np.flatnonzero(self.alive)
        place = np.full(self.count + 1, NONE, np.int32)  # the last one for nobody, row -1
        place[kept] = np.arange(len(kept))
        for name in _TYPES:
            self._store[name] = self._store[name][kept]
        for name in ("before", "after"):
            self._store[name] = place[self._store[name]]
        self.count, self.dead = len(kept), 0
        self._show()
        self.ends = chains.ends(self)
        self.version += 1

    @property
    def last_id(self) -> int:
        """The highest id of a row, 0 without any."""
        return int(self.id[-1]) if self.count else 0

    def links(self) -> Links:
        """The chains as they are now, made once for each version."""
        if self._links is None or self._links[0] != self.version:
            self._links = (self.version, Links(self.before, self.after))
        return self._links[1]

    # --- asking -------------------------------------------------------------------------------

    def rows_of(self, ids: Rows) -> Rows:
        """The rows of `ids: int64[m]` (ascending); those that are not here are left out."""
        if not self.count or not len(ids):
            return np.zeros(0, np.int64)
        base = int(self.id[0])
        if int(self.id[-1]) - base == self.count - 1:  # no gaps: the usual case
            rows = ids - base
            if rows[0] < 0 or rows[-1] >= self.count:
                rows = rows[(rows >= 0) & (rows < self.count)]
            return rows
        rows = np.minimum(np.searchsorted(self.id, ids), self.count - 1)
        found: Rows = rows[self.id[rows] == ids]
        return found

    def spoken_by(
        self, subjects: NDArray[np.int64], rows: Rows | slice = slice(None)
    ) -> NDArray[np.bool_]:
        """bool[m]: which rows (all, unless some are given) are of one of these subjects."""
        who = self.who[rows]
        named = np.zeros(len(who), np.bool_)
        for code in subjects:
            named |= who == code
        return named

    def same_as(self, text: str) -> Rows:
        """int64[m]: the rows whose text is this one, however it is cased and spaced."""
        return np.flatnonzero((self.print == fingerprint(text)) & self.alive)

    def among(self, ids: Rows, values: NDArray[np.float32]) -> tuple[Rows, NDArray[np.float32]]:
        """The rows of `ids: int64[m]` (ascending) and their `values: float32[m]`."""
        rows = self.rows_of(ids)
        if len(rows) == len(ids):
            return rows, values
        return rows, values[np.isin(ids, self.id[rows], assume_unique=True)]

    def allowed(self, where: Filter) -> NDArray[np.bool_]:
        """bool[n]: which rows exist and pass a filter."""
        mask = self.alive.copy()
        for column, name in ((self.namespace, where.namespace), (self.layer, where.layer)):
            if name is not None:
                code = self._records.value("SELECT id FROM names WHERE name = ?", (name,))
                mask &= column == (NONE if code is None else code)
        if where.after is not None:
            mask &= self.time >= where.after
        if where.before is not None:
            mask &= self.time < where.before
        if where.who is not None or where.where is not None or where.tags:
            rest = Filter(who=where.who, where=where.where, tags=where.tags)
            kept = np.zeros(self.count, np.bool_)
            kept[self.rows_of(self._records.matching(rest))] = True
            mask &= kept
        return mask

    def _grow(self, wanted: int) -> None:
        room = len(self._store["id"])
        if wanted <= room:
            return
        size = max(wanted, room + room // 4, 1024)
        for name, (kind, empty) in _TYPES.items():
            grown: NDArray[Any] = np.full(size, empty, kind)
            grown[:room] = self._store[name]
            self._store[name] = grown

    def _show(self) -> None:
        for name, array in self._store.items():
            setattr(self, name, array[: self.count])
