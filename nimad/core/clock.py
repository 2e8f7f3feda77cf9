"""The clock of a board without a battery: notices that it is not set, and sets memories right.

A clock is not set while it is before the release of this version, well before the newest memory
that was stored by it, or beyond the calendar.  What is remembered then gets its time all the same,
and a row in `unset_clock`: the boot, and how far the clock was ahead of the time since that boot.
When the clock has been set, the same difference tells how far it has jumped, and all memories of
this boot are moved by as much, in one transaction with a change that the projections follow.
Memories of an earlier boot keep what they have: nothing tells how long ago that was.  Ids, and so
the order in which memories came, are never touched.

Nothing waits for the clock: whether it was set is asked before a memory is stored or shown while
there are such rows, and in idle time.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from nimad.core.projection import Problem
from nimad.errors import NimadError
from nimad.model import LATEST_NOW, Memory, now_ms
from nimad.store import dates
from nimad.store.dates import CREATED, TIMESTAMP
from nimad.store.records import Records
from nimad.store.transaction import Transaction

log = logging.getLogger(__name__)

RELEASED = 1_795_176_000_000
"""When this version was released, as debian/changelog has it [epoch milliseconds]."""
TOLERANCE = 3_600_000
"""How far the clock may be set back and still count as set [milliseconds]."""
FAR_AHEAD = 400 * 86_400_000
"""How far the clock may be ahead of the newest memory and still tell ages [milliseconds]."""
LOOK_BACK = 1000
"""Number of ids among which the newest memory is looked for at a start [ids]."""
META = "clock"
"""The key in `meta` of what was set right."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Clock:
    """The clock of one store; safe to use from many threads.

    Attributes:
        now, uptime: epoch milliseconds, and milliseconds since the boot, sleep included.
        boot: the name of this boot.
        waiting: whether memories of this boot wait for the clock to be set.
    """

    def __init__(
        self,
        records: Records,
        now: Callable[[], int] = now_ms,
        uptime: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000,
        boot: str = "",
    ) -> None:
        self.now, self.uptime, self.boot = now, uptime, boot
        if not boot:
            with suppress(OSError):
                self.boot = _BOOT.read_text("ascii").strip()
        self._records = records
        newest = (
            "SELECT max(created) FROM memories WHERE source IS NULL"
            " AND id > (SELECT max(id) FROM memories) - ? AND id NOT IN"
            " (SELECT memory FROM unset_clock)"
        )
        self._newest, self.waiting = 0, False
        with records.as_far_as_readable():
            self._newest = int(records.value(newest, (LOOK_BACK,)) or 0)
            self.waiting = self._count("=") > 0

    def is_set(self, now: int | None = None) -> bool:
        """Whether a time that the clock showed (None: shows) can be true."""
        now = self.now() if now is None else now
        return RELEASED <= now < LATEST_NOW and now >= self._newest - TOLERANCE

    def agree(self, other: int) -> None:
        """Another clock shows `other`: if this one shows about the same it is set, whatever a stray
        date of a memory says."""
        if abs((now := self.now()) - other) <= TOLERANCE:
            self._newest = min(self._newest, now)

    def is_plausible(self) -> bool:
        """Whether ages may be counted from the clock where a mistake would cost memories: it is
        set, and not far ahead of the newest memory and of this version."""
        now = self.now()
        return self.is_set(now) and now - max(self._newest, RELEASED) <= FAR_AHEAD

    def date(self, memories: Iterable[Memory]) -> tuple[int, list[int]]:
        """Give the time now to what has none; that time, and which fields of each got it."""
        now, fields = self.now(), []
        for memory in memories:
            fields.append(CREATED * (memory.created == 0) + TIMESTAMP * (memory.timestamp == 0))
            memory.created = now if memory.created == 0 else memory.created
            memory.timestamp = now if memory.timestamp == 0 else memory.timestamp
        return now, fields

    def note(self, tx: Transaction, ids: Iterable[int], now: int, fields: Iterable[int]) -> None:
        """Memories are stored with what `date` gave them: remember those whose time is doubtful."""
        if self.is_set(now):
            self._newest = max(self._newest, now)
            return
        ahead = now - self.uptime()
        rows = [(i, self.boot, ahead, which) for i, which in zip(ids, fields, strict=True) if which]
        tx.many("INSERT INTO unset_clock (memory, boot, ahead, fields) VALUES (?, ?, ?, ?)", rows)
        self.waiting = self.waiting or bool(rows)

    def set_right(self) -> bool:
        """Move the memories of this boot to their time once the clock is set; False, no more to do.

        Raises DiskFull and the like; then nothing has changed, and it is tried again.
        """
        now = self.now()
        if not self.waiting or not self.is_set(now):
            return False
        ahead = now - self.uptime()
        with self._records.write() as tx:
            sql = "SELECT memory, ? - ahead, fields FROM unset_clock WHERE boot = ? ORDER BY memory"
            moves = tx.rows(sql, (ahead, self.boot))
            dates.move(tx, moves)
            tx.execute("DELETE FROM unset_clock WHERE boot = ?", (self.boot,))
            done = len(moves) + json.loads(self._records.meta(META) or "{}").get("memories", 0)
            by = max((jump for _, jump, _ in moves), key=abs, default=0)
            tx.set_meta(META, json.dumps({"memories": done, "by_ms": by}))
        self.waiting = False
        log.info("the clock was set; %d memories were moved by %s", len(moves), _shown(by))
        return False

    def redate(self, ids: Sequence[int], at: int) -> None:
        """Memories that are there happened at `at` [epoch milliseconds], whatever the clock said.

        Raises DiskFull and the like; then nothing has changed.
        """
        with self._records.write() as tx:
            dates.give(tx, ids, at)

    def catch_up(self) -> None:
        """`set_right`, before memories are stored or shown; idle time tries again what fails."""
        if self.waiting:
            try:
                self.set_right()
            except NimadError as error:
                log.warning("times were not set right: %s", error.message)

    def describe(self) -> dict[str, Any]:
        """What `status` tells: whether the clock is set, how many memories wait until it is, those
        of earlier boots that nothing can set right, how many were set right, by how much at last;
        and as sentences what `doctor` says of it."""
        told = json.loads(self._records.meta(META) or "{}")
        found = {
            "set": self.is_set(),
            "waiting": self._count("="),
            "lost": self._count("!="),
            "set_right": told.get("memories", 0),
            "by_ms": told.get("by_ms", 0),
        }
        return {**found, "notes": [problem.what for problem in _problems(found)]}

    def check(self) -> Iterator[Problem]:
        """What `doctor` tells."""
        return _problems(self.describe())

    def _count(self, sign: str) -> int:
        sql = f"SELECT count(*) FROM unset_clock WHERE boot {sign} ?"
        return int(self._records.value(sql, (self.boot,)))


def _problems(told: dict[str, Any]) -> Iterator[Problem]:
    if not told["set"]:
        what = "the clock is not set: it is before this version or the newest memory, or after 9998"
        fix = "set it (`timedatectl`); what was stored meanwhile is then set right by itself"
        yield Problem("clock", what, fix, "warning")
    ends = {
        "waiting": ("to be set right when it is", "set the clock", "warning"),
        "lost": ("not set right, as the machine was restarted since", "none", "note"),
        "set_right": (f"set right by {_shown(told['by_ms'])}", "none", "note"),
    }
    for name, (end, fix, severity) in ends.items():
        if number := told[name]:
            stored = "1 memory was" if number == 1 else f"{number} memories were"
            what = f"the clock was not set when {stored} stored; {end}"
            yield Problem("clock", what, fix, severity)


def _shown(milliseconds: int) -> str:
    """`+20585 days, 4:12:00`."""
    sign = "-" if milliseconds < 0 else "+"
    return f"{sign}{timedelta(seconds=abs(milliseconds) // 1000)}"
