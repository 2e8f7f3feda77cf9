"""Whether the records are what was written: SQLite's own check, and a checksum of each memory.

SQLite keeps no checksums: a flipped bit of a text would be served as it is.  The column `checksum`
is written with the row (see `rows.checksum`); rows of older versions get theirs in idle time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from nimad.disk.failures import translated
from nimad.store import rows
from nimad.store.records import Records
from nimad.store.transaction import Transaction

BLOBS = "SELECT memory, name, data FROM blobs WHERE memory IN"
Blobs = dict[int, list[tuple[str, bytes]]]


def integrity_problems(records: Records) -> list[str]:
    """What SQLite finds wrong with the file; reads it whole.

    What it says of the words index of nimad before schema 9 is left out: nothing reads that.
    """
    with translated(records.path):
        lines = records.long_reads.run(records.connect_reader, _check)
    return [line for line in lines if line != "ok" and "FTS5 table main.words" not in line]


def _check(fresh: sqlite3.Connection) -> list[str]:
    try:
        lines = fresh.execute("PRAGMA integrity_check(20)").fetchall()
    except (sqlite3.DatabaseError, MemoryError) as error:
        if getattr(error, "sqlite_errorname", "") not in ("", "SQLITE_CORRUPT_VTAB"):
            raise
        # that index is damaged, or half dropped: SQLite 3.44 and newer look into it, too
        sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0"
        tables = [name.replace('"', '""') for (name,) in fresh.execute(sql)]
        checks = (f'PRAGMA integrity_check("{name}")' for name in tables)
        lines = [line for check in checks for line in fresh.execute(check)]
    return [line for (line,) in lines]


def damaged(records: Records, ids: Sequence[int]) -> list[int]:
    """Which of these memories are not what was written."""
    return sorted(n for n, right in _compare(records, ids) if right is False)


def complete(records: Records, ids: Sequence[int]) -> list[int]:
    """Give those of these memories a checksum that have none and may lack it; which are not what
    was written."""
    found = _compare(records, ids)
    if lacking := [number for number, right in found if right is None]:
        _add(records, lacking)
    return sorted(number for number, right in found if right is False)


def note_completed(tx: Transaction) -> None:
    """Note that all memories have a checksum, if they do."""
    noted = tx.rows("SELECT 1 FROM meta WHERE key = ?", (rows.CHECKSUMMED,))
    if not noted and not tx.rows("SELECT 1 FROM memories WHERE checksum IS NULL LIMIT 1"):
        tx.set_meta(rows.CHECKSUMMED, "1")


def _add(records: Records, lacking: Sequence[int]) -> None:
    with records.write() as tx:  # they may have changed since
        marks = ",".join(map(str, lacking))
        blobs = _blobs(tx.rows(f"{BLOBS} ({marks})"))
        made = [
            (rows.checksum(row, blobs.get(row[rows.ID], [])), row[rows.ID])
            for *row, known in tx.rows(f"{rows.STORED} WHERE m.id IN ({marks})")
            if known is None
        ]
        tx.many("UPDATE memories SET checksum = ? WHERE id = ?", made)


def _compare(records: Records, ids: Sequence[int]) -> list[tuple[int, bool | None]]:
    """Each id, and whether its row is what was written; None: it may lack a checksum, and does."""
    blobs = _blobs(records.rows_in(BLOBS, ids))
    found = []
    for *row, known in records.rows_in(f"{rows.STORED} WHERE m.id IN", ids):
        number = row[rows.ID]
        right = None if known is None else rows.checksum(row, blobs.get(number, [])) == known
        found.append((number, right))
    return found


def _blobs(found: Iterable[tuple[int, str, bytes]]) -> Blobs:
    blobs: Blobs = {}
    for memory, name, data in found:
        blobs.setdefault(memory, []).append((name, data))
    return blobs
