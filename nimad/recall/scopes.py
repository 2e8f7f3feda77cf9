"""The rows that a query may return, and figures of them together: kept for the next query."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from dataclasses import field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.model import Filter
from nimad.recall import speaker_prefix
from nimad.recall.columns import CODES, Columns, Rows
from nimad.recall.layers import INPUT, OUTPUT
from nimad.recall.subjects import NO_SUBJECT
from nimad.recall.weights import Weights
from nimad.store.records import Records
from nimad.text import common_form

Flags = NDArray[np.bool_]

_KEPT = 8
"""Scopes kept."""
_LARGE, _LARGE_KEPT = 50_000, 3
"""Rows from which on fewer are kept, and how many: one takes up to 18 bytes a row."""
BLOCKS = 32
"""Blocks of rows of which the usual cosine of a store is taken [rows of _BLOCK]."""
_BLOCK = 8
_SUBJECTS_KEPT = 16
"""Combinations of subjects whose rows are kept."""
_LAYERS_SQL = "SELECT folded, id FROM names WHERE folded IN (?, ?)"
MIXED = 0.7, 1.0
"""Standard deviations of the logarithms of lengths, between which the texts of a store become
mixed: talk, notes and diaries have .3 to .65, chats with an agent 1.0 to 1.5."""
_NO_ROW = -(1 << 31)
"""A code that no row has."""


@dataclass(frozen=True)
class Scope:
    """What passes one filter at one version of the columns; immutable.

    Attributes:
        mask: bool[n], what may be returned.
        whole: that is every row.  filtered: rows that exist are left out.
        count: how many may be returned.
        average: how many words a text in the mask has.
        k1, b: of BM25, see `Weights`.
        subjects: bool[codes], whose memories are among them.
        prefixes: the codes of speakers in the texts, see `speaker_prefix`.
        first, last: the times between which those lie that have one.
        layers: the codes of the layers of a chat with an agent, see `nimad.recall.layers`.
        instructions: bool[n] and int64[m], ascending: the standing instructions that users gave;
            None without any.
        id, who: int64[n] and int32[n], of every row.
        bound: the asker may know of nothing else.
    """

    mask: NDArray[np.bool_]
    whole: bool
    filtered: bool
    count: int
    average: float
    k1: float
    b: float
    subjects: NDArray[np.bool_]
    prefixes: frozenset[int]
    first: int
    last: int
    layers: dict[str, int]
    instructions: tuple[Flags, Rows] | None
    id: Rows
    who: NDArray[np.int32]
    bound: bool
    _spoken: dict[tuple[int, ...], NDArray[np.uint32]] = field(default_factory=dict)

    def spoken_by(self, subjects: Rows) -> NDArray[np.uint32]:
        """uint32[m], ascending: the rows of some subjects; kept for the next query."""
        key = tuple(subjects.tolist())
        if (known := self._spoken.get(key)) is None:
            if len(self._spoken) >= _SUBJECTS_KEPT:
                self._spoken.clear()
            mine = self.who == key[0]
            for code in key[1:]:
                mine |= self.who == code
            known = self._spoken[key] = np.flatnonzero(mine).astype(np.uint32)
        return known

    @functools.cached_property
    def rows(self) -> NDArray[np.int64]:
        """int64[count], ascending: the rows themselves."""
        return np.flatnonzero(self.mask)

    @functools.cached_property
    def sample(self) -> Rows:
        """int64[m], ascending: some of the rows, of which the usual cosine is taken."""
        return evenly(self.rows, BLOCKS)

    @functools.cached_property
    def ids(self) -> NDArray[np.int64] | None:
        """int64[count], ascending, read-only: their ids; None when nothing is left out."""
        if not self.filtered:
            return None
        ids = self.id[self.mask]
        ids.flags.writeable = False  # so the index knows it again without comparing
        return ids


class Scopes:
    """The scopes of the filters that were used last.  For several threads, as long as nothing
    changes the columns."""

    def __init__(self, records: Records, columns: Columns, weights: Weights) -> None:
        self._records = records
        self._columns = columns
        self._lock = threading.Lock()
        self._weights = weights
        self._kept: OrderedDict[Filter, Scope] = OrderedDict()
        self._version = -1
        self._codes: dict[str, set[int]] = {}
        """The codes that occur, of each field of few values."""

    def of(self, where: Filter) -> Scope:
        """What passes a filter now."""
        with self._lock:
            if self._version != self._columns.version:
                self._kept.clear()
                self._version = self._columns.version
                self._codes = {
                    name: set(np.flatnonzero(np.bincount(getattr(self._columns, name))).tolist())
                    for name in CODES
                }
            where = self._without_idle(where)
            if where not in self._kept:
                self._kept[where] = self._make_scope(where)
            self._kept.move_to_end(where)
            most = _KEPT if self._columns.count <= _LARGE else _LARGE_KEPT
            while len(self._kept) > most:
                self._kept.popitem(last=False)
            return self._kept[where]

    def _mask_of(self, where: Filter) -> NDArray[np.bool_]:
        """bool[n]: the rows that pass a filter."""
        columns = self._columns
        mask = columns.alive.copy()
        for column, name in ((columns.namespace, where.namespace), (columns.layer, where.layer)):
            if name is not None:
                sql = "SELECT id FROM names WHERE folded = ?"
                codes = [code for (code,) in self._records.rows(sql, (common_form(name),))]
                mask &= np.isin(column, codes)
        for name, code_of in CODES.items():
            if wanted := getattr(where, name):
                codes = [code_of.get(value, 0) for value in wanted]
                mask &= np.isin(getattr(columns, name), codes)
        if where.within is not None:
            mask &= np.isin(columns.namespace, self._records.names_within(where.within))
        if where.who is not None:
            mask &= columns.who == columns.subjects.codes.get(common_form(where.who), _NO_ROW)
        if where.after is not None or where.before is not None:
            mask &= columns.time != 0
        if where.after is not None:
            mask &= columns.time >= where.after
        if where.before is not None:
            mask &= columns.time < where.before
        rest = Filter(
            where=where.where,
            agent=where.agent,
            tree=where.tree,
            documents=where.documents,
            tags=where.tags,
        )
        if rest:
            kept = np.zeros(columns.count, np.bool_)
            kept[columns.rows_of(self._records.matching(rest))] = True
            mask &= kept
        return mask

    def _without_idle(self, where: Filter) -> Filter:
        """A filter without what it asks of fields of few values where that rules out nothing: most
        stores hold nothing untrusted, and one scope does for prompts and for the rest."""
        idle: dict[str, Any] = {}
        for name, code_of in CODES.items():
            wanted = {code_of.get(value, 0) for value in getattr(where, name)}
            if wanted and self._codes[name] <= wanted:
                idle[name] = ()
        return replace(where, **idle) if idle else where

    def _make_scope(self, where: Filter) -> Scope:
        columns, weights = self._columns, self._weights
        mask = self._mask_of(where)
        count = int(np.count_nonzero(mask))
        times = columns.time[mask & (columns.time != 0)]
        words = columns.words[mask]
        average = max(float(words.mean(dtype=np.float64)), 1.0) if count else 1.0
        low, high = MIXED
        spread = float(np.log1p(words).std(dtype=np.float64)) if count else 0.0
        mixed = min(max((spread - low) / (high - low), 0.0), 1.0)
        layers = dict(self._records.rows(_LAYERS_SQL, (INPUT, OUTPUT)))
        told = columns.instructs & (columns.layer == layers.get(INPUT, _NO_ROW))
        who = columns.who[mask]
        known = np.maximum(who, NO_SUBJECT) + 1
        present = np.bincount(known, minlength=columns.subjects.next_code + 1)[1:] > 0
        return Scope(
            mask=mask,
            whole=count == columns.count,
            filtered=count < columns.count - columns.dead,
            count=count,
            average=average,
            k1=weights.k1,
            b=weights.b + (1 - weights.b) * mixed,
            subjects=present,
            prefixes=speaker_prefix.recurring(who),
            first=int(times.min()) if len(times) else 0,
            last=int(times.max()) if len(times) else 0,
            layers=layers,
            instructions=(told, np.flatnonzero(told)) if told.any() else None,
            id=columns.id,
            who=columns.who,
            bound=where.within is not None,
        )


def evenly(rows: Rows, blocks: int) -> Rows:
    """Some of the rows in blocks of neighbours, all over them: vectors that lie beside each other
    share pages.  All of them where they are few."""
    if len(rows) <= 2 * blocks * _BLOCK:
        return rows
    starts = np.linspace(0, len(rows) - _BLOCK, blocks).astype(np.int64)
    found: Rows = rows[(starts[:, None] + np.arange(_BLOCK)).ravel()]
    return found
