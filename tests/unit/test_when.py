"""Dates as people write them: what each form names, and what is no date."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimad import when

HOUR, DAY = 3_600_000, 86_400_000


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(*moment: int) -> int:
    """Epoch milliseconds of a moment in Berlin."""
    return round(datetime(*moment).timestamp() * 1000)  # type: ignore[arg-type]


def now() -> int:
    return at(2024, 3, 5, 15, 30)  # a Tuesday


@pytest.mark.parametrize(
    ("texts", "first", "end"),
    [
        ("2023", (2023, 1, 1), (2024, 1, 1)),
        (
            "2023-05|May 2023|may 2023|Mai 2023|2023年5月|2023년 5월|2023년5월",
            (2023, 5, 1),
            (2023, 6, 1),
        ),
        (
            "2023-05-08|2023-5-8|8 May 2023|May 8, 2023|8th of May 2023|8. Mai 2023|8.5.2023"
            "|2023年5月8日|2023년 5월 8일|5월 8일|8 May|may 8|8.5.",
            (2023, 5, 8),
            (2023, 5, 9),
        ),
        ("29 Feb", (2024, 2, 29), (2024, 3, 1)),
        ("31 Dec", (2023, 12, 31), (2024, 1, 1)),
        ("March|März|this month|今月", (2024, 3, 1), (2024, 4, 1)),
        ("today|heute|今日|Today", (2024, 3, 5), (2024, 3, 6)),
        ("yesterday|gestern|昨日|monday", (2024, 3, 4), (2024, 3, 5)),
        ("day before yesterday|vorgestern|一昨日", (2024, 3, 3), (2024, 3, 4)),
        ("last week|letzte Woche|先週", (2024, 2, 26), (2024, 3, 4)),
        ("this week|diese Woche|今週", (2024, 3, 4), (2024, 3, 11)),
        ("last month|letzten Monat|先月", (2024, 2, 1), (2024, 3, 1)),
        ("last year|letztes Jahr|去年", (2023, 1, 1), (2024, 1, 1)),
        ("Friday|last friday|am Freitag|on Friday", (2024, 3, 1), (2024, 3, 2)),
        ("Tuesday", (2024, 2, 27), (2024, 2, 28)),
        ("last night", (2024, 3, 4, 18), (2024, 3, 5, 6)),
    ],
)
def test_spans(texts: str, first: tuple[int, ...], end: tuple[int, ...]) -> None:
    for text in texts.split("|"):
        assert when.read(text, now()) == (at(*first), at(*end)), text


@pytest.mark.parametrize(
    ("texts", "moment"),
    [
        ("now|jetzt|0 days ago", (2024, 3, 5, 15, 30)),
        ("7d|7 days ago|vor 7 Tagen|7日前|a week ago", (2024, 2, 27, 15, 30)),
        ("2h|2 hours ago|two hours ago|vor zwei Stunden|2時間前", (2024, 3, 5, 13, 30)),
        ("14:30|2:30pm|today 14:30|14:30 Uhr", (2024, 3, 5, 14, 30)),
        ("yesterday at 3pm|yesterday 15:00|4 March 2024 3 pm", (2024, 3, 4, 15)),
        ("12am", (2024, 3, 5)),
        ("2023-05-08T16:36|2023-05-08T14:36Z|2023-05-08 14:36+00:00", (2023, 5, 8, 16, 36)),
        ("1683556560000", (2023, 5, 8, 16, 36)),
    ],
)
def test_moments_last_a_millisecond(texts: str, moment: tuple[int, ...]) -> None:
    for text in texts.split("|"):
        span = when.read(text, now())
        assert span == (at(*moment), at(*moment) + 1), text
        assert span.last == span.first


NO_DATES = (
    *("", " ", "soon", "7x", "12", "99999", "5m", "2023-13", "30 Feb 2023", "8 Smarch 2023"),
    *("25:00", "May 2023 14:30", "13pm", "8日", "0000", "yesterday tomorrow", "99999999d"),
)


@pytest.mark.parametrize("text", NO_DATES)
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(ValueError, match="must be a date"):
        when.read(text, now())


def test_the_last_days_end_now() -> None:
    for text in ("last 7 days", "past seven days", "letzten 7 Tage"):
        assert when.read(text, now()) == (now() - 7 * DAY, now() + 1), text


def test_seconds_are_told_by_their_size() -> None:
    for text in ("1683556560", "1683556560000", "1683556560000000"):
        assert when.read(text, now()).first == 1683556560000


@given(st.text(max_size=40) | st.from_regex(r"[0-9a-zA-Z日月年前. :-]{1,30}", fullmatch=True))
def test_any_text_is_a_span_or_refused(text: str) -> None:
    try:
        span = when.read(text, now())
    except ValueError as error:
        assert str(error)
    else:
        assert span.first < span.end
    assert all(span.first < span.end for span, _ in when.relative(text, now()))


@pytest.mark.parametrize(
    ("text", "first", "end", "said"),
    [
        ("What did we do yesterday?", (2024, 3, 4), (2024, 3, 5), "yesterday"),
        ("Who called last Friday?", (2024, 3, 1), (2024, 3, 2), "last Friday"),
        ("What came 3 weeks ago?", (2024, 2, 12), (2024, 2, 15), "3 weeks ago"),
        ("Wer kam vor zwei Tagen?", (2024, 3, 3), (2024, 3, 4), "vor zwei Tagen"),
        ("Who rang two hours ago?", (2024, 3, 5, 12, 30), (2024, 3, 5, 14, 30), "two hours ago"),
        ("先週何をした", (2024, 2, 26), (2024, 3, 4), "先週"),
    ],
)
def test_dates_inside_a_question(
    text: str, first: tuple[int, ...], end: tuple[int, ...], said: str
) -> None:
    assert list(when.relative(text, now())) == [((at(*first), at(*end)), said)]


@pytest.mark.parametrize(
    "text", ["What is the last thing he said?", "A day at sea", "Vorsicht!", "past tense", "Mayday"]
)
def test_most_questions_name_none(text: str) -> None:
    assert list(when.relative(text, now())) == []


@pytest.mark.parametrize("years", ["2100", "9999"])
@pytest.mark.parametrize("form", ["What was {} years ago?", "Was war vor {} Jahren?", "{}年前"])
def test_what_no_calendar_has_is_not_asked_for(years: str, form: str) -> None:
    assert list(when.relative(form.format(years), now())) == []


def test_days_are_whole_when_the_clocks_change() -> None:
    assert when.read("2024-03-31", now()).end - when.read("2024-03-31", now()).first == 23 * HOUR
    morning = at(2024, 4, 1, 8)
    assert when.read("yesterday", morning) == (at(2024, 3, 31), at(2024, 4, 1))


def test_what_begins_with_1970_has_a_date() -> None:
    """0 stands for no date, so it begins a millisecond later."""
    assert when.read("1970", 0, UTC).first == when.read("1970-01-01", 0, UTC).first == 1
    assert when.read("1969", 0, UTC).last == -1
