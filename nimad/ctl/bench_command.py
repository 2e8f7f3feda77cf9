"""The command bench: what nimad costs on this board, in a minute, as a table to paste.

A nimad of its own is measured, on made-up memories in a private directory, which goes afterwards:
neither the user's memories nor the system's daemon are touched.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from nimad.ctl.arguments import Commands, add_command, number
from nimad.ctl.client import Client
from nimad.ctl.screen import Progress, Screen
from nimad.errors import UsageError
from nimad.human import size
from nimad.signals import heed


def register(commands: Commands) -> None:
    """Add the command of this file."""
    bench = add_command(
        commands,
        "bench",
        run_bench,
        "measure what nimad costs on this board, in a minute, as a table to paste",
        "A nimad of its own is measured, with made-up memories in a private directory that is"
        " removed afterwards; yours are not touched. Nothing in the table names this machine, its"
        " users or its network.",
    )
    bench.add_argument(
        "--in",
        dest="place",
        metavar="DIRECTORY",
        default="/var/tmp",
        help="a directory on the card or disk that is to be measured; default /var/tmp",
    )
    bench.add_argument(
        "--memories",
        metavar="N",
        type=number(100, 100_000),
        default=10_000,
        help="made-up memories to ask, fewer where 20 seconds do not do for them; default 10000",
    )


def run_bench(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl bench`."""
    import shutil
    import signal
    import tempfile

    from nimad.ctl import bench  # what it needs takes long to load, and --help loads this file

    try:
        place = Path(tempfile.mkdtemp(prefix="nimad-bench-", dir=args.place))
    except OSError as error:
        raise UsageError(detail=f"{args.place} cannot be used ({error.strerror}).") from None
    heed()
    for ends in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ends, signal.default_int_handler)  # the directory goes then, too
    try:
        with Progress(screen.progress) as progress:
            found = {**bench.board(place), **bench.measure(place, args.memories, progress)}
    finally:
        shutil.rmtree(place, ignore_errors=True)
    rows = [f"| {name} | {value} |" for name, value in table(found)]
    return screen.answer(found, rows[0], "|---|---|", *rows[1:])


def table(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows of the table: what, and how much."""

    def pair(name: str) -> str:
        return f"{found[f'{name}_p50_ms']:.1f} / {found[f'{name}_p95_ms']:.1f} ms"

    written = found.get("remember_written_bytes")
    memory = found["pss_bytes_empty"], found["pss_bytes"]
    return [
        (f"nimad {found['nimad']}", f"{found['board'] or os.uname().machine}"),
        ("processors, memory", f"{found['processors']}, {size(found['memory_bytes'])}"),
        ("card or disk", found["card"] or "not known"),
        ("system", f"{found['system']}, Linux {found['kernel']}, Python {found['python']}"),
        ("page size, load at first", f"{found['page_bytes'] // 1024} KiB, {found['load']}"),
        ("`remember`, p50 / p95", pair("remember")),
        ("written for one", "not counted here" if written is None else size(written)),
        ("`remember`, 8 clients", f"{found['remember_per_second_8_clients']} a second"),
        ("import", f"{found['import_per_second']} a second"),
        (f"`query` of {found['memories']:,} memories, p50 / p95", pair("query")),
        ("`nimactl query` as a process", f"{found['nimactl_query_ms']:.0f} ms"),
        ("start until it answers", f"{found['start_ms'] / 1000:.2f} s"),
        ("memory (PSS), empty / at the end", " / ".join(map(size, memory))),
    ]
