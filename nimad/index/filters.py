"""Filters: which rows of each segment a set of ids allows, kept for the next query.

The next query mostly has the same filter (a namespace, a layer), and looking up 50,000 ids takes
longer than the search.  So the last filter is kept, one bitmap a segment.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from nimad.index.kernels.contract import Marks
from nimad.index.quantise import Ids
from nimad.index.sealed import Sealed


@dataclass(frozen=True)
class Allowed:
    """The live rows with a direction that a filter allows in one segment.

    Attributes:
        count: how many.  rows: int64[count], ascending, where they are few; else None.
        marks: the same as a bitmap; None where they are few.
    """

    sealed: Sealed
    count: int
    rows: Ids | None
    marks: Marks | None

    @classmethod
    def of(cls, sealed: Sealed, ids: Ids, few: int) -> Allowed:
        """Look up `ids` (ascending): O(m) for few, O(n) for many."""
        segment = sealed.segment
        scored = segment.meta.scored
        if len(ids) <= few:
            rows = sealed.live(segment.rows_of(ids))
            rows = np.sort(rows[rows < scored])
            return cls(sealed, len(rows), rows, None)
        chosen = segment.has(ids)[:scored]
        if sealed.alive is not None:
            alive = np.unpackbits(sealed.alive, bitorder="little", count=scored)
            chosen &= alive.view(np.bool_)
        count = int(np.count_nonzero(chosen))
        if count <= few:
            return cls(sealed, count, np.flatnonzero(chosen), None)
        return cls(sealed, count, None, Marks.of(segment.space, chosen))


@dataclass(frozen=True)
class _Slot:
    ids: Ids
    few: int
    found: dict[int, Allowed] = field(default_factory=dict)

    def fits(self, ids: Ids, few: int) -> bool:
        return few == self.few and (
            (ids is self.ids and not ids.flags.writeable) or np.array_equal(ids, self.ids)
        )


class FilterCache:
    """The last filter; any thread may ask, a race costs one look-up more.  Holds 8 bytes an id and
    one bit a row, until another filter comes or `clear`."""

    def __init__(self) -> None:
        self._slot: _Slot | None = None

    def clear(self) -> None:
        """Let go of the segments: the view has changed."""
        self._slot = None

    def of(self, sealed: Sealed, ids: Ids, few: int) -> Allowed:
        """What `ids` (ascending) allow in a segment; as rows when there are at most `few`."""
        slot = self._slot
        if slot is None or not slot.fits(ids, few):
            slot = _Slot(ids.copy() if ids.flags.writeable else ids, few)
            self._slot = slot
        known = slot.found.get(id(sealed))
        if known is None or known.sealed is not sealed:
            known = Allowed.of(sealed, ids, few)
            slot.found[id(sealed)] = known
        return known
