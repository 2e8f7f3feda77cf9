"""Makes a state directory of a backup: `nimactl restore` runs it in a process of its own.

The backup is untrusted: its file is read as nimad/disk/backup_file.py tells, names are compared
with those that the records in it have, and the records themselves are looked through before they
get their name (nimad/store/foreign_records.py).

Crash prose: snapshots and hypervectors come first, records.sqlite last: before it has its name (the
points `restore.before_fsync`, `restore.before_rename`) the directory holds no memory, and whoever
comes next, a restore or a nimad, removes what is left over; from then on (`restore.after_rename`)
it is whole, and what can be made of the records is made by the next start.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from nimad import config, heap
from nimad.check import check
from nimad.config import Config
from nimad.core import maintenance
from nimad.core.state_directory import LOCK, PARTS, StateLock, prepare_state, sweep
from nimad.core.store import MemoryStore
from nimad.disk.backup_file import RECORDS, BackupReader
from nimad.disk.durable import TEMPORARY, replacing, write_durable
from nimad.disk.failures import disk_errors
from nimad.errors import (
    BackupDamaged,
    DiskFull,
    InputUnusable,
    NimadError,
    RecordsDamaged,
    StateBusy,
    StateNotEmpty,
    StateTooNew,
)
from nimad.store.database_files import mark_of
from nimad.store.foreign_records import FILES, take_over

MOST_UNPACKED = 200
"""Factor by which a backup may grow when it is unpacked; beyond it is a bomb."""
MARGIN_BYTES = 16 << 20
"""Space left free on the disk [bytes]."""
REPORT_SECONDS = 0.2
"""Time between two reports of how far it is [seconds]."""

Tell = Callable[[str, int, int], None]
"""Is told how far it is: the step, what is done of it, and of how much (0: unknown)."""


def restore(file: BinaryIO, path: str, state: Path, tell: Tell) -> dict[str, Any]:
    """Put a backup into a state directory without memories; its manifest.

    `path` is the backup's name in errors.  Raises BackupDamaged, BackupTooNew, StateTooNew,
    StateNotEmpty, StateBusy, StateUnusable, DiskFull; nothing is restored then, nor left behind.
    """
    with ExitStack() as held, _undone(state):
        prepare_state(state)
        held.callback(StateLock(state).release)
        if any((state / f"{RECORDS}{end}").exists() for end in ("", "-wal")):
            raise StateNotEmpty(state=state)
        sweep(state)
        mark_of(state / RECORDS).unlink(missing_ok=True)
        reader = BackupReader(file, path)
        packed = os.fstat(file.fileno()).st_size  # 0 for a pipe
        if packed and reader.bytes > MOST_UNPACKED * packed + MARGIN_BYTES:
            raise BackupDamaged(path=path, detail=f"it would grow to {reader.bytes >> 20} MiB")
        free, needed = shutil.disk_usage(state).free, reader.bytes + MARGIN_BYTES
        if free < needed:
            raise DiskFull(detail=f"{state} needs {needed >> 20} MiB, {free >> 20} are free")
        with disk_errors(f"{path} could not be restored into {state}"):
            _unpack(reader, path, state, tell)
        return dict(reader.manifest)


@contextmanager
def _undone(state: Path) -> Iterator[None]:
    """What fails in the block takes away again what it made of an empty state directory."""
    new, before = not state.exists(), set[str]()
    with suppress(OSError):
        before = {path.name for path in state.iterdir()}
    try:
        yield
    except StateBusy:  # it is another's
        raise
    except BaseException:
        with suppress(OSError):
            for name in PARTS.keys() - before:
                (state / name).rmdir()
            if LOCK not in before:
                (state / LOCK).unlink()
            if new:
                state.rmdir()
        raise


def _unpack(reader: BackupReader, path: str, state: Path, tell: Tell) -> None:
    done, made = 0, list[Path]()

    def counted(chunks: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal done
        for chunk in chunks:
            yield chunk
            done += len(chunk)
            tell("reading", done, reader.bytes)

    try:
        with replacing(state / RECORDS, "restore") as records:
            for name, _, chunks in reader.files():
                if name == RECORDS:
                    records.writelines(counted(chunks))
                    continue
                directory, _, plain = name.partition("/")
                if not re.fullmatch(FILES[directory][1], plain):
                    raise BackupDamaged(path=path, detail=f"it would write {name!r}")
                made.append(state / name)
                write_durable(made[-1], counted(chunks))
            records.flush()
            tell("checking", 0, 0)
            _check_records(state / f"{RECORDS}{TEMPORARY}", reader, path)
    except BaseException:
        for each in made:
            each.unlink(missing_ok=True)
        raise


def _check_records(copy: Path, reader: BackupReader, path: str) -> None:
    """Whether the records are whole and ours, and name just the files that came with them."""
    try:
        found = take_over(copy)
    except RecordsDamaged as error:
        raise BackupDamaged(path=path, detail=f"{RECORDS}: {error.fields['detail']}") from error
    except StateTooNew as error:
        raise StateTooNew(**{**error.fields, "path": path}) from error
    named = {f"{part}/{name}" for part in ("snapshots", "dense") for name in found.files[part]}
    came = {each["name"] for each in reader.manifest["files"]} - {RECORDS}
    if came - named or named - came != set(reader.manifest.get("missing", [])):
        raise BackupDamaged(path=path, detail=f"{RECORDS} names other files than came with it")
    if found.memories != reader.manifest.get("memories"):
        raise BackupDamaged(path=path, detail="its manifest counts other memories")


def finish(state: Path, settings: Config, tell: Tell) -> dict[str, Any]:
    """Make what is made of the records, and look whether all is well: counts and problems."""
    tell("opening", 0, 0)
    store = MemoryStore.open(state, settings)
    try:
        tell("building", 0, 0)
        maintenance.finish(store)
        tell("examining", 0, 0)
        problems = [asdict(problem) for problem in check(store)]
        return {**store.records.counts(), "problems": problems}
    finally:
        store.close()


# --- the process ----------------------------------------------------------------------------------


def main(request: str) -> int:
    """Restore what comes on standard input, as the JSON of `request` asks: `path` (the name of the
    backup), `state`, `config` (null: the system's).  What is written to standard output is JSON
    Lines: {"step", "done", "of"}, and at last {"result"} or {"error"}."""
    asked = json.loads(request)
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nimactl ends this process then
    logging.basicConfig(level=logging.ERROR, format="nimactl: %(message)s")
    heap.keep_small()
    last, told = "", 0.0

    def tell(step: str, done: int, of: int) -> None:
        nonlocal last, told
        if step != last or time.monotonic() - told > REPORT_SECONDS:
            last, told = step, time.monotonic()
            _say(step=step, done=done, of=of)

    try:
        settings = config.load(Path(asked["config"]) if asked["config"] else None)
        state, began = Path(asked["state"]), time.monotonic()
        try:
            with open(os.dup(0), "rb") as file:  # noqa: PTH123
                manifest = restore(file, asked["path"], state, tell)
        except IsADirectoryError as error:
            raise InputUnusable(path=asked["path"], detail=error.strerror) from error
        found = finish(state, settings, tell)
    except NimadError as error:
        _say(error=error.to_wire())
        return error.exit
    facts = {name: manifest[name] for name in ("made", "sequence", "nimad")}
    seconds = round(time.monotonic() - began, 3)
    _say(result={"state": str(state), **facts, **found, "seconds": seconds})
    return 0


def _say(**what: Any) -> None:
    with suppress(BrokenPipeError):
        sys.stdout.write(f"{json.dumps(what)}\n")
        sys.stdout.flush()
