"""What a migration says of itself: migration.log, in the legacy guide's format, and the journal.

    [2026-02-15 15:35:00] [INFO] Source: 9770 nodes, 91 MB
    [2026-02-15 15:35:01] [INFO] Batch 1/20 (2.5% complete, ETA: 95s)
    [2026-02-15 15:35:05] [WARN] Batch failed (attempt 1/4): ... Retrying in 1s...

Scripts that watch the old file with `tail -f` or grep find the same lines; additions stand behind
them.  No text of a memory is ever written here.  The log is no record: it is not fsynced, and a
full disk costs lines, never the migration.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

LARGEST = 1 << 20
"""Size at which the log begins anew; the one before it is kept as migration.log.1 [bytes]."""
RULE = "=" * 60


class MigrationLog:
    """Writes lines; safe to use from several threads."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()

    def info(self, message: str, quiet: bool = False) -> None:
        """Something went as it should; `quiet` spares the journal, which tells progress anyway."""
        self._line("INFO", message)
        log.log(logging.DEBUG if quiet else logging.INFO, "%s", message)

    def warn(self, message: str) -> None:
        """Something went wrong and is tried again, or was left out."""
        self._line("WARN", message)
        log.warning("%s", message)

    def error(self, message: str) -> None:
        """Something stopped."""
        self._line("ERROR", message)
        log.error("%s", message)

    def heading(self, title: str) -> None:
        """A title between two rules."""
        self._write(f"{RULE}\n{title}\n{RULE}\n")

    def _line(self, level: str, message: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self._clock()))
        line = "".join(c if c.isprintable() else "?" for c in message)
        self._write(f"[{stamp}] [{level}] {line}\n")

    def _write(self, text: str) -> None:
        with self._lock:
            try:
                if self.path.exists() and self.path.stat().st_size > LARGEST:
                    self.path.replace(self.path.with_name(self.path.name + ".1"))
                with self.path.open("a", encoding="utf-8", errors="replace") as file:
                    file.write(text)
            except OSError as error:
                log.debug("migration.log was not written: %s", error)


def progress_line(batch: int, batches: int, share: float, eta: float | None, more: str) -> str:
    """ "Batch 1/20 (2.5% complete, ETA: 95s)", and behind it what the legacy guide did not have.

    `share` is within [0, 1]; `eta` in seconds, None when it cannot be known yet.
    """
    left = "unknown" if eta is None else f"{eta:.0f}s"
    return f"Batch {batch}/{batches} ({share * 100:.1f}% complete, ETA: {left}) {more}"
