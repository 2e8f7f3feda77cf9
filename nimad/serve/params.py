"""What a verb takes: each parameter's check and default, unknown names refused by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any

from nimad import times, when
from nimad.checks import Check, choice, text
from nimad.dataclass import dataclass
from nimad.errors import UsageError
from nimad.model import ORIGINS, UNKNOWN
from nimad.serve.protocol import shown

REQUIRED: Any = object()
ANY = "any"
"""In place of an origin: whatever it is."""


@dataclass(frozen=True)
class Param:
    """One parameter: `check` returns the value to use or raises ValueError("must be ...")."""

    check: Check
    default: Any = REQUIRED


Spec = Mapping[str, Param]


def unchanged(value: Any) -> Any:
    """The check of a parameter that is looked at elsewhere."""
    return value


def read(verb: str, spec: Spec, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter of `spec`, checked; null counts as not given.  Raises UsageError that names
    the verb and the parameter: unknown, missing, or out of range."""
    values = read_given(verb, spec, given)
    for name, param in spec.items():
        if name not in values:
            if param.default is REQUIRED:
                raise UsageError(detail=f"{verb} needs {name}")
            values[name] = param.default
    return values


def read_given(verb: str, spec: Spec, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that are given, checked, in their order.  Raises as `read`, but for what is
    missing."""
    if not given.keys() <= spec.keys():
        name = next(name for name in given if name not in spec)
        import difflib

        near = difflib.get_close_matches(name[:100], spec, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(detail=f"{verb} takes no {shown(name)}{hint}")
    values: dict[str, Any] = {}
    for name, value in given.items():
        if value is not None:
            try:
                check = spec[name].check
                values[name] = value if check is unchanged else check(value)
            except ValueError as error:
                raise UsageError(detail=f"{verb}: {name} {error}, not {shown(value)}") from None
    return values


def not_blank(value: Any) -> Any:
    """Anything but blank text."""
    if isinstance(value, str) and not value.strip():
        raise ValueError("must not be empty")
    return value


def path(value: Any) -> str:
    """An absolute path, as the client sees it."""
    found: str = text(4096)(value)
    if "\0" in found or not found.startswith("/"):
        raise ValueError("must be an absolute path")
    return found


def source_name(value: Any) -> str:
    """The name of a source."""
    if not isinstance(value, str) or not re.fullmatch(r"[\w.@+-]{1,100}", value):
        raise ValueError("must be a name of letters, digits, and . _ - @ +")
    if value.startswith((".", "-")):
        raise ValueError("must not begin with a dot or a dash")
    return value


def goal(value: Any) -> int | bool:
    """The id of a goal, or true: every open one."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, int) or not 1 <= value < 2**63:
        raise ValueError("must be true, or the id of a goal")
    return value


def many(low: int, high: int, things: str, one: Check = lambda item: item) -> Check:
    """A list of `low` to `high` things, each checked."""
    amount = f"{low} to {high}" if low else f"at most {high}"

    def check(value: Any) -> list[Any]:
        if not isinstance(value, list) or not low <= len(value) <= high:
            raise ValueError(f"must be a list of {amount} {things}")
        return [one(item) for item in value]

    return check


def origins(value: Any) -> tuple[str, ...]:
    """Origins that are asked for: one, or a list; "any" is each."""
    one = choice(*ORIGINS, UNKNOWN, ANY)
    found = [one(item) for item in (value if isinstance(value, list) else [value])]
    return (*ORIGINS, UNKNOWN) if ANY in found else tuple(sorted(set(found)))


def zone(value: Any) -> tzinfo:
    """A time zone by its name."""
    return times.find_zone(text(100)(value))


def zone_name(value: Any) -> str:
    """The name of a time zone."""
    zone(value)
    return str(value)


def date(value: Any) -> Any:
    """Epoch milliseconds of a number, or a date as people write it: text, for `nimad.when.read`."""
    return text(100)(value) if isinstance(value, str) else times.read(value, UTC).at


def span(verb: str, name: str, value: int | str | None, now: int, zone: tzinfo) -> when.Span:
    """What a checked `date` names; UsageError says which parameter is wrong."""
    if isinstance(value, int):
        return when.Span(value, value + 1)
    if value is None:  # what 0 stands for where times are read
        raise UsageError(detail=f"{verb}: {name} must be a date, not 0")
    try:
        return when.read(value, now, zone)
    except ValueError as error:
        raise UsageError(detail=f"{verb}: {name} {error}, not {shown(value)}") from None
