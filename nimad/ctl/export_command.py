"""`nimactl export`: every memory as JSON Lines, one page after the other."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nimad.ctl.arguments import Commands, add_command, add_filters
from nimad.ctl.client import Client
from nimad.ctl.screen import Progress, Screen, json_bytes
from nimad.ctl.terminal_text import one_line, safe_json
from nimad.errors import RemoteError, ReplyTooLarge
from nimad.human import count


def register(commands: Commands) -> None:
    """Add the command of this file."""
    parser = add_command(
        commands,
        "export",
        run_export,
        "write every memory as JSON Lines",
        "One memory a line, by id, with everything that is known about it; `nimactl import` reads"
        " it back without loss. Relations, turns and what else there is come with --all.",
    )
    add_filters(parser)
    parser.add_argument(
        "--all",
        action="store_true",
        help="also write turns, relations, goals, suggestions and the sources of memories, a line"
        " each, as everything was at one moment; the first line says what the file is",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="write there, readable by you alone; FILE is replaced when all of it is written",
    )


def run_export(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl export`."""
    if args.all:
        from nimad.ctl.exchange import export_all

        return export_all(args, client, screen)
    found = pages(client, namespace=args.namespace, agent=args.agent, origin=args.origin)
    if args.output is None or args.output == "-":
        for _, lines in found:
            screen.raw(lines)
        return 0

    from nimad.ctl.output_file import open_output

    written = 0
    with Progress(screen.progress) as progress, open_output(Path(args.output)) as file:
        for memories, lines in found:
            file.write(lines)
            written += memories
            progress.show(f"exported {count(written, 'memory')}")
    told = one_line(f"exported {count(written, 'memory')} to {args.output}")
    return screen.answer({"exported": written, "file": args.output}, told)


def pages(client: Client, **bounds: Any) -> Iterator[tuple[int, bytes]]:
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
