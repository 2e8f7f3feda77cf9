"""The files of the records on the disk: whether what SQLite holds open is what stands there.

SQLite keeps records.sqlite, -wal and -shm open and never looks at their names again.  When one
of them is deleted or replaced, it goes on committing into a file that has no name any more; when
the system makes the disk read-only, fsync reports success for what is only in RAM.  So each
transaction asks here before it begins and before it is acknowledged; 5 µs a time.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Iterator
from pathlib import Path

from nimad.disk.durable import crash_point, fsync_dir, write_durable
from nimad.disk.failures import disk_errors
from nimad.errors import NimadError, StateUnusable

CHUNK = 1 << 20
PAGE = 4096
WAL_BYTES = 1 << 19
"""Size that the WAL keeps.  Its blocks are on the disk then, and a commit overwrites them: one
flush.  A commit that makes a file longer asks the file system for one of its journal, too: on ext4
20 KiB and a second flush for each memory [bytes]."""


class DatabaseFiles:
    """The three files of one open database; SQLite must have opened them all."""

    def __init__(self, path: Path) -> None:
        """Keeps a descriptor of the WAL, on which SQLite has no locks that closing would drop, and
        one of the database, for backups: to close that would drop SQLite's locks."""
        self.path = path.resolve()  # SQLite puts the others beside the target of a link
        self.wal = self.path.with_name(self.path.name + "-wal")
        self.shm = self.path.with_name(self.path.name + "-shm")
        self.wal_content = os.open(self.wal, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        self.content = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        self._known = self._identity()
        self._mark, self._marked = mark_of(path), False
        # a store that nobody closes: SQLite folds and deletes the WAL when its connections go
        self._left = weakref.finalize(self, _forget, self._mark, os.getpid())

    def close(self) -> None:
        """To be called after the connections were closed."""
        self._left.detach()
        os.close(self.wal_content)
        os.close(self.content)

    def intact(self) -> bool:
        """Whether the WAL and the shared memory are still those that SQLite opened.

        Raises StateUnusable when records.sqlite itself was moved, deleted or replaced: what stands
        there now is not ours to write to.
        """
        found = self._identity()
        if found[0] != self._known[0]:
            detail = f"{self.path.name} was moved, deleted or replaced while nimad ran; stop nimad"
            raise StateUnusable(state=self.path.parent, detail=f"{detail}, put it back, start it")
        return found == self._known

    def note_unfolded(self) -> None:
        """A change is committed: the next start must find the WAL (nimad/store/unfolded.py)."""
        if not self._marked:
            crash_point("unfolded.committed")
            with contextlib.suppress(OSError):
                self._mark.touch(mode=0o600)
                fsync_dir(self._mark.parent)
                self._marked = True
            crash_point("unfolded.noted")

    def forget_unfolded(self) -> None:
        """The connections are about to be closed, which folds the WAL and deletes it."""
        _forget(self._mark, os.getpid())
        crash_point("unfolded.forgotten")

    def _identity(self) -> list[tuple[int, int] | None]:
        return [_identity(path) for path in (self.path, self.wal, self.shm)]

    def reserve_wal(self) -> None:
        """Give a shorter WAL its size, in zeros, which are neither its header nor a frame to SQLite
        (https://www.sqlite.org/walformat.html).

        To be called with SQLite's lock for writing.  A disk without room is not told of: the
        transaction itself may fit.
        """
        size = os.fstat(self.wal_content).st_size
        with contextlib.suppress(OSError):
            while size < WAL_BYTES:  # at once would make large pages, of which each change counts
                size += os.pwrite(self.wal_content, bytes(min(PAGE, WAL_BYTES - size)), size)

    def restore_wal(self) -> None:
        """Put the WAL that SQLite holds open back under its name, durably.

        From then on a crash loses nothing; what is committed later goes into the old one still, so
        the connections are to be opened anew.  Nothing may be written meanwhile.
        """
        with disk_errors(f"{self.wal} could not be restored"):
            write_durable(self.wal, self._content())

    def rewrite_wal(self) -> None:
        """Write the WAL over itself and wait until it is on the disk.

        For the time after the disk failed: the kernel may have given up pages that it could not
        write, and what is appended behind such a hole would be lost with it.
        """
        with disk_errors(f"{self.wal} could not be written again"):
            at = 0
            for part in self._content():
                at += os.pwrite(self.wal_content, part, at)
            os.fsync(self.wal_content)
            fsync_dir(self.path.parent)

    def _content(self) -> Iterator[bytes]:
        at = 0
        while part := os.pread(self.wal_content, CHUNK, at):
            yield part
            at += len(part)


class FixedFiles(DatabaseFiles):
    """The files of a database on a disk that takes no writes: what refused them is told to each."""

    def __init__(self, path: Path, refusal: NimadError) -> None:
        """Raises OSError."""
        self._refusal = refusal
        real = path.resolve()
        wal, self.shm = (real.with_name(f"{real.name}-{end}") for end in ("wal", "shm"))
        self.content = os.open(real, os.O_RDONLY | os.O_CLOEXEC)
        self._marked = True
        self._left = weakref.finalize(self, _forget, mark_of(path), 0)  # of no process
        self.wal_content = os.open(wal if wal.exists() else os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def intact(self) -> bool:
        """Raises what refuses writes."""
        raise type(self._refusal)(**self._refusal.fields) from self._refusal

    def forget_unfolded(self) -> None:
        """Nothing: the WAL stays as it is."""


def mark_of(path: Path) -> Path:
    """The mark of a database (nimad/store/unfolded.py): beside the target of a link, as the WAL."""
    real = path.resolve()
    return real.with_name(f"{real.name}-unfolded")


def _forget(mark: Path, pid: int) -> None:
    if os.getpid() == pid:  # not in a child that was forked
        with contextlib.suppress(OSError):
            mark.unlink()
            fsync_dir(mark.parent)


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of what has this name; None where nothing has."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
