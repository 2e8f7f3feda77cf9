"""Which files this process has mapped: none of them is deleted before its last map is gone.

ext4 keeps a list of the files that have no name any more and are still mapped.  A disk that an
error has made read-only cannot be made writable again while something stands on that list: only a
restart of the machine helps then.  So a file that is replaced or no longer needed keeps a name
until it is let go; what a crash leaves of such names the next start removes.

Source: __ext4_remount of Linux, fs/ext4/super.c, "unprocessed orphan inode list".
"""

from __future__ import annotations

import mmap
import os
import threading
from contextlib import suppress
from pathlib import Path
from weakref import WeakKeyDictionary

from nimad.disk.durable import TEMPORARY

_maps: WeakKeyDictionary[mmap.mmap, tuple[int, int]] = WeakKeyDictionary()
_waiting: dict[Path, tuple[int, int]] = {}
_lock = threading.Lock()


def note_map(made: mmap.mmap, descriptor: int) -> None:
    """A map of the file behind a descriptor was made; it counts until it is collected."""
    found = os.fstat(descriptor)
    with _lock:
        _maps[made] = found.st_dev, found.st_ino


def remove_file(path: Path) -> None:
    """Delete a file, or, while it is mapped, let `remove_waiting` do so later.  Raises OSError."""
    with suppress(FileNotFoundError):
        if _is_mapped(file := _identity(path)):
            _waiting[path] = file
        else:
            path.unlink()


def is_waiting(path: Path) -> bool:
    """Whether a file is to be deleted once it is let go."""
    return path in _waiting


def remove_waiting(below: Path, *, mapped: bool = False) -> None:
    """Delete what waits in a directory or under it and is let go, or (`mapped`) all of it: a purge
    leaves nothing.  What the disk does not let go waits on; with `mapped` that raises OSError."""
    for path, file in [each for each in list(_waiting.items()) if each[0].is_relative_to(below)]:
        try:
            if _identity(path) == file:  # another file may have the name by now
                if _is_mapped(file) and not mapped:
                    continue
                path.unlink()
            _waiting.pop(path, None)
        except FileNotFoundError:
            _waiting.pop(path, None)
        except OSError:
            if mapped:
                raise


def keep_replaced(path: Path, *, gone: bool = False) -> None:
    """Before a file that is mapped is replaced: give it a second name, which is deleted once it is
    let go.  With `gone` it loses its own name at once.  Where the file system knows no second names
    it goes without."""
    with suppress(OSError):
        second = path.with_name(f"{path.name}.{path.stat().st_ino}{TEMPORARY}")
        if gone:
            path.rename(second)
        elif _is_mapped(_identity(path)):
            second.hardlink_to(path)
        else:
            return
        remove_file(second)


def _is_mapped(file: tuple[int, int]) -> bool:
    with _lock:
        return file in _maps.values()


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat(follow_symlinks=False)
    return found.st_dev, found.st_ino
