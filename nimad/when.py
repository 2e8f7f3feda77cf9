"""Points in time as people write them, the same for nimactl, the protocol and questions.

A written date is a span: "May 2023" is a month, "yesterday" a day, "14:30" and "2 hours ago" are
moments.  Days and months are those of the zone that the caller names, unless the text names one
(+02:00, Z).  Numbers and ISO 8601 are read by `nimad.times`, the words of other languages by
`nimad.datewords`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, tzinfo
from functools import partial
from typing import NamedTuple

from nimad import datewords as words
from nimad import times
from nimad.model import MAX_TIME, MIN_TIME
from nimad.patterns import lazy_pattern
from nimad.text import words_of

FORMS = (
    "a date (2023, 2023-05-08, 8 May 2023, May 2023), with or without a time (14:30, 3pm), an age"
    " (30min, 12h, 7d, 3w, 6mo, 2y, 2 hours ago), today, yesterday, last week, Friday, now, or"
    " a number since 1970"
)
_MS = timedelta(milliseconds=1)
_IN_NO_CALENDAR = (ValueError, OverflowError, OSError, LookupError)
"""What a date raises that is in no calendar, or a word that is one but for the case of letters that
have three: "Frıday"."""
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


Bounds = tuple[datetime, datetime]
"""Beginning and end of a span; the end does not belong to it."""


class Span(NamedTuple):
    """Epoch milliseconds from `first` up to before `end`; a moment lasts one millisecond."""

    first: int
    end: int

    @property
    def last(self) -> int:
        """The last millisecond that belongs to it."""
        return self.end - 1


def read(text: str, now: int, zone: tzinfo | None = None) -> Span:
    """The span that a whole text names.

    A date without a year is the last one that has begun; so is a weekday, today left out.

    Args:
        now: epoch milliseconds; ages and "yesterday" count from here.
        zone: of what names none; None is this machine's.

    Raises ValueError("must be ...") for anything else.
    """
    given = " ".join(text.split())
    zone = zone or times.local_zone()
    with suppress(ValueError):
        if _NUMBER_OR_TIME.match(given) and (at := times.read(given, zone).at) is not None:
            return _moment(at)
    if short := re.fullmatch(r"(\d{1,6}) ?(min|h|d|w|mo|y)", given):
        return _moment(now - int(short[1]) * words.UNITS[short[2]] // _MS)
    try:
        if ago := _AGO.fullmatch(given):
            return _moment(now - _amount(ago) // _MS)
        if found := _LAST_SOME.fullmatch(given):
            return Span(_moment(now - _amount(found) // _MS).first, now + 1)
        named = _written(given, _here(now, zone))
        if named is not None:
            return _milliseconds(*named, zone)
    except _IN_NO_CALENDAR:
        pass
    raise ValueError(f"must be {FORMS}")


def relative(text: str, now: int, zone: tzinfo | None = None) -> Iterator[tuple[Span, str]]:
    """The spans that "yesterday" or "3 weeks ago" inside a text names, with the words that do.

    What counts weeks or more is not meant to the day: it gets a quarter of its unit on both sides.
    """
    dense = not text.isascii() and _DENSE_HINT.search(text)
    if not dense and _HINTS.isdisjoint(words_of(text.casefold())):
        return
    zone = zone or times.local_zone()
    at = _here(now, zone)
    # the words of each span, and what makes its bounds from the time now
    spans = [(found[0], bounds) for pattern, bounds in _NAMED if (found := pattern.search(text))]
    if (hier := _HIER.search(text)) and _FRENCH.search(text):  # German has the word, too: here
        spans.append((hier[0], _days(-1)))
    spans += [(day[0], partial(_weekday, name=_said(day)[0])) for day in _LAST_DAY.finditer(text)]
    spans += [(day[0], partial(_day_of_week, said=_said(day))) for day in _DENSE_DAY.finditer(text)]
    spans += [
        (some[0], partial(_season, said=_said(some)[-1])) for some in _LAST_SEASON.finditer(text)
    ]
    for some in _AGO.finditer(text):
        spans.append((some[0], partial(_around, found=some)))
    for said, bounds in spans:
        with suppress(*_IN_NO_CALENDAR):
            yield _milliseconds(*bounds(at), zone), said
    for last in _LAST_SOME.finditer(text):
        with suppress(*_IN_NO_CALENDAR):
            yield Span(now - _amount(last) // _MS, now + 1), last[0]


# --- one whole text -------------------------------------------------------------------------------


def _written(given: str, now: datetime) -> Bounds | None:
    if given.casefold() in ("now", "jetzt", "今"):
        return _instant(now)
    day = _day(given, now)
    if day is not None:
        return day
    if found := _CLOCK.search(given):
        day = _day(given[: found.start()], now) if found.start() else _days(0)(now)
        if day is None or day[1] - day[0] > _DAY + 2 * _HOUR:
            return None
        hour, half = int(found[1]), (found[3] or found[4] or "").casefold()
        if half and not 1 <= hour <= 12:
            raise ValueError
        if half:
            hour = hour % 12 + (12 if half == "pm" else 0)
        return _instant(day[0].replace(hour=hour, minute=int(found[2] or 0)))
    return None


def _day(given: str, now: datetime) -> Bounds | None:
    """A day, a month or a year."""
    for pattern, bounds in _NAMED:
        if pattern.fullmatch(given):
            return bounds(now)
    if given.casefold() == "hier":
        return _days(-1)(now)
    if found := _WEEKDAY.fullmatch(given):
        return _weekday(now, found[1])
    if re.fullmatch(r"\d{4}(-\d\d?){0,2}", given):
        return _calendar(now, *given.split("-"))
    if found := _DOTTED.fullmatch(given):
        return _calendar(now, found[3], found[2], found[1])
    if (found := _KANJI.fullmatch(given)) and (found[2] or (found[1] and not found[3])):
        return _calendar(now, *found.groups())
    if found := _WORDED.fullmatch(given.replace(",", " ").replace("  ", " ")):
        month = words.MONTHS.get((found["month"] or found["first"]).casefold())
        year, day = found["year"] or found["late"], found["day"] or found["after"]
        return _calendar(now, year, str(month), day) if month else None
    return None


def _calendar(
    now: datetime, year: str | None, month: str | None = None, day: str | None = None
) -> Bounds:
    """A year, a month or a day; without a year the last one that has begun."""
    if year is None:
        first = datetime(now.year, int(month or 1), 1)
        found = _calendar(now, str(now.year), month, day) if day or first <= now else None
        if found is not None and found[0] <= now:
            return found
        return _calendar(now, str(now.year - 1), month, day)
    first = datetime(int(year), int(month or 1), int(day or 1))
    try:
        if day:
            return first, first + _DAY
        return first, _month_after(first) if month else first.replace(year=first.year + 1)
    except (OverflowError, ValueError):  # it is the last one of the calendar
        return first, datetime.max


def _instant(at: datetime) -> Bounds:
    return at, at + timedelta(milliseconds=1)


def _here(now: int, zone: tzinfo) -> datetime:
    """Date and time at an epoch millisecond, without the zone they are of."""
    return times.local(now, zone).replace(tzinfo=None)


def _milliseconds(first: datetime, end: datetime, zone: tzinfo) -> Span:
    last = times.at_zone(end, zone) + (end == datetime.max)  # which belongs to it
    begin = times.at_zone(first, zone) or 1  # 0 is no date
    return Span(max(begin, MIN_TIME), min(last, MAX_TIME))


def _moment(at: int) -> Span:
    if not MIN_TIME <= at < MAX_TIME:
        raise ValueError(f"must be {FORMS}")
    return Span(at, at + 1)


# --- spans that count from now --------------------------------------------------------------------


def _days(first: int, count: int = 1) -> Callable[[datetime], Bounds]:
    def bounds(now: datetime) -> Bounds:
        start = datetime(now.year, now.month, now.day) + first * _DAY
        return start, start + count * _DAY

    return bounds


def _hours(first: int, end: int) -> Callable[[datetime], Bounds]:
    """From and to an hour of today; below 0 of the day before."""

    def bounds(now: datetime) -> Bounds:
        start = datetime(now.year, now.month, now.day)
        return start + first * _HOUR, start + end * _HOUR

    return bounds


def _weeks(first: int) -> Callable[[datetime], Bounds]:
    return lambda now: _days(7 * first - now.weekday(), 7)(now)


def _months(first: int) -> Callable[[datetime], Bounds]:
    def bounds(now: datetime) -> Bounds:
        month = now.year * 12 + now.month - 1 + first
        start = datetime(month // 12, month % 12 + 1, 1)
        return start, _month_after(start)

    return bounds


def _years(first: int) -> Callable[[datetime], Bounds]:
    return lambda now: (datetime(now.year + first, 1, 1), datetime(now.year + first + 1, 1, 1))


def _month_after(first: datetime) -> datetime:
    return (first + 31 * _DAY).replace(day=1)


def _weekend(week: int) -> Callable[[datetime], Bounds]:
    """Saturday and Sunday of this week (0), of the last one (-1)."""
    return lambda now: _days(7 * week - now.weekday() + 5, 2)(now)


def _weekday(now: datetime, name: str) -> Bounds:
    """The last one before today."""
    back = (now.weekday() - words.WEEKDAYS[name.casefold()] - 1) % 7 + 1
    return _days(-back)(now)


def _day_of_week(now: datetime, said: Sequence[str]) -> Bounds:
    """A day of this week or the last one: 上 and 先 are last."""
    week, day = said
    first = -7 if week in "上先" else 0
    return _days(first + words.DENSE_WEEKDAYS[day] - now.weekday())(now)


def _season(now: datetime, said: str) -> Bounds:
    """The last one that is over; of 去年 that of the year before."""
    first = words.SEASONS[said.removeprefix("去年").removeprefix("の").casefold()][0]
    start = datetime(now.year - said.startswith("去年"), first, 1)
    while (end := _months(3)(start)[0]) > now:
        start = start.replace(year=start.year - 1)
    return start, end


def _around(now: datetime, found: re.Match[str]) -> Bounds:
    at, unit = now - _amount(found), _unit(found)
    if unit < _DAY:
        return at - unit, at + unit
    slack = 0 if unit == _DAY else max(1, unit.days // 4)
    return _days(-slack, 1 + 2 * slack)(at)


def _said(found: re.Match[str]) -> list[str]:
    """The groups of whichever language matched."""
    return [part for part in found.groups() if part]


def _amount(found: re.Match[str]) -> timedelta:
    """How long: the number and the unit."""
    number = _said(found)[0].casefold()
    return (words.NUMBERS.get(number) or int(number)) * _unit(found)


def _unit(found: re.Match[str]) -> timedelta:
    return words.UNITS[_said(found)[1].casefold()]


_LAST = "last|past|letzte[nmrs]?|vergangene[nmrs]?"
_NAMED = tuple(
    (lazy_pattern(pattern, re.IGNORECASE), bounds)
    for bounds, pattern in (
        (_days(-3), r"大前天"),
        (
            _days(-2),
            r"\bday before yesterday\b|\bvorgestern\b|\bavant-hier\b|\banteayer\b|\baltro ieri\b"
            r"|\banteontem\b|\bпозавчера\b|一昨日|おととい|(?<!大)前天",
        ),
        (
            _days(-1),
            r"(?<!day before )\byesterday\b|\bgestern\b|\bayer\b|(?<!altro )\bieri\b|\bontem\b"
            r"|\bвчера\b|(?<!一)昨日|きのう|昨天",
        ),
        (
            _days(0),
            r"\btoday\b|\bheute\b|\baujourd['’]hui\b|\bhoy\b|\boggi\b|\bhoje\b|\bсегодня\b|今日|今天",
        ),
        (_days(1), r"\btomorrow\b|\bdemain\b|\bdomani\b|\bamanhã\b|\bзавтра\b|明日|明天"),
        (
            _hours(-6, 6),
            r"\blast night\b|\bgestern abend\b|\bhier soir\b|\banoche\b|\bвчера вечером\b"
            r"|昨夜|昨晩|昨晚",
        ),
        (
            _hours(0, 12),
            r"\bthis morning\b|\bheute morgen\b|\bce matin\b|\besta mañana\b"
            r"|\bсегодня утром\b|今朝|今早|今天早上",
        ),
        (
            _weeks(0),
            r"\bthis week\b|\bdiese(?:r|n)? woche\b|\bcette semaine\b|\besta semana\b"
            r"|\bquesta settimana\b|\bэтой неделе\b|今週(?![末の])"
            r"|(?:这个?|本)(?:周|星期|礼拜)(?![一二三四五六日天末])",
        ),
        (
            _weeks(-1),
            rf"\b(?:{_LAST}) (?:week|woche)\b|\bsemaine (?:dernière|passée)\b|\bsemana pas+ada\b"
            r"|\bpasada semana\b|\bsettimana scorsa\b|\bscorsa settimana\b|\bпрошлой неделе\b"
            r"|先週(?![末の])|上个?(?:周|週|星期|礼拜)(?![一二三四五六日天末])",
        ),
        (
            _weekend(0),
            r"\bthis week-?end\b|\bdieses wochenende\b|\bce week-?end\b|\beste fin de semana\b"
            r"|\bэтих выходных\b|(?:这个?|本)周末|今週末",
        ),
        (
            _weekend(-1),
            rf"\b(?:{_LAST}) (?:week-?end|wochenende)\b|\bweek-?end dernier\b"
            r"|\bfin de semana pas+ado\b|\bпрошлы[ех] выходны[ех]\b|上个?周末|先週末",
        ),
        (
            _months(0),
            r"\bthis month\b|\bdiese[nmr]? monat\b|\bce mois(?:-ci)?\b|\beste m[eê]s\b"
            r"|\bquesto mese\b|\bэтом месяце\b|今月|这个月|本月",
        ),
        (
            _months(-1),
            rf"\b(?:{_LAST}) (?:month|monat)\b|\bmois (?:dernier|passé)\b|\bm[eê]s pas+ado\b"
            r"|\bpasado mes\b|\bmese scorso\b|\bscorso mese\b|\bпрошлом месяце\b|先月|上个?月",
        ),
        (
            _years(0),
            r"\bthis year\b|\bdieses jahr\b|\bcette année\b|\beste a[nñ]o\b|\bquest['’]anno\b"
            r"|\bэтом году\b|今年",
        ),
        (
            _years(-1),
            rf"\b(?:{_LAST}) (?:year|jahr)\b|\ban(?:née)? derni[eè]re?\b|\ba[nñ]o pas+ado\b"
            r"|\banno scorso\b|\bscorso anno\b|\bпрошлом году\b|去年(?!の?[春夏秋冬])|昨年",
        ),
        (_years(-2), r"(?<![一昨])前年|一昨年"),
    )
)
_HIER = lazy_pattern(r"(?<!avant-)\bhier\b(?! soir)", re.IGNORECASE)
_FRENCH = lazy_pattern(
    r"^hier$|\b(?:ai|as|avons|avez|ont|il|elle|nous|vous|est|était|le|la|les|un|une|que|qui|quoi|où"
    r"|avec|dans|pour|mon|ma)\b|\b[jdlcnsmt]['’]",
    re.IGNORECASE,
)
"""Small words of French."""
_NUMBER = rf"(\d{{1,4}}|{'|'.join(sorted(words.NUMBERS, key=len, reverse=True))})"
_UNIT = "minute|hour|day|week|month|year"
_GERMAN_UNIT = "minute|stunde|tag|woche|monat|jahr"
_FRENCH_UNIT = "minute|heure|jour|semaine|mois|année|an"
_SPANISH_UNIT = "minuto|hora|d[ií]a|semana|m[eê]s|a[nñ]o"
_ITALIAN_UNIT = "minut[oi]|or[ae]|giorn[oi]|settiman[ae]|mes[ei]|ann[oi]"
_RUSSIAN_UNIT = "минут[уы]?|час(?:а|ов)?|день|дн(?:я|ей)|недел[юиь]|месяц(?:а|ев)?|года?|лет"
_DENSE_UNIT = "分钟|分鐘|分|小时|小時|時間|天|日|週|周|星期|礼拜|か月|ヶ月|(?<=[个個])月|年"
_AGO = lazy_pattern(
    rf"\b{_NUMBER} ({_UNIT})s? ago\b|\bvor {_NUMBER} ({_GERMAN_UNIT})(?:e[nrs]?|n)?\b"
    rf"|\bil y a {_NUMBER} ({_FRENCH_UNIT})s?\b|\b(?:hace|há) {_NUMBER} ({_SPANISH_UNIT})(?:e?s)?\b"
    rf"|\b{_NUMBER} ({_ITALIAN_UNIT}) fa\b|\b{_NUMBER} ({_RUSSIAN_UNIT}) назад\b"
    rf"|{_NUMBER}[个個]?({_DENSE_UNIT})間?[之以]?前",
    re.IGNORECASE,
)
_HINT_TEXT = """
last past ago this today yesterday tomorrow vor letzte letzten letzter letztes letztem vergangene
vergangenen vergangener vergangenes gestern vorgestern heute diese dieser diesen dieses diesem hier
avant aujourd demain matin cette ce dernier dernière derniers dernières passé passée il ayer
anteayer hoy anoche este esta pasado pasada hace último última últimos últimas ontem anteontem hoje
há amanhã passado passada ieri altro oggi domani questa questo quest scorso scorsa fa ultimi ultime
вчера позавчера сегодня завтра прошлой прошлом прошлый прошлую прошлое прошлые прошлых прошлым этой
этом этих назад последние
"""
_HINTS = frozenset(_HINT_TEXT.split())
_DENSE_HINT = lazy_pattern("[前日夜晩晚朝週周月年天星礼去今最先きお]")
"""A word, or a character, of every pattern above and below: most questions have none of them."""
_LAST_SOME = lazy_pattern(
    rf"\b(?:last|past) {_NUMBER} ({_UNIT})s?\b|\bletzten {_NUMBER} ({_GERMAN_UNIT})(?:e[nrs]?|n)?\b"
    rf"|\b[lc]es {_NUMBER} derni[eè]re?s ({_FRENCH_UNIT})s?\b"
    rf"|\b[úu]ltim[oa]s {_NUMBER} ({_SPANISH_UNIT})(?:e?s)?\b"
    rf"|\bultim[ie] {_NUMBER} ({_ITALIAN_UNIT})\b"
    rf"|\bпоследние {_NUMBER} ({_RUSSIAN_UNIT})\b|(?:最近|过去){_NUMBER}[个個]?({_DENSE_UNIT})",
    re.IGNORECASE,
)
_NUMBER_OR_TIME = lazy_pattern(r"-?\d{9,20}(\.\d+)?$|\d{4}-?\d\d-?\d\d[T ]\d")
_NAMES = "|".join(words.WEEKDAYS)
_LAST_DAY = lazy_pattern(
    rf"\b(?:{_LAST}|прошлый|прошлую|прошлое) ({_NAMES})\b"
    rf"|\b({_NAMES}) (?:dernier|passé|pasado|scors[oa]|passado)\b",
    re.IGNORECASE,
)
_DENSE_DAY = lazy_pattern(
    r"(上|这|本)个?(?:周|星期|礼拜)([一二三四五六日天])|(先|今)週の?([月火水木金土日])曜"
)
_SEASONS = "|".join(words.SEASONS)
_DENSE_SEASONS = "|".join(season for season in words.SEASONS if season > "\u2e80")
_LAST_SEASON = lazy_pattern(
    rf"\b(?:{_LAST}) ({_SEASONS})\b|\b({_SEASONS}) (?:dernier|pas+ad[oa]|scors[oa])\b"
    rf"|\bпрошл(?:ым|ой) ({_SEASONS})\b|(去年の?(?:{_DENSE_SEASONS}))",
    re.IGNORECASE,
)
_WEEKDAY = lazy_pattern(rf"(?:(?:on|last|am|letzte[nr]?) )?({_NAMES})", re.IGNORECASE)
_DOTTED = lazy_pattern(r"(\d\d?)\. ?(\d\d?)\. ?(\d{4})?")
_KANJI = lazy_pattern(r"(?:(\d{4})[年년] ?)?(?:(\d\d?)[月월] ?)?(?:(\d\d?)[日号號일])?")
_WORDED = lazy_pattern(
    r"(?:(?P<day>\d\d?)(?:st|nd|rd|th|er|\.)? (?:of |de )?)?(?P<month>[^\W\d_]+)\.?"
    r"(?:(?: de| del)? (?P<year>\d{4}))?"
    r"|(?P<first>[^\W\d_]+)\.? (?P<after>\d\d?)(?:st|nd|rd|th)?(?: (?P<late>\d{4}))?",
    re.IGNORECASE,
)
_CLOCK = lazy_pattern(
    r"(?:^| )(?:at |um )?(\d\d?)(?::(\d\d)(?: ?([ap]m)| Uhr)?| ?([ap]m)| Uhr)$", re.IGNORECASE
)
