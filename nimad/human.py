"""What people read: counts, sizes, spans of time, dates; and the name of the one who is here."""

from __future__ import annotations

import os
import time

MINUTE, HOUR, DAY = 60, 3600, 86_400
_SPANS = (
    ("year", 365 * DAY),
    ("month", 30 * DAY),
    ("week", 7 * DAY),
    ("day", DAY),
    ("hour", HOUR),
    ("minute", MINUTE),
    ("second", 1),
)


def user_name() -> str:
    """The name of the user who runs this: what they say in a transcript is theirs."""
    return os.environ.get("USER") or os.environ.get("LOGNAME") or "user"


def count(number: int, thing: str = "") -> str:
    """`4,112`, or `1 memory` and `4,112 memories` when the thing is named."""
    plural = f"{thing}s"
    if thing.endswith("y") and thing[-2:-1] not in "aeiou":
        plural = f"{thing[:-1]}ies"  # memory → memories
    return f"{number:,} {thing if number == 1 else plural}" if thing else f"{number:,}"


def size(number: float) -> str:
    """Bytes as `512 bytes`, `12 kB`, `8.2 MB`: powers of 1000, as on the label of a card."""
    if number < 1000:
        return count(int(number), "byte")
    value = float(number)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
    raise AssertionError("unreachable")


def share(part: float, whole: float) -> str:
    """Percent of the whole, to the nearest; `<1 %` for what is there but does not count."""
    if whole <= 0 or part <= 0:
        return "0 %"
    percent = 100 * part / whole
    return f"{percent:.0f} %" if percent >= 0.5 else "<1 %"


def span(seconds: float) -> str:
    """How long, in the largest unit that fits: `3 hours`, `2 days`."""
    for name, length in _SPANS:
        if seconds >= length:
            return count(int(seconds // length), name)
    return "no time"


def took(milliseconds: float) -> str:
    """How long something took: `40 ms`, `1.2 s`."""
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def clock(seconds: float) -> str:
    """A time that is left or was taken: `0:07`, `12:30`, `1:02:03`."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def ago(milliseconds: int, now: float | None = None) -> str:
    """How long before now [epoch seconds]: `just now`, `3 months ago`, `in 2 days`."""
    away = (time.time() if now is None else now) - milliseconds / 1000
    if abs(away) < MINUTE:
        return "just now"
    return f"{span(away)} ago" if away > 0 else f"in {span(-away)}"


def date(milliseconds: int) -> str:
    """The local date and time, to the minute; the bare number when no calendar has it."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(milliseconds / 1000))
    except (ValueError, OverflowError, OSError):
        return str(milliseconds)
