"""A readers-writer lock: for what many threads read and now and then one changes as a whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ReadWriteLock:
    """Shared by any number of readers, or held by one writer alone; writers go first.

    Guarantees: no reader is inside while a writer is; a writer that waits goes before readers that
    come later, so that a stream of readers cannot keep it out; what a writer did is seen by every
    reader that enters after it.  Not reentrant: a reader that enters again while a writer waits, or
    that wants to become the writer, waits for itself.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._waiting = 0
        self._taken = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Inside together with other readers."""
        with self._changed:
            while self._taken or self._waiting:
                self._changed.wait()
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                if self._waiting:
                    self._changed.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Inside alone."""
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not self._taken and not self._readers)
                self._taken = True
            finally:
                self._waiting -= 1
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()
