"""The values a legacy row holds: as JSON can keep them, and as bytes that tell rows apart.

{"$real": "inf"}    a number that JSON has no word for
{"$blob": base64}   a BLOB; {"$text": base64} is TEXT that is not UTF-8
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Sequence
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
    return b"".join(map(_canonical_value, row))


def _canonical_value(value: Value) -> bytes:
    if value is None:
        return b"N"
    if isinstance(value, int):
        return b"I" + struct.pack("<q", value)
    if isinstance(value, float):
        return b"F" + struct.pack("<d", value)
    if isinstance(value, str):
        data, tag = value.encode(), b"T"
    else:
        data, tag = bytes(value), b"T" if isinstance(value, BrokenText) else b"B"
    return tag + struct.pack("<q", len(data)) + data
