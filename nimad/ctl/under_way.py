"""A line that shows how far the daemon is, while a command waits for one answer."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from nimad.ctl.client import Client
from nimad.ctl.screen import Progress, Screen, bar
from nimad.errors import NimadError
from nimad.human import clock

PATIENCE = 1.0
"""Time from which on a command is shown to be at work [seconds]."""
PAUSE = 0.5
"""Time between two looks [seconds]."""


@contextmanager
def shown_under_way(args: argparse.Namespace, screen: Screen, verb: str) -> Iterator[None]:
    """While the block waits for a verb, draw its time, and how much is done where that is known;
    nothing where standard error is no terminal."""
    if screen.progress is None:
        yield
        return
    done = threading.Event()

    def draw() -> None:
        began = time.monotonic()
        if done.wait(PATIENCE):
            return
        with Progress(screen.progress) as progress, Client(args.socket, 5.0) as client:
            while True:
                fraction: float | None = None
                with suppress(NimadError, OSError):  # it is at work; the command itself tells
                    fraction = client.call("ping").get("under_way", {}).get(verb)
                drawn = "" if fraction is None else f" {bar(fraction)} {100 * fraction:3.0f} %"
                progress.show(f"{verb}{drawn}  {clock(time.monotonic() - began)}", now=True)
                if done.wait(PAUSE):
                    return

    thread = threading.Thread(target=draw, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
