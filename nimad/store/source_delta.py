"""Rows of a followed source that came after its snapshot: part of the backup, kept in the records.

A row is what the source had, value by value, as `legacy.values.pack` makes it JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nimad.legacy.values import pack, unpack
from nimad.store.records import Records
from nimad.store.transaction import Transaction

if TYPE_CHECKING:
    from nimad.legacy.source import Row

KINDS = ("node", "edge", "turn")


def add(tx: Transaction, source: int, rows: Mapping[str, Mapping[int, Row]]) -> None:
    """Keep rows, by kind and key in the source; a later one replaces an earlier one."""
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    tx.many(
        "INSERT OR REPLACE INTO later (source, kind, key, row) VALUES (?, ?, ?, ?)",
        [
            (source, kind, key, encode([pack(value) for value in row]))
            for kind, found in rows.items()
            for key, row in found.items()
        ],
    )


def rows(records: Records, source: int) -> list[tuple[str, int, Row]]:
    """All rows of a source, by kind and key."""
    sql = "SELECT kind, key, row FROM later WHERE source = ? ORDER BY kind, key"
    found = records.rows(sql, (source,))
    return [(kind, key, tuple(map(unpack, json.loads(row)))) for kind, key, row in found]


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
