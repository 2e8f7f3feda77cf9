"""Memories as rows of `memories` and back; the interning of names."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

from nimad.model import Memory

COLUMNS = (
    "id, text, who, place, timestamp, layer, importance, tags, namespace, conversation, session,"
    " turn, affect, summary, created, last_accessed, access_count, source, source_key, extra"
)
INSERT = f"INSERT INTO memories ({COLUMNS}) VALUES ({', '.join('?' * 20)})"

SELECT = """
SELECT m.id, m.text, m.who, place.name, m.timestamp, layer.name, m.importance, m.tags,
       namespace.name, conversation.name, session.name, turns.name, m.affect, m.summary, m.created,
       m.last_accessed, m.access_count, sources.name, m.source_key, m.extra
FROM memories m
JOIN names layer ON layer.id = m.layer
JOIN names namespace ON namespace.id = m.namespace
LEFT JOIN names place ON place.id = m.place
LEFT JOIN names conversation ON conversation.id = m.conversation
LEFT JOIN names session ON session.id = m.session
LEFT JOIN turns ON turns.id = m.turn
LEFT JOIN sources ON sources.id = m.source
"""

Row = tuple[object, ...]


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
                made = self._connection.execute("INSERT INTO names (name) VALUES (?)", (name,))
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
    """The row of a memory; `turn` and `source` are row ids."""
    return (
        memory.id,
        memory.text,
        memory.who,
        names.id(memory.where),
        memory.timestamp,
        names.id(memory.layer),
        memory.importance,
        json.dumps(memory.tags, ensure_ascii=False) if memory.tags else None,
        names.id(memory.namespace),
        names.id(memory.conversation),
        names.id(memory.session),
        turn,
        memory.affect,
        _packed_summary(memory),
        memory.created,
        memory.last_accessed,
        memory.access_count,
        source,
        memory.source[1] if memory.source else None,
        json.dumps(memory.extra, ensure_ascii=False, separators=(",", ":"))
        if memory.extra
        else None,
    )


def _packed_summary(memory: Memory) -> str | int | None:
    """A summary that is the head of the text is stored as its length."""
    summary = memory.summary
    if summary is not None and memory.text.startswith(summary):
        return len(summary)
    return summary


def from_row(row: Sequence[object]) -> Memory:
    """The memory of a row of SELECT."""
    (mid, text, who, place, timestamp, layer, importance, tags, namespace, conversation) = row[:10]
    (session, turn, affect, summary, created, accessed, count, source, key, extra) = row[10:]
    assert isinstance(text, str)
    if isinstance(summary, int):
        summary = text[:summary]
    return Memory(
        text=text,
        id=mid,  # type: ignore[arg-type]
        who=who,  # type: ignore[arg-type]
        where=place,  # type: ignore[arg-type]
        timestamp=timestamp,  # type: ignore[arg-type]
        layer=layer,  # type: ignore[arg-type]
        importance=importance,  # type: ignore[arg-type]
        tags=tuple(json.loads(tags)) if isinstance(tags, str) else (),
        namespace=namespace,  # type: ignore[arg-type]
        conversation=conversation,  # type: ignore[arg-type]
        session=session,  # type: ignore[arg-type]
        turn=turn,  # type: ignore[arg-type]
        affect=affect,  # type: ignore[arg-type]
        summary=summary,  # type: ignore[arg-type]
        created=created,  # type: ignore[arg-type]
        last_accessed=accessed,  # type: ignore[arg-type]
        access_count=count,  # type: ignore[arg-type]
        source=(source, key) if isinstance(source, str) else None,  # type: ignore[arg-type]
        extra=json.loads(extra) if isinstance(extra, str) else None,
    )


def ranges(ids: Iterable[int]) -> list[tuple[int, int]]:
    """Sorted ids as inclusive ranges of consecutive numbers: [1, 2, 3, 7] → [(1, 3), (7, 7)]."""
    found: list[tuple[int, int]] = []
    for number in ids:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
