"""The values a legacy row holds: as JSON can keep them, and as bytes that tell rows apart.

{"$real": "inf"}    a number that JSON has no word for
{"$blob": base64}   a BLOB; {"$text": base64} is TEXT that is not UTF-8
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias


class BrokenText(bytes):
    """TEXT of a row that is not UTF-8: its bytes as they are."""


Value: TypeAlias = int | float | str | bytes | None
"""What SQLite stores; `BrokenText` is the bytes that should have been a str."""


def pack(value: Value) -> Any:
    """A value as JSON can hold it; `unpack` is the inverse."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"$real": repr(value)}
    if isinstance(value, bytes):
        name = "$text" if isinstance(value, BrokenText) else "$blob"
        return {name: base64.b64encode(value).decode()}
    return value


def unpack(value: Any) -> Value:
    """The value that `pack` was given."""
    if not isinstance(value, dict):
        kept: Value = value
        return kept
    (name, packed), *_ = value.items()
    if name == "$real":
        return float(packed)
    data = base64.b64decode(packed)
    return BrokenText(data) if name == "$text" else data


def canonical(row: Sequence[Value]) -> bytes:
    """A row as bytes: equal exactly when every column is equal, type included."""
    return b"".join([_CANONICAL[value.__class__](value) for value in row])


def identical(mine: Sequence[Value], theirs: Sequence[Value]) -> bool:
    """Whether `canonical` of both is the same, told without making it wherever that can be."""
    if mine == theirs and [v.__class__ for v in mine] == [v.__class__ for v in theirs]:
        # equal numbers differ in their bytes only as 0.0 and -0.0 do
        return 0.0 not in mine or canonical(mine) == canonical(theirs)
    return canonical(mine) == canonical(theirs)  # a NaN is not equal to itself


_LONG = struct.Struct("<q").pack
_DOUBLE = struct.Struct("<d").pack


def _of_bytes(tag: bytes, data: bytes) -> bytes:
    return tag + _LONG(len(data)) + data


_CANONICAL: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda value: b"N",
    int: lambda value: b"I" + _LONG(value),
    bool: lambda value: b"I" + _LONG(value),
    float: lambda value: b"F" + _DOUBLE(value),
    str: lambda value: _of_bytes(b"T", value.encode()),
    bytes: lambda value: _of_bytes(b"B", value),
    BrokenText: lambda value: _of_bytes(b"T", value),
}
