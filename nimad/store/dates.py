"""Memories get other times: those of a clock that was set, or the date that somebody names."""

from __future__ import annotations

import json
from collections.abc import Sequence

from nimad.store import rows
from nimad.store.transaction import MANY, Transaction

CREATED, TIMESTAMP = 1, 2
"""Fields of a memory that have a time."""


def move(tx: Transaction, moves: Sequence[tuple[int, int, int]]) -> None:
    """Add milliseconds to times of memories: (id, how many, CREATED, TIMESTAMP or their sum).

    A turn that has its time from one of them moves with it.
    """
    tx.many(
        "UPDATE turns SET timestamp = timestamp + ?1 WHERE (id, timestamp) ="
        " (SELECT turn, timestamp FROM memories WHERE id = ?2)",
        [(jump, number) for number, jump, fields in moves if fields & TIMESTAMP],
    )
    tx.many(
        "UPDATE memories SET created = created + ?, timestamp = timestamp + ?, checksum = NULL"
        " WHERE id = ?",
        [
            (jump * bool(fields & CREATED), jump * bool(fields & TIMESTAMP), number)
            for number, jump, fields in moves
        ],
    )
    _note(tx, [number for number, _, _ in moves])


def give(tx: Transaction, ids: Sequence[int], at: int) -> None:
    """Memories, which must be there, happened at `at` [epoch milliseconds], and turns that have
    their time from one of them.

    A few statements, however many they are (1.4 us each): others wait to write, and this thread
    would wait for theirs each time that it comes back from SQLite.
    """
    some, marks = "IN (SELECT value FROM json_each(?2))", json.dumps(list(ids))
    for sql in (
        f"UPDATE turns SET timestamp = ?1 FROM memories m WHERE m.id {some}"
        " AND turns.id = m.turn AND turns.timestamp = m.timestamp",
        f"UPDATE memories SET timestamp = ?1, checksum = NULL WHERE id {some}",
    ):
        tx.execute(sql, (at, marks))
    tx.execute(f"UPDATE unset_clock SET fields = fields & ?1 WHERE memory {some}", (CREATED, marks))
    _note(tx, ids)


def _note(tx: Transaction, ids: Sequence[int]) -> None:
    tx.execute("DELETE FROM meta WHERE key = ?", (rows.CHECKSUMMED,))
    spans = rows.ranges(sorted(ids))
    if len(spans) > MANY:  # those between are read again as well: that costs less than the changes
        spans = [(spans[0][0], spans[-1][1])]
    tx.note_spans("change", "memory", spans)
