"""The ledger of legacy sources in the records: stages, cursors, totals, quarantine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nimad.errors import NotFound
from nimad.store.records import Records
from nimad.store.transaction import Transaction

STAGES = ("attached", "copied", "encoded", "linked", "verified", "rolled_back", "failed")


@dataclass(slots=True, frozen=True)
class Source:
    """One attached legacy source; the fields are the columns of `sources` (see store/schema.py)."""

    id: int
    name: str
    kind: str
    path: str
    fingerprint: str
    format: int
    snapshot: str | None
    sha256: str
    bytes: int
    strategy: str
    batch_size: int
    stage: str
    paused: int
    error: str | None
    total: int
    total_edges: int
    total_turns: int
    node_cursor: int
    edge_cursor: int
    turn_cursor: int
    encode_cursor: int
    copied: int
    relations: int
    turns: int
    encoded: int
    linked: int
    verified: int
    attached: int
    started: int | None
    finished: int | None
    follow: int
    total_dense: int
    dense_cursor: int
    converted: int
    report: dict[str, Any] | None


COLUMNS = tuple(Source.__dataclass_fields__)
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM sources"


def _source(row: Sequence[Any]) -> Source:
    values = [*row[:-1], json.loads(row[-1]) if row[-1] else None]
    return Source(*values)


def all_sources(records: Records) -> list[Source]:
    """Every source, in the order they were attached."""
    return [_source(row) for row in records.rows(f"{_SELECT} ORDER BY id")]


def by_name(records: Records, name: str) -> Source:
    """The source of that name; raises NotFound."""
    found = records.rows(f"{_SELECT} WHERE name = ?", (name,))
    if not found:
        raise NotFound(kind="source", id=name)
    return _source(found[0])


def insert(tx: Transaction, **fields: Any) -> int:
    """Add a source; its row id.  `fields` are columns."""
    _known(fields)
    columns = ", ".join(fields)
    marks = ", ".join("?" * len(fields))
    values = [_value(value) for value in fields.values()]
    made = tx.connection.execute(f"INSERT INTO sources ({columns}) VALUES ({marks})", values)
    return int(made.lastrowid or 0)


def update(tx: Transaction, source: int, **fields: Any) -> None:
    """Change columns of a source."""
    _known(fields)
    settings = ", ".join(f"{name} = ?" for name in fields)
    values = [_value(value) for value in fields.values()]
    tx.execute(f"UPDATE sources SET {settings} WHERE id = ?", [*values, source])


def advance(tx: Transaction, source: int, **amounts: int) -> None:
    """Add to counters of a source."""
    _known(amounts)
    settings = ", ".join(f"{name} = {name} + ?" for name in amounts)
    tx.execute(f"UPDATE sources SET {settings} WHERE id = ?", [*amounts.values(), source])


def _known(fields: dict[str, Any]) -> None:
    unknown = set(fields) - set(COLUMNS)
    if unknown:
        raise ValueError(f"sources has no column {', '.join(sorted(unknown))}")


def _value(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


def quarantine(tx: Transaction, source: int, rows: Iterable[tuple[str, str | int, str]]) -> None:
    """Note rows that were not taken over: (kind, key in the source, reason)."""
    tx.many(
        "INSERT OR REPLACE INTO quarantine (source, kind, key, reason) VALUES (?, ?, ?, ?)",
        [(source, *row) for row in rows],
    )


def quarantined(records: Records, source: int, limit: int = -1) -> list[tuple[str, str | int, str]]:
    """(kind, key, reason) of the rows that were not taken over; at most `limit` (-1: all)."""
    return records.rows(
        "SELECT kind, key, reason FROM quarantine WHERE source = ? ORDER BY kind, key LIMIT ?",
        (source, limit),
    )


def count_quarantined(records: Records, source: int) -> int:
    """How many rows of a source were not taken over."""
    found = records.value("SELECT count(*) FROM quarantine WHERE source = ?", (source,))
    return int(found or 0)


def memory_ids(records: Records, source: int, keys: Sequence[str | int]) -> dict[str | int, int]:
    """Key in the source → memory id, for the keys that were taken over."""
    found: dict[str | int, int] = {}
    for start in range(0, len(keys), 500):
        part = keys[start : start + 500]
        marks = ",".join("?" * len(part))
        sql = f"SELECT source_key, id FROM memories WHERE source = ? AND source_key IN ({marks})"
        found.update(records.rows(sql, (source, *part)))
    return found


def unencoded(records: Records, source: int, after: int, limit: int) -> list[tuple[int, str]]:
    """(id, text) of a source's memories with ids above `after`, by id."""
    return records.rows(
        "SELECT id, text FROM memories WHERE source = ? AND id > ? ORDER BY id LIMIT ?",
        (source, after, limit),
    )


def all_memory_ids(records: Records, source: int) -> list[int]:
    """The ids of every memory of a source, sorted."""
    found = records.rows("SELECT id FROM memories WHERE source = ? ORDER BY id", (source,))
    return [row[0] for row in found]
