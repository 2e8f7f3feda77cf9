"""`nimactl migrate PATH`: recognise the store, copy it, hand the copy to nimad, report.

The copy is made here, as the user who owns the store, and travels as an open descriptor; nimad
never opens the store itself.  What a crash leaves is told in nimad/legacy/snapshot.py.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nimad.ctl.arguments import with_hint
from nimad.ctl.human import size
from nimad.ctl.progress import Progress, bar
from nimad.errors import Interrupted
from nimad.legacy.detect import detect
from nimad.legacy.scratch import private_directory, scratch_directory
from nimad.legacy.snapshot import Snapshot, take_snapshot

if TYPE_CHECKING:
    from nimad.ctl.client import Client
    from nimad.ctl.screen import Screen

TICK = 0.25
"""Between two looks at how far the copy is [seconds]."""


def attach(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """Take over the store at `args.path`; with --wait, follow it to its end."""
    found = detect(Path(args.path))
    client.call("ping")  # before gigabytes are copied for nobody
    with (
        _copied(found.path, found.size_bytes, screen) as snapshot,
        Progress(screen.progress) as progress,
        _interruptible(),
    ):
        progress.show("nimad takes the copy and looks through it")
        result = client.call(
            "migrate.attach",
            fd=snapshot.fd,
            path=snapshot.origin,
            kind=snapshot.kind,
            sha256=snapshot.digest,
            size=snapshot.size_bytes,
            strategy=args.strategy,
            batch_size=args.batch_size,
            start_offset=args.start_offset,
            name=args.name,
            dry_run=args.dry_run or None,
        )
    if args.wait and not args.dry_run:
        from nimad.ctl.follow import wait

        return wait(client, screen, result)
    _report(screen, result, dry_run=args.dry_run)
    return 0


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C while nimad takes the copy: it may go on with what it was handed."""
    try:
        yield
    except KeyboardInterrupt:
        hint = "nimad may take the copy over all the same: `nimactl migrate --status` tells."
        raise with_hint(Interrupted(), hint) from None


def _report(screen: Screen, result: dict[str, Any], *, dry_run: bool) -> None:
    if screen.json:
        screen.result(result)
        return
    from nimad.ctl.sources import attached, forecast

    if dry_run:
        forecast(screen, result)
    else:
        attached(screen, result)


@contextmanager
def _copied(path: Path, expected: int, screen: Screen) -> Iterator[Snapshot]:
    """A snapshot of the store, drawing how far the copy is when that takes long."""
    with private_directory(scratch_directory()) as mine:
        done = threading.Event()
        with Progress(screen.progress) as progress:
            args = (mine, path.name, expected, progress, done)
            watcher = threading.Thread(target=_watch_copy, args=args, daemon=True)
            watcher.start()
            try:
                snapshot = take_snapshot(path, mine)
            finally:
                done.set()
                watcher.join()
    with snapshot:
        yield snapshot


def _watch_copy(
    directory: Path, name: str, expected: int, progress: Progress, done: threading.Event
) -> None:
    while not done.wait(TICK):
        copied = min(_bytes_below(directory), expected)
        fraction = copied / expected if expected else 1.0
        progress.show(f"copying {name}  {bar(fraction)}  {size(copied)} of {size(expected)}")


def _bytes_below(directory: Path) -> int:
    found = 0
    for path in directory.rglob("*"):
        try:
            found += path.stat().st_size
        except OSError:  # it was removed meanwhile
            continue
    return found
