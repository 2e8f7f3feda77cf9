"""The vectors that a start leaves for afterwards: they are made once, by who needs them first."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nimad.core import segments
from nimad.embed.base import Embedder
from nimad.errors import NimadError
from nimad.store.records import Records


class LeftVectors:
    """Memories that were found without a vector, most of them remembered and never written; for
    many threads."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._left: list[int] = []
        self._lock = threading.Lock()

    def leave(self, ids: list[int]) -> None:
        """Make these later; no thread may know of them yet."""
        self._left = ids

    def make(
        self,
        embedder: Embedder,
        add: Callable[[Sequence[int], NDArray[np.float32]], None],
        made: Callable[[set[int]], None],
    ) -> None:
        """Give `add` the vectors of those that are still memories, and `made` all ids, while nobody
        else writes; when it returns that was done, by whatever thread.  Texts that cannot be read,
        say, are left to idle time: no question is to fail for them."""
        if not self._left:
            return
        with self._lock:
            if left := self._left:
                with contextlib.suppress(NimadError):
                    ids, rows = segments.encode_memories(self._records, embedder, left)
                    with self._records.exclusive():
                        sql = "SELECT id FROM memories WHERE id IN"
                        alive = {number for (number,) in self._records.rows_in(sql, ids)}
                        here = [place for place, number in enumerate(ids) if number in alive]
                        add([ids[place] for place in here], rows[here])
                        made(set(left))
                self._left = []
