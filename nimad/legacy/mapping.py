"""A row of a legacy graph as a memory and back again: nothing is dropped, and that can be checked.

| legacy column                | in the memory                                                     |
|------------------------------|-------------------------------------------------------------------|
| id                           | `source[1]`                                                       |
| text, layer, timestamp       | the same; a layer we do not know becomes "note"                   |
| summary, who                 | the same; NULL stays None, "" stays ""                            |
| affect_json, turn_id         | `affect` (the text itself, not parsed), `turn`                    |
| session_key, conversation_id | `session`, `conversation`                                         |
| fe_score                     | `importance`, when within [0, 1]                                  |
| created_at                   | `created`, when it is "YYYY-MM-DD HH:MM:SS" (UTC)                 |
| last_accessed                | the same, and in `extra` too: the field moves on when it is read  |
| any other column             | `extra` under its own name, BLOBs in `blobs`; NULL is left out    |

**One rule makes it reversible:** when `extra` or `blobs` has a column's name, that is its value;
else the field has it.  So a value that its field cannot hold exactly (a fe_score of 7, a layer
nobody knows, a NULL text) is kept in `extra` beside the nearest thing the field can hold.

    blobs["name"]       a BLOB, byte for byte
    blobs["name:text"]  TEXT that is not UTF-8, or longer than its field may be

Verifying compares `values.canonical` of the snapshot's row with that of `NodeMapper.row(memory)`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Any

from nimad.legacy.values import BrokenText, Value, pack, unpack
from nimad.model import LAYERS, MAX_TEXT, Memory

LEGACY_LAYERS = frozenset(LAYERS) - {"note"}
TEXT_FIELDS = {
    "summary": "summary",
    "who": "who",
    "affect_json": "affect",
    "session_key": "session",
    "conversation_id": "conversation",
    "turn_id": "turn",
}
"""Legacy column -> field of Memory, where both hold text or nothing."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAIVE_EPOCH = datetime(1970, 1, 1)
INT64 = 1 << 63
_CREATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")


MAX_KEPT = 20_000
"""Longest text outside `text` [characters]: with it, an answer still fits in a frame."""


class UnreadableRowError(ValueError):
    """A row that no memory can be made of; the message is the reason."""


@dataclass(slots=True)
class Mapped:
    """A memory, and (column, reason) of what in its row is damaged but kept."""

    memory: Memory
    notes: list[tuple[str, str]] = field(default_factory=list)
    timeless: bool = False
    """The row's own time is none that a memory can have: the next best is taken."""


class NodeMapper:
    """Turns rows with the given columns into memories of the source `name`, and back.

    `embedding_bytes` is the length of a whole embedding; one of another length is torn, which is
    noted (0: never).
    """

    def __init__(self, columns: Sequence[str], name: str, embedding_bytes: int = 0) -> None:
        self.columns = tuple(columns)
        self.name = name
        self.embedding_bytes = embedding_bytes
        self._key = [column.lower() for column in columns].index("id")
        self._forward: list[tuple[str, Callable[..., None] | None]] = [
            (column, _FORWARD.get(column.lower())) for column in columns
        ]
        self._backward = [_BACKWARD.get(column.lower(), _nothing) for column in columns]
        self._text = [column.lower() for column in columns].index("text")

    def key(self, row: Sequence[Value]) -> int:
        """The row's id in its source."""
        key = row[self._key]
        assert isinstance(key, int)
        return key

    def problem(self, row: Sequence[Value]) -> str | None:
        """Why no memory can be made of a row; None when one can."""
        return text_problem(row[self._text])

    def memory(self, row: Sequence[Value]) -> Mapped:
        """The memory of a row.  Raises UnreadableRowError when its text cannot be read."""
        memory = Memory("", source=(self.name, self.key(row)), extra={})
        mapped = Mapped(memory)
        for (column, take), value in zip(self._forward, row, strict=True):
            if take is not None:
                take(mapped, column, value)
            elif value is not None:
                _keep(mapped, column, value)
        self._check_embedding(mapped)
        if mapped.timeless:
            memory.timestamp = memory.timestamp or memory.created
        memory.extra = memory.extra or None
        return mapped

    def row(self, memory: Memory) -> tuple[Value, ...]:
        """The row a memory was made of: the inverse of `memory`."""
        extra, blobs = memory.extra or {}, memory.blobs
        if not extra and not blobs:  # most rows, and a third of the time
            return tuple([back(memory) for back in self._backward])
        columns = zip(self.columns, self._backward, strict=True)
        return tuple([_column_value(name, back, memory, extra, blobs) for name, back in columns])

    def _check_embedding(self, mapped: Mapped) -> None:
        blob = mapped.memory.blobs.get("embedding")
        if blob is not None and self.embedding_bytes and len(blob) != self.embedding_bytes:
            reason = f"{len(blob)} bytes long instead of {self.embedding_bytes}; kept as it is"
            mapped.notes.append(("embedding", reason))


# --- from the row to the memory -----------------------------------------------------------------


def _keep(mapped: Mapped, column: str, value: Value) -> None:
    """Keep a value under its column's name: nothing else holds it."""
    memory = mapped.memory
    assert memory.extra is not None
    if isinstance(value, BrokenText):
        memory.blobs[column + ":text"] = bytes(value)
        mapped.notes.append((column, "not UTF-8 text; kept as bytes"))
    elif isinstance(value, str) and len(value) > MAX_KEPT:
        memory.blobs[column + ":text"] = value.encode()
        mapped.notes.append((column, f"{len(value)} characters long; kept, but not shown"))
    elif isinstance(value, bytes):
        memory.blobs[column] = value
    else:
        memory.extra[column] = pack(value)


def _take_key(mapped: Mapped, column: str, value: Value) -> None:
    """The key is in `source` already."""


def text_problem(value: Value) -> str | None:
    """Why the text of a row cannot be read; None when it can."""
    if value is None or isinstance(value, str):
        return None
    if isinstance(value, BrokenText):
        return "its text is not UTF-8"
    return f"its text is a {'BLOB' if isinstance(value, bytes) else 'number'}"


def _take_text(mapped: Mapped, column: str, value: Value) -> None:
    if problem := text_problem(value):
        raise UnreadableRowError(problem)
    if not isinstance(value, str):
        _keep(mapped, column, None)
    elif len(value) > MAX_TEXT:
        mapped.memory.text = value[:MAX_TEXT]
        mapped.memory.blobs[column + ":text"] = value.encode()
        reason = f"{len(value)} characters long; the first {MAX_TEXT} are searchable, all are kept"
        mapped.notes.append((column, reason))
    else:
        mapped.memory.text = value


def _take_layer(mapped: Mapped, column: str, value: Value) -> None:
    if isinstance(value, str) and value in LEGACY_LAYERS:
        mapped.memory.layer = value
    else:
        mapped.memory.layer = "note"
        _keep(mapped, column, value)


def _take_timestamp(mapped: Mapped, column: str, value: Value) -> None:
    if isinstance(value, int):
        mapped.memory.timestamp = value
    else:
        mapped.timeless = True
        mapped.memory.timestamp = _as_time(value)
        _keep(mapped, column, value)


def _take_score(mapped: Mapped, column: str, value: Value) -> None:
    # -0.0 is within the range, but the records would make it 0.0.
    if isinstance(value, float) and 0.0 <= value <= 1.0 and math.copysign(1, value) > 0:
        mapped.memory.importance = value
    elif value is not None:
        _keep(mapped, column, value)


def _take_created(mapped: Mapped, column: str, value: Value) -> None:
    created = _parse_created(value)
    if created:
        mapped.memory.created = created
    elif value is not None:
        _keep(mapped, column, value)


def _take_accessed(mapped: Mapped, column: str, value: Value) -> None:
    if isinstance(value, int) and value > 0:
        mapped.memory.last_accessed = value
    if value is not None:
        _keep(mapped, column, value)


def _text_taker(field_name: str) -> Callable[[Mapped, str, Value], None]:
    def take(mapped: Mapped, column: str, value: Value) -> None:
        if isinstance(value, str) and len(value) <= MAX_KEPT:
            setattr(mapped.memory, field_name, value)
        elif value is not None:
            _keep(mapped, column, value)

    return take


_FORWARD: dict[str, Callable[[Mapped, str, Value], None]] = {
    "id": _take_key,
    "text": _take_text,
    "layer": _take_layer,
    "timestamp": _take_timestamp,
    "fe_score": _take_score,
    "created_at": _take_created,
    "last_accessed": _take_accessed,
    **{column: _text_taker(name) for column, name in TEXT_FIELDS.items()},
}


def _parse_created(value: Value) -> int:
    """The form above in epoch milliseconds; 0 for anything else, and for the epoch itself."""
    if not isinstance(value, str) or not _CREATED.fullmatch(value):
        return 0
    try:
        since = datetime.fromisoformat(value) - NAIVE_EPOCH
    except ValueError:  # a 30th of February
        return 0
    return (since.days * 86_400 + since.seconds) * 1000


def _format_created(created: int) -> str:
    days, seconds = divmod(created // 1000, 86_400)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{_date(days)} {hour:02}:{minute:02}:{second:02}"


@lru_cache(maxsize=256)
def _date(days: int) -> str:
    return str(EPOCH + timedelta(days=days))[:10]


def _as_time(value: Value) -> int:
    """A time that is no whole number, as well as it can be read [epoch ms]; 0 when it cannot."""
    if isinstance(value, float) and abs(value) < INT64:
        return int(value)
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            return _epoch_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        except (ValueError, OverflowError):
            return 0
    return 0


def _epoch_ms(moment: datetime) -> int:
    return int((moment - EPOCH) / timedelta(milliseconds=1))


# --- from the memory to the row -----------------------------------------------------------------


def _column_value(
    column: str,
    back: Callable[[Memory], Value],
    memory: Memory,
    extra: dict[str, Any],
    blobs: dict[str, bytes],
) -> Value:
    if column in extra:
        return unpack(extra[column])
    if column in blobs:
        return blobs[column]
    if (raw := blobs.get(column + ":text")) is not None:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return BrokenText(raw)
    return back(memory)


def _nothing(memory: Memory) -> Value:
    """A column that no field holds, and that was NULL."""
    return None


def _created_back(memory: Memory) -> Value:
    return _format_created(memory.created) if memory.created else None


_BACKWARD: dict[str, Callable[[Memory], Value]] = {
    "id": lambda memory: int(memory.source[1]) if memory.source else None,
    "text": attrgetter("text"),
    "layer": attrgetter("layer"),
    "timestamp": attrgetter("timestamp"),
    "fe_score": attrgetter("importance"),
    "created_at": _created_back,
    **{column: attrgetter(name) for column, name in TEXT_FIELDS.items()},
}
