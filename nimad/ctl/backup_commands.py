"""`nimactl backup` and `restore`: a store as one file, and back.

The daemon writes a backup into a file that is opened here, as the user who asks; it gets its name
when it is whole and on the disk (nimad/ctl/output_file.py).  A backup is checked here, and needs
no daemon for that; a restore is a process of its own, with the rights of the directory's owner.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import nimad
from nimad import config
from nimad.ctl.arguments import Commands, add_command, number, with_hint
from nimad.ctl.client import Client
from nimad.ctl.output_file import near_file, open_output
from nimad.ctl.screen import Progress, Screen, bar
from nimad.ctl.terminal_text import one_line
from nimad.ctl.watched import watched
from nimad.disk.backup_file import BackupReader
from nimad.disk.durable import TEMPORARY, fsync_dir, make_directory, own_files
from nimad.errors import (
    DiskFailed,
    DiskFull,
    DiskReadOnly,
    InputUnusable,
    NimadError,
    OutputUnusable,
    RemoteError,
    UsageError,
)
from nimad.human import count, date, share, size, took
from nimad.legacy.scratch import private_directory, scratch_directory

OWN_NAME = r"nimad-\d{8}T\d{6}Z\.tar\.gz"
"""The form of the names of backups in a directory."""
STALE_SECONDS = 3600.0
"""Age at which what a killed backup left in the directory is removed [seconds]."""
DAMAGED_SHOWN = 20
"""Number of damaged rows that are told of a backup; --json has all."""
UNWELL = 1
"""Exit code where a restored store has problems."""
SERVICE_HINT = (
    "Stop nimad first: sudo systemctl stop nimad.socket nimad.service; or restore beside it:"
    " --into DIR."
)
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from nimad.backup.restoring import main; sys.exit(main(sys.argv[2]))"
)


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    backup = add_command(
        commands,
        "backup",
        run_backup,
        "write everything that is stored into one file, while nimad goes on",
        "It holds the memories as they were at one moment, readable by you alone. `nimactl"
        " restore` makes a store of it; docs/backup.md tells what is in it.",
    )
    backup.add_argument(
        "target",
        metavar="FILE|DIR",
        nargs="?",
        help="the file to write (replaced when the new one is whole; - is standard output), or a"
        " directory: then the name tells the time; a directory that ends with / is made",
    )
    backup.add_argument(
        "--keep",
        metavar="N",
        type=number(1, 10_000),
        help="of the backups in the directory keep the newest N; older ones are deleted when the"
        " new one is there",
    )
    backup.add_argument(
        "--verify",
        action="store_true",
        help="write nothing: read the backup FILE and compare every byte with its checksums",
    )
    backup.add_argument(
        "--drill",
        action="store_true",
        help="restore the backup FILE, or one that is made for it, beside in $TMPDIR, compare every"
        " memory and some answers with those of nimad, and tell how long it takes; nothing of it"
        " stays",
    )
    restore = add_command(
        commands,
        "restore",
        run_restore,
        "make a store of a backup",
        "Into a state directory without memories, with nimad stopped. Indexes are made anew, and"
        " everything is looked at as `nimactl doctor` does. Killed halfway it leaves no memory"
        " there, or all of them.",
    )
    restore.add_argument("file", metavar="FILE", help="the backup; - reads standard input")
    restore.add_argument(
        "--into",
        metavar="DIR",
        help="the state directory; default: that of the system's nimad for root, else the user's"
        " own",
    )
    restore.add_argument(
        "--config", metavar="FILE", help="read this nimad.yaml; default: /etc/nimad/nimad.yaml"
    )


# --- backup ---------------------------------------------------------------------------------------


def run_backup(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl backup`."""
    if args.drill and not (args.verify or args.keep):
        return _drill(args.target, client, screen)
    if args.target is None or args.drill:
        raise UsageError(detail="backup needs FILE, or a directory; --drill goes alone.")
    if args.verify:
        return _verify(args.target, screen)
    client.call("ping")
    if args.target == "-":
        result = take_backup(sys.stdout.buffer, Path("/dev/stdout"), client, screen)
        screen.note(f"backed up {count(result['memories'], 'memory')}")
        return 0
    given = Path(args.target)
    if args.target.endswith("/"):
        with _unusable(given):
            make_directory(given)
    directory = given.absolute() if given.is_dir() else None
    if args.keep and directory is None:
        raise UsageError(detail=f"--keep needs a directory, and {given} is none.")
    stamp = datetime.now(UTC).strftime("nimad-%Y%m%dT%H%M%SZ.tar.gz")
    path = directory / stamp if directory else given.absolute()
    with open_output(path) as file:
        result = take_backup(file, path, client, screen)
    told = [
        f"backed up {count(result['memories'], 'memory')} to {path}: {size(result['bytes'])} in"
        f" {took(result['seconds'] * 1000)}"
    ]
    told += [f"left out, because it is gone: {name}" for name in result["missing"]]
    if not result["noted"]:
        told.append(
            "the disk of the memories takes no writes: a later purge will not name this backup"
        )
    told += [f"it holds what is damaged: {each}" for each in result["damaged"][:DAMAGED_SHOWN]]
    result["deleted"], spared = [], dict[str, str]()
    if directory:
        result["deleted"], spared = _rotate(directory, path, args.keep, result["damaged"], client)
    told += [f"deleted {gone}" for gone in result["deleted"]]
    told += [
        f"kept {kept}, the last one in which this is sound: {it}" for kept, it in spared.items()
    ]
    result["spared"] = list(spared)
    return screen.answer(result, *map(one_line, told))


def take_backup(file: BinaryIO, path: Path, client: Client, screen: Screen) -> dict[str, Any]:
    """Let nimad write a backup into a file that will be at `path`; what is in it."""
    began = time.monotonic()
    with Progress(screen.progress) as progress, near_file(file) as near:
        fd = near.fileno()

        def written() -> str:
            return f"backing up  {size(os.fstat(fd).st_size)} written"

        with watched(progress, written):
            result = client.call("backup", fd=fd, path=str(path))
    return {**result, "file": str(path), "seconds": round(time.monotonic() - began, 3)}


def _rotate(
    directory: Path, newest: Path, keep: int | None, damaged: Sequence[str], client: Client
) -> tuple[list[str], dict[str, str]]:
    """Delete all but the newest backups of a directory, and what killed ones left: the backups that
    are gone; and those that are spared, with what of the `damaged` is sound only there.

    The new one stays, whatever the clock says.  A crash leaves some too many, for the next time.
    """
    gone: list[str] = []
    with _unusable(directory):
        for left in own_files(directory, f"({OWN_NAME}){TEMPORARY}"):
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                left.unlink()
        found = [path for path in own_files(directory, OWN_NAME) if path != newest]
        old = found[: max(len(found) + 1 - keep, 0)] if keep else []
        spared = _last_sound(found, damaged) if old and damaged else {}
        for path in old:
            if path not in spared:
                path.unlink()
                gone.append(str(path))
        fsync_dir(directory)
    if gone:
        try:
            client.call("backup.forget", paths=gone)
        except RemoteError as error:  # with a disk that takes no writes a purge names some too many
            if error.code not in (DiskReadOnly.code, DiskFailed.code, DiskFull.code):
                raise
    return gone, {str(path): spared[path] for path in old if path in spared}


def _last_sound(backups: Sequence[Path], damaged: Sequence[str]) -> dict[Path, str]:
    """Of backups, oldest first: in which one of each damaged thing is sound for the last time."""
    manifests: dict[Path, dict[str, Any]] = {}
    for path in reversed(backups):
        with contextlib.suppress(NimadError, OSError), path.open("rb") as file:
            manifests[path] = BackupReader(file, str(path)).manifest
    last: dict[Path, str] = {}
    for name in damaged:
        what = name.partition(":")[0]  # what SQLite reports differs from time to time
        for path, manifest in manifests.items():
            reach = manifest.get("last_memory", 0) if what.startswith("memory ") else None
            if reach is not None and int(what.split()[1]) > reach > 0:
                continue
            if what not in {each.partition(":")[0] for each in manifest.get("damaged", ())}:
                last.setdefault(path, what)
                break
    return last


def _verify(name: str, screen: Screen) -> int:
    """`nimactl backup --verify FILE`: needs no daemon."""
    began = time.monotonic()
    with _opened(name) as file, Progress(screen.progress) as progress:
        reader = BackupReader(file, name)
        done = 0
        for _, _, chunks in reader.files():
            for chunk in chunks:
                done += len(chunk)
                progress.show(_drawn("reading", done, reader.bytes))
    facts = {key: reader.manifest.get(key) for key in ("made", "sequence", "memories", "nimad")}
    damaged = [str(each) for each in reader.manifest.get("damaged", ())]
    result = {"file": name, "whole": True, **facts, "damaged": damaged}
    result["seconds"] = round(time.monotonic() - began, 3)
    told = f"{name} is whole: {count(int(facts['memories'] or 0), 'memory')}"
    told = f"{told} of {date(int(facts['made'] or 0))}"
    more = [f"it holds what was damaged before: {each}" for each in damaged[:DAMAGED_SHOWN]]
    return screen.answer(result, *map(one_line, [told, *more]))


def _drill(name: str | None, client: Client, screen: Screen) -> int:
    """`nimactl backup --drill`: 1 when what is restored is not what is stored."""
    from nimad.ctl import drill

    client.call("ping")
    took_seconds: dict[str, float] = {}
    with private_directory(scratch_directory()) as place, Progress(screen.progress) as progress:
        settings = drill.write_settings(place)
        path = Path(name) if name else place / "backup.tar.gz"
        if name is None:
            with path.open("wb") as made:
                took_seconds["backup"] = take_backup(made, path, client, screen)["seconds"]
            client.call("backup.forget", paths=[str(path)])
        with _opened(str(path)) as file:
            restored = restore_from(file, str(path), place / "state", str(settings), progress)
        took_seconds["restore"] = restored["seconds"]
        with drill.served(place, place / "state", settings) as beside:
            found = drill.compare(client, beside, restored["memories"], progress)
    serious = [each for each in restored["problems"] if each["severity"] != "note"]
    good = found.good and not serious
    result = {"good": good, **found.result(), "problems": serious, "seconds": took_seconds}
    steps = ", ".join(f"{step} {took(each * 1000)}" for step, each in took_seconds.items())
    told = [
        f"{count(found.identical, 'memory')} identical, {len(found.differing):,} differ,"
        f" {len(found.lost):,} lost; {found.newer:,} newer, {found.forgotten_since:,} forgotten"
        " since",
        f"{found.alike} of {count(found.asked, 'question')} answered alike",
        *(f"{each['severity']}: {each['part']}: {each['what']}" for each in serious),
        f"{'the backup is good' if good else 'the backup is NOT what is stored'}: {steps}",
    ]
    screen.answer(result, *map(one_line, told))
    return 0 if good else UNWELL


# --- restore --------------------------------------------------------------------------------------


def run_restore(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl restore`."""
    state = Path(args.into).absolute() if args.into else config.default_state()
    with _opened(args.file) as file, Progress(screen.progress) as progress:
        result = restore_from(file, args.file, state, args.config, progress)
    serious = [each for each in result["problems"] if each["severity"] != "note"]
    told = [
        f"restored {count(result['memories'], 'memory')} of {date(result['made'])} into {state}, in"
        f" {took(result['seconds'] * 1000)}",
        *(f"{each['severity']}: {each['part']}: {each['what']}" for each in result["problems"]),
    ]
    screen.answer(result, *map(one_line, told))
    return UNWELL if serious else 0


def restore_from(
    file: BinaryIO, name: str, state: Path, settings: str | None, progress: Progress
) -> dict[str, Any]:
    """Restore in a process of its own, with the rights of the directory's owner; what became of it.
    Raises what nimad/backup/restoring.py raises, as RemoteError."""
    paths = [str(Path(nimad.__file__).parents[1]), *sys.path]
    asked = {"path": name, "state": str(state), "config": settings}
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _BOOT, json.dumps(paths), json.dumps(asked)],
        stdin=file,
        stdout=subprocess.PIPE,
        **_rights(state),
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            told = json.loads(line)
            if "result" in told:
                return dict(told["result"])
            if "error" in told:
                error = RemoteError.from_wire(told["error"])
                raise with_hint(error, SERVICE_HINT) if error.code == "state_busy" else error
            progress.show(_drawn(told["step"], told["done"], told["of"]), now=not told["of"])
        raise NimadError(detail=f"the process that restores ended ({process.wait()})")
    finally:
        process.kill()
        process.wait()


def _rights(state: Path) -> dict[str, Any]:
    """What makes a process of root's the directory's owner: it reads what may be anybody's.  A
    missing directory of the system's nimad is made first."""
    if os.geteuid() != 0:
        return {}
    import pwd

    with _unusable(state), contextlib.suppress(KeyError):
        if state == config.SYSTEM_STATE and not state.exists():
            user = pwd.getpwnam("nimad")
            make_directory(state)
            os.chown(state, user.pw_uid, user.pw_gid)
    if not state.exists() or (owner := state.stat()).st_uid == 0:
        return {}
    return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}


# --- what both need -------------------------------------------------------------------------------


def _drawn(step: str, done: int, of: int) -> str:
    return f"{step}  {bar(done / of)}  {share(done, of)}" if of else step


def _opened(name: str) -> BinaryIO:
    """A backup to read; InputUnusable says why not."""
    if name == "-":
        return os.fdopen(os.dup(0), "rb")
    try:
        return Path(name).open("rb")
    except (OSError, ValueError) as error:
        detail = getattr(error, "strerror", None) or str(error)
        raise InputUnusable(path=name, detail=detail) from error


@contextlib.contextmanager
def _unusable(path: Path) -> Iterator[None]:
    """What the system refuses about a directory, as OutputUnusable."""
    try:
        yield
    except OSError as error:
        raise OutputUnusable(path=path, detail=error.strerror) from error
