"""One reader of time: what it reads and refuses, and that every door reads alike."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimad import times, zone_name
from nimad.model import MAX_TIME, MIN_TIME

AT = 1683554160000
TIMES: dict[Any, int | None] = {
    AT: AT,
    AT + 0.9: AT,
    1683554160: AT,
    1683554160.123: AT + 123,
    1683554160123456: AT + 123,
    1683554160123456789: AT + 123,
    "1683554160": AT,
    "1683554160.5": AT + 500,
    -1683554160: -AT,
    -1: -1,
    0: None,
    None: None,
    "2023-05-08T13:56:00Z": AT,
    "2023-05-08T15:56:00+02:00": AT,
    "2023-05-08 13:56": AT,
    "2023-05-08": 1683504000000,
    "1969-12-31T23:59:59.999": -1,
    "0001-01-01": MIN_TIME,
    "9999-12-31T23:59:59.999999": MAX_TIME - 1,
}


@pytest.mark.parametrize(("value", "expected"), TIMES.items())
def test_a_time_is_read(value: Any, expected: int | None) -> None:
    assert times.read(value, UTC).at == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "yesterday",
        "2023-02-30",
        True,
        [],
        10**20,
        -(10**20),
        10**400,
        float("inf"),
        float("nan"),
    ],
)
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="must be a time"):
        times.read(value, UTC)


@given(st.integers(10**11, -MIN_TIME), st.sampled_from([1, -1]))
def test_a_moment_is_the_same_in_every_unit(at: int, sign: int) -> None:
    at *= sign
    for number in (at, at * 1000, at * 10**6, str(at)):
        assert times.read(number, UTC).at == at
    if at % 1000 == 0:
        assert times.read(at // 1000, UTC).at == at


@given(st.integers(MIN_TIME, MAX_TIME - 1).filter(bool))
def test_what_is_written_for_another_store_is_read_alike(at: int) -> None:
    assert times.read(times.portable(at), UTC).at == at
    assert times.read(times.iso(at), times.find_zone("Asia/Tokyo")).at == at


@given(st.integers() | st.floats() | st.text(max_size=30) | st.from_regex(r"[0-9T:. -]{1,30}"))
def test_whatever_is_given_lies_in_the_calendar_or_is_refused(value: Any) -> None:
    try:
        at = times.read(value, UTC).at
    except ValueError:
        return
    assert at is None or MIN_TIME <= at < MAX_TIME


def test_how_a_time_was_read_is_told() -> None:
    notes = [times.read(v, UTC).note for v in (1683554160, AT, AT * 1000, AT * 10**6, "2023-05-08")]
    assert notes == ["seconds", "", "microseconds", "nanoseconds", times.NO_ZONE]
    told = times.sentences({"seconds": 40, times.NO_ZONE: 2, times.NO_DATE: 1}, "Europe/Berlin")
    assert told == [
        "timestamps that are no date: 1",
        "timestamps read as seconds: 40",
        "times without a zone are read as Europe/Berlin: 2",
    ]


# --- zones ----------------------------------------------------------------------------------------


def test_a_time_without_a_zone_is_of_the_zone_that_is_named() -> None:
    for name, hours in {
        "UTC": 0,
        "Europe/Berlin": 2,
        "+05:30": 5.5,
        "EST5EDT,M3.2.0,M11.1.0": -4,
        "CET-1CEST": 2,
        "AEST-10": 10,
    }.items():
        at = times.read("2023-05-08T13:56", times.find_zone(name)).at
        assert at == AT - hours * 3_600_000, name


def test_hours_that_come_twice_or_never() -> None:
    berlin = times.find_zone("Europe/Berlin")
    twice = times.read("2024-10-27T02:30", berlin).at
    assert twice == times.read("2024-10-27T02:30+02:00", berlin).at, "the first of the two"
    never = times.read("2024-03-31T02:30", berlin).at
    assert never == times.read("2024-03-31T02:30+01:00", berlin).at, "as before the change"


@pytest.mark.parametrize(
    "name", ["Europe/Berln", "../etc/passwd", "/etc/passwd", "+2", "x" * 99, "\0"]
)
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be a time zone"):
        times.find_zone(name)


def test_the_zone_of_this_machine_is_looked_up_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Europe/Berlin", ":America/New_York", "/usr/share/zoneinfo/Asia/Tokyo", ""):
        monkeypatch.setenv("TZ", name)
        due = name.removeprefix(":").removeprefix("/usr/share/zoneinfo/") or "UTC"
        assert zone_name.local_name() == due == times.name_to_hand_over()
        offset = datetime(2024, 1, 1, tzinfo=times.local_zone()).utcoffset()
        assert offset == datetime(2024, 1, 1, tzinfo=times.find_zone(due)).utcoffset()
    monkeypatch.setenv("TZ", "Mars/Phobos")
    assert times.local_zone() is UTC and times.name_to_hand_over() is None


def test_the_zone_is_where_the_link_points(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv("TZ", raising=False)
    link = tmp_path / "localtime"
    monkeypatch.setattr(zone_name, "LOCALTIME", str(link))
    for name in ("Europe/Berlin", "Asia/Tokyo"):
        link.unlink(missing_ok=True)
        link.symlink_to(f"/usr/share/zoneinfo/{name}")
        assert zone_name.local_name() == name
        assert times.local_zone() == times.find_zone(name)


@pytest.mark.parametrize(
    "name", ["Europe/Berlin", "+05:30", "-03:00", "CET-1CEST,M3.5.0,M10.5.0/3", "CET-1CEST"]
)
def test_a_zone_that_is_asked_for_is_that_of_the_process(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    times.use_zone(name)
    try:
        at = datetime(2024, 7, 1, 12, tzinfo=times.find_zone(name))
        assert times.name_to_hand_over() == name
        assert time.localtime(at.timestamp()).tm_hour == 12, "what is printed is of it, too"
    finally:
        monkeypatch.undo()
        time.tzset()
