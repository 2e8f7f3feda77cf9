"""The rows that a query may return, and what is true of them together: kept for the next query."""

from __future__ import annotations

import functools
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nimad.model import Filter
from nimad.recall import heads
from nimad.recall.columns import Columns
from nimad.recall.subjects import NOBODY
from nimad.recall.weights import Weights

_KEPT = 8
_LARGE, _LARGE_KEPT = 50_000, 3
"""Of a store with more rows fewer are kept: one takes up to 17 bytes a row."""


@dataclass(frozen=True)
class Scope:
    """What passes one filter at one version of the columns; immutable.

    Attributes:
        mask: bool[n], what may be returned.
        whole: that is every row.  filtered: rows that exist are left out.
        count: how many may be returned.
        sizes: float32[n], BM25's measure of each text's length against the usual one.
        subjects: bool[codes], whose memories are among them.
        heads: the codes of speakers in the texts, see `heads`.
        first, last: the times between which they lie.
    """

    mask: NDArray[np.bool_]
    whole: bool
    filtered: bool
    count: int
    sizes: NDArray[np.float32]
    subjects: NDArray[np.bool_]
    heads: frozenset[int]
    first: int
    last: int
    id: NDArray[np.int64]

    @functools.cached_property
    def rows(self) -> NDArray[np.int64]:
        """int64[count], ascending: the rows themselves."""
        return np.flatnonzero(self.mask)

    @functools.cached_property
    def ids(self) -> NDArray[np.int64] | None:
        """int64[count], ascending, read-only: their ids; None when nothing is left out."""
        if not self.filtered:
            return None
        ids = self.id[self.mask]
        ids.flags.writeable = False  # so the index knows it again without comparing
        return ids


class Scopes:
    """The scopes of the filters that were used last.  Not for several threads."""

    def __init__(self, columns: Columns, weights: Weights) -> None:
        self._columns = columns
        self._weights = weights
        self._kept: OrderedDict[Filter, Scope] = OrderedDict()
        self._version = -1

    def of(self, where: Filter) -> Scope:
        """What passes a filter now."""
        if self._version != self._columns.version:
            self._kept.clear()
            self._version = self._columns.version
        known = self._kept.get(where)
        if known is not None:
            self._kept.move_to_end(where)
            return known
        scope = self._kept[where] = self._made(where)
        most = _KEPT if self._columns.count <= _LARGE else _LARGE_KEPT
        while len(self._kept) > most:
            self._kept.popitem(last=False)
        return scope

    def _made(self, where: Filter) -> Scope:
        columns, weights = self._columns, self._weights
        mask = columns.allowed(where)
        times = columns.time[mask]
        count = len(times)
        average = max(float(columns.words[mask].mean(dtype=np.float64)), 1.0) if count else 1.0
        who = columns.who[mask]
        known = np.maximum(who, NOBODY) + 1
        present = np.bincount(known, minlength=columns.subjects.next_code + 1)[1:] > 0
        return Scope(
            mask=mask,
            whole=count == columns.count,
            filtered=count < columns.count - columns.dead,
            count=count,
            sizes=weights.k1 * (1 - weights.b + weights.b * columns.words / average),
            subjects=present,
            heads=heads.recurring(who),
            first=int(times.min()) if count else 0,
            last=int(times.max()) if count else 0,
            id=columns.id,
        )
