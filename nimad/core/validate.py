"""Checks a memory before anything is written, against the bounds in nimad.model."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Sequence
from operator import attrgetter
from typing import Any, TypeAlias

from nimad.errors import UsageError
from nimad.model import FIELDS, MAX_TAGS, MAX_TIME, MIN_TIME, Field, Memory

MANY = 16
"""Memories from which on it is faster to look at them by field [memories]."""
_Check: TypeAlias = tuple[str, Field, Any, Callable[[Any, Field], str | None]]


def are_sound(memories: Sequence[Memory], give_way: Callable[[], object] = lambda: None) -> bool:
    """Whether `check_memory` takes all of these; of few, which it takes less time to look at one by
    one, it is not known: False.  Equal texts of a field are looked at once.  `give_way` is called
    before each field."""
    if len(memories) < MANY:
        return False
    columns = zip(*map(_VALUES, memories), strict=True)
    for each in zip(_CHECKS, columns, strict=True):
        give_way()
        if not _is_sound(*each):
            return False
    return True


def _is_sound(check: _Check, values: Sequence[Any]) -> bool:
    """Whether nothing is wrong with the values of a field."""
    _, field, usual, find_problem = check
    looked_at: Collection[Any] = values
    if field.kind in ("text", "choice"):  # a number may equal one of a type that is refused
        with contextlib.suppress(TypeError):  # a list is no text
            looked_at = set(values)
    return not any(value is not usual and find_problem(value, field) for value in looked_at)


def check_memory(memory: Memory, place: int = 0) -> None:
    """Raise UsageError, naming the field, unless the memory can be stored and come back whole.

    `place` is its number among those that are stored together; the error's `fields` has it.
    """
    for (name, field, usual, find_problem), value in zip(_CHECKS, _VALUES(memory), strict=True):
        if value is not usual and (problem := find_problem(value, field)):
            raise UsageError(detail=f"{name} {problem}", place=place)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


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


def _choice_problem(value: Any, field: Field) -> str | None:
    if isinstance(value, str) and value in field.choices:
        return None
    return f"must be one of {', '.join(field.choices)}, not {str(value)[:60]!r}"


def _moment_problem(value: Any, field: Field) -> str | None:
    if value is None or (isinstance(value, int) and MIN_TIME <= value < MAX_TIME):
        return None
    return "must be epoch milliseconds of the years 1 to 9999"


def _share_problem(value: Any, field: Field) -> str | None:
    if _is_number(value) and 0 <= value <= 1:
        return None
    return f"must be a number from 0 to 1, not {str(value)[:60]!r}"


def _count_problem(value: Any, field: Field) -> str | None:
    if _is_number(value) and not isinstance(value, float) and 0 <= value <= field.most:
        return None
    return f"must be a whole number from 0 to {field.most}"


def _tags_problem(value: Any, field: Field) -> str | None:
    if not isinstance(value, (tuple, list)) or len(value) > MAX_TAGS:
        return f"must be a list of at most {MAX_TAGS} texts"
    return next(filter(None, (_text_problem(tag, field) for tag in value)), None)


def _json_problem(value: Any, field: Field) -> str | None:
    if not isinstance(value, dict):
        return "must be a JSON object"
    try:
        packed = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return "must be plain JSON"
    return _text_problem(packed, field)


_PROBLEMS: dict[str, Callable[[Any, Field], str | None]] = {
    "text": _text_problem,
    "choice": _choice_problem,
    "moment": _moment_problem,
    "share": _share_problem,
    "count": _count_problem,
    "tags": _tags_problem,
    "json": _json_problem,
}
"""What keeps a value of each kind of field from being stored; the others nimad makes itself."""
_CHECKED = [name for name, field in FIELDS.items() if field.kind in _PROBLEMS]
_VALUES = attrgetter(*_CHECKED)
_CHECKS = [
    (name, FIELDS[name], usual, _PROBLEMS[FIELDS[name].kind])
    for name, usual in zip(_CHECKED, _VALUES(Memory("")), strict=True)
]
"""Each field, and what stands there when it was not filled, which can be stored."""
