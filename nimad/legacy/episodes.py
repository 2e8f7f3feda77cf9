"""An episode of a checkpoint as a memory and back again; nothing is dropped, and it can be checked.

| legacy field       | in the memory                                                              |
|--------------------|----------------------------------------------------------------------------|
| raw_text           | `text`; without one, `what` or else `context` is the text                  |
| who, where         | the same, when they are text                                               |
| timestamp          | `timestamp`, when it is a time (nimad.times); without one, `when` may be    |
| importance         | the same, when it is a number within [0, 1]                                |
| every other field  | `extra` under its own name                                                 |
| factors            | `extra`, when they say anything that the fields do not (sparse memories)   |

What makes it reversible is told in mapping.py; besides, when `extra["absent"]` lists a field, the
source had none.

A row, which verifying compares, has one column per field: text and numbers as they are, nothing for
a field that is absent, and anything else as canonical JSON in bytes.

**Key.**  The same episode stands in several checkpoints, and checkpoints are added: so the key
comes from what the episode says (`IDENTITY`) and from how many equal ones stand before it in the
same file.  Bits 29 to 61 are the seconds since 1901 of its timestamp, so that keys are in the order
of time; the low 29 bits are a digest.  Keys of episodes without a time are above 1 << 62.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from operator import attrgetter
from typing import Any

from nimad.legacy.budget import MAX_EPISODE_VALUES, TOO_LARGE
from nimad.legacy.mapping import (
    Field,
    Mapped,
    Mapper,
    UnreadableRowError,
    nothing,
    text_field,
)
from nimad.legacy.source import LegacyNode, Row, Unreadable
from nimad.legacy.values import (
    BrokenText,
    Value,
    absent,
    canonical_json,
    encodes,
    kind_of,
    pack,
)
from nimad.model import MAX_KEPT, MAX_TEXT, Memory
from nimad.times import Reading, at_zone, iso, read

FIELDS = (
    "who",
    "what",
    "where",
    "when",
    "context",
    "emotions",
    "themes",
    "importance",
    "raw_text",
    "timestamp",
)
IDENTITY = ("who", "what", "where", "when", "context", "raw_text", "timestamp")
"""Fields that make an episode the same in two checkpoints; the others may change with time."""
STORED = (*FIELDS, "factors")
COLUMNS: tuple[str, ...] = ("id", *STORED, "more")
OWN = frozenset((*STORED, "more", "absent"))
"""Names in `extra` that mean something here; a field of the source named so is in "more"."""
LAYER = "legacy_vsa"
SECONDS_FROM = -(1 << 31)
"""Time that keys count from: December 1901 [seconds since 1970]."""
TIMELESS = 1 << 62
"""Least key of an episode without a time."""

Episode = dict[str, Any]


class MappedEpisode(Mapped):
    """With the episode, because its text and its time may come from other fields; `reading` is how
    its time was read."""

    __slots__ = ("episode", "reading")

    def __init__(self, memory: Memory, zone: tzinfo, episode: Episode) -> None:
        super().__init__(memory, zone)
        self.episode = episode
        self.reading = Reading(None)

    def take_raw_text(self, name: str, raw: Any) -> None:
        if isinstance(raw, BrokenText) or (isinstance(raw, str) and not encodes(raw)):
            raise UnreadableRowError("its text is not UTF-8")
        if raw is not None and not isinstance(raw, str):
            is_number = isinstance(raw, (int, float)) and not isinstance(raw, bool)
            raise UnreadableRowError(f"its text is a {'number' if is_number else kind_of(raw)}")
        if raw:
            self.take_text(name, raw)
            return
        if name in self.episode:
            self.keep(name, raw)
        others = (self.episode.get(field) for field in ("what", "context"))
        text = next((o for o in others if isinstance(o, str) and o and encodes(o)), "")
        self.memory.text = text[:MAX_TEXT]

    def take_time(self, name: str, given: Any) -> None:
        self.reading = time_of(self.episode, self.zone)
        self.memory.timestamp = moment = self.reading.at
        if name in self.episode and (moment is None or iso(moment) != given):
            self.keep(name, given)

    def take_importance(self, name: str, value: Any) -> None:
        if type(value) is int and 0 <= value <= 1:
            self.memory.importance = float(value)
        super().take_importance(name, value)


class EpisodeMapper(Mapper):
    """Turns episodes into memories of the source `name`, and memories back into rows."""

    columns: tuple[str, ...] = COLUMNS
    long_json = True

    def __init__(self, name: str) -> None:
        def more(memory: Memory) -> Value:
            others = {name: v for name, v in (memory.extra or {}).items() if name not in OWN}
            return _column(others) if others else None

        backs = [(field, _FIELDS[field].back) for field in STORED]
        super().__init__(name, [*backs, ("more", more)])

    def memory(self, key: int, episode: Episode) -> MappedEpisode:
        """The memory of an episode.  Raises UnreadableRowError when its text cannot be read."""
        memory = Memory("", source=(self.name, key), layer=LAYER, extra={})
        mapped = MappedEpisode(memory, self.zone, episode)
        for name, field in _FIELDS.items():
            if name in episode or field.always:
                field.take(mapped, name, episode.get(name))
        more, plain = _more(episode)
        if plain and more and len(json.dumps(more)) <= MAX_KEPT:
            for name, value in more.items():
                mapped.put(name, value)
        elif more:
            mapped.put("more", more)
        assert memory.extra is not None
        if lacking := [field for field in ("raw_text", "timestamp") if field not in episode]:
            memory.extra["absent"] = lacking
        memory.extra = memory.extra or None
        return mapped

    def row(self, memory: Memory) -> Row:
        """The row a memory was made of: the inverse of `memory` and `row_of`."""
        assert memory.source is not None
        return (int(memory.source[1]), *super().row(memory))

    def column(self, packed: Any) -> Value:
        """A packed value as a column: text and numbers themselves, the rest as canonical JSON."""
        return _column(packed)


def node_of(mapper: EpisodeMapper, key: int, episode: Any) -> LegacyNode | Unreadable:
    """An episode as a memory, with its row; or the reason why it is none."""
    mapped = mapped_of(mapper, key, episode)
    if isinstance(mapped, Unreadable):
        return mapped
    return LegacyNode(key, mapped.memory, row_of(key, episode), mapped.notes)


def mapped_of(mapper: EpisodeMapper, key: int, episode: Any) -> MappedEpisode | Unreadable:
    """The same without its row."""
    if episode == TOO_LARGE:
        return Unreadable("node", key, f"it holds more than {MAX_EPISODE_VALUES} values")
    if not isinstance(episode, dict):
        return Unreadable("node", key, f"it is a {kind_of(episode)}, not an episode")
    try:
        return mapper.memory(key, episode)
    except UnreadableRowError as error:
        return Unreadable("node", key, str(error))


def row_of(key: int, episode: Episode) -> Row:
    """The row of an episode."""
    fields = [_column(pack(episode[name])) if name in episode else None for name in STORED]
    more, _ = _more(episode)
    return (key, *fields, _column(more) if more else None)


def _column(packed: Any) -> Value:
    if isinstance(packed, (str, float)):
        return packed
    if type(packed) is int and -(1 << 63) <= packed < 1 << 63:
        return packed
    return canonical_json(packed)


def _more(episode: Episode) -> tuple[Any, bool]:
    """The packed fields that no NIMA store is known to have; whether all their names are plain."""
    others = {name: value for name, value in episode.items() if name not in STORED}
    if not others:
        return {}, True
    plain = all(isinstance(name, str) and name not in OWN and encodes(name) for name in others)
    if plain:
        return {name: pack(value) for name, value in others.items()}, True
    return pack(others), False


# --- which episode it is --------------------------------------------------------------------------


def identity(episode: Any) -> bytes:
    """32 bytes that are equal for the same episode in two checkpoints."""
    known = isinstance(episode, dict) and any(field in episode for field in IDENTITY)
    said = [pack(episode.get(field, absent)) for field in IDENTITY] if known else pack(episode)
    return hashlib.sha256(canonical_json(said)).digest()


def key_time(value: Any) -> int | None:
    """Epoch milliseconds of a timestamp as keys have had it since the first version: numbers are
    seconds or milliseconds, a time without a zone is UTC.  Another reading would be another key."""
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value / 1000 if abs(value) >= 1e11 else value
        return int(seconds * 1000) if 0 < seconds < 1e10 else None
    try:
        return at_zone(datetime.fromisoformat(value), UTC) if len(value) <= 40 else None
    except (TypeError, ValueError, OverflowError):
        return None


def key_of(episode: Any, same: bytes, before: int) -> int:
    """The key of an episode whose identity is `same`, the `before`-th (from 0) such in its file."""
    digest = hashlib.sha256(same + before.to_bytes(8, "little")).digest()
    low = int.from_bytes(digest[:8], "little")
    moment = key_time(episode.get("timestamp")) if isinstance(episode, dict) else None
    if moment is None:
        return TIMELESS | (low & (TIMELESS - 1))
    seconds = min(max(moment // 1000 - SECONDS_FROM, 0), (1 << 33) - 1)
    return seconds << 29 | (low & ((1 << 29) - 1))


# --- the fields of an episode -------------------------------------------------------------------


def time_of(episode: Episode, zone: tzinfo) -> Reading:
    """When an episode happened: its timestamp, or else its `when`."""
    for name in ("timestamp", "when"):
        if (told := episode.get(name)) is not None:
            with suppress(ValueError):
                if (found := read(told, zone)).at is not None:
                    return found
    return Reading(None)


def _is_absent(memory: Memory, name: str) -> bool:
    return name in (memory.extra or {}).get("absent", ())


_KEPT = Field(Mapped.keep, nothing)
_FIELDS = {
    "raw_text": Field(
        MappedEpisode.take_raw_text,
        lambda memory: None if _is_absent(memory, "raw_text") else memory.text,
        always=True,
    ),
    "timestamp": Field(
        MappedEpisode.take_time,
        lambda memory: None if _is_absent(memory, "timestamp") else iso(memory.timestamp or 0),
        always=True,
    ),
    "who": text_field("who"),
    "where": text_field("where"),
    "importance": Field(MappedEpisode.take_importance, attrgetter("importance")),
    **dict.fromkeys(("what", "when", "context", "emotions", "themes", "factors"), _KEPT),
}
