"""mem0: its history in SQLite, or what `get_all` gives as JSON.

The history has every event; the last one of a memory counts, and one that was deleted is left out.
`get_all` gives 20 memories of one user unless it is asked for more, so nothing counts as gone from
it.  Qdrant, where mem0 keeps vectors, stores its points as pickles: those are refused.

Source: mem0/memory/storage.py of mem0ai 2.2.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nimad.errors import InputUnusable, NimadError
from nimad.importers.databases import (
    database,
    has_tables,
    listed,
    open_database,
    plain_values,
    rows,
    text,
)
from nimad.importers.files import shown
from nimad.importers.items import Event, Importer, Item, Part, Rejected, moment
from nimad.importers.json_stream import memories_of
from nimad.model import Memory

NAME, PART = "history.db", "memories"
BEGIN = 4096
"""Begin of a file that tells what it is [bytes]."""
_COLUMNS = ("memory_id", "new_memory", "event", "created_at", "is_deleted", "actor_id", "role")


def detect(path: Path) -> float:
    """The history, its directory, a JSON with memories, or Qdrant's store."""
    if has_tables(path, NAME, "history"):
        return 0.9
    if has_tables(path, "storage.sqlite", "points"):
        return 0.5
    if path.suffix == ".json" and path.is_file():
        with path.open("rb") as file:
            begin = file.read(BEGIN)
        return 0.85 * (b'"memory"' in begin and (b'"user_id"' in begin or b'"hash"' in begin))
    return 0.0


def read(path: Path) -> Iterator[Event]:
    """One part."""
    if path.suffix == ".json":
        yield Part(PART, whole=False)
        for where, value in memories_of(path, "results", "memories"):
            if isinstance(value, Rejected):
                yield value
            elif text(value.get("memory")):
                yield _item(value)
            else:
                yield Rejected(where, "it holds no memory")
        return
    if not database(path, NAME).is_file() or has_tables(path, "storage.sqlite", "points"):
        detail = (
            "Qdrant's points are pickles, which are not read; import history.db or get_all's JSON"
        )
        raise InputUnusable(path=shown(path), detail=detail)
    yield Part(PART)
    refused: list[Rejected] = []
    try:
        with open_database(path, NAME) as tables:
            last: dict[str, int] = {}
            first: dict[str, Any] = {}
            for key, row in rows(tables, "history", ("memory_id", "created_at"), refused):
                last[text(row["memory_id"])] = key
                first.setdefault(text(row["memory_id"]), row["created_at"])
            refused.clear()
            for key, row in rows(tables, "history", _COLUMNS, refused):
                name = text(row["memory_id"])
                gone = row["is_deleted"] or text(row["event"]).upper() == "DELETE"
                if last[name] == key and text(row["new_memory"]) and not gone:
                    about = {"role": row["role"]} if text(row["role"]) else {}
                    told = {**row, "id": name, "memory": row["new_memory"], "metadata": about}
                    yield _item({**told, "created_at": first[name]})
    except NimadError as error:
        yield Rejected(NAME, error.message, True)
    yield from refused


def _item(row: dict[str, Any]) -> Item:
    said = text(row["memory"])
    extra = plain_values(row.get("metadata"))
    at = moment(row.get("created_at"), extra)
    return Item(
        text(row.get("id")),
        Memory(
            said,
            who=text(row.get("actor_id")) or text(row.get("user_id")) or None,
            timestamp=at,
            agent=text(row.get("agent_id")) or None,
            session=text(row.get("run_id")) or None,
            tags=tuple(listed(row.get("categories"))),
            extra=extra,
        ),
    )


MEM0 = Importer("mem0", "mem0's memories", detect, read)
