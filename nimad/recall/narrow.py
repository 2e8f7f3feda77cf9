"""Columns that take no more bytes than their values need, and are read like arrays.

`column[rows]` gives the values of some rows: a number, numbers, flags or a slice, as of an array.
The arrays behind them are kept by `nimad.recall.columns`, which also writes to them; a column is a
view of the first rows and shares its pages.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

MOST_CODED = 1 << 16
"""Length of the longest table whose places are kept for numbers, not the numbers [values]."""
_COMPARED = 8
"""Codes that are compared one after the other, sooner than looked up [codes]."""
_LARGEST = (1 << 32) - 2
"""Largest id that fits in four bytes, with one above it that fits, too."""


class Coded:
    """Values of which there are few different ones.

    Attributes:
        codes: uint8, uint16 or uint32[n], places in the table; without one, the values.
        table: the values, each once.
    """

    __slots__ = ("codes", "table")

    def __init__(self, codes: NDArray[Any], table: NDArray[Any] | None) -> None:
        self.codes = codes
        self.table = table

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Any) -> Any:
        found = self.codes[rows]
        return found if self.table is None else self.table.take(found)

    def where(self, hit: Flags, first: int = 0) -> Flags:
        """bool[n - first]: the rows from one on whose value is one of the table that is hit."""
        codes, places = self.codes[first:], np.flatnonzero(hit)
        if len(places) > _COMPARED:
            looked_up: Flags = hit.take(codes)
            return looked_up
        return any_of(codes, places.astype(codes.dtype))

    def present(self, rows: Flags, first: int = 0) -> NDArray[Any]:
        """The values that the rows from one on have which count, some perhaps twice."""
        codes = self.codes[first:][rows]
        if self.table is None:
            return codes
        return self.table[np.bincount(codes, minlength=len(self.table)) > 0]

    def equal(self, wanted: Any, first: int = 0) -> Flags:
        """bool[n - first]: the rows from one on with one of a few values."""
        return any_of(self.codes[first:], self.codes_of(np.atleast_1d(wanted)))

    def codes_of(self, wanted: NDArray[Any]) -> NDArray[Any]:
        """The codes of a few values, as far as rows have them."""
        if self.table is None:
            return wanted
        return np.flatnonzero(any_of(self.table, wanted)).astype(self.codes.dtype)

    def packed(self) -> Coded:
        """A copy that takes as little room as it can, with nothing in the table that no row has."""
        if self.table is None:
            table, codes = np.unique(self.codes, return_inverse=True)
        else:
            held = np.bincount(self.codes, minlength=len(self.table)) > 0
            table, codes = self.table[held], (np.cumsum(held) - 1)[self.codes]
        kind = code_type(len(table))
        if table.dtype.names is None and kind.itemsize * len(codes) + table.nbytes >= (
            table.itemsize * len(codes)
        ):
            return Coded(table[codes], None)
        return Coded(codes.astype(kind), table)


class Times:
    """Epoch milliseconds, 0 for no date: what they are above `base`, in five or six bytes.

    Attributes:
        low: uint32[n], the lower 32 bits.  high: uint8 or uint16[n], those above.  0 in both is no
            date.  Without `high`, `low: int64[n]` has the times themselves.
    """

    __slots__ = ("base", "high", "low")

    def __init__(self, low: NDArray[Any], high: NDArray[Any] | None, base: int) -> None:
        self.low = low
        self.high = high
        self.base = base

    def __len__(self) -> int:
        return len(self.low)

    def __getitem__(self, rows: Any) -> Any:
        if self.high is None:
            return self.low[rows]
        low = self.low[rows]
        if isinstance(low, np.generic):
            above = (int(self.high[rows]) << 32) + int(low)
            return above and above + self.base
        above = self.high[rows].astype(np.int64)
        above <<= 32
        above |= low
        above += (above != 0) * self.base
        return above

    def dated(self, first: int = 0) -> Flags:
        """bool[n - first]: the rows from one on that have a date."""
        there: Flags = self.low[first:] != 0
        if self.high is not None:
            there |= self.high[first:] != 0
        return there

    def since(self, moment: int, first: int = 0) -> Flags:
        """bool[n - first]: the rows from one on whose time is not before a moment; no date is 0."""
        low = self.low[first:]
        if self.high is None:
            whole: Flags = low >= moment
            return whole
        if moment <= self.base:
            return self.dated(first) if moment > 0 else np.ones(len(low), np.bool_)
        high, above = self.high[first:], moment - self.base
        hit: Flags = low >= (above & 0xFFFFFFFF)
        hit &= high == above >> 32
        hit |= high > above >> 32
        return hit if moment > 0 else hit | ~self.dated(first)

    def ends(self, rows: Flags, first: int = 0) -> list[int]:
        """The first and the last time of the rows from one on that count; none without a date."""
        low, counted = self.low[first:], self.dated(first) & rows
        if not counted.any():
            return []
        if self.high is None:
            times = low[counted]
            return [int(times.min()), int(times.max())]
        high = self.high[first:]
        lowest = int(np.where(counted, high, np.iinfo(high.dtype).max).min())
        highest = int(np.where(counted, high, 0).max())
        least, most = low[counted & (high == lowest)].min(), low[counted & (high == highest)].max()
        return [(lowest << 32) + int(least) + self.base, (highest << 32) + int(most) + self.base]

    def split(self, times: Ints) -> tuple[Ints, Ints] | None:
        """What `low` and `high` hold for some times; None where these do not fit."""
        assert self.high is not None
        above = np.where(times == 0, 0, times - self.base)
        end = 1 << (32 + 8 * self.high.itemsize)
        if ((above <= 0) & (times != 0)).any() or above.max(initial=0) >= end:
            return None
        return above & 0xFFFFFFFF, above >> 32

    def packed(self) -> Times:
        """A copy that takes as little room as it can, as much before the first time as behind the
        last one: for those to come."""
        times: Ints = self[:]
        dated = times[times != 0]
        first, last = (int(dated.min()), int(dated.max())) if len(dated) else (0, 0)
        for kind in (np.uint8, np.uint16):
            spare = (1 << (32 + 8 * np.dtype(kind).itemsize)) - (last - first + 1)
            if spare > 1 << 32:
                made = Times(np.zeros(0, np.uint32), np.zeros(0, kind), first - spare // 2)
                halves = made.split(times)
                assert halves is not None
                return Times(halves[0].astype(np.uint32), halves[1].astype(kind), made.base)
        return Times(times.copy(), None, 0)


class Ids:
    """Ascending ids; where each follows the one before it, the first tells all.

    Attributes:
        first: the first id.  held: uint32 or int64[n], all of them; None without gaps.
    """

    __slots__ = ("_count", "first", "held")

    def __init__(self, held: NDArray[Any] | None, first: int, count: int) -> None:
        self.held = held
        self.first = first
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, rows: Any) -> Any:
        if self.held is not None:
            return self.held[rows].astype(np.int64)
        if isinstance(rows, slice):
            first, end, step = rows.indices(self._count)
            return np.arange(self.first + first, self.first + end, step)
        if isinstance(rows, int | np.integer):
            if not -self._count <= rows < self._count:
                raise IndexError(rows)
            return self.first + int(rows) + (self._count if rows < 0 else 0)
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return rows + np.int64(self.first)

    def take(self, rows: NDArray[Any], mode: str = "raise") -> Ints:
        """As of an array, but -1 is some id or other; with "clip" rows beyond are the last."""
        if mode == "clip":
            rows = np.minimum(rows, self._count - 1)
        found: Ints = rows + self.first if self.held is None else self.held.take(rows)
        return found.astype(np.int64, copy=False)

    def searchsorted(self, ids: Any, side: Any = "left") -> Any:
        """As of an array."""
        if self.held is None:
            places = np.asarray(ids) - (self.first - (side == "right"))
            return np.minimum(np.maximum(places, 0), self._count)
        if self.held.dtype == np.uint32:  # else all that is held would be made wider
            ids = np.clip(ids, 0, _LARGEST + 1).astype(np.uint32)
        return self.held.searchsorted(ids, side)

    def has_room(self, last: int) -> bool:
        """Whether an id fits in what is held."""
        return self.held is None or self.held.dtype == np.int64 or last <= _LARGEST

    def packed(self) -> Ids:
        """A copy that takes as little room as it can."""
        if not self._count or int(self[-1]) - int(self[0]) == self._count - 1:
            return Ids(None, int(self[0]) if self._count else 0, self._count)
        kind = np.uint32 if int(self[-1]) <= _LARGEST else np.int64
        return Ids(self[:].astype(kind), int(self[0]), self._count)


class Table:
    """Gives the values of a coded column their codes."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = values
        self._codes: dict[Any, int] | None = None

    def codes_of(self, values: NDArray[Any]) -> list[int]:
        """The code of each value; those that are new get one."""
        if self._codes is None:  # not needed as long as nothing comes
            self._codes = {value: code for code, value in enumerate(self.values.tolist())}
        known = self._codes
        found = [known.setdefault(value, len(known)) for value in values.tolist()]
        if len(known) > len(self.values):
            fresh = np.empty(len(known) - len(self.values), values.dtype)
            codes = np.array(found)
            new = codes >= len(self.values)
            fresh[codes[new] - len(self.values)] = values[new]
            self.values = np.append(self.values, fresh)
        return found


def code_type(values: int) -> np.dtype[Any]:
    """The narrowest type of codes for so many values."""
    return np.dtype(
        next(k for k in (np.uint8, np.uint16, np.uint32) if values <= 1 << 8 * np.dtype(k).itemsize)
    )


def any_of(values: NDArray[Any], wanted: NDArray[Any]) -> Flags:
    """Which values are any of a few wanted ones."""
    if not len(wanted):
        return np.zeros(len(values), np.bool_)
    hit: Flags = values == wanted[0]
    for one in wanted[1:]:
        hit |= values == one
    return hit
