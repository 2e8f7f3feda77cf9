"""Checks a memory before anything is written, against the bounds in nimad.model."""

from __future__ import annotations

import json
import math
from operator import attrgetter
from typing import Any

from nimad.errors import UsageError
from nimad.model import DATES, FIELDS, MAX_TAGS, MAX_TIME, MIN_TIME, Field, Memory

_VALUES = attrgetter(*FIELDS)
_USUAL = _VALUES(Memory(""))
"""What stands in fields that were not filled: all of it can be stored."""


def check_memory(memory: Memory, place: int = 0) -> None:
    """Raise UsageError, naming the field, unless the memory can be stored and come back whole.

    `place` is its number among those that are stored together; the error's `fields` has it.
    """
    for (name, field), value, usual in zip(FIELDS.items(), _VALUES(memory), _USUAL, strict=True):
        if value is usual or (value is None and name in DATES):
            continue
        if problem := _problem(value, field):
            raise UsageError(detail=f"{name} {problem}", place=place)


def _problem(value: Any, field: Field) -> str | None:
    """What keeps a value from being stored; sources and blobs are made by nimad itself."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    match field.kind:
        case "text":
            return _text_problem(value, field)
        case "choice" if not isinstance(value, str) or value not in field.choices:
            return f"must be one of {', '.join(field.choices)}, not {str(value)[:60]!r}"
        case "moment" if not isinstance(value, int) or not MIN_TIME <= value < MAX_TIME:
            return "must be epoch milliseconds of the years 1 to 9999"
        case "share" if not number or not math.isfinite(value) or not 0 <= value <= 1:
            return f"must be a number from 0 to 1, not {str(value)[:60]}"
        case "count" if not number or isinstance(value, float) or not 0 <= value <= field.most:
            return f"must be a whole number from 0 to {field.most}"
        case "tags" if not isinstance(value, (tuple, list)) or len(value) > MAX_TAGS:
            return f"must be a list of at most {MAX_TAGS} texts"
        case "tags":
            return next(filter(None, (_text_problem(tag, field) for tag in value)), None)
        case "json" if not isinstance(value, dict):
            return "must be a JSON object"
        case "json":
            try:
                packed = json.dumps(value, ensure_ascii=False, allow_nan=False)
            except (TypeError, ValueError, RecursionError):
                return "must be plain JSON"
            return _text_problem(packed, field)
    return None


def _text_problem(value: Any, field: Field) -> str | None:
    if not isinstance(value, str):
        return "must be text"
    if len(value) > field.most:
        return f"has {len(value)} characters; at most {field.most} fit"
    if not field.blank and not value.strip():
        return "must not be empty"
    if value.isascii():
        return None
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return "is not valid Unicode (a lone surrogate)"
    return None
