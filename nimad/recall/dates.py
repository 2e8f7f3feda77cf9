"""Dates that a question names, and which memories lie on them.

"8 May 2023" asks for three things, the year, the month and the day of it, each of which counts by
how rare it is, like a word: so a memory of 9 May is nearer than one of June.  "yesterday" and the
like ask for one span, counted from now.  English, German and Japanese are understood.  Days are
those of this machine's time zone.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
DAY_MS = 86_400_000

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan januar",
            "february feb februar",
            "march mar märz",
            "april apr",
            "may mai",
            "june jun juni",
            "july jul juli",
            "august aug",
            "september sep sept",
            "october oct oktober okt",
            "november nov",
            "december dec dezember dez",
        ),
        1,
    )
    for name in names.split()
}
_DOUBTFUL = frozenset({"may", "march", "mar", "jan", "sep", "dec", "mai", "august"})
"""Other words, too: months only with a capital letter, and not as the first word."""
_WEEKDAYS = {
    name: number
    for number, names in enumerate(
        (
            "monday montag",
            "tuesday dienstag",
            "wednesday mittwoch",
            "thursday donnerstag",
            "friday freitag",
            "saturday samstag sonnabend",
            "sunday sonntag",
        )
    )
    for name in names.split()
}
_UNITS = {"day": 1, "tag": 1, "week": 7, "woche": 7, "month": 30, "monat": 30, "year": 365}
_UNITS |= {"jahr": 365, "日": 1, "週": 7, "月": 30, "年": 365}

_ISO = re.compile(r"\b((?:19|20)\d\d)-(\d\d?)(?:-(\d\d?))?\b")
_DOTTED = re.compile(r"\b(\d\d?)\.\s?(\d\d?)\.\s?((?:19|20)\d\d)\b")
_KANJI = re.compile(r"(?:((?:19|20)\d\d)年)?(?:(\d\d?)月)?(?:(\d\d?)日)?")
_WORD = re.compile(r"[^\W\d_]+|\d+")
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_AGO = re.compile(
    r"\b(\d{1,3}) (day|week|month|year)s? ago\b|\bvor (\d{1,3}) (tag|woche|monat|jahr)e?n?\b"
    r"|(\d{1,3})(日|週|年)間?前",
    re.IGNORECASE,
)
_SPANS = (
    (re.compile(r"\b(?:day before yesterday|vorgestern)\b|一昨日|おととい", re.I), (-2, -1)),
    (re.compile(r"\b(?:yesterday|gestern)\b|(?<!一)昨日|きのう", re.I), (-1, 0)),
    (re.compile(r"\b(?:today|heute)\b|今日", re.I), (0, 1)),
    (re.compile(r"\b(?:last|past|letzten?) (?:week|woche)\b|先週", re.I), "week"),
    (re.compile(r"\b(?:last|past|letzten?|letzter) (?:month|monat)\b|先月", re.I), "month"),
    (re.compile(r"\b(?:last|past|letzte[ns]) (?:year|jahr)\b|去年|昨年", re.I), "year"),
)


@dataclass(frozen=True, slots=True)
class Named:
    """One thing that a question asks of a date.

    `part` is "year", "month", "day" or "weekday" (0 is Monday), equal to `low`; or "span": epoch
    milliseconds from `low` up to before `high`.
    """

    part: str
    low: int
    high: int = 0


def named_dates(text: str, now: int) -> list[Named]:
    """What a text asks of dates, each once; empty for most texts.

    Args:
        now: epoch milliseconds; "yesterday" counts from here.
    """
    return list(dict.fromkeys([*_written(text), *_relative(text, now)]))


def date_words(words: Iterable[str]) -> set[str]:
    """Those of `words` that write dates: names of months and weekdays, and numbers."""
    low = {word.casefold() for word in words}
    return {word for word in low if word in _MONTHS or word in _WEEKDAYS or word[:1].isdecimal()}


def _written(text: str) -> Iterator[Named]:
    for year, month, day in _ISO.findall(text):
        yield from _parts(year, month, day)
    for day, month, year in _DOTTED.findall(text):
        yield from _parts(year, month, day)
    if "月" in text or "年" in text:
        for year, month, day in _KANJI.findall(text):
            if year or month:
                yield from _parts(year, month, day)
    yield from (Named("year", int(year)) for year in _YEAR.findall(text))
    words = _WORD.findall(text)
    for place, word in enumerate(words):
        low = word.lower()
        if low in _WEEKDAYS:
            yield Named("weekday", _WEEKDAYS[low])
        elif low in _MONTHS:
            days = _days_beside(words, place)
            if low in _DOUBTFUL and not days and (place == 0 or not word[0].isupper()):
                continue
            yield Named("month", _MONTHS[low])
            yield from (Named("day", day) for day in days)


def _days_beside(words: list[str], place: int) -> list[int]:
    """Days of the month right before or after its name ("8 May", "May 8th", "8th of May")."""
    beside = [*words[max(0, place - 2) : place], *words[place + 1 : place + 2]]
    skipped = {"th", "st", "nd", "rd", "of"}
    near = [w for n, w in enumerate(beside) if n > 0 or len(beside) < 3 or beside[1] in skipped]
    if place >= 3 and words[place - 1] == "of" and words[place - 2] in skipped:
        near.append(words[place - 3])
    return [int(w) for w in near if w.isdecimal() and 1 <= int(w) <= 31]


def _parts(year: str, month: str, day: str) -> Iterator[Named]:
    for part, value, most in (("year", year, 9999), ("month", month, 12), ("day", day, 31)):
        if value and 1 <= int(value) <= most:
            yield Named(part, int(value))


def _relative(text: str, now: int) -> Iterator[Named]:
    midnight = datetime.fromtimestamp(now / 1000).replace(hour=0, minute=0, second=0, microsecond=0)
    for found in _AGO.findall(text):
        number, unit = next((found[n], found[n + 1]) for n in (0, 2, 4) if found[n])
        days = _UNITS[unit.lower()]
        slack = 0 if days == 1 else max(1, days // 4)  # "3 weeks ago" is not meant to the day
        first = midnight - timedelta(days=int(number) * days + slack)
        yield _span(first, first + timedelta(days=1 + 2 * slack))
    for pattern, what in _SPANS:
        if pattern.search(text):
            yield _span(*_bounds(midnight, what))


def _bounds(midnight: datetime, what: str | tuple[int, int]) -> tuple[datetime, datetime]:
    if isinstance(what, tuple):
        return midnight + timedelta(days=what[0]), midnight + timedelta(days=what[1])
    if what == "week":
        monday = midnight - timedelta(days=midnight.weekday())
        return monday - timedelta(days=7), monday
    first = midnight.replace(day=1)
    if what == "month":
        return (first - timedelta(days=1)).replace(day=1), first
    first = first.replace(month=1)
    return first.replace(year=first.year - 1), first


def _span(first: datetime, end: datetime) -> Named:
    return Named("span", round(first.timestamp() * 1000), round(end.timestamp() * 1000))


def on_date(times: Ints, named: Named) -> NDArray[np.bool_]:
    """bool[n]: which of `times: int64[n]` (epoch milliseconds) are what a question named."""
    if named.part == "span":
        return (times >= named.low) & (times < named.high)
    if not len(times):
        return np.zeros(0, np.bool_)
    quarters = times // (DAY_MS // 96)  # no zone is off by less than a quarter of an hour
    starts = np.flatnonzero(np.append(True, quarters[1:] != quarters[:-1]))
    hit = _calendar(quarters[starts], named.part) == named.low
    return np.repeat(hit, np.diff(np.append(starts, len(times))))


def _calendar(quarters: Ints, part: str) -> Ints:
    """The year, month, day or weekday of quarters of an hour since 1970, here."""
    unique, back = np.unique(quarters // 96, return_inverse=True)
    offsets = np.array([_offset(int(day)) for day in unique], np.int64)
    days: Ints = (quarters + offsets[back] // 900) // 96
    if part == "weekday":
        days += 3
        days %= 7  # 1 January 1970 was a Thursday
        return days
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    if part == "day":
        day: Ints = (dates - months).astype(np.int64) + 1
        return day
    whole = months.astype(np.int64)
    found: Ints = whole % 12 + 1 if part == "month" else whole // 12 + 1970
    return found


@lru_cache(maxsize=20_000)
def _offset(day: int) -> int:
    """Seconds that this machine's clock is ahead of UTC at noon of a day since 1970."""
    try:
        return time.localtime(day * 86_400 + 43_200).tm_gmtoff
    except (OverflowError, ValueError, OSError):
        return 0
