"""The words that dates are written with, in English, German and Japanese."""

from __future__ import annotations

from datetime import timedelta

MONTHS = {
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
"""Names and abbreviations, lower case, to 1..12."""

WEEKDAYS = {
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
"""Names, lower case, to 0 (Monday) .. 6."""

NUMBERS = {
    name: number
    for number, names in enumerate(
        (
            "a an one ein eine einen einem einer",
            "two zwei",
            "three drei",
            "four vier",
            "five fünf",
            "six sechs",
            "seven sieben",
            "eight acht",
            "nine neun",
            "ten zehn",
        ),
        1,
    )
    for name in names.split()
}
"""Numbers that are written as words."""

_DAY = timedelta(days=1)
_LENGTHS = {
    "min minute 分": timedelta(minutes=1),
    "h hour stunde 時間": timedelta(hours=1),
    "d day tag 日": _DAY,
    "w week woche 週": 7 * _DAY,
    "mo month monat か月 ヶ月": 30 * _DAY,
    "y year jahr 年": 365 * _DAY,
}
UNITS = {name: length for names, length in _LENGTHS.items() for name in names.split()}
"""How long a unit of an age is: a month has 30 days, a year 365."""
