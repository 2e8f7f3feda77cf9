"""What nimactl makes of text, numbers and dates: safe, aligned, understood."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimad import human
from nimad.ctl.arguments import first_moment
from nimad.ctl.screen import Screen
from nimad.ctl.terminal_text import columns, one_line, safe, safe_json, shorten, wrap
from nimad.errors import UsageError

HARMFUL = [*range(0x0A), *range(0x0B, 0x20), *range(0x7F, 0xA0), 0x202E, 0x2066, 0x2028]


@given(st.text())
def test_nothing_harmful_survives(text: str) -> None:
    shown = safe(text)
    assert not any(ord(char) in HARMFUL for char in shown)
    assert "\n" not in one_line(text)


@given(st.dictionaries(st.text(), st.text()))
def test_json_means_the_same_and_is_harmless(value: dict[str, str]) -> None:
    shown = safe_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(shown) == value
    assert not any(ord(char) in HARMFUL for char in shown)


def test_an_escape_sequence_is_shown_not_obeyed() -> None:
    assert safe("\x1b]0;owned\x07") == "\\x1b]0;owned\\x07"
    assert safe("a\r\nb") == "a\nb"
    assert safe("\x9b31m") == "\\u009b31m"


@given(st.text(), st.integers(2, 60))
def test_wrapped_lines_fit_and_keep_every_word(text: str, width: int) -> None:
    lines = wrap(safe(text), width)
    assert all(columns(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(safe(text).split())


def test_wide_characters_take_two_columns() -> None:
    assert columns("漢字") == 4
    assert columns("e\u0301") == 1
    assert wrap("漢字漢字", 4) == ["漢字", "漢字"]
    assert shorten("a long line of words", 10) == "a long..."


@pytest.mark.parametrize(
    ("bytes_", "shown"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1000, "1.0 kB"), (8_200_000, "8.2 MB")],
)
def test_sizes(bytes_: int, shown: str) -> None:
    assert human.size(bytes_) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(5, "just now"), (90, "1 minute ago"), (86_400 * 95, "3 months ago"), (-7200, "in 2 hours")],
)
def test_relative_dates(seconds: int, shown: str) -> None:
    now = 1_700_000_000.0
    assert human.ago(int((now - seconds) * 1000), now) == shown


def test_shares_of_what_is_there_are_never_nothing() -> None:
    assert human.share(1, 10_000) == "<1 %"
    assert human.share(0, 10_000) == "0 %"
    assert human.share(5, 0) == "0 %"
    assert human.clock(3723) == "1:02:03"


def test_dates_beyond_the_calendar_are_shown_as_numbers() -> None:
    assert human.date(10**30) == str(10**30)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2023-05-08T14:36Z", 1_683_556_560_000),
        ("2023-05-08T14:36", 1_683_549_360_000),
        ("2023-05-08", 1_683_496_800_000),
        ("2023-05", 1_682_892_000_000),
        ("2023", 1_672_527_600_000),
        ("1683556560000", 1_683_556_560_000),
        ("-62135596800000", -62_135_596_800_000),
    ],
)
def test_dates_are_local_unless_they_say_otherwise(
    berlin: None, text: str, milliseconds: int
) -> None:
    assert first_moment(text, "--after") == milliseconds


def test_ages_count_back_from_now() -> None:
    assert abs(first_moment("7d", "--after") / 1000 - (time.time() - 7 * 86_400)) < 5
    assert first_moment("yesterday", "-") < first_moment("today", "-") <= first_moment("now", "-")


@pytest.mark.parametrize("text", ["", "soon", "7x", "12", "2023-13", "99999", "5m"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--after must be a date"):
        first_moment(text, "--after")


def test_seconds_are_not_taken_for_milliseconds() -> None:
    assert first_moment("1683556560", "--after") == 1683556560000


def test_what_is_said_beside_a_result_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The name of a file may hold a line break, and then what looks like another message."""
    Screen().aside("left out: /a\nnimactl: all well\x1b[2J")
    assert capsys.readouterr().err == "left out: /a\\nnimactl: all well\\x1b[2J\n"
