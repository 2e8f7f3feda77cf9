"""Dates that a question names, and which memories lie on them.

"8 May 2023" asks for three things, the year, the month and the day of it, each of which counts by
how rare it is, like a word: so a memory of 9 May is nearer than one of June.  "yesterday" and the
like ask for one span, counted from now (`nimad.when`).  English, German and Japanese are
understood.  Days are those of the asker's time zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nimad import when
from nimad.datewords import MONTHS, WEEKDAYS
from nimad.text import letters_and_numbers

Ints = NDArray[np.int64]
DAY_MS = 86_400_000

_DOUBTFUL = frozenset({"may", "march", "mar", "jan", "sep", "dec", "mai", "august"})
"""Other words, too: months only with a capital letter, and not as the first word."""

_ISO = re.compile(r"\b((?:19|20)\d\d)-(\d\d?)(?:-(\d\d?))?\b")
_DOTTED = re.compile(r"\b(\d\d?)\.\s?(\d\d?)\.\s?((?:19|20)\d\d)\b")
_KANJI = re.compile(r"(?:((?:19|20)\d\d)年)?(?:(\d\d?)月)?(?:(\d\d?)日)?")
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")


@dataclass(frozen=True, slots=True)
class Named:
    """One thing that a question asks of a date.  `part` is "year", "month", "day" or "weekday" (0
    is Monday), equal to `low`; or "span": epoch milliseconds from `low` up to before `high`."""

    part: str
    low: int
    high: int = 0


def named_dates(text: str, now: int, zone: tzinfo) -> tuple[list[Named], set[str]]:
    """What a text asks of dates, each once, and the words (case-folded) that do.

    Nothing for most texts.

    Args:
        now: epoch milliseconds; "yesterday" counts from here.
    """
    found, said = list(dict.fromkeys(_written(text))), set[str]()
    if found:
        low = {word.casefold() for word in letters_and_numbers(text)}
        said = {w for w in low if w in MONTHS or w in WEEKDAYS or w[:1].isdecimal()}
    for span, spelled in when.relative(text, now, zone):
        found.append(Named("span", span.first, span.end))
        said.update(word.casefold() for word in letters_and_numbers(spelled))
    return list(dict.fromkeys(found)), said


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
    words = letters_and_numbers(text)
    for place, word in enumerate(words):
        low = word.lower()
        if low in WEEKDAYS:
            yield Named("weekday", WEEKDAYS[low])
        elif low in MONTHS:
            # right before or after its name: "8 May", "May 8th", "8th of May"
            beside = [*words[max(0, place - 2) : place], *words[place + 1 : place + 2]]
            skipped = {"th", "st", "nd", "rd", "of"}
            near = [
                w for n, w in enumerate(beside) if n > 0 or len(beside) < 3 or beside[1] in skipped
            ]
            if place >= 3 and words[place - 1] == "of" and words[place - 2] in skipped:
                near.append(words[place - 3])
            days = [int(w) for w in near if w.isdecimal() and 1 <= int(w) <= 31]
            if low in _DOUBTFUL and not days and (place == 0 or not word[0].isupper()):
                continue
            yield Named("month", MONTHS[low])
            yield from (Named("day", day) for day in days)


def _parts(year: str, month: str, day: str) -> Iterator[Named]:
    for part, value, most in (("year", year, 9999), ("month", month, 12), ("day", day, 31)):
        if value and 1 <= int(value) <= most:
            yield Named(part, int(value))


def on_date(times: Ints, named: Named, zone: tzinfo = UTC) -> NDArray[np.bool_]:
    """bool[n]: which of `times: int64[n]` (epoch milliseconds; 0: no date) a question named."""
    if named.part == "span":
        found: NDArray[np.bool_] = (times >= named.low) & (times < named.high)
        found &= times != 0
        return found
    if not len(times):
        return np.zeros(0, np.bool_)
    quarters = times // (DAY_MS // 96)  # no zone is off by less than a quarter of an hour
    starts = np.flatnonzero(np.append(True, quarters[1:] != quarters[:-1]))
    unique, back = np.unique(quarters[starts] // 96, return_inverse=True)
    offsets = np.array([_offset(int(day), zone) for day in unique], np.int64)
    days = (quarters[starts] + offsets[back] // 900) // 96
    if named.part == "weekday":
        value = (days + 3) % 7  # 1 January 1970 was a Thursday
    else:
        dates = days.astype("datetime64[D]")
        months = dates.astype("datetime64[M]")
        value = (dates - months).astype(np.int64) + 1
        if named.part != "day":
            whole = months.astype(np.int64)
            value = whole % 12 + 1 if named.part == "month" else whole // 12 + 1970
    found = np.repeat(value == named.low, np.diff(np.append(starts, len(times))))
    found &= times != 0
    return found


@lru_cache(maxsize=20_000)
def _offset(day: int, zone: tzinfo) -> int:
    """Seconds that clocks in a zone are ahead of UTC at noon of a day since 1970."""
    try:
        noon = datetime(1970, 1, 1, 12, tzinfo=UTC) + timedelta(days=day)
        return round((noon.astimezone(zone).utcoffset() or timedelta()).total_seconds())
    except (OverflowError, ValueError):
        return 0
