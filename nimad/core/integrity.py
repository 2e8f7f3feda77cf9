"""Whether what is on the disk is what was written: read whole now and then, a little at a time.

The memories once a month and after each power cut, the rows of all other tables once a week:
nothing can make them anew, so what is damaged stays in service, is named by `doctor`, and is for a
person to mend.  The files of the projections once a week: what is damaged is set aside and made
anew.  What was found and when is kept (`meta.integrity`) over a restart.  A memory that is read is
compared there and then.  That a start did not find the WAL is told for a week.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from nimad.core.clock import RELEASED
from nimad.core.health import Health
from nimad.core.projection import Problem, Projection
from nimad.errors import NimadError, RecordsDamaged
from nimad.model import EVERYTHING, now_ms
from nimad.store import checksums, row_checksums, schema
from nimad.store.bounded import ids_of_page
from nimad.store.records import Records
from nimad.times import iso

log = logging.getLogger(__name__)

PART = "records"
"""Its name in `degraded`."""
KEY = "integrity"
RECORDS_MS = 30 * 24 * 3600 * 1000
"""Time from the end of one look at the records to the next [ms]."""
FILES_MS = 7 * 24 * 3600 * 1000
"""The same for rows that are no memories, and for the files of projections [ms]."""
STEP_ROWS = 500
"""Memories of one step [rows]."""
STEP_BYTES = 4 << 20
"""What the memories of one step take, unless one alone takes more [bytes]."""
KEPT = 1000
"""Damaged memories that are kept by name [ids]."""
NAMED = 20
"""Damaged memories that `doctor` names one by one [ids]."""
RESTORE = "stop nimad and restore a backup (nimactl restore)"
COMPARE = f"if something is missing: {RESTORE}; this is told for a week"
BLOCKS = "nimactl rebuild blocks"
FIXES = {"a row of segments": BLOCKS, "a row of pending": BLOCKS}
FIXES |= dict.fromkeys(("a row of names", "a row of phi"), f"wait for idle time; else {RESTORE}")
"""What makes a damaged row anew, by the begin of its name."""


@contextlib.contextmanager
def told_as_damage(records: Records) -> Iterator[None]:
    """What nobody thought of, told as damage of the records where SQLite finds them damaged: rows
    that stand twice or in no order break what relies on them anywhere.  Raises RecordsDamaged."""
    try:
        yield
    except (NimadError, OSError, MemoryError):
        raise
    except Exception as error:
        if found := next(chain(_of_file(records), _of_rows(records)), None):
            raise RecordsDamaged(path=records.path, detail=" ".join(found.split())) from error
        raise


def _of_file(records: Records) -> Iterator[str]:
    yield from (f"SQLite reports: {each}" for each in checksums.integrity_problems(records))
    with records.reading() as reader:
        names = schema.differences(reader)
    for name in [*names, *(f"sqlite_sequence ({n})" for n in row_checksums.wrong_numbers(records))]:
        yield f"{name} is not what nimad writes"


class Integrity:
    """The looks at what is stored; `follow` is called with `store.maintenance` held."""

    def __init__(self, records: Records, health: Health, projections: Sequence[Projection]) -> None:
        self._records, self._health, self._projections = records, health, projections
        state: dict[str, Any] = {}
        with contextlib.suppress(ValueError):  # damaged: everything is looked at
            state = json.loads(records.meta(KEY) or "{}")
        self._finished = {"records": 0, "rows": 0, "files": 0, **state.get("finished", {})}
        if records.cut_off:  # a card may lose what it had confirmed, when the power goes
            self._finished |= {"records": 0, "rows": 0}
        self._steps: Iterator[None] | None = None
        self._found: list[int] = checksums.damaged(records, state.get("damaged", []))
        self._file: list[str] = []
        self._rows: list[str] = state.get("rows", [])
        self._log_missed: int = state.get("log_missed", 0)
        if records.log_missing:
            self._log_missed = now_ms()
            with contextlib.suppress(NimadError):  # a disk that takes no writes
                self._save()
        self._tell()
        records.on_damage = self._meet

    def _meet(self, ids: set[int]) -> None:
        """These were read and are damaged: that is told at once, not only by the next look."""
        if not ids <= set(self._found):
            self._found = sorted(ids.union(self._found))
            self._tell()

    def follow(self) -> bool:
        """One step of a look that is due; True while more is left."""
        pauses = {"records": RECORDS_MS, "rows": FILES_MS, "files": FILES_MS}
        for look, pause in pauses.items():
            if self._steps is None and not _within(pause, self._finished[look]):
                self._steps = self._look_at(look)
        try:
            if self._steps is not None:
                next(self._steps)
        except BaseException as error:
            self._steps = None
            if not isinstance(error, StopIteration):
                raise
            return True  # another look may be due
        return self._steps is not None

    def _look_at(self, look: str) -> Iterator[None]:
        if look == "files":
            for projection in self._projections:
                yield from projection.verify_steps()
        elif look == "rows":
            rows: list[str] = []
            for found in row_checksums.damaged(self._records, complete=True):
                rows += map(_told, found)
                yield
            self._rows = rows
        else:
            damaged: list[int] = []
            after = 0
            while ids := self._next_ids(after):
                damaged += checksums.complete(self._records, ids)
                after = ids[-1]
                yield
            self._found, self._file = damaged, list(_of_file(self._records))
        self._tell()
        self._finished[look] = now_ms()
        self._save(completed=look == "records")

    def _save(self, completed: bool = False) -> None:
        state: dict[str, Any] = {"finished": self._finished, "damaged": self._found[:KEPT]}
        state |= {"rows": self._rows[:KEPT], "log_missed": self._log_missed}
        with self._records.write() as tx:
            if completed:
                checksums.note_completed(tx)
            tx.set_meta(KEY, json.dumps(state))

    def _log_was_missing(self) -> list[str]:
        if 0 < self._log_missed < RELEASED <= (now := now_ms()):  # the clock has been set since
            self._log_missed = now
        if not _within(FILES_MS, self._log_missed):
            return []
        wal, at = f"{self._records.path.name}-wal", iso(self._log_missed)
        told = f"{wal} was gone when nimad started ({at}), and with it what was remembered last"
        return [f"{told}, unless another program, sqlite3 say, had folded it into the file"]

    def examine(self) -> tuple[list[int], list[str]]:
        """Read all of it now: ids of damaged memories, and what else is damaged; writes nothing."""
        self._file, self._rows = list(_of_file(self._records)), list(_of_rows(self._records))
        if self._rows:  # for idle time, which mends what can be
            self._finished["rows"] = 0
        damaged: list[int] = []
        after = 0
        while ids := self._next_ids(after):
            damaged += checksums.damaged(self._records, ids)
            after = ids[-1]
        self._found = damaged
        self._tell()
        return damaged, [*self._file, *self._rows]

    def check(self) -> list[Problem]:
        """What `examine` finds, with what mends it."""
        damaged, problems = self.examine()
        found = [Problem(PART, told, COMPARE, "warning") for told in self._log_was_missing()]
        for line in problems[:NAMED]:
            fix = next((FIXES[begin] for begin in FIXES if line.startswith(begin)), RESTORE)
            found.append(Problem(PART, line, fix))
        if len(problems) > NAMED:
            found.append(Problem(PART, f"{len(problems)} rows are damaged", RESTORE))
        if len(damaged) > NAMED:
            found.append(Problem(PART, f"{len(damaged)} memories are damaged", RESTORE))
        sql = "SELECT m.id, s.name, s.snapshot FROM memories m LEFT JOIN sources s"
        sql += " ON s.id = m.source WHERE m.id IN"
        for number, source, snapshot in self._records.rows_in(sql, damaged[:NAMED]):
            what = f"memory {number} is not what was written: its checksum differs"
            fix = f"{RESTORE}, or correct it: nimactl get {number}, forget, remember"
            if snapshot is not None:
                fix = f"nimactl migrate --verify {source} shows what it was; or {RESTORE}"
            found.append(Problem(PART, what, fix))
        return found

    def _next_ids(self, after: int) -> list[int]:
        """The memories of a step; one that is too large comes alone."""
        ids, more = ids_of_page(self._records, after, STEP_ROWS, EVERYTHING, STEP_BYTES)
        return ids or (ids_of_page(self._records, after, 1, EVERYTHING, 1 << 40)[0] if more else [])

    def _tell(self) -> None:
        damaged = self._found
        problems = [*self._file, *self._rows, *self._log_was_missing()]
        if not damaged and not problems:
            self._health.restore(PART)
            return
        told = problems[:1]
        if damaged:
            names = ", ".join(map(str, damaged[:NAMED]))
            told.append(f"{len(damaged)} damaged (ids {names}{', ...' * (len(damaged) > NAMED)})")
        reason = f"{'; '.join(told)}; `nimactl doctor` tells what to do"
        log.error("the records: %s", reason)
        self._health.fail(PART, reason)


def _within(pause: int, since: int) -> bool:
    """Whether no more than `pause` has passed [ms]; False from 0, which is never and no time of a
    clock that is not set, and after a clock was set back."""
    return since != 0 and 0 <= now_ms() - since < pause


def _of_rows(records: Records) -> Iterator[str]:
    for some in row_checksums.damaged(records, complete=False):
        yield from map(_told, some)


def _told(row: str) -> str:
    return f"{row} is not what was written: its checksum differs"
