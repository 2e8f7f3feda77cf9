"""The records as the graph follows them, read so that whoever asks something goes first."""

from __future__ import annotations

from nimad.core.store import MemoryStore
from nimad.model import Change, Relation, Turn


class PoliteFeed:
    """Gives way before each page; otherwise the records (see graph/feed.ChangeFeed)."""

    def __init__(self, store: MemoryStore) -> None:
        self._records, self._give_way = store.records, store.query_priority.yield_to_queries

    def head(self) -> int:
        """The last change's sequence number."""
        return self._records.head()

    def counts(self) -> dict[str, int]:
        """How many memories, turns and relations there are."""
        return self._records.counts()

    def changes(self, after: int, limit: int) -> list[Change]:
        """Up to `limit` changes after a sequence number, in order."""
        self._give_way()
        return self._records.changes(after, limit)

    def memory_keys(self, first: int, last: int) -> list[tuple[int, str, str | None, int]]:
        """id, layer, who, timestamp of the memories `first`..`last`, by id."""
        self._give_way()
        return self._records.memory_keys(first, last)

    def turn_rows(self, first: int, last: int) -> list[Turn]:
        """The turns `first`..`last`, by id."""
        self._give_way()
        return self._records.turn_rows(first, last)

    def relation_rows(self, first: int, last: int) -> list[Relation]:
        """The relations `first`..`last`, by id."""
        self._give_way()
        return self._records.relation_rows(first, last)
