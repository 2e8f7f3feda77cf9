"""A graph database's snapshot, and over it the rows that came later: read as one source.

A later row takes the place of the snapshot's row with its key.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

from nimad.closing import Closing
from nimad.legacy.mapping import NodeMapper
from nimad.legacy.source import (
    DenseRows,
    LegacyEdge,
    LegacyNode,
    LegacyTurn,
    Row,
    Totals,
    Unreadable,
)
from nimad.legacy.sqlite import LegacyGraph

Page = list[tuple[int, Row | str]]


class Overlay(Closing):
    """See `source.LegacySource`.  `base` None: only the later rows are read.

    `shown` gives the columns; `later` are (kind "node", "edge" or "turn", key, row), the rows in
    the order of `LegacyGraph`'s columns of that kind.  Closing it closes `shown`.
    """

    def __init__(
        self, shown: LegacyGraph, later: Iterable[tuple[str, int, Row]], alone: bool = False
    ) -> None:
        self._base = shown
        self._alone = alone
        self._rows: dict[str, dict[int, Row]] = {"node": {}, "edge": {}, "turn": {}}
        for kind, key, row in later:
            self._rows[kind][key] = row
        self._keys = {kind: sorted(rows) for kind, rows in self._rows.items()}

    @property
    def schema(self) -> int:
        """That of the snapshot."""
        return self._base.schema

    def survey(self) -> Totals:
        """That of the snapshot."""
        return self._base.survey()

    def dense(self) -> DenseRows | None:
        """There are none."""
        return self._base.dense()

    def mapper(self, name: str) -> NodeMapper:
        """What turns rows into memories of the source `name`, and back."""
        return self._base.mapper(name)

    def nodes(
        self, mapper: NodeMapper, after: int | None, limit: int
    ) -> Sequence[LegacyNode | Unreadable]:
        """Up to `limit` memories after the key `after`, by key; an empty page is the end."""
        page = self._merged("node", self._base.raw_nodes, after, limit)
        return [self._base.made_node(mapper, key, row) for key, row in page]

    def edges(self, after: int | None, limit: int) -> Sequence[LegacyEdge | Unreadable]:
        """Up to `limit` edges, otherwise as `nodes`."""
        page = self._merged("edge", self._base.raw_edges, after, limit)
        return [self._base.made_edge(key, row) for key, row in page]

    def turns(self, after: int | None, limit: int) -> Sequence[LegacyTurn | Unreadable]:
        """Up to `limit` turns, otherwise as `nodes`."""
        page = self._merged("turn", self._base.raw_turns, after, limit)
        return [self._base.made_turn(key, row) for key, row in page]

    def _merged(
        self, kind: str, read: Callable[[int | None, int], Page], after: int | None, limit: int
    ) -> Page:
        page = [] if self._alone else read(after, limit)
        keys, rows = self._keys[kind], self._rows[kind]
        first = 0 if after is None else bisect_right(keys, after)
        last = bisect_right(keys, page[-1][0]) if page else len(keys)
        merged: dict[int, Row | str] = dict(page)
        merged.update((key, rows[key]) for key in keys[first:last])
        return sorted(merged.items())[:limit]

    def close(self) -> None:
        """Close the snapshot."""
        self._base.close()
