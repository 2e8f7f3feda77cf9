"""The graph's files: names, the seal that finds damage, the swap of a new file for the old.

| file in `graph/` | what |
|---|---|
| `ENGINE.db` | the database; never changed, only replaced |
| `ENGINE.db.seal` | JSON: what `ENGINE.db` must look like and holds, see `Seal`; its CRC-32 |
| `ENGINE-new.db`, `ENGINE-new.db.*` | a graph in the making; garbage after a crash, but see below |

The engines notice a shortened file but not a changed one: of 27 files with 16 bytes altered,
ladybug opened 13 and returned other numbers than before.  So a file is checked against its seal
before an engine sees it.

Crash prose of a swap (the new file is complete and durable before it begins):

1. `ENGINE-new.db.seal` is written.  A crash leaves both new files: `sweep` removes them;
2. the old file's log (of older versions) goes, then `ENGINE-new.db` is renamed to `ENGINE.db`: this
   is the commit point.  A crash after it leaves a new seal without a new file: `sweep` does step 3;
3. the new seal is renamed to `ENGINE.db.seal`.

A seal of another version, or none, makes the file useless: it is removed and made anew when asked.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nimad.dataclass import dataclass
from nimad.disk.durable import crash_point, fsync_dir, sweep_temporary, write_durable
from nimad.errors import DiskFull, GraphFailed
from nimad.graph.limits import FILES, VERSION
from nimad.keys import ENGINES

SPARE = 8 << 20
"""Room that must stay free beside a new file: an empty one of kuzu's takes 7.5 MB [bytes]."""
_CHUNK = 1 << 20  # [bytes]


@dataclass(frozen=True)
class Seal:
    """What is known of a graph file without opening it.

    Attributes:
        version: of the tables.
        bytes, crc32: of the file.
        watermark: the number of the last change of the records that is in it.
        built: when [epoch ms].
        rows: table → number of rows.
        last: kind → the highest id that the records had given when it was read.
    """

    version: int
    bytes: int
    crc32: int
    watermark: int
    built: int
    rows: dict[str, int]
    last: dict[str, int]


class GraphFiles:
    """The files of one engine in the graph directory."""

    def __init__(self, directory: Path, engine: str) -> None:
        self.directory = directory
        self.main = directory / f"{engine}.db"
        self.new = directory / f"{engine}-new.db"
        self._seal = directory / f"{engine}.db.seal"
        self._new_seal = directory / f"{engine}-new.db.seal"

    def all(self) -> list[Path]:
        """Every file of the serving graph: what is set aside when it is damaged."""
        return self._beginning(self.main.name)

    def check_room(self, needed: int) -> None:
        """Raise DiskFull unless `needed` bytes and a reserve are free."""
        status = os.statvfs(self.directory)
        free = status.f_bavail * status.f_frsize
        if free < needed + SPARE:
            raise DiskFull(
                detail=f"the graph needs {(needed + SPARE) >> 20} MiB, {free >> 20} MiB are free"
            )

    def sweep(self) -> None:
        """End a swap that a crash cut short; remove a graph in the making, files of the engine
        that is not in use, and files that no seal of this version describes."""
        sweep_temporary(self.directory, FILES)
        if self._new_seal.is_file() and not self.new.exists():
            with suppress(GraphFailed):
                self._finish_swap()
        serving = self.all() if self.seal() is not None else []
        for engine in ENGINES:
            for path in (*self._beginning(f"{engine}.db"), *self._making(engine)):
                if path not in serving:
                    _remove(path)

    def _making(self, engine: str) -> list[Path]:
        return self._beginning(f"{engine}-new.db")

    def _beginning(self, name: str) -> list[Path]:
        """What is there whose name begins so."""
        found = os.listdir(self.directory) if self.directory.is_dir() else []  # noqa: PTH208
        return sorted(self.directory / each for each in found if each.startswith(name))

    def sweep_new(self) -> None:
        """Remove a graph in the making."""
        for path in self._making(self.main.name.removesuffix(".db")):
            _remove(path)

    def drop(self) -> None:
        """Remove everything, of every engine."""
        for engine in ENGINES:
            for path in (*self._beginning(f"{engine}.db"), *self._making(engine)):
                _remove(path)
        if self.directory.exists():
            fsync_dir(self.directory)

    # --- the seal -----------------------------------------------------------------------------

    def seal(self) -> Seal | None:
        """What is known of the file; None when there is none of this version."""
        if not (self._seal.is_file() and self.main.is_file()):  # a pipe would never end
            return None
        try:
            told = json.loads(self._seal.read_text("utf-8"))
            if "check" in told and told.pop("check") != _check(told):
                return None
            found = Seal(**told)
        except (OSError, ValueError, TypeError):
            return None
        return found if found.version == VERSION else None

    def verify(self) -> None:
        """Read the file whole; raises GraphFailed when it is not what was sealed."""
        seal = self.seal()
        if seal is None or summary(self.main) != (seal.bytes, seal.crc32):
            raise GraphFailed(detail=f"{self.main} is not what was last written to it")

    # --- the swap -------------------------------------------------------------------------------

    def swap_in(self, watermark: int, rows: dict[str, int], last: dict[str, int]) -> None:
        """Put the new file in the place of the serving one, which no process may have open."""
        descriptor = os.open(self.new, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        built = time.time_ns() // 1_000_000
        seal = Seal(VERSION, *summary(self.new), watermark, built, rows, last)
        told = asdict(seal)
        write_durable(self._new_seal, [json.dumps({**told, "check": _check(told)}).encode()])
        crash_point("graph.swap")
        for path in self.all():
            if path not in (self.main, self._seal):
                path.unlink()
        self.new.rename(self.main)
        crash_point("graph.swapped")
        self._finish_swap()

    def _finish_swap(self) -> None:
        fsync_dir(self.directory)
        if self._seal.is_dir() and not self._seal.is_symlink():
            raise GraphFailed(detail=f"{self._seal} is a directory")
        self._new_seal.rename(self._seal)
        fsync_dir(self.directory)


def _check(told: dict[str, Any]) -> int:
    """CRC-32 of what a seal says; those of earlier versions have none."""
    return zlib.crc32(json.dumps(told).encode())


def _remove(path: Path) -> None:
    """Delete one of the files; a directory of that name is not nimad's."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()


def summary(path: Path) -> tuple[int, int]:
    """Length [bytes] and CRC-32 of a file."""
    checksum, size = 0, 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
            size += len(chunk)
    return size, checksum
