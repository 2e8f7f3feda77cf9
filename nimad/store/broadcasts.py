"""What `step` put into the workspace: ids of memories, never their text.

A row goes with its memory, in the same transaction.
"""

from __future__ import annotations

from typing import NamedTuple

from nimad.namespaces import Namespaces
from nimad.store.namespaces import memories_within
from nimad.store.records import Records
from nimad.store.transaction import Transaction

KEPT = 500
"""Number of broadcasts that are kept [rows]."""


class Broadcast(NamedTuple):
    """A memory that won: when [epoch milliseconds], under which affects (a mask), its score."""

    id: int
    memory: int
    at: int
    affect: int
    score: float


def add(tx: Transaction, memory: int, at: int, affect: int, score: float) -> int:
    """Note a winner, and drop what is older than the last `KEPT`; its id."""
    number = tx.insert("broadcasts", memory=memory, at=at, affect=affect, score=score)
    tx.execute("DELETE FROM broadcasts WHERE id <= ?", (number - KEPT,))
    return number


def latest(records: Records, limit: int, within: Namespaces | None = None) -> list[Broadcast]:
    """The last broadcasts of memories in some namespaces, in their order."""
    sql = (
        "SELECT b.id, b.memory, b.at, b.affect, b.score FROM broadcasts b"
        f" JOIN memories m ON m.id = b.memory WHERE {memories_within(records, within)}"
        " ORDER BY b.id DESC LIMIT ?"
    )
    return [Broadcast(*row) for row in records.rows(sql, (limit,))][::-1]
