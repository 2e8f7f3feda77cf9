"""Points in time as people type them after an option."""

from __future__ import annotations

from nimad import when
from nimad.errors import UsageError
from nimad.model import now_ms


def parse(text: str, option: str, now: int | None = None) -> int:
    """Epoch milliseconds of a date or an age: the first moment of what it names.

    Ages count from `now` [epoch milliseconds]; default: the clock.
    Raises UsageError, naming the option, for anything else.
    """
    return _span(text, option, now).first


def parse_last(text: str, option: str) -> int:
    """The same, but the last moment: "May 2023" is its end."""
    return _span(text, option, None).last


def _span(text: str, option: str, now: int | None) -> when.Span:
    try:
        return when.read(text, now_ms() if now is None else now)
    except ValueError as error:
        raise UsageError(detail=f"{option} {error}, not {text.strip()[:60]!r}") from None
