"""`nimactl migrate --restore`: the copy of a source that nimad keeps, written to a new file."""

from __future__ import annotations

import argparse
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nimad.ctl.human import size
from nimad.ctl.terminal_text import one_line
from nimad.errors import OutputUnusable, UsageError

if TYPE_CHECKING:
    from nimad.ctl.client import Client
    from nimad.ctl.screen import Screen

GRAPH = "nima-sqlite"


def restore(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """Write the copy of a source that nimad keeps to a new file, or its files to a directory."""
    if args.to is None:
        raise UsageError(detail="--restore needs --to FILE, a path where nothing is yet.")
    target = Path(args.to)
    part = target.with_name(f"{target.name}.part")
    try:
        if os.path.lexists(target):
            raise FileExistsError(17, "it exists; nothing is overwritten")
        fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OutputUnusable(path=target, detail=error.strerror) from error
    try:
        try:
            result = client.call("migrate.restore", fd=fd, name=args.restore)
        finally:
            os.close(fd)
        _finish(part, target, result)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if screen.json:
        screen.result({**result, "to": str(target.absolute())})
    else:
        screen.said(
            f"{one_line(result['name'])} as it was at {one_line(result['path'])} is in"
            f" {one_line(str(target))} ({size(result['bytes'])}, digest compared)"
        )
    return 0


def _finish(part: Path, target: Path, result: dict[str, Any]) -> None:
    """Give a database its name; unpack the archive of a store that was several files."""
    try:
        if result["kind"] == GRAPH:
            part.rename(target)
            return
        target.mkdir(mode=0o700)
        with tarfile.open(part) as archive:
            for member in archive:
                _unpack(archive, member, target)
        part.unlink()
    except (OSError, tarfile.TarError) as error:
        raise OutputUnusable(path=target, detail=str(error)) from error


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """One ordinary file, within the target; whatever else an archive may hold is refused."""
    inside = Path(member.name)
    if not member.isfile() or inside.is_absolute() or ".." in inside.parts:
        raise OSError(f"the archive has an entry that is no file of ours: {member.name[:80]!r}")
    path = target / inside
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = archive.extractfile(member)
    assert source is not None  # an ordinary file has content
    with source, path.open("xb") as file:
        while chunk := source.read(1 << 20):
            file.write(chunk)
