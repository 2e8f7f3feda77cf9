"""How far each source is: its stage, what is still due, and what the status shows of it.

The rows are the records' (store/sources.py); this file says what they mean.

    stage        done                                   under way, unless paused or failed
    attached     the snapshot is ours                   copying
    copied       memories and words                     encoding
    encoded      vectors in sealed segments             linking
    linked       turns, relations, graph                verifying
    verified     every row compared                     -
    lazy         the same, but vectors are still made   -
                 for what queries find only
    rolling_back nothing is sure any more               rolling_back
    rolled_back  everything of it is gone               -

`report` of a source keeps what has no column: `sent` (the digest the client gave), `start_after`
(rows up to this key were left out on request), `form` (of its hypervectors: dimension, block size),
`rerun` (a snapshot after the first one), `verification` (what the last one found), `now` (it waits
for no idle moment until it is done).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nimad.legacy.hostile_reader import FIRST_ID
from nimad.store import sources
from nimad.store.records import Records
from nimad.store.sources import Source
from nimad.store.transaction import Transaction

STATES = {
    "attached": "copying",
    "copied": "encoding",
    "encoded": "linking",
    "linked": "verifying",
    "verified": "verified",
    "lazy": "lazy",
    "rolling_back": "rolling_back",
    "rolled_back": "rolled_back",
}
MOVING = ("attached", "copied", "encoded", "linked", "rolling_back")
NOTES = ("forgotten", "changed", "removed")
"""Kinds in the quarantine's table that were taken over, and are noted for other reasons: forgotten
here on request; changed or deleted in the source afterwards."""
SHOWN = 20
"""Rows of the quarantine in a status."""


def state(source: Source) -> str:
    """The one word that the status shows."""
    if source.stage == "rolled_back":
        return "rolled_back"
    if source.paused:
        return "paused"
    if source.error is not None:
        return "failed"
    if source.stage == "attached" and source.started is None:
        return "attached"
    return STATES[source.stage]


def is_due(source: Source) -> bool:
    """Whether there is something to do that nobody has stopped."""
    return source.stage in MOVING and not source.paused and source.error is None


def at_once(source: Source) -> bool:
    """Whether it waits for no idle moment: asked for so at the beginning, or by `--now` since."""
    return source.strategy == "full" or bool(note(source, "now"))


def due(records: Records) -> list[Source]:
    """The sources to work on: those that wait for no idle moment first, then in order."""
    found = [source for source in sources.all_sources(records) if is_due(source)]
    return sorted(found, key=lambda source: not at_once(source))


def by_id(records: Records, source: int) -> Source:
    """The source as it is now."""
    return next(found for found in sources.all_sources(records) if found.id == source)


def note(source: Source, name: str, default: Any = None) -> Any:
    """A value of the source's `report`."""
    return (source.report or {}).get(name, default)


def with_notes(source: Source, **notes: Any) -> dict[str, Any]:
    """The source's `report` with some values changed; None takes one away."""
    merged = {**(source.report or {}), **notes}
    return {name: value for name, value in merged.items() if value is not None}


def cursor(value: int) -> int | None:
    """A stored cursor as what the reader wants: None before the first row."""
    return None if value == FIRST_ID else value


# --- what was not taken over --------------------------------------------------------------------


def quarantined(records: Records, source: int) -> int:
    """Rows that were not taken over, or not whole."""
    marks = ",".join("?" * len(NOTES))
    found = records.value(
        f"SELECT count(*) FROM quarantine WHERE source = ? AND kind NOT IN ({marks})",
        (source, *NOTES),
    )
    return int(found or 0)


def quarantine_rows(
    records: Records, source: int, limit: int = SHOWN, offset: int = 0
) -> list[dict[str, Any]]:
    """`limit` of them from `offset`, by kind and key, as the protocol shows them."""
    marks = ",".join("?" * len(NOTES))
    found = records.rows(
        f"SELECT kind, key, reason FROM quarantine WHERE source = ? AND kind NOT IN ({marks})"
        " ORDER BY kind, key LIMIT ? OFFSET ?",
        (source, *NOTES, limit, offset),
    )
    return [{"kind": kind, "key": key, "reason": reason} for kind, key, reason in found]


def noted(records: Records, source: int) -> dict[str, int]:
    """How many rows are noted under each kind of NOTES."""
    found = records.rows(
        "SELECT kind, count(*) FROM quarantine WHERE source = ? GROUP BY kind", (source,)
    )
    return {**dict.fromkeys(NOTES, 0), **{kind: n for kind, n in found if kind in NOTES}}


def keys_of_kind(records: Records, source: int, *kinds: str) -> set[int]:
    """The source's keys that the quarantine holds under any of these kinds."""
    marks = ",".join("?" * len(kinds))
    found = records.rows(
        f"SELECT key FROM quarantine WHERE source = ? AND kind IN ({marks})", (source, *kinds)
    )
    return {int(key) for (key,) in found}


def acquit(tx: Transaction, source: int, kind: str, keys: Sequence[int]) -> None:
    """Take rows out of the quarantine: they came in after all."""
    tx.many(
        "DELETE FROM quarantine WHERE source = ? AND kind = ? AND key = ?",
        [(source, kind, key) for key in keys],
    )


# --- what was taken over ------------------------------------------------------------------------


def relation_keys(records: Records, source: int) -> set[int]:
    """The keys of a source's relations that are in the records."""
    sql = "SELECT source_key FROM relations WHERE source = ?"
    return {int(key) for (key,) in records.rows(sql, (source,))}


def count(tx: Transaction, table: str, source: int) -> int:
    """Rows of "relations" or "turns" that came from a source."""
    listed = " AND listed" if table == "turns" else ""
    return int(tx.rows(f"SELECT count(*) FROM {table} WHERE source = ?{listed}", (source,))[0][0])
