"""Draws how far a request is, while the daemon works on a file that both have open."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nimad.ctl.screen import Progress

TICK = 0.25
"""Pause between two looks at how far it is [seconds]."""


@contextmanager
def watched(progress: Progress, text: Callable[[], str]) -> Iterator[None]:
    """Draw what `text` says again and again, as long as the block takes."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(TICK):
            progress.show(text())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
