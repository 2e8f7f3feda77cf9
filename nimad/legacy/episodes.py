"""An episode of a checkpoint as a memory and back again; nothing is dropped, and it can be checked.

| legacy field       | in the memory                                                              |
|--------------------|----------------------------------------------------------------------------|
| raw_text           | `text`; without one, `what` or else `context` is the text                  |
| who, where         | the same, when they are text                                               |
| timestamp          | `timestamp`, when it is ISO 8601; without one, `when` may be                |
| importance         | the same, when it is a number within [0, 1]                                |
| every other field  | `extra` under its own name                                                 |
| factors            | `extra`, when they say anything that the fields do not (sparse memories)   |

**One rule makes it reversible:** when `extra` or `blobs` has a field's name, that is its value;
when `extra["absent"]` lists it, the source had none; else the memory's own field has it.

    blobs["name:text"]  a text longer than its field may be
    blobs["name:json"]  any other value that is too long to be shown

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
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from nimad.legacy.mapping import MAX_KEPT, UnreadableRowError
from nimad.legacy.normal import absent, normal
from nimad.legacy.source import Row
from nimad.legacy.values import BrokenText, Value
from nimad.model import MAX_TEXT, Memory

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
COLUMNS = ("id", *FIELDS, "factors", "more")
OWN = frozenset((*FIELDS, "factors", "more", "absent"))
"""Names in `extra` that mean something here; a field of the source named so is in "more"."""
LAYER = "legacy_vsa"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECONDS_FROM = -(1 << 31)
TIMELESS = 1 << 62

Episode = dict[str, Any]


@dataclass(slots=True)
class MappedEpisode:
    """A memory, and (field, reason) of what in its episode is damaged but kept."""

    memory: Memory
    notes: list[tuple[str, str]]


class EpisodeMapper:
    """Turns episodes into memories of the source `name`, and memories back into rows."""

    columns: tuple[str, ...] = COLUMNS

    def __init__(self, name: str) -> None:
        self.name = name

    def memory(self, key: int, episode: Episode) -> MappedEpisode:
        """The memory of an episode.  Raises UnreadableRowError when its text cannot be read."""
        memory = Memory("", source=(self.name, key), layer=LAYER, extra={})
        mapped = MappedEpisode(memory, [])
        lacking = [field for field in ("raw_text", "timestamp") if field not in episode]
        _take_text(mapped, episode)
        _take_time(mapped, episode)
        for field in ("who", "where"):
            _take_name(mapped, field, episode)
        _take_importance(mapped, episode)
        for field in ("what", "when", "context", "emotions", "themes", "factors"):
            if field in episode:
                _keep(mapped, field, episode[field])
        _keep_more(mapped, episode)
        if lacking:
            _extra(memory)["absent"] = lacking
        memory.extra = memory.extra or None
        return mapped

    def row(self, memory: Memory) -> Row:
        """The row a memory was made of: the inverse of `memory` and `row_of`."""
        assert memory.source is not None
        more = _more_back(memory)
        fields = [_field_back(memory, field) for field in (*FIELDS, "factors")]
        return (int(memory.source[1]), *fields, _column(more) if more else None)


def row_of(key: int, episode: Episode) -> Row:
    """The row of an episode."""
    fields = [_column(normal(episode[f])) if f in episode else None for f in (*FIELDS, "factors")]
    more, _ = _more(episode)
    return (key, *fields, _column(more) if more else None)


def _column(value: Any) -> Value:
    """A normal value as a column: text and numbers themselves, the rest as canonical JSON."""
    if isinstance(value, (str, float)) or (type(value) is int and -(1 << 63) <= value < 1 << 63):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _more(episode: Episode) -> tuple[Any, bool]:
    """The normal form of the fields that no NIMA store is known to have; whether all are plain."""
    others = {name: value for name, value in episode.items() if name not in (*FIELDS, "factors")}
    plain = all(isinstance(name, str) and name not in OWN and _encodes(name) for name in others)
    if plain:
        return {name: normal(value) for name, value in others.items()}, True
    return normal(others), False


# --- which episode it is --------------------------------------------------------------------------


def identity(episode: Any) -> bytes:
    """32 bytes that are equal for the same episode in two checkpoints."""
    known = isinstance(episode, dict) and any(field in episode for field in IDENTITY)
    said = [normal(episode.get(field, absent)) for field in IDENTITY] if known else normal(episode)
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


def key_of(episode: Any, same: bytes, before: int) -> int:
    """The key of an episode whose identity is `same`, the `before`-th (from 0) such in its file."""
    digest = hashlib.sha256(same + before.to_bytes(8, "little")).digest()
    low = int.from_bytes(digest[:8], "little")
    moment = _time(episode.get("timestamp")) if isinstance(episode, dict) else None
    if moment is None:
        return TIMELESS | (low & (TIMELESS - 1))
    seconds = min(max(moment // 1000 - SECONDS_FROM, 0), (1 << 33) - 1)
    return seconds << 29 | (low & ((1 << 29) - 1))


# --- from the episode to the memory ---------------------------------------------------------------


def _extra(memory: Memory) -> dict[str, Any]:
    assert memory.extra is not None
    return memory.extra


def _keep(mapped: MappedEpisode, field: str, value: Any) -> None:
    """Keep a value under its field's name: nothing else holds it."""
    _put(mapped, field, normal(value))


def _put(mapped: MappedEpisode, field: str, kept: Any) -> None:
    """As `_keep`, of a normal value."""
    if isinstance(kept, str) and len(kept) > MAX_KEPT:
        mapped.memory.blobs[field + ":text"] = kept.encode()
        mapped.notes.append((field, f"{len(kept)} characters long; kept, but not shown"))
        return
    if not isinstance(kept, (str, int, float)):
        written = _column(kept)
        assert isinstance(written, bytes)
        if len(written) > MAX_KEPT:
            mapped.memory.blobs[field + ":json"] = written
            mapped.notes.append((field, f"{len(written)} characters long; kept, but not shown"))
            return
        if b'"$kept"' in written:
            mapped.notes.append((field, "numbers in it are not taken over; the backup has them"))
    _extra(mapped.memory)[field] = kept


def _keep_more(mapped: MappedEpisode, episode: Episode) -> None:
    """What is in no column: under its own name where that is clear and short enough."""
    more, plain = _more(episode)
    if plain and len(json.dumps(more)) <= MAX_KEPT:
        for name, value in more.items():
            _put(mapped, name, value)
    elif more:
        _put(mapped, "more", more)


def _take_text(mapped: MappedEpisode, episode: Episode) -> None:
    raw = episode.get("raw_text")
    if isinstance(raw, BrokenText) or not _encodes(raw):
        raise UnreadableRowError("its text is not UTF-8")
    if raw is not None and not isinstance(raw, str):
        raise UnreadableRowError(f"its text is a {_kind(raw)}")
    if not raw:
        if "raw_text" in episode:
            _keep(mapped, "raw_text", raw)
        others = (episode.get(field) for field in ("what", "context"))
        raw = next((o for o in others if isinstance(o, str) and o and _encodes(o)), "")
        mapped.memory.text = raw[:MAX_TEXT]
    elif len(raw) > MAX_TEXT:
        mapped.memory.text = raw[:MAX_TEXT]
        mapped.memory.blobs["raw_text:text"] = raw.encode()
        reason = f"{len(raw)} characters long; the first {MAX_TEXT} are searchable, all are kept"
        mapped.notes.append(("raw_text", reason))
    else:
        mapped.memory.text = raw


def _kind(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return type(value).__name__
    return "number"


def _encodes(value: Any) -> bool:
    return not isinstance(value, str) or isinstance(normal(value), str)


def _take_time(mapped: MappedEpisode, episode: Episode) -> None:
    given = episode.get("timestamp")
    moment = _time(given)
    if moment is None:
        mapped.memory.timestamp = _time(episode.get("when")) or 0
    else:
        mapped.memory.timestamp = moment
    if "timestamp" in episode and (moment is None or _iso(moment) != given):
        _keep(mapped, "timestamp", given)


def _take_name(mapped: MappedEpisode, field: str, episode: Episode) -> None:
    value = episode.get(field)
    if isinstance(value, str) and len(value) <= MAX_KEPT and _encodes(value):
        setattr(mapped.memory, field, value)
    elif field in episode:
        _keep(mapped, field, value)


def _take_importance(mapped: MappedEpisode, episode: Episode) -> None:
    value = episode.get("importance")
    # -0.0 is within the range, but the records would make it 0.0.
    if isinstance(value, float) and 0.0 <= value <= 1.0 and math.copysign(1, value) > 0:
        mapped.memory.importance = value
    elif "importance" in episode:
        if type(value) is int and 0 <= value <= 1:
            mapped.memory.importance = float(value)
        _keep(mapped, "importance", value)


def _time(value: Any) -> int | None:
    """ISO 8601 or epoch seconds as epoch milliseconds; None when it is neither."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value / 1000 if abs(value) >= 1e11 else value
        return int(seconds * 1000) if 0 < seconds < 1e10 else None
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        moment = datetime.fromisoformat(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (moment - EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return None


def _iso(moment: int) -> str:
    """The one way of writing a time that needs no keeping."""
    spec = "milliseconds" if moment % 1000 else "seconds"
    return (EPOCH + timedelta(milliseconds=moment)).isoformat(timespec=spec)


# --- from the memory to the row -------------------------------------------------------------------


def _field_back(memory: Memory, field: str) -> Value:
    extra = memory.extra or {}
    if field in extra and field != "absent":
        return _column(extra[field])
    if (written := memory.blobs.get(field + ":text")) is not None:
        return written.decode()
    if (written := memory.blobs.get(field + ":json")) is not None:
        return written
    back = _BACKWARD.get(field)
    if back is None or field in extra.get("absent", ()):
        return None
    return back(memory)


_BACKWARD: dict[str, Callable[[Memory], Value]] = {
    "who": lambda memory: memory.who,
    "where": lambda memory: memory.where,
    "importance": lambda memory: memory.importance,
    "raw_text": lambda memory: memory.text,
    "timestamp": lambda memory: _iso(memory.timestamp),
}


def _more_back(memory: Memory) -> Any:
    extra = memory.extra or {}
    if (written := memory.blobs.get("more:json")) is not None:
        return json.loads(written)
    if "more" in extra:
        return extra["more"]
    return {name: value for name, value in extra.items() if name not in OWN}
