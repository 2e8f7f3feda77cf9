"""Forgetting memories, and purging: no trace of a purged memory stays in the state directory.

Crash prose of a purge:

1. one transaction deletes the memories everywhere in the records and writes a note (the key `purge`
   in `meta`): from here on they are forgotten, whatever happens;
2. the steps follow, in this order: names and turns that nothing uses any more; each projection;
   files that an error left; the backups of the sources; what was set aside as damaged; free pages
   and the WAL.  Each may be repeated.  One that fails does not stop the others: the note then names
   the steps that are left;
3. the note is deleted, last of all.  A crash before that leaves it, and maintenance does all of
   step 2 again after the next start, or only what is left.

A memory that was only forgotten leaves traces that nothing finds; it can be purged later, because
`forgotten` (nimad/store/forgotten.py) keeps what that needs.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import field
from functools import partial
from pathlib import Path

import numpy as np

from nimad.core.hypervectors import Hypervectors
from nimad.core.projection import Projection, Waiters
from nimad.core.semantic import SemanticIndex
from nimad.core.setbacks import describe
from nimad.core.state_directory import PARTS
from nimad.dataclass import dataclass
from nimad.disk.durable import crash_point, fsync_dir, own_files, sweep_temporary
from nimad.disk.mapped import remove_file, remove_waiting
from nimad.errors import Busy, NimadError, UsageError
from nimad.patterns import lazy_pattern
from nimad.store import backups, fleet, forgotten, source_delta, sources
from nimad.store.forgotten import PurgeNote
from nimad.store.records import Records

log = logging.getLogger(__name__)

CUT_OFF_SECONDS = 1.0
"""Time that a purge waits for readers of the WAL before it goes on later [seconds]."""
SET_ASIDE = lazy_pattern(
    rf"({'|'.join(PARTS[part] for part in ('blocks', 'words', 'dense', 'graph'))})(\.\d+)?"
)
"""Names of what nimad sets aside; other files in `aside/` are not nimad's."""


@dataclass(slots=True)
class Receipt:
    """What a `forget` did: ids, and rows removed from each part.

    Attributes:
        forgotten: ids of the memories that went now.
        missing: ids that there is no memory of, and no trace that nimad knows of.
        purged: every trace of `forgotten` and `forgotten_before` is gone.
        forgotten_before: ids of memories that went earlier, and whose traces are purged now.
        removed: part → rows.
        unfinished: steps of the purge that failed and are tried again in idle time → why.
        backups: backups (nimad/store/backups.py) that may hold what is purged, out of our reach.
        strangers: files in the state directory that may, because nobody knows what they are.
    """

    forgotten: list[int]
    missing: list[int]
    purged: bool
    dry_run: bool
    forgotten_before: list[int] = field(default_factory=list)
    removed: dict[str, int] = field(default_factory=dict)
    unfinished: dict[str, str] = field(default_factory=dict)
    backups: list[backups.Known] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)


def strangers(state: Path, records: Records, part: str) -> list[str]:
    """Names in `snapshots` of what no source names, a copy or a hard link of a backup say, or in
    `aside` of what nimad has not set aside, sorted; not of files that are being written.

    One that is taken over at this moment may be among them: its source is entered a little later.
    A link in place of the directory may lead to files of others: they are not named.
    """
    if (state / part).is_symlink():
        return []
    paths = (state / part).iterdir()
    found = {os.fsencode(path.name).decode("utf-8", "replace") for path in paths}
    if part == "aside":
        known = {path.name for path in own_files(state / part, SET_ASIDE.pattern)}
    else:
        known = {each.snapshot for each in sources.all_sources(records) if each.snapshot}
        writing = rf"incoming-.*|({'|'.join(map(re.escape, known))})(\.scrub|\.strip)?"
        known |= {name for name in found if re.fullmatch(rf"({writing})\.tmp", name)}
    return sorted(found - known - {"lost+found"})


class Purge:
    """Forgets memories of one store, and finishes purges that were interrupted.

    Attributes:
        due: a purge was cut short or failed; it is to go on without waiting for idle time.
    """

    def __init__(
        self,
        state: Path,
        records: Records,
        semantic: SemanticIndex,
        dense: Hypervectors,
        projections: Sequence[Projection],
        lock: threading.RLock,
        waiters: Waiters,
    ) -> None:
        self._state, self._records, self._lock, self._waiters = state, records, lock, waiters
        self._semantic, self._dense, self._projections = semantic, dense, projections
        self.due = self.unfinished() is not None

    def forget(
        self, ids: Sequence[int], purge: bool, dry_run: bool, all_forgotten: bool
    ) -> Receipt:
        """Delete memories; those that do not exist are named in the receipt, not an error.

        Raises UsageError: `all_forgotten` is only for purge, which needs it or ids.
        """
        if all_forgotten and not purge:
            raise UsageError(detail="all_forgotten is only for purge")
        if purge and not ids and not all_forgotten:
            raise UsageError(detail="forget needs the ids of memories")
        wanted = sorted(set(ids))
        found = sorted(
            n for (n,) in self._records.rows_in("SELECT id FROM memories WHERE id IN", wanted)
        )
        among = None if all_forgotten else wanted
        before = forgotten.known(self._records, among) if purge else []
        receipt = Receipt(
            found, sorted(set(wanted) - {*found, *before}), False, dry_run, forgotten_before=before
        )
        if purge:
            gone = [*found, *before]
            of_sources = forgotten.sources_of(self._records, gone)
            receipt.backups = backups.holding(self._records, gone, of_sources)
            if dry_run:
                receipt.strangers = self._strangers()
        if dry_run:
            receipt.removed = forgotten.would_remove(self._records, found)
        elif found or before or all_forgotten:
            # Idle time must not take what is noted here: the receipt counts what went.
            with self._turn() if purge else nullcontext():
                try:
                    self._delete(receipt, purge, all_forgotten)
                    crash_point("forget.committed")
                    if purge:
                        receipt.removed["snapshots"], failed = self._scrub()
                        told = {name: describe(error) for name, error in failed.items()}
                        receipt.unfinished, receipt.purged = told, not failed
                        receipt.strangers = self._strangers()
                except BaseException:
                    self.due |= purge
                    raise
        return receipt

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self._waiters.one_more():
            self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    def _delete(self, receipt: Receipt, purge: bool, all_forgotten: bool) -> None:
        """Forget them in one transaction, which notes the purge; the receipt tells what went."""
        with self._records.exclusive():
            with self._records.write() as tx:
                found = tx.alive(receipt.forgotten)
                self._dense.stale = True
                forgotten.remember(tx, found)
                removed = tx.delete_memories(found)
                if purge:
                    doomed = [*found, *receipt.forgotten_before]
                    fleet.note_purge(tx, doomed)
                    forgotten.begin_purge(tx, doomed, all_forgotten)
            self._semantic.index.remove(np.array(found, np.int64))
        receipt.forgotten = found
        counts = {"relations": removed["relations"], "turns": removed["turns"], "snapshots": 0}
        receipt.removed = {**dict.fromkeys(("records", "words", "blocks"), len(found)), **counts}

    def unfinished(self) -> PurgeNote | None:
        """What is still to be scrubbed; None when nothing is."""
        return forgotten.unfinished_purge(self._records)

    def finish(self) -> bool:
        """Scrub what a crash or an error left; False: nothing of it is left.

        Raises the error of a step that failed, after the others were done.
        """
        _, failed = self._scrub()
        for error in failed.values():
            raise error
        return False

    def _scrub(self) -> tuple[int, dict[str, Exception]]:
        """Do the steps that are left; rows taken out of snapshots, and step → its error."""
        with self._lock:
            note = self.unfinished()
            if note is None:
                self.due = False
                return 0, {}
            failed: dict[str, Exception] = {}
            scrubbed = 0
            steps: list[tuple[str, Callable[[], int | None]]] = [  # each may be repeated
                ("names", self._records.drop_unused),
                *((each.name, partial(each.scrub, note)) for each in self._projections),
                ("leftovers", self.remove_leftovers),
                ("snapshots", partial(self._scrub_snapshots, note)),
                ("aside", self._clear_aside),
                ("free pages", self._cut_off),
            ]
            for name, work in steps:
                if note.left is not None and name not in note.left:
                    continue
                try:
                    scrubbed += work() or 0
                except Exception as error:
                    expected = isinstance(error, (NimadError, OSError))
                    told = None if expected else error
                    log.error("a purge could not finish %s: %s", name, error, exc_info=told)
                    failed[name] = error
                if name == self._projections[-1].name:
                    crash_point("purge.vectors")
            crash_point("purge.cut_off")
            with self._records.write() as tx:
                if failed:  # what is done again leaves free pages again
                    forgotten.keep_steps(tx, list({**failed, steps[-1][0]: None}))
                else:
                    forgotten.end_purge(tx)
            self.due = bool(failed)
            return scrubbed, failed

    def remove_leftovers(self) -> None:
        """Delete what an error left in the place of a projection: files that nothing names any
        more, or whose writing failed.  Called with the lock held, so none is being written.

        Raises OSError: a purge whose error left a file of vectors is not at its end.
        """
        for each in self._projections:
            for path in each.strays():
                remove_file(path)
                log.info("removed %s, which an error had left", path)
        for part in ("blocks", "words", "dense"):
            sweep_temporary(self._state / part, PARTS[part])

    def _scrub_snapshots(self, note: PurgeNote) -> int:
        """Take the rows out of the sources' snapshots; how many.  A snapshot that cannot be
        scrubbed is deleted; what may pass, a full disk say, is raised after the others were done.
        """
        from nimad.legacy.redact_database import scrub_snapshot
        from nimad.legacy.source import REFUSALS

        scrubbed = 0
        failed: Exception | None = None
        for source in sources.all_sources(self._records):
            doomed = note.keys.get(str(source.id))
            if not doomed or source.snapshot is None:
                continue
            path = self._state / "snapshots" / source.snapshot
            if not path.is_file():  # it is gone; a directory or a pipe in its place is not nimad's
                continue
            try:
                later = source_delta.keys(self._records, source.id, "node")
                growing = bool(source.follow)
                done = scrub_snapshot(path, doomed, source.kind, later, growing=growing)
            except (ValueError, *REFUSALS) as error:  # anything else may pass, and is tried again
                log.warning("a purge deletes the backup of %s, because %s", source.name, error)
                sources.change(self._records, source.id, snapshot=None)  # first the name
                path.unlink(missing_ok=True)
                fsync_dir(path.parent)
                scrubbed += len(doomed)
            except (Exception, MemoryError) as error:
                failed = error
            else:
                scrubbed += done.rows
                sources.change(self._records, source.id, sha256=done.sha256, bytes=done.bytes)
        crash_point("purge.snapshots")
        if failed is not None:
            raise failed
        return scrubbed

    def _strangers(self) -> list[str]:
        return [
            f"{self._state / part}/{name}"
            for part in ("snapshots", "aside")
            for name in strangers(self._state, self._records, part)
        ]

    def _clear_aside(self) -> None:
        """Damaged projections that were set aside may hold names or vectors of what is purged."""
        for path in sorted((self._state / "aside").iterdir()):
            if SET_ASIDE.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                log.warning("a purge deletes %s, which was set aside as damaged", path.name)
                remove_file(path)
            else:
                log.warning("a purge leaves %r, which is none of nimad's files", str(path))

    def _cut_off(self) -> None:
        """Write the records anew, cut their WAL to nothing, and make deletions of files durable.

        Raises Busy when a reader, of nimad's own or another program's, is in the way for longer.
        """
        remove_waiting(self._state, mapped=True)
        for part in ("", *PARTS):
            fsync_dir(self._state / part)
        until = time.monotonic() + CUT_OFF_SECONDS
        with self._records.long_reads.ended():
            while not self._records.compact():
                if time.monotonic() > until:
                    name = self._records.path.name
                    raise Busy(detail=f"{name} is being read, which keeps its log from going")
                time.sleep(0.02)
