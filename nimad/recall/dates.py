"""Dates that a question names, and which memories lie on them.

"8 May 2023" asks for three things, the year, the month and the day of it, each of which counts by
how rare it is, like a word: so a memory of 9 May is nearer than one of June.  "yesterday" and the
like ask for one span, counted from now (`nimad.when`).  `nimad.datewords` has the languages that
are understood.  Days are those of the asker's time zone.

Of what is named of one kind (two years, say), either will do.  Where numbers leave open which is
the month, "05/06/2018", both readings are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nimad import when
from nimad.dataclass import dataclass
from nimad.datewords import DENSE_WEEKDAYS, MONTHS, SEASONS, WEEKDAYS
from nimad.patterns import lazy_pattern
from nimad.recall.narrow import Times
from nimad.text import FIRST_DENSE, is_paired, tokens, words_of

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
DAY_MS = 86_400_000

_DOUBTFUL = frozenset({"may", "march", "mar", "jan", "sep", "dec", "mai", "august"})
"""Other words, too: months only with a number beside them, or with a capital letter and not as the
first word."""
_NAMES = frozenset({"mars", "mayo", "марта", "agosto", "set"})
"""Months only with a number beside them: as words they have a capital letter, or mean food."""

_NUMBERS = lazy_pattern(
    r"(?<![\w.])"
    r"(?:(?P<year>(?:19|20)\d\d)(?P<sign>[-/.])(?P<month>\d\d?)(?:(?P=sign)(?P<day>\d\d?))?"
    r"|(?P<first>\d\d?)(?P<mark>[-/.]) ?(?P<second>\d\d?)(?P=mark) ?(?P<late>\d\d(?:\d\d)?))"
    r"(?![\w]|[-/.]\d)",
    re.ASCII,
)
_KANJI = lazy_pattern(r"(?:((?:19|20)\d\d)[年년] ?)?(?:(\d\d?)[月월] ?)?(?:(\d\d?)[日号號일])?")
_DIGIT = lazy_pattern(r"\d")
_YEAR = lazy_pattern(r"\b(?:19|20)\d\d\b")
_MONTH = lazy_pattern(
    r"(?:\b(?P<day>\d\d?)(?:st|nd|rd|th|er|º|\.)?(?: (?:of|de))? )?"
    rf"\b(?P<name>{'|'.join(sorted(MONTHS, key=len, reverse=True))})\b\.?"
    r"(?:,? (?P<after>\d\d?)(?:st|nd|rd|th)?\b(?!:))?"
    r"(?:,? (?:of |de |del )?(?P<year>(?:19|20)\d\d)\b)?",
    re.IGNORECASE,
)
_SEASON = lazy_pattern(
    rf"\b(?P<name>{'|'.join(name for name in SEASONS if not is_paired(name))})"
    r"(?: (?:of|de|del|des jahres|года))?,? (?P<year>(?:19|20)\d\d)\b"
    rf"|(?P<first>(?:19|20)\d\d)年[の的]?(?P<last>{'|'.join(filter(is_paired, SEASONS))})",
    re.IGNORECASE,
)
_DENSE_WEEKDAY = lazy_pattern(
    r"(?<![一二三四五六七八九十两几每\d上这本个])(?:周|星期|礼拜)([一二三四五六日天])"
    r"|(?<![先今]週)(?<!週の)([月火水木金土日])曜"
)
_WEEKEND = lazy_pattern(
    r"\bweek-?ends?\b|\bwochenenden?\b|\bfin(?:es)? de semana\b|\bвыходны[ех]\b|周末|週末",
    re.IGNORECASE,
)

_WEEKEND_WORDS = {
    *("weekend", "weekends", "week", "wochenende", "wochenenden", "fin", "fines"),
    *("выходные", "выходных"),
}


@dataclass(frozen=True, slots=True)
class Named:
    """One thing that a question asks of a date.  `part` is "year", "month", "day" or "weekday" (0
    is Monday), equal to `low`; or "span": epoch milliseconds from `low` up to before `high`."""

    part: str
    low: int
    high: int = 0


@dataclass(frozen=True, slots=True)
class NamedDates:
    """Attributes:
    parts: what is asked of dates, by the kind of part.
    words: the tokens that do.
    """

    parts: dict[str, list[Named]]
    words: frozenset[str]

    @property
    def definite(self) -> bool:
        """Whether they name days, months of a year or a year, not only one of twelve months."""
        return (
            not self.parts.keys().isdisjoint(("span", "year"))
            or {"month", "day"} <= self.parts.keys()
        )


def named_dates(text: str, now: int, zone: tzinfo) -> NamedDates:
    """What a text asks of dates, each once; nothing for most texts.

    Args:
        now: epoch milliseconds; "yesterday" counts from here.
    """
    parts: dict[str, list[Named]] = {}
    said: set[str] = set()
    spans = [
        ([Named("span", span.first, span.end)], some)
        for span, some in when.relative(text, now, zone)
    ]
    for found, spelled in [*_written(text), *spans]:
        said.update(tokens(spelled))
        for named in found:
            same = parts.setdefault(named.part, [])
            if named not in same:
                same.append(named)
    return NamedDates(parts, frozenset(said))


def _written(text: str) -> Iterator[tuple[list[Named], str]]:
    """What each date asks that is written as numbers or names, and its words."""
    spoken = {word.casefold() for word in words_of(text)}
    dense = max(text, default="") >= FIRST_DENSE
    if _DIGIT.search(text):
        for found in _NUMBERS.finditer(text):
            if parts := _numbered(found):
                yield parts, found[0]
        for found in _YEAR.finditer(text):
            yield _parts(year=found[0]), found[0]
        if dense or not SEASONS.keys().isdisjoint(spoken):
            for found in _SEASON.finditer(text):
                year = _parts(year=found["year"] or found["first"])
                season = SEASONS.get((found["name"] or found["last"]).casefold(), ())
                yield year + [Named("month", month) for month in season], found[0]
    if not MONTHS.keys().isdisjoint(spoken):
        for found in _MONTH.finditer(text):
            if _is_month(found, text):
                month = str(MONTHS.get(found["name"].casefold(), ""))
                months = _parts(year=found["year"], month=month)
                days = [*_parts(day=found["day"]), *_parts(day=found["after"])]
                yield months + days, found[0]
    for word in WEEKDAYS.keys() & spoken:
        yield [Named("weekday", WEEKDAYS[word])], word
    if dense:
        for found in _KANJI.finditer(text):  # what is written in Chinese, Japanese or Korean
            if found[1] or found[2]:
                yield _parts(year=found[1], month=found[2], day=found[3]), found[0]
        for found in _DENSE_WEEKDAY.finditer(text):
            yield [Named("weekday", DENSE_WEEKDAYS[found[1] or found[2]])], found[0]
    if dense or not _WEEKEND_WORDS.isdisjoint(spoken):
        for found in _WEEKEND.finditer(text):
            yield [Named("weekday", 5), Named("weekday", 6)], found[0]


def _numbered(found: re.Match[str]) -> list[Named]:
    """What a date of numbers asks: the year first, or last, and then the day or the month first."""
    if found["year"]:
        return _parts(year=found["year"], month=found["month"], day=found["day"])
    first, second, year = int(found["first"]), int(found["second"]), int(found["late"])
    if year < 100:
        year += 1900 if year >= 70 else 2000
    orders = {(first, second), (second, first)} if found["mark"] == "/" else {(first, second)}
    read = sorted((d, m) for d, m in orders if 1 <= d <= 31 and 1 <= m <= 12)
    if not read or not 1900 <= year < 2100:
        return []
    days = [part for d, m in read for part in (Named("month", m), Named("day", d))]
    return [Named("year", year), *days]


def _is_month(found: re.Match[str], text: str) -> bool:
    """Whether a name that may mean something else means a month."""
    name = found["name"]
    if found["day"] or found["after"] or found["year"]:
        return True
    if name.lower() in _NAMES:
        return False
    first = not text[: found.start("name")].strip(" \t\n¿¡\"'“„«(")
    return name.lower() not in _DOUBTFUL or (name[0].isupper() and not first)


def _parts(**given: str | None) -> list[Named]:
    most = {"year": 9999, "month": 12, "day": 31}
    return [
        Named(part, int(value))
        for part, value in given.items()
        if value and 1 <= int(value) <= most[part]
    ]


def find_on_dates(
    times: Ints | Times, dates: NamedDates, zone: tzinfo, mask: Flags
) -> dict[str, Flags]:
    """bool[n] for each part: which of n times in the mask lie on what is named of it."""
    if not dates.parts:
        return {}
    days = Days(times[:], zone)
    return {part: days.on(part, named) & mask for part, named in dates.parts.items()}


class Days:
    """The days that times lie on, in a zone: `times: int64[n]`, epoch milliseconds; 0: no date."""

    def __init__(self, times: Ints, zone: tzinfo = UTC) -> None:
        self._times = times
        quarters = times // (DAY_MS // 96)  # no zone is off by less than a quarter of an hour
        self._starts = np.flatnonzero(np.append(True, quarters[1:] != quarters[:-1])[: len(times)])
        unique, back = np.unique(quarters[self._starts] // 96, return_inverse=True)
        offsets = _offsets(unique, zone)
        self._days = (quarters[self._starts] + offsets[back] // 900) // 96

    def on(self, part: str, named: Sequence[Named]) -> Flags:
        """bool[n]: which lie on any of what is named of one part."""
        if part == "span":
            found: Flags = np.zeros(len(self._times), np.bool_)
            for span in named:
                found |= (self._times >= span.low) & (self._times < span.high)
        else:
            hit = np.isin(self._values(part), [one.low for one in named])
            found = np.repeat(hit, np.diff(np.append(self._starts, len(self._times))))
        found &= self._times != 0
        return found

    def _values(self, part: str) -> Ints:
        if part == "weekday":
            return (self._days + 3) % 7  # 1 January 1970 was a Thursday
        dates = self._days.astype("datetime64[D]")
        months = dates.astype("datetime64[M]")
        whole = months.astype(np.int64)
        if part == "day":
            values: Ints = (dates - months).astype(np.int64) + 1
        else:
            values = whole % 12 + 1 if part == "month" else whole // 12 + 1970
        return values


def _offsets(days: Ints, zone: tzinfo) -> Ints:
    """int64[n]: `_offset` of each of `days: int64[n]`, ascending.  Of a week that begins as the
    next one does only the beginning is asked: clocks are not put there and back within one."""
    weeks, back = np.unique(days // 7, return_inverse=True)
    ends = np.unique([weeks, weeks + 1])
    asked = np.array([_offset(7 * week, zone) for week in ends.tolist()], np.int64)
    offsets, later = (asked[ends.searchsorted(some)][back] for some in (weeks, weeks + 1))
    for place in np.flatnonzero(offsets != later).tolist():
        offsets[place] = _offset(int(days[place]), zone)
    return offsets


@lru_cache(maxsize=20_000)
def _offset(day: int, zone: tzinfo) -> int:
    """Seconds that clocks in a zone are ahead of UTC at noon of a day since 1970."""
    try:
        noon = datetime(1970, 1, 1, 12, tzinfo=UTC) + timedelta(days=day)
        return round((noon.astimezone(zone).utcoffset() or timedelta()).total_seconds())
    except (OverflowError, ValueError):
        return 0
