"""`nimactl export --all` and `nimactl import` of what it wrote: nimad writes and reads the file.

The file is opened here, as the user who asks, and its descriptor handed over.  Nothing is stored
twice, so an import that stopped is begun again with the same command.
"""

from __future__ import annotations

import argparse
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from nimad.ctl.client import Client
from nimad.ctl.output_file import near_file, open_output
from nimad.ctl.screen import Progress, Screen, bar
from nimad.ctl.terminal_text import one_line, safe_json
from nimad.ctl.watched import watched
from nimad.disk.handed_over import distant_file_system
from nimad.errors import UsageError
from nimad.human import count, share, size
from nimad.legacy.scratch import scratch_directory

BEGIN = b'{"kind":"export"'
"""How a whole export begins."""


def export_all(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """Write everything to standard output, or to --output."""
    if args.namespace or args.agent or args.origin:
        raise UsageError(detail="--all writes everything, so no filter goes with it.")
    if args.output is None or args.output == "-":
        with tempfile.TemporaryFile(dir=scratch_directory()) as file:
            _write(file, client, screen)
            file.seek(0)
            for line in file:
                screen.raw(f"{safe_json(line.decode().rstrip())}\n".encode())
        return 0
    with open_output(Path(args.output)) as target, near_file(target) as near:
        exported = _write(near, client, screen)
    told = f"exported {_listed(exported)} to {args.output}"
    return screen.answer({"exported": exported, "file": args.output}, one_line(told))


def _write(file: BinaryIO, client: Client, screen: Screen) -> dict[str, int]:
    fd = file.fileno()

    def written() -> str:
        return f"exporting  {size(os.fstat(fd).st_size)} written"

    with Progress(screen.progress) as progress, watched(progress, written):
        exported: dict[str, int] = client.call("export.all", fd=fd)["exported"]
    return exported


def is_whole_export(name: str) -> bool:
    """Whether a file, or what stands on standard input, begins as one."""
    if name == "-":
        peek = getattr(getattr(sys.stdin, "buffer", None), "peek", None)
        return peek is not None and peek(len(BEGIN)).startswith(BEGIN)
    try:
        with Path(name).open("rb") as file:
            return stat.S_ISREG(os.fstat(file.fileno()).st_mode) and file.read(len(BEGIN)) == BEGIN
    except (OSError, ValueError):
        return False


def import_all(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """Let nimad take the file in."""
    for option in ("name", "agent", "mask", "dry_run", "verify", "namespace"):
        if getattr(args, option, None):
            detail = f"--{option.replace('_', '-')} does not go with what `export --all` wrote."
            raise UsageError(detail=detail)
    with _handed_over(args.file) as file, Progress(screen.progress) as progress:
        fd, whole = file.fileno(), os.fstat(file.fileno()).st_size

        def read() -> str:  # the descriptor's place is shared with nimad
            done = os.lseek(fd, 0, os.SEEK_CUR)
            return f"importing  {bar(done / whole)}  {share(done, whole)}"

        with watched(progress, read):
            result = client.call("import.all", fd=fd)
    told = f"imported {_listed(result['imported']) or 'nothing new'}"
    if known := _listed(result["known"]):
        told += f"; here already: {known}"
    return screen.answer(result, one_line(told))


@contextmanager
def _handed_over(name: str) -> Iterator[BinaryIO]:
    """The file, or a nameless local copy of what comes through a pipe or from another machine."""
    with sys.stdin.buffer if name == "-" else Path(name).open("rb") as file:
        if name != "-" and not distant_file_system(file.fileno()):
            yield file
            return
        with tempfile.TemporaryFile(dir=scratch_directory()) as near:
            shutil.copyfileobj(file, near)
            near.flush()
            yield near


def _listed(counts: dict[str, Any]) -> str:
    """`492 memories, 156 turns`."""
    return ", ".join(count(number, kind) for kind, number in counts.items() if number)
