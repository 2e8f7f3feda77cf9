"""Forgetting memories, and purging: no trace of a purged memory stays in the state directory.

Crash prose of a purge:

1. one transaction deletes the memories everywhere in the records and notes, under the key
   `purge`, what is still to be scrubbed: from here on they are forgotten, whatever happens;
2. names that nothing uses any more go; each projection is scrubbed; the snapshots of the sources
   lose the rows; what was set aside as damaged is deleted; free pages are cut off;
3. the note is deleted.  A crash before that leaves the note, and maintenance does all of step 2
   again after the next start (each part may be repeated).

A step that fails does not stop the others: the note then names the steps that are left, and
maintenance tries those again.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nimad.core.hypervectors import Hypervectors
from nimad.core.projection import Projection, PurgeNote
from nimad.core.semantic import SemanticIndex
from nimad.core.setbacks import describe
from nimad.disk.durable import crash_point, fsync_dir
from nimad.errors import DiskFull, NimadError
from nimad.legacy.redact_database import scrub_snapshot
from nimad.store import hypervector_files, source_delta, sources
from nimad.store.records import Records
from nimad.store.sources import Source
from nimad.store.transaction import Transaction

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Receipt:
    """What a `forget` did: ids, and rows removed from each part.

    `unfinished`: steps of the purge that failed and are tried again in idle time → why.
    """

    forgotten: list[int]
    missing: list[int]
    purged: bool
    dry_run: bool
    removed: dict[str, int] = field(default_factory=dict)
    unfinished: dict[str, str] = field(default_factory=dict)


class Purge:
    """Forgets memories of one store, and finishes purges that were interrupted."""

    def __init__(
        self,
        state: Path,
        records: Records,
        semantic: SemanticIndex,
        dense: Hypervectors,
        projections: Sequence[Projection],
        lock: threading.RLock,
    ) -> None:
        self._state, self._records, self._lock = state, records, lock
        self._semantic, self._dense, self._projections = semantic, dense, projections

    def forget(self, ids: Sequence[int], *, purge: bool, dry_run: bool) -> Receipt:
        """Delete memories; those that do not exist are named in the receipt, not an error."""
        wanted = sorted(set(ids))
        found = sorted(self._records.get(wanted))
        receipt = Receipt(found, sorted(set(wanted) - set(found)), purge and not dry_run, dry_run)
        if dry_run:
            receipt.removed = _would_remove(self._records, found)
            return receipt
        if not found:
            return receipt
        with self._records.exclusive():
            with self._records.write() as tx:
                found = tx.alive(found)
                if purge:
                    _note_purge(tx, found)
                self._dense.stale = True
                _remember_keys(tx, found)
                removed = tx.delete_memories(found)
            self._semantic.index.remove(np.array(found, np.int64))
        receipt.forgotten = found
        receipt.removed = {
            "records": removed["memories"],
            "words": removed["memories"],
            "blocks": len(found),
            "relations": removed["relations"],
            "turns": removed["turns"],
            "snapshots": 0,
        }
        crash_point("forget.committed")
        if purge:
            receipt.removed["snapshots"], failed = self._scrub()
            receipt.unfinished = {name: describe(error) for name, error in failed.items()}
        return receipt

    def unfinished(self) -> PurgeNote | None:
        """What is still to be scrubbed; None when nothing is."""
        found = self._read_note()
        return None if found is None else found[0]

    def finish(self) -> bool:
        """Scrub what a crash or an error left; False: nothing of it is left.

        Raises the error of a step that failed, after the others were done.
        """
        if self._read_note() is not None:
            _, failed = self._scrub()
            for error in failed.values():
                raise error
        return False

    def _read_note(self) -> tuple[PurgeNote, list[str] | None] | None:
        """The note, and the names of the steps that are left (None: all)."""
        written = self._records.meta("purge")
        if written is None:
            return None
        note = json.loads(written)
        items = [(int(source), int(number)) for source, number in note.get("items", [])]
        return PurgeNote(note["ids"], note["keys"], note["names"], items), note.get("left")

    def _scrub(self) -> tuple[int, dict[str, Exception]]:
        """Do the steps that are left; rows taken out of snapshots, and step → its error."""
        with self._lock:
            found = self._read_note()
            if found is None:
                return 0, {}
            note, left = found
            failed: dict[str, Exception] = {}
            scrubbed = 0
            for name, work in self._steps(note):
                if left is not None and name not in left:
                    continue
                try:
                    scrubbed += work() or 0
                except Exception as error:
                    log.error("a purge could not finish %s: %s", name, error, exc_info=error)
                    failed[name] = error
                if name == self._projections[-1].name:
                    crash_point("purge.vectors")
            with self._records.write() as tx:
                if failed:
                    tx.set_meta("purge", json.dumps({**asdict(note), "left": list(failed)}))
                else:
                    tx.execute("DELETE FROM meta WHERE key = 'purge'")
            return scrubbed, failed

    def _steps(self, note: PurgeNote) -> list[tuple[str, Callable[[], int | None]]]:
        """Name and work of each step, in order; each may be repeated.  Rows of snapshots count."""

        def drop_names() -> None:
            with self._records.write() as tx:
                tx.drop_names(note.names)

        return [
            ("names", drop_names),
            *((each.name, partial(each.scrub, note)) for each in self._projections),
            ("snapshots", lambda: self._scrub_snapshots(note.keys)),
            ("aside", self._clear_aside),
            ("free pages", self._cut_off),
        ]

    def _scrub_snapshots(self, keys: dict[str, list[Any]]) -> int:
        """Take the rows out of the sources' snapshots; how many.  A snapshot that cannot be
        scrubbed is deleted; with a full disk it is tried again (raises DiskFull)."""
        scrubbed = 0
        full: DiskFull | None = None
        for source in sources.all_sources(self._records):
            doomed = keys.get(str(source.id))
            if not doomed or source.snapshot is None:
                continue
            path = self._state / "snapshots" / source.snapshot
            if not path.exists():
                continue
            try:
                done = scrub_snapshot(path, doomed, source.kind)
            except DiskFull as error:
                full = error
                continue
            except (ValueError, NimadError) as error:
                log.warning("a purge deletes the backup of %s, because %s", source.name, error)
                self._drop_snapshot(source)
                scrubbed += len(doomed)
                continue
            scrubbed += done.rows
            sources.change(self._records, source.id, sha256=done.sha256, bytes=done.bytes)
        crash_point("purge.snapshots")
        if full is not None:
            raise full
        return scrubbed

    def _drop_snapshot(self, source: Source) -> None:
        """Delete a backup that the rows cannot be taken out of: first the name, then the file."""
        assert source.snapshot is not None
        sources.change(self._records, source.id, snapshot=None)
        path = self._state / "snapshots" / source.snapshot
        path.unlink(missing_ok=True)
        fsync_dir(path.parent)

    def _clear_aside(self) -> None:
        """Damaged projections that were set aside may hold names or vectors of what is purged."""
        for path in sorted((self._state / "aside").iterdir()):
            log.warning("a purge deletes %s, which was set aside as damaged", path.name)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _cut_off(self) -> None:
        """Free pages leave the file, the WAL shrinks to nothing; a reader may delay that."""
        wal = self._records.path.with_name(self._records.path.name + "-wal")
        for _ in range(50):
            self._records.release_space()
            if not wal.exists() or wal.stat().st_size == 0:
                return
            time.sleep(0.02)


def _would_remove(records: Records, ids: Sequence[int]) -> dict[str, int]:
    marks = json.dumps(list(ids))
    relations = records.value(
        "SELECT count(*) FROM relations WHERE origin IN (SELECT value FROM json_each(?1))"
        " OR target IN (SELECT value FROM json_each(?1))",
        (marks,),
    )
    turns = records.value(
        "WITH doomed AS (SELECT value FROM json_each(?1)) SELECT count(*) FROM turns WHERE listed"
        " AND coalesce(input, contemplation, output) IS NOT NULL"
        " AND (input IS NULL OR input IN doomed) AND (output IS NULL OR output IN doomed)"
        " AND (contemplation IS NULL OR contemplation IN doomed)",
        (marks,),
    )
    snapshots = records.value(
        "SELECT count(*) FROM memories m JOIN sources s ON s.id = m.source"
        " WHERE s.snapshot IS NOT NULL AND m.id IN (SELECT value FROM json_each(?1))",
        (marks,),
    )
    count = len(ids)
    return {
        "records": count,
        "words": count,
        "blocks": count,
        "relations": int(relations),
        "turns": int(turns),
        "snapshots": int(snapshots),
    }


def _remember_keys(tx: Transaction, ids: Sequence[int]) -> None:
    """Note forgotten rows of a source, so that verification does not miss them."""
    tx.many(
        "INSERT OR REPLACE INTO quarantine (source, kind, key, reason)"
        " SELECT source, 'forgotten', source_key, 'forgotten on request' FROM memories"
        " WHERE id = ? AND source IS NOT NULL",
        [(i,) for i in ids],
    )


def _note_purge(tx: Transaction, ids: Sequence[int]) -> None:
    """Write down, in the deleting transaction, what is to be scrubbed after it.

    An earlier purge that is not finished is joined: all steps are due for all memories.
    """
    marks = json.dumps(list(ids))
    picked = "FROM memories WHERE id IN (SELECT value FROM json_each(?))"
    keys: dict[str, list[Any]] = {}
    for source, key in tx.rows(f"SELECT source, source_key {picked}", (marks,)):
        if source is not None:
            keys.setdefault(str(source), []).append(key)
    for source, mine in keys.items():
        source_delta.forget(tx, int(source), mine)
    names: set[int] = set()
    for row in tx.rows(f"SELECT place, namespace, conversation, session {picked}", (marks,)):
        names.update(number for number in row if number is not None)
    note = PurgeNote(list(ids), keys, sorted(names), hypervector_files.items_named_in(tx, ids))
    earlier = tx.rows("SELECT value FROM meta WHERE key = 'purge'")
    if earlier:
        old = json.loads(earlier[0][0])
        for source, more in old["keys"].items():
            keys.setdefault(source, []).extend(more)
        note = PurgeNote(
            [*note.ids, *old["ids"]],
            keys,
            sorted({*names, *old["names"]}),
            [*note.items, *old.get("items", [])],
        )
    tx.set_meta("purge", json.dumps(asdict(note)))
