"""The postings of the terms that were asked last, as rows of the columns."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from nimad.index.kernels.contract import Counts, Numbers

POSTINGS_KEPT = 600_000
"""Postings kept of the terms that were asked last, until a rest, at least: 4 MB [postings]."""
KEPT_SHARE = 3
"""Postings kept for each memory where that is more: 18 MB for a million of them, of whose postings
200 questions ask 4,000,000 different ones [postings]."""
_ENTRY = 64
"""What an entry takes besides its postings [postings]."""

Rows = tuple[Numbers, Counts]
"""The rows that hold a term, ascending, and the counts."""
State = tuple[int, int, int]
"""Of an index and its caller: while it stays the same, so does what is found."""


class Kept(NamedTuple):
    """What segments have of a term up to a memory; and the state in which nothing else has any of
    it, None where something has."""

    rows: Rows
    upto: int
    state: State | None


NOTHING = Kept((np.zeros(0, np.uint32), np.zeros(0, np.uint16)), 0, None)
"""What is known of a term before any segment was read."""


class KeptPostings:
    """For many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._terms = OrderedDict[str, Kept]()
        """Those that were asked last behind the others."""
        self._size = 0
        self.forgotten = 0
        """How often all of it was forgotten."""

    def of(self, term: str, forgotten: int) -> Kept:
        """What is kept of a term, unless all was forgotten once more."""
        kept = self._terms.get(term, NOTHING)
        return kept if forgotten == self.forgotten else NOTHING

    def whole(self, term: str, state: State) -> Rows | None:
        """All rows of a term, where they are known and nothing came since."""
        kept = self._terms.get(term)
        if kept is None or kept.state != state:
            return None
        with self._lock:
            if term in self._terms:  # another query may have made room meanwhile
                self._terms.move_to_end(term)
        return kept.rows

    def keep(self, term: str, kept: Kept, memories: int, forgotten: int) -> None:
        """Keep it, in a store of so many, unless it is too long or was read before all was
        forgotten once more; what was asked long ago goes."""
        size, most = len(kept.rows[0]) + _ENTRY, max(POSTINGS_KEPT, KEPT_SHARE * memories)
        with self._lock:
            if forgotten != self.forgotten:
                return
            if (old := self._terms.pop(term, None)) is not None:
                self._size -= len(old.rows[0]) + _ENTRY
            if size - _ENTRY <= most // 4:
                self._terms[term] = kept
                self._size += size
            while self._size > most:
                _, oldest = self._terms.popitem(last=False)
                self._size -= len(oldest.rows[0]) + _ENTRY

    def forget(self) -> None:
        """The postings that are kept are old, or too many."""
        with self._lock:
            self._terms, self._size = OrderedDict(), 0
            self.forgotten += 1
