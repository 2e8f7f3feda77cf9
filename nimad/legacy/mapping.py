"""A legacy record as a memory and back again: nothing is dropped, and that can be checked.

`Mapper` is what both formats share; `NodeMapper` here maps rows of a graph database, and
`EpisodeMapper` (episodes.py) episodes of checkpoints.  Each has one table of fields.

**One rule makes it reversible:** when `extra` or `blobs` has a field's name, that is its value;
else the memory's own field has it.  So a value that its field cannot hold exactly (a
fe_score of 7, a layer of another name, a NULL text) is kept in `extra` beside the nearest thing the
field can hold.

    blobs["name"]       a BLOB, byte for byte
    blobs["name:text"]  a text that is not UTF-8, or longer than its field may be
    blobs["name:json"]  any other value of an episode that is too long to be shown

| column of a graph            | in the memory                                                     |
|------------------------------|-------------------------------------------------------------------|
| id                           | `source[1]`                                                       |
| text, layer                  | the same; a layer we do not know becomes "note"                   |
| timestamp                    | the same, as epoch milliseconds (nimad.times), else `created`     |
| summary, who                 | the same; NULL stays None, "" stays ""                            |
| affect_json, turn_id         | `affect` (the text itself, not parsed), `turn`                    |
| session_key, conversation_id | `session`, `conversation`                                         |
| fe_score                     | `importance`, when within [0, 1]                                  |
| created_at                   | `created`, when it is "YYYY-MM-DD HH:MM:SS" (UTC)                 |
| last_accessed                | the same, and in `extra` too: the field moves on when it is read  |
| any other column             | `extra` under its own name, BLOBs in `blobs`; NULL is left out    |

Verifying compares `values.canonical` of the snapshot's row with that of `Mapper.row(memory)`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

from nimad import times
from nimad.dataclass import dataclass
from nimad.legacy.values import BrokenText, Value, canonical_json, encodes, pack, unpack
from nimad.model import LAYERS, MAX_KEPT, MAX_TEXT, Memory

MAX_SHOWN = 1 << 20
"""Length of all that is kept in `extra`; what comes later is kept in `blobs` [characters]."""
LEGACY_LAYERS = frozenset(LAYERS) - {"note"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_midnight = lru_cache(maxsize=256)(lambda date: datetime.fromisoformat(f"{date}T00:00Z"))
"""When a day YYYY-MM-DD began; kept, because rows of a page have the same few."""
_CREATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")


class UnreadableRowError(ValueError):
    """A record that no memory can be made of; the message is the reason."""


@dataclass(slots=True)
class Mapped:
    """A memory, and (field, reason) of what in its record is damaged but kept.

    `zone` is that of times that name none.
    """

    memory: Memory
    zone: tzinfo = UTC
    notes: list[tuple[str, str]] = field(default_factory=list)
    shown: int = 0
    """Length of what was kept so far [characters]."""
    timeless: bool = False
    """Whether its own time may be none that a memory can have: the next best is taken."""

    def read_time(self, value: Any) -> int | None:
        """A value as epoch milliseconds; None where it is no time."""
        try:
            return times.read(value, self.zone).at
        except ValueError:
            return None

    def keep(self, name: str, value: Any) -> None:
        """Keep a value under its field's name: nothing else holds it."""
        self.put(name, pack(value))

    def put(self, name: str, packed: Any) -> None:
        """Keep a packed value: in `extra`, or in `blobs` where it is too long to be shown."""
        form, written = "", ""
        if isinstance(packed, str):
            form, written = ":text", packed
        elif not isinstance(packed, (int, float)):
            form, written = ":json", canonical_json(packed).decode()
        self.shown += len(written)
        if len(written) > MAX_KEPT or self.shown > MAX_SHOWN:
            self.memory.blobs[name + form] = written.encode()
            self.notes.append((name, f"{len(written)} characters long; kept, but not shown"))
            return
        if form == ":json" and '"$kept"' in written:
            self.notes.append((name, "numbers in it are not taken over; the backup has them"))
        assert self.memory.extra is not None
        self.memory.extra[name] = packed

    def take_text(self, name: str, text: str) -> None:
        """Make it the memory's text, as much of it as can be searched; all of it is kept."""
        self.memory.text = text[:MAX_TEXT]
        if len(text) > MAX_TEXT:
            self.memory.blobs[name + ":text"] = text.encode()
            reason = f"{len(text)} characters long; the first {MAX_TEXT} are searchable, all are"
            self.notes.append((name, reason + " kept"))

    def take_importance(self, name: str, value: Any) -> None:
        """Take a number within [0, 1]."""
        # -0.0 is within the range, but the records would make it 0.0.
        if isinstance(value, float) and 0.0 <= value <= 1.0 and math.copysign(1, value) > 0:
            self.memory.importance = value
        else:
            self.keep(name, value)


class Field(NamedTuple):
    """How a legacy field comes into a memory, and how it is read from there again.

    `always`: it is also taken where the record has nothing for it (None).
    """

    take: Callable[[Any, str, Any], None]
    back: Callable[[Memory], Value]
    always: bool = False


def nothing(memory: Memory) -> Value:
    """What a field that no memory holds says without `extra` and `blobs`."""
    return None


def text_field(attribute: str) -> Field:
    """A field that is text, or nothing, in the legacy record and in the memory."""

    def take(mapped: Mapped, name: str, value: Any) -> None:
        if (
            isinstance(value, str)
            and len(value) <= MAX_KEPT
            and (value.isascii() or encodes(value))
        ):
            setattr(mapped.memory, attribute, value)
        else:
            mapped.keep(name, value)

    return Field(take, attrgetter(attribute))


class Mapper:
    """Turns memories of the source `name` back into the rows they were made of.

    `zone` is that of times in rows which name none.
    `fields` are the names in a row, in order, and what each says when `extra` and `blobs` do not.
    """

    columns: tuple[str, ...]
    zone: tzinfo = UTC
    long_json = False
    """Whether a value may be in blobs["name:json"]."""

    def __init__(self, name: str, fields: Sequence[tuple[str, Callable[[Memory], Value]]]) -> None:
        self.name, self._fields = name, tuple(fields)

    def row(self, memory: Memory) -> tuple[Value, ...]:
        """The row a memory was made of, in the order of `columns`."""
        extra, blobs = memory.extra or {}, memory.blobs
        if not extra and not blobs:  # most rows of a graph, and a third of the time
            return tuple([back(memory) for _, back in self._fields])
        return tuple([self._value(f, back, memory, extra, blobs) for f, back in self._fields])

    def _value(
        self,
        name: str,
        back: Callable[[Memory], Value],
        memory: Memory,
        extra: Mapping[str, Any],
        blobs: Mapping[str, bytes],
    ) -> Value:
        if name in extra:
            return self.column(extra[name])
        if name in blobs:
            return blobs[name]
        if (raw := blobs.get(name + ":text")) is not None:
            try:
                return raw.decode()
            except UnicodeDecodeError:
                return BrokenText(raw)
        if self.long_json and (raw := blobs.get(name + ":json")) is not None:
            return raw
        return back(memory)

    def column(self, packed: Any) -> Value:
        """The value of a column whose packed form is in `extra`."""
        return unpack(packed)


# --- rows of a graph ----------------------------------------------------------------------------


class _MappedRow(Mapped):
    """A row's BLOBs stay bytes, which no JSON has to hold."""

    __slots__ = ()

    def keep(self, name: str, value: Any) -> None:
        if isinstance(value, BrokenText):
            self.memory.blobs[name + ":text"] = bytes(value)
            self.notes.append((name, "not UTF-8 text; kept as bytes"))
        elif isinstance(value, bytes):
            self.memory.blobs[name] = value
        else:
            self.put(name, pack(value))

    def take_column_text(self, column: str, value: Value) -> None:
        if problem := text_problem(value):
            raise UnreadableRowError(problem)
        if isinstance(value, str):
            self.take_text(column, value)
        else:
            self.keep(column, None)

    def take_layer(self, column: str, value: Value) -> None:
        if isinstance(value, str) and value in LEGACY_LAYERS:
            self.memory.layer = value
        else:
            self.memory.layer = "note"
            self.keep(column, value)

    def take_timestamp(self, column: str, value: Value) -> None:
        self.memory.timestamp = at = self.read_time(value)
        if type(value) is not int:
            self.timeless = True
        if type(value) is not int or value != (at or 0):
            self.keep(column, value)

    def take_created(self, column: str, value: Value) -> None:
        # the epoch itself is kept: a `created` of 0 means that none is known
        self.memory.created = None
        if isinstance(value, str) and _CREATED.fullmatch(value):
            with suppress(ValueError):  # SQLite's datetime('now') is UTC, wherever the machine is
                days = (_midnight(value[:10]) - EPOCH).days
                self.memory.created = days * 86_400_000 + _time_of_day(value[11:])
        if not self.memory.created:
            self.keep(column, value)

    def take_accessed(self, column: str, value: Value) -> None:
        self.memory.last_accessed = self.read_time(value)
        self.keep(column, value)


class NodeMapper(Mapper):
    """Turns rows with the given columns into memories of the source `name`, and back.

    `embedding_bytes` is the length of a whole embedding; one of another length is torn, which is
    noted (0: never).
    """

    def __init__(self, columns: Sequence[str], name: str, embedding_bytes: int = 0) -> None:
        lower = [column.lower() for column in columns]
        fields = [_COLUMNS.get(column, _OTHER) for column in lower]
        super().__init__(name, [(c, f.back) for c, f in zip(columns, fields, strict=True)])
        self.columns = tuple(columns)
        self.embedding_bytes = embedding_bytes
        self._key, self._text = lower.index("id"), lower.index("text")
        self._takes = [(c, f.take, f.always) for c, f in zip(columns, fields, strict=True)]

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
        mapped = _MappedRow(memory, self.zone)
        for (column, take, always), value in zip(self._takes, row, strict=True):
            if value is not None or always:
                take(mapped, column, value)
        blob = memory.blobs.get("embedding")
        if blob is not None and self.embedding_bytes and len(blob) != self.embedding_bytes:
            reason = f"{len(blob)} bytes long instead of {self.embedding_bytes}; kept as it is"
            mapped.notes.append(("embedding", reason))
        if mapped.timeless:
            memory.timestamp = memory.timestamp or memory.created or None
        memory.extra = memory.extra or None
        return mapped


def text_problem(value: Value) -> str | None:
    """Why the text of a row cannot be read; None when it can."""
    if value is None or isinstance(value, str):
        return None
    if isinstance(value, BrokenText):
        return "its text is not UTF-8"
    return f"its text is a {'BLOB' if isinstance(value, bytes) else 'number'}"


def _created_back(memory: Memory) -> Value:
    if not memory.created:
        return None
    days, seconds = divmod(memory.created // 1000, 86_400)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{iso_date(days)} {hour:02}:{minute:02}:{second:02}"


def _time_of_day(clock: str) -> int:
    """Milliseconds since midnight of HH:MM:SS.  Raises ValueError."""
    hour, minute, second = int(clock[:2]), int(clock[3:5]), int(clock[6:])
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(clock)
    return ((hour * 60 + minute) * 60 + second) * 1000


@lru_cache(maxsize=256)
def iso_date(days: int) -> str:
    """A day since the epoch as YYYY-MM-DD; kept, because rows of a page have the same few."""
    return str(EPOCH + timedelta(days=days))[:10]


_OTHER = Field(lambda mapped, column, value: mapped.keep(column, value), nothing)
_COLUMNS = {
    "id": Field(
        lambda mapped, column, value: None,  # it is in `source` already
        lambda memory: int(memory.source[1]) if memory.source else None,
    ),
    "text": Field(_MappedRow.take_column_text, attrgetter("text"), always=True),
    "layer": Field(_MappedRow.take_layer, attrgetter("layer"), always=True),
    "timestamp": Field(
        _MappedRow.take_timestamp, lambda memory: memory.timestamp or 0, always=True
    ),
    "fe_score": Field(Mapped.take_importance, attrgetter("importance")),
    "created_at": Field(_MappedRow.take_created, _created_back),
    "last_accessed": Field(_MappedRow.take_accessed, nothing),
    "summary": text_field("summary"),
    "who": text_field("who"),
    "affect_json": text_field("affect"),
    "session_key": text_field("session"),
    "conversation_id": text_field("conversation"),
    "turn_id": text_field("turn"),
}
