"""Rows of a followed source that came after its snapshot: part of the backup, kept in the records.

A row is what the source had, value by value, as `legacy.values.pack` makes it JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from nimad.store.records import Records
from nimad.store.transaction import Transaction

KINDS = ("node", "edge", "turn")
Packed = list[Any]


def add(tx: Transaction, source: int, rows: Iterable[tuple[str, int, Packed]]) -> None:
    """Keep rows: (kind, key in the source, packed values); a later one replaces an earlier one."""
    tx.many(
        "INSERT OR REPLACE INTO later (source, kind, key, row) VALUES (?, ?, ?, ?)",
        [
            (source, kind, key, json.dumps(row, ensure_ascii=False, separators=(",", ":")))
            for kind, key, row in rows
        ],
    )


def rows(records: Records, source: int) -> list[tuple[str, int, Packed]]:
    """All rows of a source, by kind and key."""
    sql = "SELECT kind, key, row FROM later WHERE source = ? ORDER BY kind, key"
    return [(kind, key, json.loads(row)) for kind, key, row in records.rows(sql, (source,))]


def keys(records: Records, source: int, kind: str) -> set[int]:
    """The keys of one kind that are kept."""
    sql = "SELECT key FROM later WHERE source = ? AND kind = ?"
    return {key for (key,) in records.rows(sql, (source, kind))}


def size_bytes(tx: Transaction, source: int) -> int:
    """What a source's rows take, about [bytes]."""
    sql = "SELECT coalesce(sum(length(CAST(row AS BLOB))), 0) FROM later WHERE source = ?"
    return int(tx.rows(sql, (source,))[0][0])


def forget(tx: Transaction, source: int) -> None:
    """Delete the rows of a source."""
    tx.execute("DELETE FROM later WHERE source = ?", (source,))


def forget_memories(tx: Transaction, source: int, nodes: Sequence[int | str]) -> None:
    """Delete the rows of the memories with these keys, their edges, and turns of nothing else."""
    alive = "SELECT source_key FROM memories WHERE source = ?1"
    doomed = "SELECT value FROM json_each(?2)"
    for condition in (
        f"kind = 'node' AND key IN ({doomed})",
        f"kind = 'edge' AND (row ->> 0 IN ({doomed}) OR row ->> 1 IN ({doomed}))",
        "kind = 'turn' AND "
        + f"(row ->> 1 IN ({doomed}) OR row ->> 2 IN ({doomed}) OR row ->> 3 IN ({doomed}))"
        + f" AND NOT EXISTS ({alive} AND source_key IN (row ->> 1, row ->> 2, row ->> 3))",
    ):
        sql = f"DELETE FROM later WHERE source = ?1 AND {condition}"
        tx.execute(sql, (source, json.dumps(list(nodes))))
