"""Reads memories within a bound on what they take in RAM: lengths first, then texts.

A memory may hold 16 MiB in each column (a legacy store's), so how many fit is not known by their
number.  Long values are cut where all together would not fit; pages end where their bytes do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import fields
from itertools import accumulate
from typing import Any

from nimad.disk.failures import translated
from nimad.model import CutDamagedMemory, CutMemory, DamagedMemory, Filter, Memory
from nimad.store.records import Records

READ_CHARS = 4 << 20
"""Length of all memories of one answer; longer ones are cut to a fair share [characters]."""
FEW = 16
"""Number of memories that are read without a look at their lengths first [memories]."""
CUT = " …"
"""Ends a value that was cut."""

_LENGTH = (
    "ifnull(length(text), 0) + ifnull(length(affect), 0) + ifnull(length(extra), 0)"
    " + CASE typeof(summary) WHEN 'text' THEN length(summary) ELSE 0 END"
)
BYTES = (
    "ifnull(length(CAST(text AS BLOB)), 0) + ifnull(length(affect), 0) + ifnull(length(extra), 0)"
    " + ifnull((SELECT sum(length(data)) FROM blobs WHERE memory = m.id), 0) * 4 / 3"
)
"""Least that a memory takes in an export [bytes]."""


def get_within(records: Records, ids: Sequence[int], room: int = READ_CHARS) -> dict[int, Memory]:
    """As `Records.get`, but long values are cut (CutMemory) when all would exceed `room`.

    `room` is in characters.  A few memories are read whole, whatever they take: the look at
    lengths would cost an ordinary query more than it saves.
    """
    if len(ids) <= FEW:
        return records.get(ids)
    sql = f"SELECT id, {_LENGTH} FROM memories WHERE id IN"
    lengths: dict[int, int] = dict(records.rows_in(sql, ids))
    if sum(lengths.values()) <= room:
        return records.get(ids)
    share = fair_share(lengths.values(), room)
    found: dict[int, Memory] = {}
    waiting = list(lengths.items())
    while waiting:  # some that are at most `room` long together; one that is longer comes alone
        ends = accumulate(length for _, length in waiting)
        some = max(1, sum(end <= room for end in ends))
        for number, memory in records.get([number for number, _ in waiting[:some]]).items():
            found[number] = memory if lengths[number] <= share else cut_memory(memory, share)
        del waiting[:some]
    return found


def fair_share(sizes: Iterable[int], room: int) -> int:
    """The limit for each value so that all fit in `room`: short ones leave their rest to long ones.

    Any unit; 0 when there is no room at all.
    """
    ordered = sorted(sizes)
    for place, size in enumerate(ordered):
        share = max(room, 0) // (len(ordered) - place)
        if size > share:
            return share
        room -= size
    return ordered[-1] if ordered else 0


def cut_memory(memory: Memory, share: int) -> Memory:
    """The memory with its long values cut, so that they are `share` characters together."""
    values = {field.name: getattr(memory, field.name) for field in fields(memory)}
    long = {name: values[name] for name in ("text", "affect", "summary") if values[name]}
    extra = len(str(memory.extra or ""))
    most = fair_share([*map(len, long.values()), extra], share)
    values |= {name: text[:most] + CUT for name, text in long.items() if len(text) > most}
    if extra > most:
        values["extra"] = None
    return (CutDamagedMemory if isinstance(memory, DamagedMemory) else CutMemory)(**values)


def page_within(
    records: Records, after: int, limit: int, where: Filter, room: int
) -> tuple[list[Memory], bool]:
    """Memories with ids above `after`, by id, blobs included, and whether more follow.

    The page ends at `limit` memories, or
    before one whose bytes would exceed `room`; it is empty, and nothing of it was read, where the
    first one alone would.
    """
    ids, more = ids_of_page(records, after, limit, where, room)
    found = records.get(ids)
    return records.with_blobs([found[number] for number in ids if number in found]), more


def ids_of_page(
    records: Records, after: int, limit: int, where: Filter, room: int
) -> tuple[list[int], bool]:
    """The ids of such a page, and whether more follow."""
    ids: list[int] = []
    more = False
    with translated(records.path), records.reading() as reader:
        # read row by row: what comes after a full page is never looked at
        for number, size in reader.execute(*_above(records, after, where, limit + 1, BYTES)):
            room -= size
            if more := room < 0 or len(ids) == limit:
                break
            ids.append(number)
    return ids, more


def rows_within(
    records: Records, sql: str, parameters: Sequence[Any], text: int, room: int
) -> list[tuple[Any, ...]]:
    """The first rows of a statement, until the texts in one of its columns are `room` characters
    long: one row at least, where there is one."""

    def take(cursor: sqlite3.Cursor) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        left = room
        for row in cursor:
            found.append(row)
            left -= len(row[text])
            if left < 0:
                break
        return found

    return records.read(sql, parameters, take)


def ids_above(records: Records, after: int, limit: int, where: Filter) -> list[int]:
    """Up to `limit` ids of memories above `after`, in order."""
    return [number for number, _ in records.rows(*_above(records, after, where, limit, "0"))]


def _above(
    records: Records, after: int, where: Filter, limit: int, column: str
) -> tuple[str, tuple[int | str, ...]]:
    """SQL for (id, column) of the memories above `after`, and its parameters."""
    condition, parameters = records.condition(where)
    sql = f"SELECT m.id, {column} FROM memories m WHERE m.id > ? AND {condition} ORDER BY m.id"
    return f"{sql} LIMIT ?", (after, *parameters, limit)


def blob_sizes(records: Records, memory_id: int) -> dict[str, int]:
    """The blobs of a memory by name, in the order of names: their sizes [bytes]."""
    sql = "SELECT name, length(data) FROM blobs WHERE memory = ? ORDER BY name"
    return dict(records.rows(sql, (memory_id,)))


def blob_part(records: Records, memory_id: int, name: str, first: int, size: int) -> bytes:
    """`size` bytes of a blob from byte `first` on, fewer at its end."""
    sql = "SELECT rowid FROM blobs WHERE memory = ? AND name = ?"
    with translated(records.path), records.reading() as reader:
        row = reader.execute(sql, (memory_id, name)).fetchone()
        if row is None:
            return b""
        with reader.blobopen("blobs", "data", row[0], readonly=True) as blob:
            blob.seek(min(first, len(blob)))
            return blob.read(size)
