"""Readers side by side, and whoever changes what they read alone: for the columns of a store.

A query reads for milliseconds and changes nothing; only following the records' changes does.  Its
long steps (the kernels, numpy on whole columns) let other threads run, so two queries at once take
less than twice the time of one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Gate:
    """Lets readers in when nothing is to be changed first."""

    def __init__(self, stale: Callable[[], bool], follow: Callable[[], None]) -> None:
        """`stale` tells whether something is to be changed, `follow` changes it."""
        self._stale = stale
        self._follow = follow
        self._readers = 0
        self._free = threading.Condition()

    @contextmanager
    def reading(self, take: Callable[[], T]) -> Iterator[T]:
        """What `take` gives (called by one reader at a time); nothing changes in the block.

        The first reader to find it stale waits for those inside and makes the change; later ones
        find it stale, too, so they do not pass him by.
        """
        with self._free:
            while self._stale():
                if self._readers == 0:
                    self._follow()
                    break
                self._free.wait()
            taken = take()
            self._readers += 1
        try:
            yield taken
        finally:
            with self._free:
                self._readers -= 1
                if self._readers == 0:
                    self._free.notify_all()

    def alone(self, change: Callable[[], T]) -> T:
        """Call `change` when nobody reads."""
        with self._free:
            while self._readers:
                self._free.wait()
            return change()
