"""One store that a test opens again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nimad.config import Config
from nimad.core.store import MemoryStore


@contextmanager
def reopened(state: Path, config: Config) -> Iterator[Callable[[], MemoryStore]]:
    """Opens the store of a state directory, closed before."""
    made: list[MemoryStore] = []

    def open_at() -> MemoryStore:
        for store in made:
            store.close()
        made[:] = [MemoryStore.open(state, config)]
        return made[0]

    yield open_at
    for store in made:
        store.close()
