"""What `dream` found: pairs of memories and why, never their text.

A row goes with either of its memories, in the same transaction.  A pair that was rejected stays as
two ids, so that it is not suggested again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

from nimad.namespaces import Namespaces
from nimad.store.namespaces import memories_within
from nimad.store.records import Records
from nimad.store.transaction import Transaction

DREAMT = "dreamt_to"
"""Key in `meta`: the highest id that `dream` has looked at."""


class Pair(NamedTuple):
    """Two memories, the older first, and how alike they are (a cosine)."""

    kind: str
    first: int
    second: int
    score: float


class Suggestion(NamedTuple):
    """A pair that waits to be accepted or rejected."""

    id: int
    kind: str
    first: int
    second: int
    score: float
    created: int


def add(tx: Transaction, pairs: Iterable[Pair], upto: int) -> int:
    """Keep pairs whose memories are there and that were not suggested before, and how far the
    memories were looked at; the number of new ones."""
    before = tx.rows("SELECT count(*) FROM suggestions")[0][0]
    now = time.time_ns() // 1_000_000
    tx.many(
        "INSERT OR IGNORE INTO suggestions (kind, first, second, score, created)"
        " SELECT ?1, ?2, ?3, ?4, ?5 WHERE 2 = (SELECT count(*) FROM memories WHERE id IN (?2, ?3))",
        [(*pair, now) for pair in pairs],
    )
    tx.set_meta(DREAMT, upto)
    return int(tx.rows("SELECT count(*) FROM suggestions")[0][0]) - int(before)


def settle(tx: Transaction, number: int, *, rejected: bool) -> None:
    """A suggestion was rejected, or what it asks for was done."""
    if rejected:
        tx.execute("UPDATE suggestions SET rejected = 1 WHERE id = ?", (number,))
    else:
        tx.execute("DELETE FROM suggestions WHERE id = ?", (number,))


def waiting(
    records: Records, limit: int, within: Namespaces | None = None, number: int | None = None
) -> list[Suggestion]:
    """Suggestions (or the one of a number) whose memories are both in some namespaces, best
    first."""
    inside = memories_within(records, within)
    both = f"SELECT 1 FROM memories m WHERE m.id = {{}} AND {inside}"
    sql = (
        "SELECT id, kind, first, second, score, created FROM suggestions WHERE NOT rejected"
        f" AND (?1 IS NULL OR id = ?1) AND EXISTS ({both.format('first')})"
        f" AND EXISTS ({both.format('second')}) ORDER BY score DESC, id LIMIT ?2"
    )
    return [Suggestion(*row) for row in records.rows(sql, (number, limit))]


def dreamt_to(records: Records) -> int:
    """The highest id that was looked at; 0 before the first."""
    return int(records.meta(DREAMT) or 0)
