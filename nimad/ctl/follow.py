"""`nimactl migrate PATH --follow`: keeps handing over what a store that is still written to gets.

It looks at the size and time of the file and its write-ahead log, and reads the store only when one
of them has changed.  The difference alone goes to nimad, in memory: nothing is written to disk
here.  A daemon that is being restarted is waited for; what it did not confirm is sent again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from nimad.ctl.client import Client
from nimad.ctl.handover import hand_over, stores_at
from nimad.ctl.human import count
from nimad.ctl.screen import Screen
from nimad.ctl.terminal_text import one_line
from nimad.errors import DaemonAbsent, NimadError, NoAnswer, RemoteError, SourceChanged, UsageError
from nimad.legacy.detect import GRAPH, Detected
from nimad.legacy.source_changes import Difference, Seen, Signature, look, seen_in, signature

EVERY = 30.0
"""Pause between two looks at the store without --every [seconds]."""
AGAIN = 2.0
"""Longest pause after a look that failed [seconds]."""
PASSING = ("busy", "source_changed", "disk_full")
"""Codes of refusals after which the same request is sent again later."""

MOVED = ("source_missing", "source_unreadable", "source_corrupt")
"""Codes of failures that a store shows while it is being replaced."""


def follow(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """Take the store over, then follow it until Ctrl-C or SIGTERM, which end it with 0."""
    (store,) = stores_at(args, client).stores
    if store.kind != GRAPH:
        raise UsageError(detail=f"--follow is for a graph.sqlite; {store.path} is none")

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt  # SIGTERM, which a service manager sends, ends it as Ctrl-C does

    before = signal.signal(signal.SIGTERM, end)
    try:
        _Tracker(args, client, screen, store).run()
    except KeyboardInterrupt:
        screen.note(f"no longer following {one_line(str(store.path))}")
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


class _Tracker:
    """One store on its way: what nimad has confirmed of it, and what it looked like then."""

    def __init__(
        self, args: argparse.Namespace, client: Client, screen: Screen, store: Detected
    ) -> None:
        self._args, self._client, self._screen, self._store = args, client, screen, store
        self._every: float = args.every or EVERY
        self._name = ""
        self._seen: dict[str, Seen] = {}
        self._looked: Signature | None = None
        self._trouble = ""

    def run(self) -> None:
        """Follow until a signal ends it.  Raises errors that no later attempt can mend."""
        self._whole()
        while True:
            time.sleep(min(self._every, AGAIN) if self._trouble else self._every)
            if self._trouble or signature(self._store.path) != self._looked:
                self._look()

    def _look(self) -> None:
        """Hand over what has changed; a failure that may pass is told once, and tried again."""
        try:
            before = signature(self._store.path)
            found = look(self._store.path, self._seen)
            if found and not (found.readable and self._deliver(found)):
                self._whole()
            else:
                self._seen, self._looked = found.seen, before
        except NimadError as error:
            lost = isinstance(error, (DaemonAbsent, NoAnswer, SourceChanged))
            if not lost and error.code not in (
                PASSING if isinstance(error, RemoteError) else MOVED
            ):
                raise
            if error.message != self._trouble:
                self._screen.note(error.message)
            self._trouble = error.message
            return
        if self._trouble:
            self._trouble = ""
            self._screen.note("it goes on")

    def _whole(self) -> None:
        """Hand over a snapshot, and remember its rows."""
        before = signature(self._store.path)
        seen: dict[str, Seen] = {}

        def remember(copy: Path) -> None:
            seen.update(seen_in(copy, None).seen)

        result = hand_over(self._args, self._client, self._screen, self._store, remember)
        self._name, self._seen, self._looked = result["name"], seen, before
        self._args.name = None  # it has its name now
        self._tell(result, count(result["total"], "memory"))

    def _deliver(self, found: Difference) -> bool:
        """Hand over a difference; False when nimad wants the whole."""
        data = found.delivery()
        fd = os.memfd_create("nimactl-follow", os.MFD_CLOEXEC)
        try:
            with open(fd, "wb", closefd=False) as file:
                file.write(data)
            result = self._client.call(
                "migrate.append",
                fd=fd,
                name=self._name,
                sha256=hashlib.sha256(data).hexdigest(),
                size=len(data),
            )
        finally:
            os.close(fd)
        if result["taken"]:
            told = [count(found.rows, "row")] if found.rows else []
            told += [f"{count(found.gone, 'memory')} gone"] if found.gone else []
            self._tell(result, ", ".join(told))
        return bool(result["taken"]) and not result["whole"]

    def _tell(self, result: dict[str, Any], what: str) -> None:
        if self._screen.json:
            self._screen.result(result)
        else:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S")
            self._screen.line(f"[{stamp}] [INFO] {one_line(self._name)}: {what}")
        self._screen.flush()
