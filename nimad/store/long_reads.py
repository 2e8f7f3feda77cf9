"""Checks that read the records whole at one moment, and what must cut the WAL off: a purge.

While a connection reads, SQLite keeps the WAL.  SQLite's own check takes seconds for a large file,
and several programs that ask for it leave no moment without one.  So it is ended when a purge must
go on, and begins again after it; from the third time on it is left to its end.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

TRIES = 3
"""Times that one check is begun again."""


class LongReads:
    """The checks under way; safe to use from many threads."""

    def __init__(self) -> None:
        self._reading: set[sqlite3.Connection] = set()
        self._kept_out = 0
        self._changed = threading.Condition()

    def run(self, connect: Callable[[], sqlite3.Connection], check: Callable[..., T]) -> T:
        """What a check makes of a connection of its own, which is closed afterwards."""
        for _ in range(TRIES):
            with self._changed:
                self._changed.wait_for(lambda: not self._kept_out)
                connection = connect()
                self._reading.add(connection)
            try:
                return check(connection)
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorname", "") != "SQLITE_INTERRUPT":
                    raise
            finally:
                with self._changed:
                    self._reading.discard(connection)
                connection.close()
        with contextlib.closing(connect()) as left:
            return check(left)

    @contextlib.contextmanager
    def ended(self) -> Iterator[None]:
        """End the checks under way, and let none begin before the block has ended."""
        with self._changed:
            self._kept_out += 1
            for connection in self._reading:
                connection.interrupt()
        try:
            yield
        finally:
            with self._changed:
                self._kept_out -= 1
                self._changed.notify_all()
