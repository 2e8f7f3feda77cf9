"""Whether the records are what was written: all of them read once a month, a little at a time.

Nothing can make the records anew, so what is damaged stays in service, is named by `doctor`, and is
for a person to mend.  What was found is kept (`meta.integrity`), so that a restart knows it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from nimad.core.health import Health
from nimad.core.projection import Problem
from nimad.model import now_ms
from nimad.store import checksums
from nimad.store.bounded import ids_within
from nimad.store.records import Records

log = logging.getLogger(__name__)

PART = "records"
"""Its name in `degraded`."""
KEY = "integrity"
EVERY_MS = 30 * 24 * 3600 * 1000
"""Time from the end of one look to the next [ms]."""
STEP_ROWS = 500
"""Memories of one step [rows]."""
STEP_BYTES = 4 << 20
"""What the memories of one step take, unless one alone takes more [bytes]."""
KEPT = 1000
"""Damaged memories that are kept by name [ids]."""
NAMED = 20
"""Damaged memories that `doctor` names one by one [ids]."""
RESTORE = "stop nimad and put a backup of records.sqlite in its place"


class Integrity:
    """The look through the records; `follow` is called with `store.maintenance` held."""

    def __init__(self, records: Records, health: Health) -> None:
        self._records, self._health = records, health
        state: dict[str, Any] = json.loads(records.meta(KEY) or "{}")
        self._finished: int = state.get("finished", 0)
        self._after: int | None = None
        self._damaged: list[int] = []
        self._tell(checksums.damaged(records, state.get("damaged", [])), [])

    def follow(self) -> bool:
        """One step of a look that is due; True while more is left."""
        if self._after is None:
            if 0 <= now_ms() - self._finished < EVERY_MS:
                return False
            self._after, self._damaged = 0, []
        ids = self._next_ids(self._after)
        if ids:
            checksums.complete(self._records, ids)
            self._damaged += checksums.damaged(self._records, ids)
            self._after = ids[-1]
            return True
        problems = self._records.integrity_problems()
        self._after, self._finished = None, now_ms()
        state = {"finished": self._finished, "damaged": self._damaged[:KEPT]}
        with self._records.write() as tx:
            tx.set_meta(KEY, json.dumps(state))
        self._tell(self._damaged, problems)
        return False

    def check(self) -> list[Problem]:
        """Read all of it now; writes nothing."""
        problems = self._records.integrity_problems()
        found = [Problem(PART, f"SQLite reports: {line}", RESTORE) for line in problems]
        damaged: list[int] = []
        after = 0
        while ids := self._next_ids(after):
            damaged += checksums.damaged(self._records, ids)
            after = ids[-1]
        self._tell(damaged, problems)
        if len(damaged) > NAMED:
            found.append(Problem(PART, f"{len(damaged)} memories are damaged", RESTORE))
        return [*found, *self._each(damaged[:NAMED])]

    def _next_ids(self, after: int) -> list[int]:
        """The memories of a step; one that is too large comes alone."""
        ids, more = ids_within(self._records, after, STEP_ROWS, None, STEP_BYTES)
        return ids or (ids_within(self._records, after, 1, None, 1 << 40)[0] if more else [])

    def _each(self, damaged: Sequence[int]) -> Iterator[Problem]:
        sql = "SELECT m.id, s.name, s.snapshot FROM memories m LEFT JOIN sources s"
        sql += " ON s.id = m.source WHERE m.id IN"
        for number, source, snapshot in self._records.rows_in(sql, damaged):
            what = f"memory {number} is not what was written: its checksum differs"
            fix = f"{RESTORE}, or correct it: nimactl get {number}, forget, remember"
            if snapshot is not None:
                fix = f"nimactl migrate --verify {source} shows what it was; or {RESTORE}"
            yield Problem(PART, what, fix)

    def _tell(self, damaged: Sequence[int], problems: Sequence[str]) -> None:
        if not damaged and not problems:
            self._health.restore(PART)
            return
        told = [f"SQLite reports: {line}" for line in problems[:1]]
        if damaged:
            names = ", ".join(map(str, damaged[:NAMED]))
            told.append(f"{len(damaged)} damaged (ids {names}{', ...' * (len(damaged) > NAMED)})")
        reason = f"{'; '.join(told)}; `nimactl doctor` tells what to do"
        log.error("the records are damaged: %s", reason)
        self._health.fail(PART, reason)
