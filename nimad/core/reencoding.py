"""Encoding every memory anew, a step at a time, while the old vectors serve.

It happens when the embedder changes, and on `nimactl rebuild blocks`.  Vectors gather in memory
until there are enough for a segment, or until they have cost `SEAL_SECONDS`: so a crash costs no
more than that.  New memories meanwhile get a vector of the old embedder at once, which the old
index finds, and one of the new embedder when the steps come to them.

Crash prose:

1. a segment file is written: a crash leaves a file that no row names; the next start removes it;
2. one transaction notes it in `pending`, with the signature of its embedder: from here on its
   memories are not encoded again.  A start that wants another embedder by then forgets the note;
3. when nothing is left, one transaction lists what is pending in place of the old segments, lays
   the tombstones, fills `hot` with the last few vectors and notes the new embedder: before its
   COMMIT the old index counts, after it the new one;
4. the old files are deleted: a crash leaves some, unlisted, which the next start removes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nimad.core import segments
from nimad.core.projection import ENDINGS, Ended, Waiters
from nimad.disk.durable import crash_point
from nimad.disk.mapped import remove_file
from nimad.embed.base import Embedder, signature
from nimad.errors import DiskFull
from nimad.index.blocks import BlockIndex
from nimad.model import Stage, now_ms
from nimad.store import staged_segments
from nimad.store.records import Records

log = logging.getLogger(__name__)

STEP_SECONDS = 0.1
"""Time that a step should take; others get their turn between two steps [seconds]."""
MOST_ROWS = 1000
"""Memories that are encoded in one step at most [rows]."""
SEAL_ROWS = 32_768
"""Rows of one segment: 34 MB of gathered vectors at 512 dimensions [rows]."""
SEAL_SECONDS = 30.0
"""Time of encoding after which its vectors are sealed, so that a crash costs no more [seconds]."""
TAIL = 32
"""Memories that the swap itself may have to encode; it does so again if it fails [rows]."""
SPARE_BYTES = 32 << 20
"""Free space that is left to everything else [bytes]."""


class Reencoding:
    """All memories on their way into a new index.  `lock` is held by each method."""

    def __init__(
        self,
        records: Records,
        directory: Path,
        embedder: Embedder,
        lock: threading.RLock,
        waiters: Waiters,
        on_finish: Callable[[BlockIndex, Embedder], None],
    ) -> None:
        """Take up what an earlier run had noted; begins nothing.  For `waiters`, who wait for the
        lock, a step ends early.

        `on_finish` is given the new index and its embedder right after the commit of the swap,
        while the records are held.  Raises DiskFull when there is not the room for a second index.
        """
        self._records, self._lock, self._on_finish = records, lock, on_finish
        self._waiters, self._endings = waiters, 0
        self.embedder = embedder
        self.index = BlockIndex(directory, embedder.dims)
        with lock:
            damaged = self.index.open(staged_segments.names(records, signature(embedder)))
            if damaged:
                with records.write() as tx:
                    staged_segments.forget(tx, [damage.name for damage in damaged])
            for damage in damaged:
                log.warning("%s is made again: %s", damage.name, damage.error.message)
                self.index.path(damage.name).unlink(missing_ok=True)
            if len(self.index.ids()):
                log.info("goes on behind %d memories that are encoded anew", len(self.index.ids()))
            self._todo = self._left()
            check_room(directory, len(self._todo), embedder.dims)
        self._ids: list[int] = []
        self._rows: list[NDArray[np.float16]] = []
        self._seconds = 0.0
        self._size = 16
        self._finished = False

    @property
    def done(self) -> int:
        """Memories that have their new vector."""
        return int(self.index.stats()["rows"]) + len(self._ids)

    def step(self) -> bool:
        """Encode some memories; False once nothing is left but the swap.

        Raises Ended for those who wait, behind whom it goes on; Degraded when the embedder is away
        for the moment, DiskFull: it may be called again.
        """
        with self._lock:
            if self._finished:
                return False
            if not len(self._todo):
                self._seal()
                self._todo = self._left()
                return len(self._todo) > TAIL
            began = time.perf_counter()
            part, self._todo = self._todo[: self._size], self._todo[self._size :]
            try:
                ids, rows = self._encode(part)
            except BaseException:
                self._todo = np.concatenate([part, self._todo])
                raise
            self._ids += ids
            self._rows.append(rows.astype(np.float16))
            took = time.perf_counter() - began
            self._seconds += took
            self._size = int(np.clip(self._size * min(2.0, STEP_SECONDS / took), 1, MOST_ROWS))
            if len(self._ids) >= SEAL_ROWS or self._seconds >= SEAL_SECONDS:
                self._seal()
            return True

    def finish(self, going_on: Callable[[], object] = lambda: None) -> int:
        """Swap the new index in; the number of its memories.  Raises as `step`, and what `going_on`
        does, which is called after each."""
        while True:
            while self.step():
                going_on()
            with self._lock:
                if self._finished:
                    return len(self.index.ids())
                self._seal()  # what another thread has gathered meanwhile
                self._todo = self._left()
                if len(self._todo) <= TAIL:
                    return self._swap()

    def _swap(self) -> int:
        tail = self._encode(self._todo)
        with self._records.exclusive():
            known = np.union1d(self.index.ids(), np.array(tail[0], np.int64))
            late = self._encode(np.setdiff1d(self._records.ids(), known))
            ids = [*tail[0], *late[0]]
            rows = np.concatenate([tail[1], late[1]])
            old = self._records.segment_names()
            with self._records.write() as tx:
                tx.unlist_segments(old)
                staged_segments.adopt(tx, signature(self.embedder))
                # what was forgotten since it had been encoded
                gone = np.setdiff1d(self.index.ids(), tx.alive(self.index.ids()))
                tx.execute("DELETE FROM tombstones")
                tx.many("INSERT INTO tombstones (id) VALUES (?)", [(int(i),) for i in gone])
                tx.execute("DELETE FROM hot")
                tx.add_hot(segments.to_hot(ids, rows))
                # every memory is encoded now: no source's cursor must do it again
                tx.execute(
                    "UPDATE sources SET encode_cursor = max(encode_cursor, coalesce((SELECT max(id)"
                    " FROM memories WHERE source = sources.id), 0)), encoded = (SELECT count(*)"
                    " FROM memories WHERE source = sources.id)"
                )
                # a source that encodes only what queries find has all its vectors now
                tx.execute(
                    "UPDATE sources SET stage = ?, verified = encoded WHERE stage = ?",
                    (Stage.VERIFIED.value, Stage.LAZY.value),
                )
                tx.set_meta("embedder", signature(self.embedder))
            crash_point("rebuild.listed")
            self.index.append(np.array(ids, np.int64), rows)
            self.index.remove(gone.astype(np.int64))
            self._on_finish(self.index, self.embedder)
        self._finished = True
        for name in old:
            remove_file(self.index.path(name))
        return len(self.index.ids())

    # --- the parts of a step ------------------------------------------------------------------

    def _left(self) -> NDArray[np.int64]:
        return np.setdiff1d(self._records.ids(), self.index.ids(), assume_unique=True)

    def _encode(self, ids: NDArray[np.int64]) -> tuple[list[int], NDArray[np.float32]]:
        """The ids that still exist, and their vectors."""
        return segments.encode_memories(self._records, self.embedder, ids.tolist())

    def _seal(self) -> None:
        """Write what has gathered, and note it."""
        if not self._ids:
            return
        order = np.argsort(np.array(self._ids, np.int64))
        ids = np.array(self._ids, np.int64)[order]
        rows = np.concatenate(self._rows)[order].astype(np.float32)
        name = segments.new_segment_name(self._records, self.index)
        try:
            info = self.index.write_segment(name, ids, rows, self._end_for_others)
        except Ended:
            self._endings += 1
            raise
        crash_point("rebuild.written")
        with self._records.write() as tx:
            staged_segments.note(tx, info, signature(self.embedder), now_ms())
        crash_point("rebuild.noted")
        self.index.publish([name])
        self._ids, self._rows, self._seconds, self._endings = [], [], 0.0, 0

    def _end_for_others(self) -> None:
        if self._endings < ENDINGS:
            self._waiters.end_for_them()

    # --- what others do meanwhile -------------------------------------------------------------

    def discard(self, ids: NDArray[np.int64]) -> None:
        """Leave no trace of purged memories: a segment that holds one is made again without."""
        with self._lock:
            doomed = [
                name
                for name in staged_segments.names(self._records, signature(self.embedder))
                if len(np.intersect1d(self.index.segment_ids([name]), ids))
            ]
            with self._records.write() as tx:
                staged_segments.forget(tx, doomed)
            self.index.publish([], doomed)
            kept = ~np.isin(np.array(self._ids, np.int64), ids)
            if self._ids:
                rows = np.concatenate(self._rows)
                self._ids = np.array(self._ids, np.int64)[kept].tolist()
                self._rows = [rows[kept]]
            known = np.union1d(self.index.ids(), np.array(self._ids, np.int64))
            self._todo = np.setdiff1d(self._records.ids(), known)


def check_room(directory: Path, rows: int, dims: int) -> None:
    """Raises DiskFull when the disk has no room for `rows` vectors beside the old ones."""
    # a row, its code, its id, its share of the cells; and the same once more when segments merge
    need = 2 * rows * (dims + 64 + 16) + SPARE_BYTES
    import shutil

    free = shutil.disk_usage(directory).free
    if free < need:
        raise DiskFull(
            detail=f"the vectors of {rows} memories take {need >> 20} MiB beside the old ones,"
            f" {free >> 20} are free"
        )
