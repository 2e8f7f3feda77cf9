"""`nimactl export`: every memory as JSON Lines, one page after the other.

Crash prose of --output: nimad.disk.durable writes FILE.tmp, makes it durable and renames it.  A
crash leaves the old FILE, or none, and a FILE.tmp that the next export replaces.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from nimad.ctl.arguments import Commands, add_command, add_filters
from nimad.ctl.client import Client
from nimad.ctl.screen import Progress, Screen, json_bytes
from nimad.ctl.terminal_text import one_line, safe_json
from nimad.errors import OutputUnusable, RemoteError, ReplyTooLarge
from nimad.human import count


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
    add_filters(parser)
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="write there, readable by you alone; FILE is replaced when all of it is written",
    )


def run_export(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl export`."""
    pages = _pages(client, namespace=args.namespace, agent=args.agent, origin=args.origin)
    if args.output is None or args.output == "-":
        for _, lines in pages:
            screen.raw(lines)
        return 0

    written = 0
    with Progress(screen.progress) as progress, _target(Path(args.output)) as file:
        for memories, lines in pages:
            file.write(lines)
            written += memories
            progress.show(f"exported {count(written, 'memory')}")
    told = one_line(f"exported {count(written, 'memory')} to {args.output}")
    return screen.answer({"exported": written, "file": args.output}, told)


def _pages(client: Client, **bounds: Any) -> Iterator[tuple[int, bytes]]:
    """The pages: number of memories, and their lines."""

    after: int | None = None
    while True:
        try:
            result = client.call("export", after=after, **bounds)
            page = result["memories"]
            yield len(page), b"".join(json_bytes(memory) for memory in page)
        except RemoteError as error:
            if error.code != ReplyTooLarge.code:
                raise
            line, result = client.call_in_pieces("export", after=after, **bounds)
            if line is not None:
                yield 1, f"{safe_json(line)}\n".encode()
        after = result["next"]
        if after is None:
            return


def _follow_own_links(path: Path) -> Path:
    """What a name stands for, by way of links of the user's own or of root.

    A link that another user planted, in /tmp say, would choose which file is replaced.  Raises
    OSError at such a link, and when links form a circle.
    """
    for _ in range(40):  # as many as the kernel follows
        if not path.is_symlink():
            return path
        if path.lstat().st_uid not in (0, os.geteuid()):
            raise OSError(errno.EPERM, "it is a link of another user")
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


@contextlib.contextmanager
def _target(path: Path) -> Iterator[BinaryIO]:
    """The file to write; an ordinary one is replaced when all is written, a device is written to.
    Raises OutputUnusable and DiskFull."""
    from nimad.disk.durable import replacing

    try:
        path = _follow_own_links(path)
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
