"""Where the daemon's log goes and how a line of it looks: for the journal, a file or a person."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import TextIO

from nimad import systemd

PRIORITIES = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
"""The journal's priorities, sd-daemon(3)."""


class SafeFormatter(logging.Formatter):
    """Shows control characters: names from outside must not steer the terminal of a reader."""

    def format(self, record: logging.LogRecord) -> str:
        """One record; ESC becomes `\\x1b`."""
        text = super().format(record)
        return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


class JournalFormatter(SafeFormatter):
    """`<priority>message` on every line: the journal adds time and name itself."""

    def format(self, record: logging.LogRecord) -> str:
        """One record, each of its lines with the priority."""
        mark = f"<{PRIORITIES.get(record.levelname, 6)}>"
        return "\n".join(mark + line for line in super().format(record).splitlines())


class PersonFormatter(SafeFormatter):
    """`12:34:56 message`, with the level where it matters."""

    def format(self, record: logging.LogRecord) -> str:
        """One record; warnings and worse say so."""
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        return f"{self.formatTime(record, '%H:%M:%S')} {level}{super().format(record)}"


def set_up(foreground: bool, stream: TextIO = sys.stderr) -> None:
    """Log to `stream`: with priorities when it is the journal, else readable or with the date."""
    handler = logging.StreamHandler(stream)
    # unchecked: to check a form compiles a regular expression
    if systemd.in_journal(stream):
        handler.setFormatter(JournalFormatter("%(message)s", validate=False))
    elif foreground:
        handler.setFormatter(PersonFormatter("%(message)s", validate=False))
    else:
        form = "%(asctime)s %(levelname)s %(message)s"
        handler.setFormatter(SafeFormatter(form, "%Y-%m-%d %H:%M:%S", validate=False))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.raiseExceptions = False  # a full disk or a closed terminal must not add noise to it


def set_level(name: str) -> None:
    """Log this level ("debug", "info", "warning", "error") and above from now on."""
    logging.getLogger().setLevel(name.upper())


def terminal_watch(fd: int = 2) -> Callable[[], bool]:
    """A function that tells whether the terminal the process started on has gone away since."""
    started_on_one = os.isatty(fd)
    return lambda: started_on_one and not os.isatty(fd)
