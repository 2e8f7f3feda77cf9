"""`nimactl migrate PATH`: recognise the store, copy it, hand the copy to nimad, report.

The copy is made here, as the user who owns the store, and travels as an open descriptor; nimad
never opens the store itself.  What a crash leaves is told in nimad/legacy/snapshot.py.

With --follow it goes on handing over what a store gets that is still written to.  It looks at the
size and time of the file and its write-ahead log, and reads the store only when one of them has
changed.  The difference alone goes to nimad, in memory: nothing is written to disk here.  A daemon
that is being restarted is waited for; what it did not confirm is sent again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nimad.ctl.arguments import with_hint
from nimad.ctl.client import Client
from nimad.ctl.migration_text import attached, forecast, show_notes
from nimad.ctl.screen import Progress, Screen, bar
from nimad.ctl.terminal_text import one_line
from nimad.ctl.wait import wait
from nimad.errors import (
    DaemonAbsent,
    Interrupted,
    NimadError,
    NoAnswer,
    RemoteError,
    SourceChanged,
    SourceNotRecognised,
    UsageError,
)
from nimad.human import count, size
from nimad.legacy.bundle import take_bundle
from nimad.legacy.detect import GRAPH, Detected
from nimad.legacy.scratch import private_directory, scratch_directory
from nimad.legacy.snapshot import Snapshot, take_snapshot
from nimad.legacy.source_changes import Difference, Seen, Signature, look, seen_in, signature
from nimad.legacy.stores import Found, find
from nimad.signals import heed
from nimad.times import name_to_hand_over

EVERY = 30.0
"""Pause between two looks at the store without --every [seconds]."""
AGAIN = 2.0
"""Longest pause after a look that failed [seconds]."""
PASSING = ("busy", "source_changed", "disk_full")
"""Codes of refusals after which the same request is sent again later."""

MOVED = ("source_missing", "source_unreadable", "source_corrupt")
"""Codes of failures that a store shows while it is being replaced."""
TICK = 0.25
"""Pause between two looks at how far the copy is [seconds]."""


def stores_at(args: argparse.Namespace, client: Client) -> Found:
    """The stores that `args.path` names, when the options fit them and nimad answers.

    Raises why not when there is none, and options are for one.
    """
    found = find(Path(args.path))
    for option in ("name", "start_offset", "follow"):
        if getattr(args, option) not in (None, False) and len(found.stores) != 1:
            if not found.stores and found.refused:
                raise found.refused[0][1]
            shown = option.replace("_", "-")
            holds = f"{args.path} holds {len(found.stores)}"
            raise UsageError(detail=f"--{shown} is for one store, and {holds}.")
    client.call("ping")  # before gigabytes are copied in vain
    return found


def take_over(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """Take over the store at `args.path`, or all stores below it; --wait follows them to their end.

    Of several, those that can be taken over are; the exit code is that of the first that cannot,
    and never 0 when none can.
    """
    found = stores_at(args, client)
    refused = list(found.refused)
    taken: list[dict[str, Any]] = []
    for store in found.stores:
        try:
            taken.append(hand_over(args, client, screen, store))
        except NimadError as error:
            of_source = error.code.startswith("source_")  # the next store may be fit
            if not of_source or (len(found.stores) == 1 and not refused):
                raise
            refused.append((store.path, error))
    left_out = [
        {"path": str(path), "code": error.code, "reason": error.message} for path, error in refused
    ]
    code = 0
    if args.wait and not args.dry_run and taken:
        if not screen.json:
            for result in taken:
                show_notes(screen, result["report"])
        code = wait(client, screen, list(dict.fromkeys(each["name"] for each in taken)), left_out)
    else:
        _report(args, screen, taken, left_out)
    if not screen.json:
        for told in left_out:
            screen.aside(f"left out: {told['reason']}")
    # what is damaged or dangerous is a fault; a file that is none of NIMA's is not, beside a store
    strange = SourceNotRecognised.code if taken else ""
    faults = (error.exit for _, error in refused if error.code != strange)
    return code or next(faults, 0)


def hand_over(
    args: argparse.Namespace,
    client: Client,
    screen: Screen,
    store: Detected,
    look: Callable[[Path], None] = lambda copy: None,
) -> dict[str, Any]:
    """Copy one store and hand the copy to nimad; its answer.  `look` may read the copy of a
    graph.sqlite."""
    with _copied(store, screen, look) as snapshot, Progress(screen.progress) as progress:
        progress.show("nimad takes the copy and looks through it")
        try:
            return client.call(
                "migrate.attach",
                fd=snapshot.fd,
                **snapshot.request(
                    strategy=args.strategy,
                    batch_size=args.batch_size,
                    start_offset=args.start_offset or 0,
                    name=args.name,
                    dry_run=args.dry_run,
                    time_zone=name_to_hand_over(),
                ).params(),
            )
        except KeyboardInterrupt:
            hint = "nimad may take the copy over all the same: `nimactl migrate --status` tells."
            raise with_hint(Interrupted(), hint) from None


def _report(
    args: argparse.Namespace,
    screen: Screen,
    taken: list[dict[str, Any]],
    left_out: list[dict[str, Any]],
) -> None:
    """One store as itself; several, or a directory, as a list with what was left out."""
    if screen.json:
        alone = taken[0] if len(taken) == 1 and not left_out else {}
        listed = {} if alone and not Path(args.path).is_dir() else {"sources": taken}
        screen.result({**alone, **listed, **({"refused": left_out} if listed else {})})
        return

    for place, result in enumerate(taken):
        if place:
            screen.line("")
        if args.dry_run:
            forecast(screen, result)
        else:
            attached(screen, result, last=place == len(taken) - 1)


@contextmanager
def _copied(store: Detected, screen: Screen, look: Callable[[Path], None]) -> Iterator[Snapshot]:
    """A snapshot of the store, drawing how far the copy is when that takes long."""
    with private_directory(scratch_directory()) as mine:
        done = threading.Event()
        with Progress(screen.progress) as progress:

            def watch() -> None:
                expected = store.size_bytes
                while not done.wait(TICK):
                    copied = 0
                    for path in mine.rglob("*"):
                        with suppress(OSError):  # it was removed meanwhile
                            copied += path.stat().st_size
                    copied = min(copied, expected)
                    drawn = bar(copied / expected if expected else 1.0)
                    told = f"{drawn}  {size(copied)} of {size(expected)}"
                    progress.show(f"copying {store.path.name}  {told}")

            watcher = threading.Thread(target=watch, daemon=True)
            watcher.start()
            try:
                if store.kind == GRAPH:
                    snapshot = take_snapshot(store.path, mine, look)
                else:
                    snapshot = take_bundle(store.members, store.path, mine)
            finally:
                done.set()
                watcher.join()
    with snapshot:
        yield snapshot


# --- following ----------------------------------------------------------------------------------


def follow(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """Take the store over, then follow it until Ctrl-C or SIGTERM, which end it with 0."""
    (store,) = stores_at(args, client).stores
    if store.kind != GRAPH:
        raise UsageError(detail=f"--follow is for a graph.sqlite; {store.path} is none")

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt  # SIGTERM, which a service manager sends, ends it as Ctrl-C does

    heed()
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
