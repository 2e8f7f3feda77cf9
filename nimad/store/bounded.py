"""Reads memories within a bound on what they take in RAM: lengths first, then texts.

A memory may hold 16 MiB in each column (a legacy store's), so how many fit is not known by their
number.  Long values are cut where all together would not fit; pages end where their bytes do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from nimad.disk.failures import translated
from nimad.model import CutDamagedMemory, CutMemory, DamagedMemory, Filter, Memory
from nimad.store.records import Records
from nimad.store.rows import SELECT, SHOWN, from_row

READ_BYTES = 4 << 20
"""Size of all memories of one answer; longer ones are cut to a fair share [bytes]."""
LARGE = 1 << 20
"""Size of `extra` from which on no reply can hold it [bytes]."""
FEW = 16
"""Number of memories that are read without a look at their lengths first [memories]."""
CUT = " …"
"""Ends a value that was cut."""

_LONG = ("text", "affect", "summary", "who", "where", "conversation", "session", "turn")
"""The fields that may be long, besides `extra`."""


def size_of(value: str) -> str:
    """SQL for the size of a text as UTF-8, 0 of NULL [bytes]."""
    return f"ifnull(length(CAST({value} AS BLOB)), 0)"  # of a TEXT it would end at the first NUL


def beginning(value: str, most: int) -> str:
    """SQL for the first characters of a text, at least `most`: where one is NUL, at which SQLite's
    own functions would end, for all of it."""
    return f"iif({_nul(value)}, {value}, substr({value}, 1, {most}))"


def characters(value: str) -> str:
    """SQL for the length of a text; where a character is NUL, for that of its UTF-8 [bytes]."""
    return f"iif({_nul(value)}, {size_of(value)}, length({value}))"


def _nul(value: str) -> str:
    return f"instr(CAST({value} AS BLOB), x'00')"


_NAME = f"(SELECT {size_of('name')} FROM %s WHERE id = m.%s)"
_SIZE = " + ".join(
    [
        *map(size_of, ("m.text", "m.affect", "m.extra", "m.who", "m.tags", "m.key")),
        f"CASE typeof(m.summary) WHEN 'text' THEN {size_of('m.summary')} ELSE 0 END",
        *(f"ifnull({_NAME % ('names', c)}, 0)" for c in ("place", "conversation", "session")),
        f"ifnull({_NAME % ('turns', 'turn')}, 0)",
    ]
)
"""Size of what `Records.get` reads of a memory, short values left out [bytes]."""
_SPARING = SELECT.replace(f", {SHOWN['extra']},", ", NULL,")
"""As rows.SELECT, without `extra`."""
_SIZES = f"SELECT m.id, {_SIZE} FROM memories m WHERE m.id IN"
BYTES = f"{_SIZE} + ifnull((SELECT sum(length(data)) FROM blobs WHERE memory = m.id), 0) * 4 / 3"
"""Least that a memory takes in an export [bytes]."""


def get_within(records: Records, ids: Sequence[int], room: int = READ_BYTES) -> dict[int, Memory]:
    """As `Records.get`, but long values are cut (CutMemory) when all would exceed `room`.

    `room` is in bytes.  A few memories are read whole, whatever they take: the look at
    sizes would cost an ordinary query more than it saves.
    """
    if len(ids) <= FEW:
        return records.get(ids)
    sizes: dict[int, int] = dict(records.rows_in(_SIZES, ids))
    if sum(sizes.values()) <= room:
        return records.get(ids)
    share = fair_share(sizes.values(), room)
    found = _without_extra(
        records, [number for number in ids if sizes.get(number, 0) > share], share
    )
    left = {number: size for number, size in sizes.items() if number not in found}
    for part in _parts(left, room):
        for number, memory in records.get(part).items():
            found[number] = memory if sizes[number] <= share else cut_memory(memory, share)
    return found


def _without_extra(records: Records, ids: Sequence[int], share: int) -> dict[int, Memory]:
    """Those whose `extra` alone is more than their share, and LARGE: it is not even read, for 12 MB
    took a tenth of a second.  Whether they are damaged is left to `get` and to idle time."""
    most = max(share, LARGE)
    larger = f"SELECT m.id FROM memories m WHERE {size_of('m.extra')} > {most} AND m.id IN"
    spared = [number for (number,) in records.rows_in(larger, ids)] if ids else []
    found: dict[int, Memory] = {}
    for row in records.rows_in(f"{_SPARING} WHERE m.id IN", spared) if spared else ():
        memory = cut_memory(from_row((*row[:-1], None)), share)
        values = {field.name: getattr(memory, field.name) for field in fields(memory)}
        found[memory.id] = CutMemory(**values)
    return found


def one_by_one(
    records: Records, ids: Sequence[int], room: int = READ_BYTES
) -> Iterator[tuple[int, Memory]]:
    """As `Records.get`, but not more than `room` bytes of them are in memory, or one that is
    larger."""
    for part in _parts(dict(records.rows_in(_SIZES, ids)), room):
        yield from records.get(part).items()


def _parts(sizes: Mapping[int, int], room: int) -> Iterator[list[int]]:
    """The ids in lists of at most `room` together; one that is larger comes alone."""
    part: list[int] = []
    left = room
    for number, size in sizes.items():
        if part and size > left:
            yield part
            part, left = [], room
        part.append(number)
        left -= size
    if part:
        yield part


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
    long = {name: values[name] for name in _LONG if values[name]}
    extra = len(str(memory.extra or ""))
    most = fair_share([*map(len, long.values()), extra], share)
    cut = {name: text[:most] + CUT for name, text in long.items() if len(text) > most}
    if not cut and extra <= most:  # it has more bytes than characters
        return memory
    values |= cut
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
    records: Records, sql: str, parameters: Sequence[Any], texts: tuple[int, int], room: int
) -> list[tuple[Any, ...]]:
    """The first rows of a statement, until the texts in two of its columns (the first may be NULL)
    are `room` characters long: one row at least, where there is one."""
    first, second = texts

    def take(cursor: sqlite3.Cursor) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        left = room
        for row in cursor:
            found.append(row)
            left -= len(row[first] or "") + len(row[second])
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
