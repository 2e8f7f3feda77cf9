"""What the graph follows: the change log of the records, and the rows behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from nimad.model import Change, Relation, Turn

Row = TypeVar("Row")

PAGE = 5000
"""Ids asked for at a time."""
END_OF_IDS = 1 << 62


class ChangeFeed(Protocol):
    """The records, as the graph sees them (`nimad.store.records.Records` is one).

    An "add" of a turn that is known already means that it changed.  Rows are those that exist now:
    the log may tell of rows that are gone again.
    """

    def head(self) -> int:
        """The last change's sequence number; 0 when there was none."""

    def changes(self, after: int, limit: int) -> list[Change]:
        """Up to `limit` changes after a sequence number, in order."""

    def memory_keys(self, first: int, last: int) -> list[tuple[int, str, str | None, int]]:
        """id, layer, who, timestamp of the memories `first`..`last`, by id."""

    def turn_rows(self, first: int, last: int) -> list[Turn]:
        """The turns `first`..`last`, by id."""

    def relation_rows(self, first: int, last: int) -> list[Relation]:
        """The relations `first`..`last`, by id."""

    def counts(self) -> dict[str, int]:
        """How many memories, turns and relations there are."""


def every(rows: Callable[[int, int], list[Row]], expected: int) -> Iterator[list[Row]]:
    """All rows of one kind, page by page, in order of their ids.

    Nobody tells the highest id: reading stops when `expected` rows (counted before the first page)
    have come, or when wider and wider steps find nothing more.  Rows that are added meanwhile have
    higher ids, so they cannot make it stop before the older ones are through.
    """
    first, width, seen = 1, PAGE, 0
    while seen < expected and first < END_OF_IDS:
        page = rows(first, first + width - 1)
        first += width
        width = PAGE if page else width * 4
        seen += len(page)
        if page:
            yield page
