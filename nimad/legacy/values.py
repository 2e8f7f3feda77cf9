"""The values a legacy file holds: as JSON can keep them, and as bytes that tell rows apart.

A row of a database has `Value`s, an episode of a checkpoint anything that its file can spell:

{"$text": base64}  TEXT that is not UTF-8
{"$blob": base64}  a BLOB, or other bytes
{"$real": "nan"}   a number that JSON has no word for
{"$kept": "..."}   numbers of a tensor or an array, which stay in the backup
{"$pairs": [...]}  a dict whose keys are not all texts, or one that looks like one of these
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, TypeAlias

from nimad.dataclass import dataclass

MAX_DEPTH = 24
"""Levels of a value that are kept; what is nested deeper becomes {"$kept": ...}."""

FIRST_ID, LAST_ID = -(1 << 63), (1 << 63) - 1
"""The least and the greatest id of a row of SQLite."""

TOO_DEEP = "nested too deeply"


class BrokenText(bytes):
    """TEXT of a row that is not UTF-8: its bytes as they are."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A value that stays in the backup, by the name of its kind."""

    name: str


class _Absent:
    """Stands for a field that is not there."""


absent = _Absent()

Value: TypeAlias = int | float | str | bytes | None
"""What SQLite stores; `BrokenText` is the bytes that should have been a str."""


def pack(value: Any, depth: int = 0) -> Any:
    """A value as str, int, finite float, bool, None, list, and dict with text keys.

    The same value gives the same JSON; `unpack` is the inverse for a `Value`.  Doing it twice
    changes nothing but the wrappers' own dicts, which only this function makes.
    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$real": repr(value)}
    if isinstance(value, str):
        return value if encodes(value) else _wrap("$text", value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bytes):
        return _wrap("$text" if isinstance(value, BrokenText) else "$blob", value)
    if isinstance(value, _Absent):
        return {"$absent": True}
    if isinstance(value, Kept):
        return {"$kept": value.name}
    if depth >= MAX_DEPTH:
        return {"$kept": TOO_DEEP}
    if isinstance(value, dict):
        pairs = [(pack(key, depth + 1), pack(item, depth + 1)) for key, item in value.items()]
        plain = all(isinstance(key, str) for key, _ in pairs)
        if plain and not (len(pairs) == 1 and pairs[0][0].startswith("$")):
            return dict(pairs)
        ordered = sorted(pairs, key=lambda pair: json.dumps(pair[0], sort_keys=True))
        return {"$pairs": [list(pair) for pair in ordered]}
    if isinstance(value, (list, tuple)):
        return [pack(item, depth + 1) for item in value]
    if isinstance(value, (set, frozenset)):
        items = [pack(item, depth + 1) for item in value]
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    return {"$kept": type(value).__name__}


def _wrap(name: str, data: bytes) -> dict[str, str]:
    return {name: base64.b64encode(data).decode()}


def encodes(text: str) -> bool:
    """Whether a text is one: half of a surrogate pair, which JSON can spell, is none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def unpack(value: Any) -> Value:
    """The `Value` that `pack` was given."""
    if not isinstance(value, dict):
        kept: Value = value
        return kept
    (name, packed), *_ = value.items()
    if name == "$real":
        return float(packed)
    data = base64.b64decode(packed)
    return BrokenText(data) if name == "$text" else data


def kind_of(value: Any) -> str:
    """The name of a value's type, or of what it stands for."""
    return value.name if isinstance(value, Kept) else type(value).__name__


def spell(value: Any, depth: int = 0) -> Any:
    """A value of an episode as Python's JSON can hold it: `unspell` gives what packs the same.

    Unlike `pack` it keeps the types, {"$": [type, ...]} where JSON has none, and what has no form
    at all becomes `Kept`.  `depth` is -1 for an episode: all that `pack` keeps of a field stays.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        kind = "broken" if isinstance(value, BrokenText) else "bytes"
        return {"$": [kind, base64.b64encode(value).decode()]}
    if depth >= MAX_DEPTH or not isinstance(value, (dict, list, tuple, set)):
        return {"$": ["kept", TOO_DEEP if depth >= MAX_DEPTH else kind_of(value)]}
    if isinstance(value, dict):
        if "$" not in value and all(isinstance(key, str) for key in value):
            return {key: spell(item, depth + 1) for key, item in value.items()}
        pairs = [[spell(key, depth + 1), spell(item, depth + 1)] for key, item in value.items()]
        return {"$": ["dict", pairs]}
    items = [spell(item, depth + 1) for item in value]
    return items if isinstance(value, list) else {"$": [type(value).__name__, items]}


def unspell(value: Any) -> Any:
    """The inverse of `spell`."""
    if isinstance(value, list):
        return [unspell(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$" not in value:
        return {key: unspell(item) for key, item in value.items()}
    kind, told = value["$"]
    if kind == "dict":
        return {unspell(key): unspell(item) for key, item in told}
    return _UNSPELL[kind](told)


_UNSPELL: dict[str, Callable[[Any], Any]] = {
    "bytes": base64.b64decode,
    "broken": lambda told: BrokenText(base64.b64decode(told)),
    "kept": Kept,
    "tuple": lambda told: tuple(map(unspell, told)),
    "set": lambda told: set(map(unspell, told)),
}


_write_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def canonical_json(packed: Any) -> bytes:
    """A packed value as bytes: the same value, the same bytes."""
    return _write_canonical(packed).encode()


def canonical(row: Iterable[Value]) -> bytes:
    """A row as bytes: equal exactly when every column is equal, type included."""
    parts: list[bytes] = []
    for value in row:
        if value.__class__ is str:  # most are
            raw = value.encode()
            parts += (_TEXT[size] if (size := len(raw)) < len(_TEXT) else _begin_text(size), raw)
        else:
            parts.append(_CANONICAL[value.__class__](value))
    return b"".join(parts)


def all_identical(mine: Sequence[tuple[Value, ...]], theirs: Sequence[tuple[Value, ...]]) -> bool:
    """Whether rows are `identical` one by one, told for all at once; False also where only looking
    at each would tell."""
    if mine != theirs:
        return False
    ours, others = [*chain.from_iterable(mine)], [*chain.from_iterable(theirs)]
    if [*map(type, ours)] != [*map(type, others)]:
        return False
    return 0.0 not in ours or _zeros(ours) == _zeros(others)


def _zeros(values: Sequence[Value]) -> list[str]:
    """How the zeros among values are written: 0.0 and -0.0 are equal, and not identical."""
    return [repr(value) for value in values if value == 0.0]


def identical(mine: Sequence[Value], theirs: Sequence[Value]) -> bool:
    """Whether `canonical` of both is the same, told without making it wherever that can be."""
    if mine == theirs and [v.__class__ for v in mine] == [v.__class__ for v in theirs]:
        # equal numbers differ in their bytes only as 0.0 and -0.0 do
        return 0.0 not in mine or canonical(mine) == canonical(theirs)
    return canonical(mine) == canonical(theirs)  # a NaN is not equal to itself


_LONG = struct.Struct("<q").pack
_DOUBLE = struct.Struct("<d").pack


def _begin_text(size: int) -> bytes:
    return b"T" + _LONG(size)


_TEXT = [_begin_text(size) for size in range(512)]
"""What is written before a text of so many bytes."""
_CANONICAL: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda value: b"N",
    int: lambda value: b"I" + _LONG(value),
    bool: lambda value: b"I" + _LONG(value),
    float: lambda value: b"F" + _DOUBLE(value),
    bytes: lambda value: b"B" + _LONG(len(value)) + value,
    BrokenText: lambda value: _begin_text(len(value)) + value,
}
