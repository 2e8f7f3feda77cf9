"""Forgets the memories that a selection names, and no others: `forget --where`, and by rule.

Documents and goals are never among them.  Ids are chosen anew before each batch, so that what came
to be found meanwhile stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import tzinfo

from nimad.core.purge import Receipt
from nimad.core.store import MemoryStore
from nimad.dataclass import dataclass
from nimad.namespaces import Namespaces
from nimad.selection import Selection

BATCH = 200
"""Number of memories that are forgotten in one transaction [memories]."""


@dataclass(frozen=True)
class Chosen:
    """The memories that a selection names, at a time [epoch milliseconds], in some namespaces."""

    store: MemoryStore
    selection: Selection
    now: int
    zone: tzinfo
    within: Namespaces | None = None

    def batches(self) -> Iterator[list[int]]:
        """All ids, ascending, in batches; each is chosen when it is asked for."""
        where = self.selection.filter(self.now, self.zone, self.within)
        condition, parameters = self.store.records.condition(where)
        clauses = [condition, "m.key IS NULL"]
        clauses.append("NOT EXISTS (SELECT 1 FROM goals g WHERE g.memory = m.id)")
        stored = self.selection.moment("stored_before", self.now, self.zone)
        if stored is not None:
            clauses.append("m.created < ? AND m.created != 0")
            parameters.append(stored)
        if self.selection.never_found:
            clauses.append("m.access_count = 0")
        clauses.append("m.id > ?")
        sql = f"SELECT m.id FROM memories m WHERE {' AND '.join(clauses)} ORDER BY m.id LIMIT ?"
        after = 0
        while rows := self.store.records.rows(sql, (*parameters, after, BATCH)):
            after = rows[-1][0]
            read = self.store.writer.accesses.ids() if self.selection.never_found else set()
            if batch := [number for (number,) in rows if number not in read]:
                yield batch

    def forget(self, *, purge: bool = False, dry_run: bool = False) -> Receipt:
        """Forget them all, or only tell what would go; the receipt of all together.

        What is purged goes in one transaction, which notes the purge; the rest batch by batch, so
        that others can write meanwhile.
        """
        if purge or dry_run:
            ids = [number for batch in self.batches() for number in batch]
            if ids:
                return self.store.forget(ids, purge=purge, dry_run=dry_run)
        whole = Receipt([], [], False, dry_run)
        removed: Counter[str] = Counter()
        for batch in () if purge or dry_run else self.batches():
            self.store.query_priority.yield_to_queries()
            receipt = self.store.forget(batch)
            whole.forgotten += receipt.forgotten
            removed.update(receipt.removed)
        whole.removed = dict(removed)
        return whole
