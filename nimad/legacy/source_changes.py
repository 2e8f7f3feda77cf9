"""What a graph database got since it was looked at last, for following one still written to.

Standard library only: this runs in nimactl, as the user who owns the file.  The source is only
read, nothing is copied where that can be helped, and nothing is written beside it:

| beside it      | way                                                                            |
|----------------|--------------------------------------------------------------------------------|
| -wal and -shm  | one read transaction over `mode=ro&readonly_shm=1`: no writer is kept waiting  |
| none of them   | `immutable=1`; what changed meanwhile is looked at again                       |
| another state  | a snapshot in the scratch directory (see snapshot.py)                          |

Of each row 16 bytes are remembered, its key and a digest.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from dataclasses import field
from functools import partial
from pathlib import Path

from nimad.dataclass import dataclass
from nimad.errors import SourceChanged
from nimad.legacy.detect import os_error
from nimad.legacy.hostile_reader import RowReader, pages
from nimad.legacy.schema import identify, open_source, sqlite_errors
from nimad.legacy.snapshot import FileSignature, file_signature, settle, take_snapshot
from nimad.legacy.sqlite import LegacyGraph
from nimad.legacy.values import canonical, pack

PAGE = 1000
KINDS = ("node", "edge", "turn")
Signature = tuple[FileSignature, ...]


@dataclass
class Seen:
    """The rows of one kind as they were: keys (ascending) and digests, both of 64 bits."""

    keys: array[int] = field(default_factory=lambda: array("q"))
    digests: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, key: int, digest: int) -> None:
        """Note the next row."""
        self.keys.append(key)
        self.digests.append(digest)


@dataclass
class Difference:
    """What came and what went; `lines` are those of docs/protocol.md, migrate.append.

    `readable` is False when a row could not be read: then a whole snapshot has to tell.
    """

    seen: dict[str, Seen]
    columns: dict[str, tuple[str, ...]]
    lines: list[str] = field(default_factory=list)
    rows: int = 0
    gone: int = 0
    readable: bool = True

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.rows or self.gone) or not self.readable

    def delivery(self) -> bytes:
        """The bytes to be handed over."""
        head = json.dumps(self.columns, ensure_ascii=False)
        return "\n".join([head, *self.lines, ""]).encode()


def signature(path: Path) -> Signature:
    """What changes when the source is written: (inode, bytes, mtime in ns) of it and its log."""
    return tuple(file_signature(Path(f"{path}{suffix}")) for suffix in ("", "-wal", "-journal"))


def look(path: Path, before: dict[str, Seen] | None) -> Difference:
    """Compare the source at `path` with what was seen `before` (None: only look).

    Raises SourceChanged when it was overtaken by a writer: look again; SourceMissing,
    SourceUnreadable, SourceCorrupt.  Cost: reads every row once.
    """
    try:
        beside = {name for name in ("-wal", "-shm", "-journal") if Path(f"{path}{name}").exists()}
        if {"-wal", "-shm"} <= beside:
            return seen_in(path, before, "mode=ro&readonly_shm=1")
        if not beside:
            settle(path.stat().st_mtime_ns)
            was = signature(path)
            difference = seen_in(path, before)
            if signature(path) != was:
                raise SourceChanged(path=path, detail="it was written while it was read")
            return difference
        found: list[Difference] = []
        take_snapshot(path, look=lambda copy: found.append(seen_in(copy, before))).close()
        return found[0]
    except OSError as error:
        raise os_error(error, path) from error


def seen_in(
    path: Path, before: dict[str, Seen] | None, flags: str = "mode=ro&immutable=1"
) -> Difference:
    """As `look`, of a database that is not written, or that `flags` open consistently."""
    connection = open_source(path, flags)
    try:
        with sqlite_errors(path):
            connection.execute("BEGIN")
            shape = identify(connection, path)  # the first reading fixes the moment
        return compare(LegacyGraph(RowReader(connection, path), shape), before)
    finally:
        connection.close()


def compare(graph: LegacyGraph, before: dict[str, Seen] | None) -> Difference:
    """As `look`, of an open database."""
    found = Difference({kind: Seen() for kind in KINDS}, graph.columns())
    for kind in KINDS:
        old, at = Seen() if before is None else before[kind], 0
        read = partial(graph.raw_rows, kind, limit=PAGE)
        for key, row in pages(read, lambda item: item[0]):
            data = row.encode() if isinstance(row, str) else canonical(row)
            digest = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())
            found.seen[kind].add(key, digest)
            while at < len(old.keys) and old.keys[at] < key:
                _went(found, kind, old.keys[at])
                at += 1
            known = at < len(old.keys) and old.keys[at] == key
            if before is not None and not (known and old.digests[at] == digest):
                if isinstance(row, str):
                    found.readable = False
                else:
                    found.rows += 1
                    values = [kind, key, *map(pack, row)]
                    line = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
                    found.lines.append(line)
            at += known
        for key in old.keys[at:]:
            _went(found, kind, key)
    return found


def _went(found: Difference, kind: str, key: int) -> None:
    if kind == "node":
        found.gone += 1
        found.lines.append(json.dumps(["gone", key]))
