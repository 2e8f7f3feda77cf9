"""Writes a backup of the running store into a file that a client opened.

The records are read as they are at one moment (nimad/store/frozen.py) while memories come and go;
the files that they name and nothing can make anew, snapshots and hypervectors, are opened at that
moment, and a file that is replaced or deleted later is read to its end all the same.  Nothing is
written but the client's file, and a line that tells a later purge of it.  Where the disk of the
records takes no writes, a backup on another disk is what its owner needs: it goes without the line.

All of the records is compared with its checksums first, and what is damaged is named in the
manifest: a backup of it is better than none, but must not take the place of the last one in which
it was sound.

Crash prose: `backup.noted` leaves that line, of a backup that nobody gave its name; so does
`backup.written`.  A purge then names one backup too many.  The client's file has no name yet.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from nimad import __version__
from nimad.core.integrity import told_as_damage
from nimad.core.store import MemoryStore
from nimad.disk.backup_file import CHUNK, RECORDS, BackupWriter
from nimad.disk.durable import crash_point
from nimad.disk.failures import disk_errors
from nimad.disk.handed_over import check_handed_over
from nimad.errors import DiskFailed, DiskFull, RecordsDamaged
from nimad.model import now_ms
from nimad.store import backups, schema
from nimad.store.foreign_records import FILES
from nimad.store.frozen import Frozen, frozen

log = logging.getLogger(__name__)

COUNTED = "(SELECT count(*) FROM memories), (SELECT count(*) FROM relations)"
REACH = "ifnull((SELECT max(id) FROM memories), 0), ifnull((SELECT max(id) FROM sources), 0)"
"""SQL: how many memories and relations there are, and the highest ids of a memory and a source."""

MOST_NAMED, MOST_CHARS = 1000, 200
"""Number of damaged rows that a manifest names, and the longest name [characters]."""


def write_backup(store: MemoryStore, fd: int, path: str) -> dict[str, Any]:
    """Write a backup into the empty file behind a descriptor; its manifest, its size in bytes, and
    whether a later purge will tell of it (`noted`).

    `path` is where the client says it will be.  Raises UsageError when the file is none that can be
    written, DiskFull, Busy while another program reads the records.
    """
    check_handed_over(fd, "backup", store.state, writable=True)
    made = now_ms()
    unknown = dict.fromkeys(("sequence", "last_memory", "last_source"))
    noted = _note(store, path, made=made, **unknown)
    crash_point("backup.noted")
    try:
        damaged = _damaged(store)
        with disk_errors("the backup could not be written"), ExitStack() as opened:
            file = opened.enter_context(open(os.dup(fd), "wb", buffering=CHUNK))  # noqa: PTH123
            with store.maintenance:  # so that no purge is halfway
                records = opened.enter_context(frozen(store.records))
                kept, missing = _kept_files(store.state, records, opened)
            sql = f"SELECT {schema.last_number('changes')}, {COUNTED}, {REACH}"
            ((sequence, memories, relations, *last),) = records.connection.execute(sql)
            reach = dict(zip(("last_memory", "last_source"), last, strict=True))
            manifest = {
                "nimad": __version__,
                "schema": schema.SCHEMA,
                "made": made,
                "sequence": sequence,
                "memories": memories,
                "relations": relations,
                "missing": missing,
                "damaged": damaged,
                "last_memory": reach["last_memory"],
            }
            sizes = {RECORDS: records.size, **{name: size for name, (_, size) in kept.items()}}
            writer = BackupWriter(file, manifest, sizes)
            writer.add(RECORDS, records.size, records.content())
            for name, (source, size) in kept.items():
                writer.add(name, size, _content(source, size))
            writer.finish()
    except BaseException:
        with suppress(DiskFailed, DiskFull):
            backups.forget(store.records, [path])
        raise
    noted |= _note(store, path, made=made, sequence=sequence, **reach)
    crash_point("backup.written")
    return {**writer.manifest, "bytes": writer.bytes, "noted": noted}


def _note(store: MemoryStore, path: str, **facts: int | None) -> bool:
    """Note the backup in the records; whether their disk took it."""
    try:
        backups.note(store.records, path, **facts)
    except (DiskFailed, DiskFull) as error:
        log.warning("a purge will not tell of the backup %r: %s", path, error.message)
        return False
    return True


def _damaged(store: MemoryStore) -> list[str]:
    """What the backup will hold that is not what was written, by name; the first MOST_NAMED."""
    try:
        with told_as_damage(store.records):
            memories, others = store.integrity.examine()
    except RecordsDamaged as error:
        return [f"SQLite reports: {error.fields['detail']}"]
    named = [*others, *(f"memory {number}" for number in memories)]
    return [each[:MOST_CHARS] for each in named[:MOST_NAMED]]


def _kept_files(
    state: Path, records: Frozen, opened: ExitStack
) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """The files that the records name, opened: name → (descriptor, size); and those that are gone,
    because a user gave them up just now, or that doctor misses already."""
    kept: dict[str, tuple[int, int]] = {}
    missing: list[str] = []
    for directory in ("snapshots", "dense"):
        for (name,) in records.connection.execute(FILES[directory][0]).fetchall():
            kept_as = f"{directory}/{name}"
            path = state / kept_as
            if path.is_symlink() or not path.is_file():  # a pipe, say, is not nimad's
                missing.append(kept_as)
                continue
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                missing.append(kept_as)
                continue
            opened.callback(os.close, fd)
            kept[kept_as] = fd, os.fstat(fd).st_size
    return kept, missing


def _content(fd: int, size: int) -> Iterator[bytes]:
    done = 0
    while done < size and (chunk := os.pread(fd, min(CHUNK, size - done), done)):
        yield chunk
        done += len(chunk)
