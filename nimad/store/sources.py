"""The ledger of legacy sources in the records: stages, cursors, totals, quarantine.

`report` of a source keeps what has no column: `sent` (the digest the client gave), `start_after`
(rows up to this key were left out on request), `form` (of its hypervectors: dimension, block size),
`rerun` (a snapshot after the first one), `partial` (only what was appended is compared),
`verification` (what the last one found), `now` (it waits for no idle moment until it is done).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.errors import NotFound
from nimad.legacy.values import FIRST_ID
from nimad.model import Memory, Stage, State
from nimad.store.records import Records
from nimad.store.rows import SELECT
from nimad.store.transaction import Transaction

BEGIN: dict[str, Any] = {
    "stage": Stage.ATTACHED,
    "paused": 0,
    "error": None,
    "node_cursor": FIRST_ID,
    "edge_cursor": FIRST_ID,
    "turn_cursor": FIRST_ID,
    "linked": 0,
    "verified": 0,
}
"""A source whose snapshot is to be read from its first row on."""
NOTES = ("forgotten", "changed", "removed")
"""Kinds in the quarantine's table that were taken over, and are noted for other reasons: forgotten
here on request; changed or deleted in the source afterwards."""

REPORTED = ("sent", "start_after", "form", "rerun", "partial", "verification", "now")
"""What `report` may hold, see above; a purge leaves nothing else there."""
WHY_PURGED = "it failed; what was told of it went with a purged memory"


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
    stage: Stage
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

    @property
    def state(self) -> State:
        """What the status calls it."""
        if self.stage is Stage.ROLLED_BACK:
            return State.ROLLED_BACK
        if self.paused:
            return State.PAUSED
        if self.error is not None:
            return State.FAILED
        if self.stage is Stage.ATTACHED and self.started is None:
            return State.ATTACHED
        return self.stage.state

    @property
    def is_due(self) -> bool:
        """Whether there is something to do, and neither a pause nor an error stops it."""
        return self.stage.moving and not self.paused and self.error is None

    @property
    def at_once(self) -> bool:
        """Whether it waits for no idle moment: asked for so at the beginning, or since."""
        return self.strategy == "full" or bool(self.note("now"))

    def note(self, name: str, default: Any = None) -> Any:
        """A value of `report`."""
        return (self.report or {}).get(name, default)

    def with_notes(self, **notes: Any) -> dict[str, Any]:
        """`report` with some values changed; None takes one away."""
        merged = {**(self.report or {}), **notes}
        return {name: value for name, value in merged.items() if value is not None}


COLUMNS = tuple(Source.__dataclass_fields__)
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM sources"


def _source(row: Sequence[Any]) -> Source:
    values = dict(zip(COLUMNS, row, strict=True))
    report = values["report"]
    values |= {"stage": Stage(values["stage"]), "report": json.loads(report) if report else None}
    return Source(**values)


def all_sources(records: Records) -> list[Source]:
    """Every source, in the order they were attached."""
    return [_source(row) for row in records.rows(f"{_SELECT} ORDER BY id")]


def free_name(records: Records, wanted: str) -> str:
    """A name for a new source: the one wanted, with a number where a source has it."""
    taken = {source.name for source in all_sources(records)}
    names = [wanted, *(f"{wanted}-{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def due_sources(records: Records) -> list[Source]:
    """The sources to work on: those that wait for no idle moment first, then in order."""
    stages = [stage.value for stage in Stage if stage.moving]
    marks = ",".join("?" * len(stages))
    sql = f"{_SELECT} WHERE stage IN ({marks}) AND NOT paused AND error IS NULL ORDER BY id"
    found = [_source(row) for row in records.rows(sql, stages)]
    return sorted(found, key=lambda source: not source.at_once)


def by_id(records: Records, source: int) -> Source:
    """The source as it is now."""
    return _source(records.rows(f"{_SELECT} WHERE id = ?", (source,))[0])


def by_name(records: Records, name: str) -> Source:
    """The source of that name; raises NotFound."""
    found = records.rows(f"{_SELECT} WHERE name = ?", (name,))
    if not found:
        raise NotFound(kind="source", id=name)
    return _source(found[0])


def insert(tx: Transaction, **fields: Any) -> int:
    """Add a source; its row id.  `fields` are columns."""
    return tx.insert("sources", **_columns(fields))


def update(tx: Transaction, source: int, **fields: Any) -> None:
    """Change columns of a source."""
    settings = ", ".join(f"{name} = ?" for name in fields)
    tx.execute(f"UPDATE sources SET {settings} WHERE id = ?", [*_columns(fields).values(), source])


def change(records: Records, source: int, **fields: Any) -> None:
    """Change columns of a source, in a transaction of its own."""
    with records.write() as tx:
        update(tx, source, **fields)


def advance(tx: Transaction, source: int, **amounts: int) -> None:
    """Add to counters of a source."""
    settings = ", ".join(f"{name} = {name} + ?" for name in amounts)
    tx.execute(f"UPDATE sources SET {settings} WHERE id = ?", [*_columns(amounts).values(), source])


def clear_remarks(tx: Transaction, source: int, keys: Sequence[str | int]) -> None:
    """Delete what the ledger may quote of memories that are purged, by their keys in the source."""
    tx.many(
        "DELETE FROM quarantine WHERE source = ? AND key = ?"
        " AND kind NOT IN ('forgotten', 'edge', 'turn')",
        [(source, key) for key in keys],
    )
    for error, written in tx.rows("SELECT error, report FROM sources WHERE id = ?", (source,)):
        report = json.loads(written or "{}")
        kept = {name: report[name] for name in REPORTED if name in report}
        if "verification" in kept:
            kept["verification"] |= {"differences": []}
        update(tx, source, error=error and WHY_PURGED, report=kept or None)


def _columns(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as SQLite takes them.  Raises ValueError for a name that is no column."""
    if unknown := set(fields) - set(COLUMNS):
        raise ValueError(f"sources has no column {', '.join(sorted(unknown))}")
    return {
        name: json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value
        for name, value in fields.items()
    }


# --- what was not taken over --------------------------------------------------------------------


def quarantine(tx: Transaction, source: int, rows: Iterable[tuple[str, str | int, str]]) -> None:
    """Note rows that were not taken over: (kind, key in the source, reason)."""
    tx.many(
        "INSERT OR REPLACE INTO quarantine (source, kind, key, reason) VALUES (?, ?, ?, ?)",
        [(source, *row) for row in rows],
    )


def release_from_quarantine(tx: Transaction, source: int, kind: str, keys: Sequence[int]) -> None:
    """Forget the notes of rows that came in after all."""
    tx.many(
        "DELETE FROM quarantine WHERE source = ? AND kind = ? AND key = ?",
        [(source, kind, key) for key in keys],
    )


_QUARANTINED = f"FROM quarantine WHERE source = ? AND kind NOT IN ({','.join(map(repr, NOTES))})"


def count_quarantined(records: Records, source: int) -> int:
    """How many rows were not taken over, or not whole."""
    return int(records.value(f"SELECT count(*) {_QUARANTINED}", (source,)) or 0)


def quarantine_rows(
    records: Records, source: int, limit: int, offset: int = 0
) -> list[dict[str, Any]]:
    """`limit` of them from `offset`, by kind and key, as the protocol shows them."""
    sql = f"SELECT kind, key, reason {_QUARANTINED} ORDER BY kind, key LIMIT ? OFFSET ?"
    found = records.rows(sql, (source, limit, offset))
    return [{"kind": kind, "key": key, "reason": reason} for kind, key, reason in found]


def count_notes(records: Records, source: int) -> dict[str, int]:
    """How many rows are noted under each kind of NOTES."""
    sql = "SELECT kind, count(*) FROM quarantine WHERE source = ? GROUP BY kind"
    found = dict(records.rows(sql, (source,)))
    return {kind: found.get(kind, 0) for kind in NOTES}


def quarantined_keys(records: Records, source: int, *kinds: str) -> set[int]:
    """The source's keys that the quarantine holds under any of these kinds."""
    marks = ",".join("?" * len(kinds))
    sql = f"SELECT key FROM quarantine WHERE source = ? AND kind IN ({marks})"
    return {int(key) for (key,) in records.rows(sql, (source, *kinds))}


# --- what was taken over ------------------------------------------------------------------------


def memory_ids(records: Records, source: int, keys: Iterable[int]) -> dict[int, int]:
    """Key in the source → memory id, for the keys that were taken over."""
    sql = (
        "SELECT source_key, id FROM memories WHERE source = ?"
        " AND source_key IN (SELECT value FROM json_each(?))"
    )
    return dict(records.rows(sql, (source, json.dumps(sorted(set(keys))))))


def memories(records: Records, source: int, keys: Iterable[int]) -> dict[int, Memory]:
    """Key in the source → memory with its blobs, for the keys that were taken over."""
    rows_of = f"{SELECT} WHERE m.source = ? AND m.source_key IN (SELECT value FROM json_each(?))"
    rows = records.rows(rows_of, (source, json.dumps(sorted(set(keys)))))
    found = records.with_blobs(records.memories_of(rows))
    return {int(memory.source[1]): memory for memory in found if memory.source}


def all_memory_ids(records: Records, source: int) -> NDArray[np.int64]:
    """int64[n]: the ids of every memory of a source, sorted."""
    return records.ids_of("SELECT id FROM memories WHERE source = ? ORDER BY id", (source,))


def relation_keys(records: Records, source: int) -> set[int]:
    """The keys of a source's relations that are in the records."""
    sql = "SELECT source_key FROM relations WHERE source = ?"
    return {int(key) for (key,) in records.rows(sql, (source,))}
