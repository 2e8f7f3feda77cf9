"""One line about something that takes long: redrawn on a terminal, silent elsewhere."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TextIO

from nimad.closing import Closing
from nimad.ctl.terminal_text import shorten

REDRAW = 0.1
"""Pause between two drawings [seconds]."""


def bar(fraction: float, cells: int = 24) -> str:
    """`[######------]`: full only when all is done."""
    inside = min(max(fraction, 0.0), 1.0)
    full = cells if inside >= 1 else min(int(inside * cells), cells - 1)
    return f"[{'#' * full}{'-' * (cells - full)}]"


class Progress(Closing):
    """Draws on a stream that is a terminal; with None it draws nothing.  Use it in `with`."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._drawn = False
        self._last = 0.0

    def show(self, text: str, *, now: bool = False) -> None:
        """Draw the line anew, cut to the terminal; at most ten times a second unless `now`."""
        if self._stream is None or (time.monotonic() - self._last < REDRAW and not now):
            return
        self._last = time.monotonic()
        self._drawn = True
        try:
            columns = max(os.get_terminal_size(self._stream.fileno()).columns, 20)
        except (OSError, ValueError):
            columns = 80
        self._write(f"\r\x1b[K{shorten(text, columns - 1)}")

    def close(self) -> None:
        """Take the line away."""
        if self._drawn:
            self._drawn = False
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        assert self._stream is not None
        with contextlib.suppress(OSError):
            self._stream.write(text)
            self._stream.flush()
