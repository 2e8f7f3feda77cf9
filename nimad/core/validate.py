"""Checks a memory before anything is written, against the bounds in nimad.model."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from nimad.errors import UsageError
from nimad.model import FIELDS, LAYERS, MAX_TAGS, MAX_TIME, MIN_TIME, Field, Memory


def check_memory(memory: Memory, place: int = 0) -> None:
    """Raise UsageError, naming the field, unless the memory can be stored and come back whole.

    `place` is its number among those that are stored together; the error's `fields` has it.
    """
    for name, field, check, nullable in _CHECKS:
        value = getattr(memory, name)
        if value is None and nullable:
            continue
        try:
            check(value, field)
        except ValueError as error:
            raise UsageError(detail=f"{name} {error}", place=place) from None


def _check_text(value: Any, field: Field) -> None:
    if not isinstance(value, str):
        raise ValueError("must be text")
    if len(value) > field.most:
        raise ValueError(f"has {len(value)} characters; at most {field.most} fit")
    if not field.blank and not value.strip():
        raise ValueError("must not be empty")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("is not valid Unicode (a lone surrogate)") from None


def _check_layer(value: Any, field: Field) -> None:
    if not isinstance(value, str) or value not in LAYERS:
        raise ValueError(f"must be one of {', '.join(LAYERS)}, not {str(value)[:60]!r}")


def _check_moment(value: Any, field: Field) -> None:
    if not isinstance(value, int) or not MIN_TIME <= value < MAX_TIME:
        raise ValueError("must be epoch milliseconds of the years 1 to 9999")


def _check_share(value: Any, field: Field) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value <= 1:
        raise ValueError(f"must be a number from 0 to 1, not {str(value)[:60]}")


def _check_count(value: Any, field: Field) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= field.most:
        raise ValueError(f"must be a whole number from 0 to {field.most}")


def _check_tags(value: Any, field: Field) -> None:
    if not isinstance(value, (tuple, list)) or len(value) > MAX_TAGS:
        raise ValueError(f"must be a list of at most {MAX_TAGS} texts")
    for tag in value:
        _check_text(tag, field)


def _check_json(value: Any, field: Field) -> None:
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    try:
        packed = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("must be plain JSON") from None
    _check_text(packed, field)


def _check_nothing(value: Any, field: Field) -> None:
    """Sources and blobs are made by nimad itself."""


_KINDS: dict[str, Callable[[Any, Field], None]] = {
    "text": _check_text,
    "layer": _check_layer,
    "moment": _check_moment,
    "share": _check_share,
    "count": _check_count,
    "tags": _check_tags,
    "json": _check_json,
    "source": _check_nothing,
    "blobs": _check_nothing,
}
_CHECKS = [
    (name, field, _KINDS[field.kind], field.kind == "moment" or getattr(Memory(""), name) is None)
    for name, field in FIELDS.items()
]
