"""What a memory may hold, checked before anything is written."""

from __future__ import annotations

import math
from typing import Any

from nimad.errors import UsageError
from nimad.model import LAYERS, MAX_TEXT, Memory

MAX_NAME = 1000
"""Longest name (who, where, session, tag, ...) [characters]."""
MAX_TAGS = 100
MAX_EXTRA = 200_000
"""Longest `extra` as JSON [characters]."""
MAX_TIME = 253_402_300_800_000
"""The year 10000 [epoch milliseconds]: what is beyond it is a wrong unit."""


def check_memory(memory: Memory) -> None:
    """Raise UsageError, naming the field, unless the memory can be stored and come back whole."""
    _text("text", memory.text, MAX_TEXT)
    for name in ("who", "where", "conversation", "session", "turn", "affect", "summary"):
        value = getattr(memory, name)
        if value is not None:
            _text(name, value, MAX_TEXT if name in ("affect", "summary") else MAX_NAME)
    _text("namespace", memory.namespace, MAX_NAME)
    if not memory.namespace:
        raise UsageError(detail="namespace must not be empty")
    if memory.layer not in LAYERS:
        raise UsageError(detail=f"layer must be one of {', '.join(LAYERS)}, not {memory.layer!r}")
    if not isinstance(memory.timestamp, int) or abs(memory.timestamp) > MAX_TIME:
        raise UsageError(detail="timestamp must be epoch milliseconds before the year 10000")
    _importance(memory.importance)
    if len(memory.tags) > MAX_TAGS:
        raise UsageError(detail=f"at most {MAX_TAGS} tags")
    for tag in memory.tags:
        _text("tag", tag, MAX_NAME)
    if memory.extra is not None:
        _extra(memory.extra)


def _text(name: str, value: Any, longest: int) -> None:
    if not isinstance(value, str):
        raise UsageError(detail=f"{name} must be text")
    if len(value) > longest:
        raise UsageError(detail=f"{name} has {len(value)} characters; at most {longest} fit")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(detail=f"{name} is not valid Unicode (a lone surrogate)") from None


def _importance(value: Any) -> None:
    if value is None:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value <= 1:
        raise UsageError(detail=f"importance must be a number from 0 to 1, not {value!r}")


def _extra(value: Any) -> None:
    import json

    if not isinstance(value, dict):
        raise UsageError(detail="extra must be a JSON object")
    try:
        packed = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise UsageError(detail="extra must be plain JSON") from None
    _text("extra", packed, MAX_EXTRA)
