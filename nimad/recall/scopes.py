"""The rows that a query may return, and figures of them together: kept for the next query."""

from __future__ import annotations

import functools
import math
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
from nimad.recall.narrow import Coded, Ids
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
_SUBJECTS_SHARE = 2
"""Rows of combinations of subjects that are kept, for each row: four bytes each."""
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
        lengths: int64[m], how many of them have a text of that many words.
        average: how many words a text in the mask has.
        k1, b: of BM25, see `Weights`.
        subjects: bool[codes], whose memories are among them.
        prefixes: the codes of speakers in the texts, see `speaker_prefix`.
        first, last: the times between which those lie that have one; 0 without any.
        layers: the codes of the layers of a chat with an agent, see `nimad.recall.layers`.
        instructions: bool[n] and int64[m], ascending: the standing instructions that users gave;
            None without any.
        id, who: of every row.
        bound: the asker may know of nothing else.
    """

    mask: NDArray[np.bool_]
    whole: bool
    filtered: bool
    count: int
    lengths: NDArray[np.int64]
    average: float
    k1: float
    b: float
    subjects: NDArray[np.bool_]
    prefixes: frozenset[int]
    first: int
    last: int
    layers: dict[str, int]
    instructions: tuple[Flags, Rows] | None
    id: Ids
    who: Coded
    bound: bool
    _spoken: dict[tuple[int, ...], tuple[int, NDArray[np.uint32]]] = field(default_factory=dict)

    def spoken_by(self, subjects: Rows) -> NDArray[np.uint32]:
        """uint32[m], ascending: the rows of some subjects; kept for the next query."""
        key = tuple(subjects.tolist())
        looked, found = self._spoken.get(key, (0, np.zeros(0, np.uint32)))
        if looked < len(self.who):
            kept = sum(len(rows) for _, rows in list(self._spoken.values()))
            if looked == 0 and kept > _SUBJECTS_SHARE * len(self.who):
                self._spoken.clear()
            more = np.flatnonzero(self.who.equal(subjects, looked)) + looked
            found = np.append(found, more.astype(np.uint32))
            self._spoken[key] = len(self.who), found
        return found

    @functools.cached_property
    def rows(self) -> NDArray[np.int64]:
        """int64[count], ascending: the rows themselves."""
        return np.flatnonzero(self.mask)

    @functools.cached_property
    def sample(self) -> Rows:
        """int64[m], ascending: some of the rows, of which the usual cosine is taken."""
        if self.whole:  # each row is its own place
            return places_evenly(self.count, BLOCKS)
        return evenly(self.rows, BLOCKS)

    @functools.cached_property
    def ids(self) -> NDArray[np.int64] | None:
        """int64[count], ascending, read-only: their ids; None when nothing is left out."""
        if not self.filtered:
            return None
        ids: NDArray[np.int64] = self.id[self.mask]
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
        self._edits = -1

    def of(self, where: Filter) -> Scope:
        """What passes a filter now.  New rows are added to what is known of the others."""
        columns = self._columns
        with self._lock:
            if self._edits != columns.edits:
                self._kept.clear()
                self._edits = columns.edits
            where = self._without_idle(where)
            scope = self._kept.get(where)
            if scope is None or len(scope.mask) < columns.count:
                scope = self._kept[where] = self._make_scope(where, scope)
            self._kept.move_to_end(where)
            most = _KEPT if columns.count <= _LARGE else _LARGE_KEPT
            while len(self._kept) > most:
                self._kept.popitem(last=False)
            return scope

    def clear(self) -> None:
        """Forget them, and the columns that they were made of."""
        with self._lock:
            self._kept.clear()

    def _mask_of(self, where: Filter, first: int) -> NDArray[np.bool_]:
        """bool[n - first]: the rows from one on that pass a filter."""
        columns = self._columns
        kinds = columns.kinds
        hit = kinds["alive"].copy()
        for part, name in (("namespace", where.namespace), ("layer", where.layer)):
            if name is not None:
                sql = "SELECT id FROM names WHERE folded = ?"
                codes = [code for (code,) in self._records.rows(sql, (common_form(name),))]
                hit &= np.isin(kinds[part], codes)
        for part, code_of in CODES.items():
            if wanted := getattr(where, part):
                hit &= np.isin(kinds[part], [code_of.get(value, 0) for value in wanted])
        if where.within is not None:
            hit &= np.isin(kinds["namespace"], self._records.names_within(where.within))
        mask = columns.kind.where(hit, first)
        if where.who is not None:
            code = columns.subjects.find(where.who)
            mask &= columns.who.equal(_NO_ROW if code is None else code, first)
        if where.after is not None or where.before is not None:
            mask &= columns.time.dated(first)
        if where.after is not None:
            mask &= columns.time.since(where.after, first)
        if where.before is not None:
            mask &= ~columns.time.since(where.before, first)
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
            mask &= kept[first:]
        return mask

    def _without_idle(self, where: Filter) -> Filter:
        """A filter without what it asks of fields of few values where that rules out nothing: most
        stores hold nothing untrusted, and one scope does for prompts and for the rest."""
        idle: dict[str, Any] = {}
        for name, code_of in CODES.items():
            wanted = {code_of.get(value, 0) for value in getattr(where, name)}
            if wanted and wanted.issuperset(self._columns.kinds[name].tolist()):
                idle[name] = ()
        return replace(where, **idle) if idle else where

    def _make_scope(self, where: Filter, known: Scope | None) -> Scope:
        """The scope of a filter; `known`: that of the rows before the new ones."""
        columns, weights = self._columns, self._weights
        first = 0 if known is None else len(known.mask)
        fresh = self._mask_of(where, first)
        lengths = np.bincount(columns.words[first:][fresh])
        used = columns.kinds["layer"].tolist()
        named = self._records.rows(_LAYERS_SQL, (INPUT, OUTPUT))
        layers = {name: code for name, code in named if code in used}
        who = columns.who.present(fresh, first)
        present = np.zeros(columns.subjects.next_code, np.bool_)
        present[who[who > NO_SUBJECT]] = True
        mask, earlier, prefixes = fresh, list[int](), frozenset[int]()
        if known is not None:
            mask = np.concatenate([known.mask, fresh])
            lengths = _sum_of(lengths, known.lengths)
            present[: len(known.subjects)] |= known.subjects
            earlier, prefixes = [known.first, known.last], known.prefixes
        if (who < NO_SUBJECT).any():
            prefixes = speaker_prefix.recurring(columns.who[mask])
        moments = [*filter(None, earlier), *columns.time.ends(fresh, first)]
        count, average, spread = _measured(lengths)
        low, high = MIXED
        mixed = min(max((spread - low) / (high - low), 0.0), 1.0)
        return Scope(
            mask=mask,
            whole=count == columns.count,
            filtered=count < columns.count - columns.dead,
            count=count,
            lengths=lengths,
            average=average,
            k1=weights.k1,
            b=weights.b + (1 - weights.b) * mixed,
            subjects=present,
            prefixes=prefixes,
            first=min(moments, default=0),
            last=max(moments, default=0),
            layers=layers,
            instructions=self._instructions(layers.get(INPUT, _NO_ROW), known),
            id=columns.id,
            who=columns.who,
            bound=where.within is not None,
            _spoken={} if known is None else known._spoken,
        )

    def _instructions(self, layer: int, known: Scope | None) -> tuple[Flags, Rows] | None:
        """See `Scope`; `layer` is that of what users say."""
        columns, first = self._columns, 0 if known is None else len(known.mask)
        kinds = columns.kinds
        told = columns.kind.where(kinds["instructs"] & (kinds["layer"] == layer), first)
        earlier = None if known is None else known.instructions
        if earlier is None:
            if not told.any():
                return None
            earlier = np.zeros(first, np.bool_), np.zeros(0, np.int64)
        rows = np.append(earlier[1], np.flatnonzero(told) + first)
        return np.append(earlier[0], told), rows


def _sum_of(some: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sum of two tallies, the shorter one of which has no more to add."""
    total = np.zeros(max(len(some), len(others)), np.int64)
    total[: len(some)] += some
    total[: len(others)] += others
    return total


def _measured(lengths: NDArray[np.int64]) -> tuple[int, float, float]:
    """How many texts there are, their mean length, at least 1, and the standard deviation of the
    logarithms of their lengths, of a tally of these."""
    count = int(lengths.sum())
    if not count:
        return 0, 1.0, 0.0
    words = np.flatnonzero(lengths)
    lengths = lengths[words]
    average = max(float((lengths * words).sum()) / count, 1.0)
    logs = np.log1p(words.astype(np.uint16)).astype(np.float64)
    mean = float((lengths * logs).sum()) / count
    return count, average, math.sqrt(float((lengths * (logs - mean) ** 2).sum()) / count)


def evenly(rows: Rows, blocks: int) -> Rows:
    """Some of the rows in blocks of neighbours, all over them: vectors that lie beside each other
    share pages.  All of them where they are few."""
    places = places_evenly(len(rows), blocks)
    return rows if len(places) == len(rows) else rows[places]


def places_evenly(count: int, blocks: int) -> Rows:
    """The places of these among `count` rows."""
    if count <= 2 * blocks * _BLOCK:
        return np.arange(count)
    starts = np.linspace(0, count - _BLOCK, blocks).astype(np.int64)
    return (starts[:, None] + np.arange(_BLOCK)).ravel()
