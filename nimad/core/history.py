"""A few figures of each day: how much is kept, how many queries came, how quick the answers were.

They are one value of `meta`, written at most once a day, when maintenance has something to do on a
later one, and when the daemon stops; LONGEST days are kept.  Nothing in them is of one memory.
What a crash loses is what was counted since the last writing.
"""

from __future__ import annotations

import json
import math
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from datetime import date
from typing import Any

from nimad.core.clock import Clock
from nimad.dataclass import dataclass
from nimad.disk.durable import size_of
from nimad.errors import NimadError
from nimad.store.records import Records

MS_A_DAY = 86_400_000
EPOCH = date(1970, 1, 1).toordinal()
KEY = "history"
"""The key in `meta`."""
LONGEST = 400
"""Number of days that are kept [days]."""
STEP = 1.1
"""Factor between two answer times that are told apart."""
SLOW = 0.95
"""Share of the answers that came within `slow_ms`."""


@dataclass
class Day:
    """One day (UTC): memories and size of the records at its end, queries, and the answer times
    within which half of these, and nearly all (SLOW), came [milliseconds]; None without any."""

    day: str
    memories: int
    bytes: int
    queries: int = 0
    median_ms: float | None = None
    slow_ms: float | None = None


class History:
    """The days of one store; safe to use from many threads."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records, self._clock = records, clock
        self._lock = threading.Lock()
        self._times: dict[int, Counter[int]] = {}
        """By day since 1970, how many answers took about STEP ** n hundredths of a millisecond."""
        self._today = self._day_now()
        self._head = records.head()

    def _day_now(self) -> int:
        return self._clock.now() // MS_A_DAY

    def note(self, took_ms: float) -> None:
        """A query was answered."""
        step = round(math.log(max(took_ms, 0.01) * 100, STEP))
        today = self._day_now()
        with self._lock:
            self._times.setdefault(today, Counter())[step] += 1

    def follow(self) -> bool:
        """Write the days that are over; False: there is no more to do."""
        today = self._day_now()
        if today != self._today and self._clock.is_set():
            self._write(self._today, today)
            self._today, self._head = today, self._records.head()
        return False

    def save(self) -> None:
        """Write today, too, if anything came."""
        if (self._times or self._head != self._records.head()) and self._clock.is_set():
            self._write(self._today, self._day_now() + 1)

    def days(self) -> list[dict[str, Any]]:
        """Every day that is known, today last, as it is so far."""
        with self._lock:
            times = {day: Counter(counts) for day, counts in self._times.items()}
        times.setdefault(self._day_now(), Counter())
        return [asdict(day) for day in self._with(times)]

    def _write(self, first: int, end: int) -> None:
        """Write the day `first`, and what was counted of days before `end`.  Raises DiskFull."""
        with self._lock:
            times = {day: self._times.pop(day) for day in [*self._times] if day < end}
        try:
            kept = self._with({first: Counter(), **times})[-LONGEST:]
            with self._records.write() as tx:
                tx.set_meta(KEY, json.dumps([list(asdict(day).values()) for day in kept]))
        except NimadError:
            with self._lock:
                for day, counts in times.items():
                    self._times.setdefault(day, Counter()).update(counts)
            raise

    def _with(self, times: dict[int, Counter[int]]) -> list[Day]:
        """The days that are written, with what was counted of some; by date."""
        known: list[Day] = []
        with suppress(ValueError, TypeError):  # damaged: it begins anew
            known = [Day(*values) for values in json.loads(self._records.meta(KEY) or "[]")]
        found = {day.day: day for day in known}
        memories = int(self._records.value("SELECT count(*) FROM memories"))
        path = self._records.path
        size = sum(size_of(path.with_name(f"{path.name}{end}")) for end in ("", "-wal"))
        for number, counts in times.items():
            name = date.fromordinal(EPOCH + number).isoformat()
            day = found.setdefault(name, Day(name, 0, 0))
            day.memories, day.bytes = memories, size
            before, queries = day.queries, counts.total()
            if queries:
                for field, share in (("median_ms", 0.5), ("slow_ms", SLOW)):
                    was, now = getattr(day, field) or 0.0, _quantile(counts, share)
                    mean = (before * was + queries * now) / (before + queries)
                    setattr(day, field, round(mean, 2))
                day.queries = before + queries
        return [found[name] for name in sorted(found)]


def _quantile(counts: Counter[int], share: float) -> float:
    """The time within which a share of the answers came [milliseconds]."""
    left = share * counts.total()
    for step in sorted(counts):
        left -= counts[step]
        if left <= 0:
            break
    return float(STEP**step) / 100
