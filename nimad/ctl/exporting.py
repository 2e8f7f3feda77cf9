"""`nimactl export`: every memory as JSON Lines, one page after the other.

Crash prose of --output: nimad.disk.durable writes FILE.tmp, makes it durable and renames it.  A
crash leaves the old FILE, or none, and a FILE.tmp that the next export replaces.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from nimad.ctl.arguments import add_command
from nimad.errors import OutputUnusable

if TYPE_CHECKING:
    from nimad.ctl.arguments import Commands
    from nimad.ctl.client import Client
    from nimad.ctl.screen import Screen


def register(commands: Commands) -> None:
    """Add the command of this file."""
    parser = add_command(
        commands,
        "export",
        run_export,
        "write every memory as JSON Lines",
        "One memory a line, by id, with everything that is known about it; `nimactl import` reads"
        " it back without loss. Relations and turns are not in it.",
    )
    parser.add_argument("--namespace", metavar="NAME", help="only this namespace")
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="write there, readable by you alone; FILE is replaced when all of it is written",
    )


def run_export(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl export`."""
    pages = _pages(client, args.namespace)
    if args.output is None or args.output == "-":
        for page in pages:
            screen.raw(_lines(page))
        return 0
    from nimad.ctl.human import count
    from nimad.ctl.progress import Progress

    written = 0
    with Progress(screen.progress) as progress, _target(Path(args.output)) as file:
        for page in pages:
            file.write(_lines(page))
            written += len(page)
            progress.show(f"exported {count(written, 'memory')}")
    if screen.json:
        screen.result({"exported": written, "file": args.output})
    else:
        screen.said(f"exported {count(written, 'memory')} to {args.output}")
    return 0


def _pages(client: Client, namespace: str | None) -> Iterator[list[dict[str, Any]]]:
    after: int | None = None
    while True:
        result = client.call("export", after=after, namespace=namespace)
        yield result["memories"]
        after = result["next"]
        if after is None:
            return


def _lines(page: list[dict[str, Any]]) -> bytes:
    from nimad.ctl.screen import json_bytes

    return b"".join(json_bytes(memory) for memory in page)


@contextlib.contextmanager
def _target(path: Path) -> Iterator[BinaryIO]:
    """The file to write; an ordinary one is replaced when all is written, a device is written to.

    Raises OutputUnusable and DiskFull.
    """
    from nimad.disk.durable import replacing

    try:
        path = path.resolve()
        if path.exists() and not path.is_file():
            with path.open("wb") as file:  # a pipe, /dev/stdout: nothing there to replace
                yield file
            return
        with replacing(path) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputUnusable(path=path, detail=error.strerror) from error
