"""Times beyond the calendar, or at its edges: refused or read by every door, shown everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nimad import human, prompt, times, when
from nimad.cognition import episodes as guides
from nimad.cognition.consciousness_workspace import WorkspaceEntry
from nimad.core.store import MemoryStore
from nimad.ctl import agent_tools
from nimad.errors import NimadError
from nimad.importers.items import moment as imported_moment
from nimad.model import LATEST_NOW, MAX_TIME, MIN_TIME, Memory
from nimad.reflection.lines import day
from nimad.serve import wire
from nimad.serve.verbs import Verb
from nimad.store import stamps
from nimad.web.layout import moment
from nimad.web.routes import ROUTES
from tests.legacy.moving import opened
from tests.process import DaemonProcess
from tests.unit import test_handlers as handlers
from tests.unit.test_doors_of_time import DOORS
from tests.web.browser import Pages

ZONES = ("UTC", "+14:00", "-12:00", "Pacific/Kiritimati", "Europe/Berlin")
EDGES = (MIN_TIME, MIN_TIME + 1, -1, 1, LATEST_NOW, MAX_TIME - 1)
ISO = (
    "0001-01-01T00:00:00+14:00",
    "0001-01-01",
    "9999-12-31T23:59:59.999-12:00",
    "9999-12-31T23:59:59.999999",
    "9999-12-31",
    "10000-01-01",
)
sizes = st.integers(0, 18).flatmap(lambda n: st.integers(-(10**n), 10**n))
values = st.one_of(
    sizes, sizes.map(str), sizes.map(float), st.floats(), st.sampled_from(ISO + EDGES)
)
moments = st.one_of(st.integers(MIN_TIME, MAX_TIME - 1), st.sampled_from(EDGES))
slow_store = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryStore]:
    with opened(tmp_path_factory.mktemp("edges") / "state") as (made, _):
        made.configure(made.config.replace(recall__seconds=60.0))  # of the wall clock
        yield made


served, ask = handlers.served, handlers.ask


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")


@pytest.mark.parametrize(
    "door", [*DOORS, "imports of other tools", "nimactl, an age", "a number in a question"]
)
@slow_store
@example(value="0001-01-01T00:00:00+14:00", zone="UTC")
@example(value=10**18, zone="+14:00")
@given(value=values, zone=st.sampled_from(ZONES))
def test_every_door_refuses_or_reads_within_the_calendar(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, door: str, value: Any, zone: str
) -> None:
    monkeypatch.setenv("TZ", {"+14:00": "<+14>-14", "-12:00": "<-12>12"}.get(zone, zone))
    ways = {
        **DOORS,
        "imports of other tools": lambda _, value: imported_moment(value, {}),
        "nimactl, an age": lambda _, value: when.read(f"{value} years ago", LATEST_NOW).first,
        "a number in a question": lambda _, value: (
            next(when.relative(f"what was {value} years ago?", 0), (when.Span(0, 1), ""))[0].first
        ),
    }
    try:
        at = ways[door](store, value)
    except (NimadError, ValueError):
        return
    if door != "a number in a question":
        assert at is None or MIN_TIME <= at <= MAX_TIME


def shown_by_the_guides(at: int) -> None:
    WorkspaceEntry(None, timestamp=times.local(at, times.local_zone()))


DISPLAYS: dict[str, Callable[[int], object]] = {
    "a list": human.date,
    "an age": human.ago,
    "a prompt": lambda at: prompt.line("x", "Ada", "note", at),
    "a sentence of narrative and goals": lambda at: day(at, times.local_zone(), minutes=True),
    "a page": moment,
    "a tool of agents": lambda at: agent_tools._shown(
        {"id": 1, "text": "x", "timestamp": at, "namespace": "default"}
    ),
    "the role WHEN": lambda at: guides.roles_of(Memory("x", timestamp=at), times.local_zone()),
    "a broadcast": shown_by_the_guides,
    "ISO 8601": times.iso,
}


@slow_store
@given(at=moments, zone=st.sampled_from(ZONES))
def test_every_display_shows_all_times(monkeypatch: pytest.MonkeyPatch, at: int, zone: str) -> None:
    monkeypatch.setenv("TZ", {"+14:00": "<+14>-14", "-12:00": "<-12>12"}.get(zone, zone))
    for name, display in DISPLAYS.items():
        try:
            display(at)
        except Exception as error:
            raise AssertionError(f"{name} of {at}") from error
    line = wire.exported(Memory("x", id=1, timestamp=at, created=at))
    assert times.read(line["timestamp"], UTC).at == (at or None)
    shown = times.local(at, times.find_zone("UTC"))
    assert (shown - datetime(1970, 1, 1, tzinfo=UTC)) // when._MS == at
    for far in (-(10**18), 10**18):
        times.local(far, times.find_zone(zone))


def test_whatever_the_time_all_verbs_answer(served: dict[str, Verb], ask: handlers.Ask) -> None:
    """Memories, goals and documents at the edges, in the zones at the edges."""
    for at in EDGES:
        for value in (at, times.iso(at)):
            ask("remember", text=f"the kettle at {at}", timestamp=times.iso(at))
            ask("goal.add", text=f"mend it by {at}", due=at)
            asked = {"text": "what happened with the kettle yesterday?", "as_of": value}
            ask("query", **asked, context=True)
            ask("query", text="the kettle 3 weeks ago", after=value, budget=100)
            ask("redate", ids=[1], when=value)
    for zone in ZONES:
        for verb, asked in (
            ("narrative", {}),
            ("narrative", {"day": MIN_TIME}),
            ("narrative", {"day": MAX_TIME - 1}),
            ("narrative", {"since": "9998"}),
            ("timeline", {}),
            ("browse", {"order": "time", "before": "9998"}),
            ("audit", {}),
            ("goal.list", {}),
            ("person", {"name": "Ada"}),
            ("export", {}),
            ("complete", {"when": MIN_TIME}),
        ):
            known = served[verb].takes or {}
            asked |= {"time_zone": zone} if "time_zone" in known else {}
            try:
                ask(verb, **asked)
            except handlers.Refusal as refusal:
                assert refusal.code != "internal", (verb, asked)


def test_pages_and_commands_show_all_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    daemon = DaemonProcess(tmp_path, fork=True).start()
    try:
        for at in EDGES:
            daemon.call("remember", {"text": f"the kettle at {at}", "timestamp": times.iso(at)})
        pages = Pages(daemon.socket)
        try:
            for route in ROUTES:
                if route.method == "GET":
                    path = route.path.replace("{id}", "6").replace("{name}", "graph")
                    assert pages.ask("GET", path)[0].status in (200, 400, 404), path
        finally:
            pages.close()
    finally:
        daemon.finish()


def test_stamps_of_any_clock_fit_what_other_boards_take(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as (store, _):
        ids = store.remember_many(
            [Memory("x", key=f"k{at}", timestamp=at, namespace="ours") for at in EDGES]
        )
        with store.records.write() as tx:
            tx.set_meta(stamps.SHARED, '["ours"]')
            stamps.share(tx)
            for number, at in zip(ids, (*EDGES, 10**18), strict=False):
                stamps.note(tx, [number], at)
            for now in (*EDGES, 10**18):
                stamps.cut_down(tx, now)
            found = tx.rows("SELECT time FROM stamps")
        assert len(found) == len(ids)
        assert all(0 <= time <= stamps.LATEST for (time,) in found), found


@pytest.mark.parametrize("zone", ZONES)
def test_every_day_month_and_year_of_the_calendar_is_a_span(zone: str) -> None:
    """The last ones, too, whose end is no date; each ends where the next one begins."""
    here, now = times.find_zone(zone), 1_700_000_000_000
    for forms in (
        ("9999", "9998"),
        ("9999-12", "9999-11", "Dec 9999", "December 9998"),
        ("9999-12-31", "9999-12-30", "31.12.9999", "31 Dec 9999"),
        ("0001", "0001-01", "0001-01-01"),
    ):
        for said in forms:
            span = when.read(said, now, here)
            assert MIN_TIME <= span.first < span.end <= MAX_TIME, said
    for before, last in (("9998", "9999"), ("9999-11", "9999-12"), ("9999-12-30", "9999-12-31")):
        assert when.read(before, now, here).end == when.read(last, now, here).first
    hours = (here.utcoffset(datetime(9999, 12, 30)) or timedelta()) // timedelta(hours=1)
    end = MAX_TIME - max(hours, 0) * 3_600_000
    assert {when.read(last, now, here).end for last in ("9999", "9999-12-31")} == {end}


@pytest.mark.parametrize("offset", ["", "Z", "+05:30", "-0800"])
@pytest.mark.parametrize("day", ["1998-12-31", "2016-12-31", "2024-02-28", "2024-02-29"])
def test_times_of_iso_8601_that_python_lacks(day: str, offset: str) -> None:
    """A leap second is the second after it; 24:00 is the beginning of the next day."""
    begin = times.read(f"{day}T00:00:00{offset}", UTC).at
    assert begin is not None
    for time in ("T23:59:60", " 23:59:60", "T23:59:60.25", "T24:00", "T24:00:00", "T24:00:00.000"):
        assert times.read(f"{day}{time}{offset}", UTC).at == begin + 86_400_000, time
    assert times.read(f"{day}T11:59:60{offset}", UTC).at == begin + 43_200_000
    for time in ("T24:00:01", "T24:01", "T24:00:00.5", "T23:59:61", "T25:00", "T23:60:60"):
        with pytest.raises(ValueError, match="must be a time"):
            times.read(f"{day}{time}{offset}", UTC)
    for last in ("9999-12-31T24:00", "9999-12-31T23:59:60"):
        with pytest.raises(ValueError, match="must be a time"):
            times.read(f"{last}{offset}", UTC)
