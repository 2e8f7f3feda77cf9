"""When documents and goals of shared namespaces last changed: a hybrid logical clock.

A stamp is (epoch milliseconds << 16) + a counter: later than every stamp that this store has seen,
and not before its clock, where that can be true.  (Kulkarni et al., Logical Physical Clocks, 2014.)
Of two versions the one with the later stamp counts.  A clock that was never set gives only the
counter, and one that is ahead is cut down to the hub's time before a stamp leaves the board
(`cut_down`), so that a date in the future wins nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from nimad.store.transaction import SHARED, Transaction

META = "stamp"
"""The key in `meta` of the latest stamp that was given or seen."""
SHIFT = 16
"""Length of the counter [bits]."""
LATEST = 1 << 61
"""What no stamp exceeds."""
LAST_MS = (LATEST >> SHIFT) - 1
"""Time after which a clock, or the date of a document, gives no later stamp: in 3084 [epoch
milliseconds]."""
TRUSTED_FROM = 1_795_176_000_000
"""A clock before the release of the first version with stamps is not set [epoch milliseconds]."""

_SHARED = (
    "SELECT m.id FROM memories m JOIN names n ON n.id = m.namespace WHERE n.name IN"
    f" (SELECT value FROM json_each((SELECT value FROM meta WHERE key = '{SHARED}')))"
)


def note(tx: Transaction, memories: Sequence[int], at: int) -> None:
    """Documents or goals have changed here; does nothing for those outside of shared namespaces.
    `at` is what the clock shows [epoch milliseconds]."""
    among = f"{_SHARED} AND m.id IN (SELECT value FROM json_each(?)) ORDER BY m.id"
    if shared := tx.rows(among, (json.dumps(list(memories)),)):
        shown = min(at, LAST_MS) << SHIFT if at >= TRUSTED_FROM else 0
        first = max(_latest(tx) + 1, shown)
        _write(tx, [(number, time) for time, (number,) in enumerate(shared, first)], mine=True)


def learn(tx: Transaction, memory: int, time: int) -> None:
    """Another board changed a document or goal."""
    _write(tx, [(memory, time)], mine=False)


def _write(tx: Transaction, times: Sequence[tuple[int, int]], mine: bool) -> None:
    tx.set_meta(META, max(times[-1][1], _latest(tx)))
    tx.execute(
        "INSERT OR REPLACE INTO stamps (memory, time, mine)"
        " SELECT value ->> 0, value ->> 1, ? FROM json_each(?)",
        (mine, json.dumps(times)),
    )


def _latest(tx: Transaction) -> int:
    found = tx.rows("SELECT value FROM meta WHERE key = ?", (META,))
    return int(found[0][0]) if found else 0


def stamp_of(tx: Transaction, memory: int) -> int:
    """The stamp of a document or goal; 0 where it has none."""
    found = tx.rows("SELECT time FROM stamps WHERE memory = ?", (memory,))
    return int(found[0][0]) if found else 0


def share(tx: Transaction) -> None:
    """Stamp what was in a namespace before it was shared, by the time that it has."""
    for column, table in (
        ("o.timestamp", "memories"),
        ("max(o.since, ifnull(o.closed, 0))", "goals"),
    ):
        number = "id" if table == "memories" else "memory"
        tx.execute(
            "INSERT OR IGNORE INTO stamps (memory, time)"
            f" SELECT o.{number}, min(max({column}, 0), ?) << ? FROM {table} o"
            f" WHERE o.{number} IN ({_SHARED})"
            + (" AND o.key IS NOT NULL" if table == "memories" else ""),
            (LAST_MS, SHIFT),
        )
    ((latest,),) = tx.rows("SELECT ifnull(max(time), 0) FROM stamps")
    tx.set_meta(META, max(latest, _latest(tx)))  # what comes next is later


def cut_down(tx: Transaction, now: int) -> None:
    """No own stamp stays later than `now`, the hub's time [epoch milliseconds]."""
    if TRUSTED_FROM <= now <= LAST_MS and _latest(tx) > (limit := (now + 1) << SHIFT):
        tx.execute("UPDATE stamps SET time = ? WHERE mine AND time > ?", (limit, limit))
        tx.set_meta(META, limit)
