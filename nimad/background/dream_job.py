"""Dreaming as a job: in idle moments, where the configuration asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nimad.background.worker import Step, Worker
from nimad.core.store import MemoryStore

if TYPE_CHECKING:
    from nimad.reflection.dream import Dreamer


class DreamJob:
    """Looks at memories that no dream has looked at; what it needs is imported when it is on."""

    name = "dreaming"

    def __init__(self, store: MemoryStore, worker: Worker) -> None:
        self._store, self._worker = store, worker
        self._dreamer: Dreamer | None = None

    def next_step(self) -> Step | None:
        """The next few memories, once the machine is idle; None: it is off, or all is done."""
        if not self._store.config["dream.idle"]:
            self._dreamer = None
            return None
        if self._dreamer is None:
            from nimad.reflection.dream import Dreamer

            self._dreamer = Dreamer(self._store)
        if not self._dreamer.more():
            return None
        return Step(self._dreamer.step, max(0.0, self._worker.idle.closed_for()), yielding=True)

    def close(self) -> None:
        """What was found and not written is found again after the next start."""
        self._dreamer = None
