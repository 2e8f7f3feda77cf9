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
_waiting: set[Path] = set()
_lock = threading.Lock()


def note_map(made: mmap.mmap, descriptor: int) -> None:
    """A map of the file behind a descriptor was made; it counts until it is collected."""
    found = os.fstat(descriptor)
    with _lock:
        _maps[made] = found.st_dev, found.st_ino


def remove_file(path: Path) -> None:
    """Delete a file, or, while it is mapped, let `remove_waiting` do so later.  Raises OSError."""
    with suppress(FileNotFoundError):
        if _is_mapped(path):
            _waiting.add(path)
        else:
            path.unlink()


def is_waiting(path: Path) -> bool:
    """Whether a file is to be deleted once it is let go."""
    return path in _waiting


def remove_waiting(below: Path, *, mapped: bool = False) -> None:
    """Delete what waits in a directory or under it and is let go, or (`mapped`) all of it: a purge
    leaves nothing.  What the disk does not let go waits on; with `mapped` that raises OSError."""
    for path in [each for each in list(_waiting) if each.is_relative_to(below)]:
        try:
            if mapped or not _is_mapped(path):
                path.unlink()
                _waiting.discard(path)
        except FileNotFoundError:
            _waiting.discard(path)
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
        elif _is_mapped(path):
            second.hardlink_to(path)
        else:
            return
        remove_file(second)


def _is_mapped(path: Path) -> bool:
    found = path.stat(follow_symlinks=False)
    with _lock:
        return (found.st_dev, found.st_ino) in set(_maps.values())
