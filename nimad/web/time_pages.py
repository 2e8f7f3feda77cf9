"""The memories without a question: what came in last, and when things happened."""

from __future__ import annotations

import calendar
import re
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from nimad import when
from nimad.client.client import Client
from nimad.errors import UsageError
from nimad.human import count
from nimad.model import MAX_TIME, now_ms
from nimad.times import local, local_zone, portable
from nimad.web.charts import columns
from nimad.web.exchange import Page, Request, link_to
from nimad.web.html import Child, Html, tag
from nimad.web.layout import bar_row, card, empty, follow_link, follows, moment, panel

FEED, DAY = 30, 100
"""Number of memories on a page of the feed, and of a period [memories]."""
MAX_DAYS, MAX_MONTHS, MAX_YEARS = 62, 60, 100
"""Longest span that is shown in days, in months; number of columns of years."""
_PERIOD = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")


class Period(NamedTuple):
    """A column: its name, which is its address where it can be looked into, and its beginning."""

    name: str
    at: str | None
    first: int


# --- the feed -------------------------------------------------------------------------------------


def show_feed(request: Request, daemon: Client) -> Page:
    """What was stored last, the newest first."""
    namespace, below = request.asked("namespace"), request.number("below")
    given = {"namespace": namespace, "below": below, "limit": FEED}
    result = daemon.call("browse", **given)
    found = result["results"]
    links: list[Child] = []
    if result["more"] and found:
        older = link_to("feed", namespace=namespace, below=found[-1]["id"])
        links.append(tag("a", "Older", href=older, class_="button"))
    if below:
        newest = link_to("feed", namespace=namespace)
        links.insert(0, tag("a", "Newest", href=newest, class_="button"))
    content: list[Child] = [follow_link(request) if not below else None]
    if namespace:
        everything = tag("a", "all namespaces", href="feed")
        content.append(tag("p", "In ", tag("bdi", namespace), "; ", everything, class_="dim"))
    for one in found:
        created, own = one["created"], one["timestamp"]
        # when it came in is told where that is another time than its own
        late = created is not None and (own is None or abs(created - own) >= 60_000)
        content.append(card(one, lead=tag("span", "stored ", moment(created)) if late else None))
    if not found:
        content.append(empty("Nothing is remembered here yet."))
    content.append(tag("div", links, class_="buttons"))
    return Page("Feed", content, at="feed", refresh=None if below else follows(request))


# --- the timeline ---------------------------------------------------------------------------------


def show_timeline(request: Request, daemon: Client) -> Page:
    """How many memories are of each year, month or day; those of the period that was chosen."""
    at = request.asked("at")
    if at is None:
        whole = daemon.call("timeline")
        told = f"{count(whole['dated'], 'memory')} with a date, {count(whole['undated'])} without."
        return Page("Timeline", [over_time(daemon), tag("p", told, class_="dim")], at="timeline")
    span = _span(at)
    parents = [tag("a", "everything", href="timeline")]
    parents += [
        tag("a", at[:n], href=link_to("timeline", at=at[:n])) for n in (4, 7) if n < len(at)
    ]
    way = tag("p", [[parent, " / "] for parent in parents], tag("b", at), class_="way")
    content: list[Child] = [way]
    if len(at) < 10:
        content.append(over_time(daemon, at))
    offset = request.number("offset") or 0
    end = portable(span.end or 1) if span.end < MAX_TIME else None
    given = {"after": portable(span.first), "before": end, "order": "time"}
    result = daemon.call("browse", **given, limit=DAY, offset=offset)
    content += [card(one) for one in result["results"]]
    if not result["results"]:
        content.append(empty("No memory is of that time."))
    if result["more"]:
        later = link_to("timeline", at=at, offset=offset + DAY)
        content.append(tag("p", tag("a", "Later ones", href=later, class_="button")))
    return Page(f"Timeline: {at}", content, at="timeline")


def over_time(daemon: Client, at: str | None = None, *, whole: bool = True) -> Html | None:
    """The memories of a period (None: of all time) as columns, and with `whole` as a list, too;
    None where none has a date."""
    periods: Sequence[Period]
    if at is None:
        known = daemon.call("timeline")
        if known["first"] is None:
            return None
        periods = _all_periods(known["first"], known["last"])
        end = known["last"] + 1
    else:
        parts = range(1, 13)  # the months of a year, or the days of a month
        if len(at) > 4:
            parts = range(1, calendar.monthrange(int(at[:4]), int(at[5:]))[1] + 1)
        names = [f"{at}-{part:02}" for part in parts]
        periods = [Period(name, name, _span(name).first) for name in names]
        end = _span(at).end
    edges = [period.first for period in periods]
    counts = daemon.call("timeline", edges=[*edges, max(end, edges[-1] + 1)])["counts"]
    shown = [
        (period.name, number, link_to("timeline", at=period.at) if period.at else None)
        for period, number in zip(periods, counts, strict=True)
    ]
    most = max(counts)
    middle = tag("span", f"up to {count(most)}")
    ends = tag("div", tag("span", shown[0][0]), middle, tag("span", shown[-1][0]), class_="axis")
    rows = [bar_row(name, number, most, count(number), to) for name, number, to in shown if number]
    listed = tag("ul", rows, class_="bars") if whole else None
    return panel("Memories over time", columns(shown, "memories over time"), ends, listed)


def _span(name: str) -> when.Span:
    if _PERIOD.fullmatch(name):
        try:
            return when.read(name, now_ms())
        except ValueError:
            pass
    raise UsageError(detail=f"{name[:60]!r} is no year, month or day such as 2026-02-21.")


def _all_periods(first: int, last: int) -> list[Period]:
    """The days, months or years from one moment to another: as many as can be looked at."""
    begin, end = (local(at, local_zone()).date() for at in (first, last))
    months = [
        f"{number // 12:04}-{number % 12 + 1:02}"
        for number in range(begin.year * 12 + begin.month - 1, end.year * 12 + end.month)
    ]
    if (end - begin).days <= MAX_DAYS:
        days = [date.fromordinal(n) for n in range(begin.toordinal(), end.toordinal() + 1)]
        return [Period(f"{day}", f"{day}", _span(f"{day}").first) for day in days]
    if len(months) <= MAX_MONTHS:
        return [Period(name, name, _span(name).first) for name in months]
    step = -(-(end.year - begin.year + 1) // MAX_YEARS)
    years = range(begin.year, end.year + 1, step)
    if step == 1:
        return [Period(f"{y:04}", f"{y:04}", _span(f"{y:04}").first) for y in years]
    return [Period(f"{y:04} to {y + step - 1:04}", None, _span(f"{y:04}").first) for y in years]
