"""Memories as rows of `memories` and back; the interning of names.

The fields of `nimad.model.Memory`, in their order, are the table: each is a column of its own name
and holds the value as it is, but for those named here.  A new field is one line in the model and
one in `nimad.store.schema`.
"""

from __future__ import annotations

import dataclasses
import json
import operator
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from nimad.model import DATES, Memory
from nimad.text import common_form

FIELDS = tuple(f.name for f in dataclasses.fields(Memory) if f.name != "blobs")
INTERNED = ("where", "layer", "namespace", "conversation", "session")
"""Fields whose column holds the id of a row of `names`."""
RENAMED = {"where": "place"}
"""Field → column, where SQL has another use for the field's name."""

_PLACE = {name: place for place, name in enumerate(FIELDS)}
_ALL = operator.attrgetter(*FIELDS)
_COLUMN = {name: RENAMED.get(name, name) for name in FIELDS}
INTERNED_COLUMNS = tuple(_COLUMN[name] for name in INTERNED)
_SHOWN = {name: f"m.{_COLUMN[name]}" for name in FIELDS}
_SHOWN |= {name: f"{_COLUMN[name]}.name" for name in INTERNED}
_SHOWN |= {"turn": "turns.name", "source": "sources.name"}

INSERT = f"""
INSERT INTO memories ({", ".join(_COLUMN.values())}, source_key)
VALUES ({", ".join("?" * (len(FIELDS) + 1))})
"""
SELECT = f"""
SELECT {", ".join(_SHOWN.values())}, m.source_key
FROM memories m
{" ".join(f"LEFT JOIN names {_COLUMN[n]} ON {_COLUMN[n]}.id = m.{_COLUMN[n]}" for n in INTERNED)}
LEFT JOIN turns ON turns.id = m.turn
LEFT JOIN sources ON sources.id = m.source
"""
"""A row: the fields of a memory in their order, and its key in its source."""

Row = Sequence[Any]


class Names:
    """The interned strings, cached: name → id.  Only the writer uses it.

    The cache holds what is committed plus what the running transaction added; `forget()` drops it
    after a rollback, because an id given there may be given again to another name.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._ids: dict[str, int] = {}

    def id(self, name: str | None) -> int | None:
        """The id of a name, made when it is new; None for None."""
        if name is None:
            return None
        known = self._ids.get(name)
        if known is None:
            found = self._connection.execute("SELECT id FROM names WHERE name = ?", (name,))
            row = found.fetchone()
            if row is None:
                made = self._connection.execute(
                    "INSERT INTO names (name, folded) VALUES (?, ?)", (name, common_form(name))
                )
                known = int(made.lastrowid or 0)
            else:
                known = int(row[0])
            if len(self._ids) > 50_000:
                self._ids.clear()
            self._ids[name] = known
        return known

    def forget(self) -> None:
        """Drop the cache."""
        self._ids.clear()


def to_row(memory: Memory, names: Names, turn: int | None, source: int | None) -> Row:
    """The parameters of INSERT; `turn` and `source` are row ids."""
    row: list[Any] = [*_ALL(memory), memory.source[1] if memory.source else None]
    for name in INTERNED:
        row[_PLACE[name]] = names.id(row[_PLACE[name]])
    tags = json.dumps(memory.tags, ensure_ascii=False) if memory.tags else None
    extra = None
    if memory.extra:
        extra = json.dumps(memory.extra, ensure_ascii=False, separators=(",", ":"))
    for name in DATES:  # no date is 0 there
        row[_PLACE[name]] = row[_PLACE[name]] or 0
    row[_PLACE["tags"]], row[_PLACE["extra"]] = tags, extra
    row[_PLACE["turn"]], row[_PLACE["source"]] = turn, source
    if memory.summary is not None and memory.text.startswith(memory.summary):
        row[_PLACE["summary"]] = len(memory.summary)  # the head of the text is not stored twice
    return row


def from_row(row: Row) -> Memory:
    """The memory of a row of SELECT."""
    *values, key = row
    memory = Memory(*values)  # as it is stored; what is packed is unpacked below
    tags, extra, summary, source = (
        values[_PLACE[name]] for name in ("tags", "extra", "summary", "source")
    )
    memory.tags = tuple(json.loads(tags)) if tags is not None else ()
    memory.extra = json.loads(extra) if extra is not None else None
    memory.timestamp, memory.created = memory.timestamp or None, memory.created or None
    memory.source = (source, key) if source is not None else None
    if isinstance(summary, int):
        memory.summary = memory.text[:summary]
    return memory


def ranges(ids: Iterable[int]) -> list[tuple[int, int]]:
    """Sorted ids as inclusive ranges of consecutive numbers: [1, 2, 3, 7] → [(1, 3), (7, 7)]."""
    found: list[tuple[int, int]] = []
    for number in ids:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
