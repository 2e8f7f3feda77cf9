"""The graph's files: names, the seal that finds damage, the swap of a new file for the old.

| file in `graph/` | what |
|---|---|
| `ENGINE.db` | the database; only a checkpoint changes it |
| `ENGINE.db.wal`, `ENGINE.db.*` | the engine's log and its leftovers |
| `ENGINE.db.seal` | what `ENGINE.db` must look like |
| `ENGINE-new.db`, `ENGINE-new.db.*` | a graph in the making; garbage after a crash |

The engines notice a shortened file but not a changed one: of 27 files with 16 bytes altered,
ladybug opened 13 and returned other numbers than before.  So the file is sealed: `sealed BYTES
CRC32` after each checkpoint, checked before the engine sees the file.  Around a checkpoint, and
while a log is read that a crash left, the seal reads `open N`: the file may be in between, the
engine's own recovery is trusted, and N counts how often opening it was tried.  Three tries that
ended the process make a damaged file of it.

Crash prose of a checkpoint: 1. seal becomes `open 0`; 2. the engine checkpoints; 3. seal becomes
`sealed`.  A crash between leaves `open 0`: the next start opens the file unverified and seals it.

Crash prose of a swap (the new file is complete and durable before it begins):
1. the seal becomes `open 0`;
2. the old log goes.  A crash leaves the old file as of its last checkpoint: an older watermark;
3. the new file is renamed to `ENGINE.db`.  A crash leaves the old one or the new one;
4. the seal becomes `sealed`.
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from pathlib import Path

from nimad.disk.durable import crash_point, fsync_dir, sweep_temporary, write_durable
from nimad.errors import DiskFull, GraphFailed
from nimad.graph.engine import ENGINES, check_writable

TRIES = 3
SPARE = 8 << 20  # [bytes] an empty file of kuzu's takes 7.5 MB
_CHUNK = 1 << 20  # [bytes]


class GraphFiles:
    """The files of one engine in the graph directory."""

    def __init__(self, directory: Path, engine: str) -> None:
        self.directory = directory
        self.engine = engine
        self.main = directory / f"{engine}.db"
        self.seal_path = directory / f"{engine}.db.seal"
        self.new = directory / f"{engine}-new.db"

    def all(self) -> list[Path]:
        """Every file of the serving graph: what is set aside when it is damaged."""
        return sorted([*self.directory.glob(f"{self.engine}.db*")])

    def size_bytes(self) -> int:
        """What all of the directory's files take."""
        return sum(entry.stat().st_size for entry in os.scandir(self.directory) if entry.is_file())

    def log_bytes(self) -> int:
        """What the engine's log takes; 0 when it is folded in."""
        log = self.main.with_name(self.main.name + ".wal")
        return log.stat().st_size if log.exists() else 0

    def check_room(self, needed: int) -> None:
        """Raise DiskFull unless so many bytes and some to spare are free and writing works.

        To ask first is safer than to fail: an engine that cannot write is of no use any more.
        """
        check_writable()
        status = os.statvfs(self.directory)
        free = status.f_bavail * status.f_frsize
        if free < needed + SPARE:
            raise DiskFull(
                detail=f"the graph needs {(needed + SPARE) >> 20} MiB, {free >> 20} MiB are free"
            )

    def main_bytes(self) -> int:
        """What the database takes without its log."""
        return self.main.stat().st_size if self.main.exists() else 0

    def sweep(self) -> None:
        """Remove what a crash left of a graph in the making."""
        sweep_temporary(self.directory)
        for engine in ENGINES:
            for path in self.directory.glob(f"{engine}-new.db*"):
                path.unlink()

    def sweep_others(self) -> None:
        """Remove the file of the engine that is not in use: it follows nobody any more.

        It is a copy of what the records hold, and one that a purge would not reach.
        """
        for engine in ENGINES:
            if engine != self.engine:
                for path in self.directory.glob(f"{engine}.db*"):
                    path.unlink()

    # --- the seal -----------------------------------------------------------------------------

    def verify(self) -> bool:
        """Whether the file is as it was sealed; False when the seal says nothing about it.

        Raises GraphFailed when it is not, or when opening it has ended the process before.
        """
        if self._tries() >= TRIES:
            raise GraphFailed(detail=f"opening {self.main} ended nimad {TRIES} times")
        sealed = self._read_seal()
        if not sealed.startswith("sealed "):
            return False
        if sealed != self._summary():
            raise GraphFailed(detail=f"{self.main} is not what was last written to it")
        return True

    def _read_seal(self) -> str:
        try:
            return self.seal_path.read_text("ascii").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            return ""

    def _tries(self) -> int:
        word, _, number = self._read_seal().partition(" ")
        return int(number) if word == "open" and number.isdecimal() else 0

    def unseal(self) -> None:
        """Note that the file may be in between; call it before anything changes it."""
        self._write_seal("open 0")

    def trying(self) -> None:
        """Note one more try at opening a file after a crash."""
        with suppress(DiskFull):  # it is only a precaution
            self._write_seal(f"open {self._tries() + 1}")

    def opened(self) -> None:
        """Note that a try went well."""
        with suppress(DiskFull):
            self.unseal()

    def seal(self) -> None:
        """Note what the file looks like now, and make it durable; cost: it is read once."""
        _fsync(self.main)
        crash_point("graph.seal")
        self._write_seal(self._summary())

    def _write_seal(self, text: str) -> None:
        write_durable(self.seal_path, [f"{text}\n".encode()])

    def _summary(self) -> str:
        checksum, size = 0, 0
        with self.main.open("rb") as file:
            while chunk := file.read(_CHUNK):
                checksum = zlib.crc32(chunk, checksum)
                size += len(chunk)
        return f"sealed {size} {checksum:08x}"

    # --- the swap -------------------------------------------------------------------------------

    def swap_in(self) -> None:
        """Put the finished new file in the place of the serving one, which must be closed."""
        _fsync(self.new)
        self.unseal()
        for path in self.all():
            if path not in (self.main, self.seal_path):
                path.unlink()
        crash_point("graph.swap")
        self.new.rename(self.main)
        crash_point("graph.swapped")
        fsync_dir(self.directory)
        self.seal()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
