"""The catalog of a bundle that is kept for the next who opens it."""

from __future__ import annotations

import os
import threading

KEPT_BYTES = 2 << 20
"""Size of the largest catalog that is kept for the next who opens the bundle [bytes]."""


class RecentCatalog:
    """The catalog that was made last, if it is small: a migration opens its bundle several times.

    It is dropped at rest, and when a bundle is redacted.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[int, ...] = ()
        self._checked, self._fd = False, -1

    def find(self, bundle: int, check: bool) -> int | None:
        """A descriptor of the catalog of an open bundle; None when it is not that one."""
        with self._lock:
            known = self._key == _identity(bundle) and (self._checked or not check)
            return os.dup(self._fd) if known else None

    def keep(self, bundle: int, check: bool, made: int) -> None:
        """Keep a catalog."""
        with self._lock:
            self._forget()
            if os.fstat(made).st_size <= KEPT_BYTES:
                self._key, self._checked, self._fd = _identity(bundle), check, os.dup(made)

    def drop(self) -> None:
        """Let go of it."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        if self._key:
            os.close(self._fd)
            self._key = ()


def _identity(bundle: int) -> tuple[int, ...]:
    status = os.fstat(bundle)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


RECENT = RecentCatalog()
