"""What can be done about a source afterwards: see its quarantine, try it again, take the backup.

Crash prose of `retry`: one transaction sends the source back to its first stage, where every row
of the snapshot is looked at again and what is here already stays as it is (see copy_stage.py).  A
crash leaves it before or after that.  `give_back` writes only to the descriptor that it was handed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from typing import Any

from nimad.core.store import MemoryStore
from nimad.disk.durable import crash_point
from nimad.disk.failures import disk_errors
from nimad.errors import Busy, NotFound, SourceCorrupt, UsageError
from nimad.legacy.hostile_reader import FIRST_ID
from nimad.model import Stage
from nimad.store import sources
from nimad.store.sources import Source

CHUNK = 1 << 20


def quarantine(store: MemoryStore, source: Source, offset: int, limit: int) -> dict[str, Any]:
    """Rows that were not taken over, or not whole, with the reason: `limit` of them from `offset`.

    Ordered by kind and key.
    """
    rows = sources.quarantine_rows(store.records, source.id, limit, offset)
    return {
        "name": source.name,
        "total": sources.count_quarantined(store.records, source.id),
        "rows": rows,
    }


def retry(store: MemoryStore, source: Source) -> int:
    """Look at the quarantined rows of a source again; how many there are.

    Raises Busy while it is under way, NotFound when its backup was deleted.
    """
    if source.stage not in (Stage.LINKED, Stage.VERIFIED):
        raise Busy(detail=f"{source.name} is {source.state}; try again when it is done")
    if source.snapshot is None:
        raise NotFound(kind="backup of source", id=source.name)
    waiting = sources.count_quarantined(store.records, source.id)
    if not waiting:
        return 0
    start = source.note("start_after")
    with store.records.write() as tx:
        sources.update(
            tx,
            source.id,
            stage=Stage.ATTACHED,
            node_cursor=FIRST_ID if start is None else start,
            edge_cursor=FIRST_ID,
            turn_cursor=FIRST_ID,
            linked=0,
            verified=0,
            paused=0,
            error=None,
            started=None,
            finished=None,
            report=source.with_notes(rerun=True, verification=None),
        )
    crash_point("migrate.retried")
    return waiting


def give_back(store: MemoryStore, source: Source, fd: int) -> dict[str, Any]:
    """Write the backup of a source into an empty file, and compare its digest on the way.

    Raises UsageError when the descriptor is no empty ordinary file open for writing, NotFound when
    the backup was deleted, SourceCorrupt when it is not what was kept, DiskFull.
    """
    status = os.fstat(fd)
    writable = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE in (os.O_WRONLY, os.O_RDWR)
    if not stat.S_ISREG(status.st_mode) or status.st_size or not writable:
        raise UsageError(detail="migrate.restore needs an empty file that is open for writing")
    path = store.state / "snapshots" / (source.snapshot or "-")
    if source.snapshot is None or not path.exists():
        raise NotFound(kind="backup of source", id=source.name)
    digest, done = hashlib.sha256(), 0
    with (
        disk_errors(f"the backup of {source.name} could not be written"),
        path.open("rb", buffering=0) as file,
    ):
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            done += _write(fd, chunk, done)
        os.fsync(fd)
    if digest.hexdigest() != source.sha256:
        raise SourceCorrupt(
            path=f"snapshots/{source.snapshot}", detail="the backup is not what was kept"
        )
    return {
        "name": source.name,
        "kind": source.kind,
        "path": source.path,
        "bytes": done,
        "sha256": source.sha256,
    }


def _write(fd: int, chunk: bytes, at: int) -> int:
    written = 0
    while written < len(chunk):
        written += os.pwrite(fd, chunk[written:], at + written)
    return written
