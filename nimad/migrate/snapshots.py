"""The snapshots of sources: taken out of the client's hands, kept as backups, given back, deleted.

What is handed over is hostile: only an ordinary file of the promised size and digest is copied, and
nothing is read from it twice.  The copy is made inside the kernel where that is possible.  A backup
is written only into the empty file that was handed over for it.

Crash prose: the copy is `incoming-*.tmp` in snapshots/, which the next start sweeps.  `keep` fsyncs
it and renames it; a crash after that leaves a snapshot that no row names: swept by `sweep`.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nimad.core.store import MemoryStore
from nimad.disk.durable import crash_point, fsync_dir, own_files, remove_strays
from nimad.disk.failures import disk_errors
from nimad.disk.handed_over import check_handed_over
from nimad.errors import DiskFull, NotFound, SourceChanged, SourceCorrupt, SourceUnsupported
from nimad.model import AttachRequest
from nimad.store import sources
from nimad.store.sources import Source

CHUNK = 1 << 20
OWN_NAME = r".+\.(sqlite|tar)"
"""Names of snapshots; the suffixes are those of `nimad.legacy.snapshot_kinds`."""
MARGIN_BYTES = 16 << 20
"""Left free on the disk for everything else."""
NO_KERNEL_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}


@contextmanager
def received(store: MemoryStore, fd: int, asked: AttachRequest) -> Iterator[Path]:
    """A copy of the snapshot, checked against its digest; gone afterwards unless it was kept.

    It takes as long as the client's file does, so no lock may be held meanwhile.  Raises
    SourceUnsupported, UsageError when the descriptor is no ordinary file that can be read,
    SourceChanged when it is not what was promised, DiskFull.
    """
    import shutil
    import tempfile

    from nimad.legacy.snapshot_kinds import SUFFIXES
    from nimad.legacy.source import REFUSALS

    path, size, directory = asked.path, asked.size, store.state / "snapshots"
    if asked.kind not in SUFFIXES:
        raise SourceUnsupported(path=path, what=f"a source of the kind {asked.kind}")
    came = check_handed_over(fd, "migrate.attach", directory)
    if came != size:
        raise SourceChanged(path=path, detail=f"{came} bytes came instead of {size}")
    free, needed = shutil.disk_usage(directory).free, size + MARGIN_BYTES
    if free < needed:
        raise DiskFull(detail=f"{directory} needs {needed >> 20} MiB, {free >> 20} are free")
    with disk_errors(f"the snapshot of {path} could not be written"):
        handle, name = tempfile.mkstemp(prefix="incoming-", suffix=".tmp", dir=directory)
        try:
            with os.fdopen(handle, "wb", buffering=0) as file:
                _copy(fd, file.fileno(), size)
            if digest_of(Path(name)) != asked.sha256:
                raise SourceChanged(path=path, detail="the copy differs from what was announced")
            yield Path(name)
        except REFUSALS as error:  # the user knows the file that was copied, not the copy
            named = Path(str(error.fields["path"]))
            within = not named.is_absolute() and named.name != Path(path).name
            shown = f"{path}/{named}" if within else path
            raise type(error)(**{**error.fields, "path": shown}) from error
        finally:
            Path(name).unlink(missing_ok=True)


def keep(temporary: Path, final: Path) -> None:
    """Give a received copy its name, durably."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.rename(final)
    fsync_dir(final.parent)
    crash_point("migrate.kept")


def path_of(store: MemoryStore, source: Source) -> Path:
    """Where the snapshot of a source is.  Raises NotFound when it was deleted."""
    path = store.state / "snapshots" / (source.snapshot or "-")
    if source.snapshot is None or not path.is_file():
        raise NotFound(kind="backup of source", id=source.name)
    return path


def delete(store: MemoryStore, name: str) -> int:
    """Delete a snapshot that no row names any more; its size [bytes]."""
    path = store.state / "snapshots" / name
    size = path.stat().st_size if path.is_file() else 0
    if path.is_file() or path.is_symlink():  # anything else is not nimad's
        path.unlink()
    fsync_dir(path.parent)
    return size


def sweep(store: MemoryStore) -> list[str]:
    """Remove snapshots that no source names; their names.

    Only files that this process may have made; none at all where a link stands in place of the
    directory, because it may lead to databases of others.
    """
    directory = store.state / "snapshots"
    named = {source.snapshot for source in sources.all_sources(store.records)}
    found = [] if directory.is_symlink() else own_files(directory, OWN_NAME)
    strays = [p for p in found if p.name not in named and p.stat().st_uid == os.geteuid()]
    remove_strays(strays)
    return [path.name for path in strays]


def _copy(source: int, target: int, size: int) -> None:
    """Copy `size` bytes from the start, inside the kernel if the file systems allow."""
    done = 0
    while done < size:
        try:
            moved = os.copy_file_range(source, target, min(size - done, 1 << 30), done, done)
        except OSError as error:
            if error.errno not in NO_KERNEL_COPY:
                raise
            moved = os.pwrite(target, os.pread(source, min(CHUNK, size - done), done), done)
        if not moved:
            return  # shorter than it was: the digest will tell
        done += moved


def digest_of(path: Path) -> str:
    """SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_backup(store: MemoryStore, source: Source, fd: int) -> dict[str, Any]:
    """Write the backup of a source into an empty file, and compare its digest on the way.

    Raises NotFound when the backup was deleted, SourceCorrupt when it is not what was kept,
    DiskFull.
    """
    path = path_of(store, source)
    digest, done = hashlib.sha256(), 0
    with (
        disk_errors(f"the backup of {source.name} could not be written"),
        path.open("rb", buffering=0) as file,
    ):
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            while chunk:
                written = os.pwrite(fd, chunk, done)
                chunk, done = chunk[written:], done + written
        os.fsync(fd)
    if digest.hexdigest() != source.sha256:
        raise SourceCorrupt(
            path=f"snapshots/{source.snapshot}", detail="the backup is not what was kept"
        )
    told = {name: getattr(source, name) for name in ("name", "kind", "path", "sha256")}
    return {**told, "bytes": done}
