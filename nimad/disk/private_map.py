"""Arrays out of a file that may be changed and may grow, without loading them.

A region of a file is mapped privately: a page becomes memory of this process when it is written to,
never the file's.  Behind it lies address space for more rows, which takes no memory until it is
used.  Only what is touched is read, and `give_back` lets go of what was only read: it comes back
from the system's cache, or the disk, when it is asked for again.

The limit is that of every map: see `nimad.disk.container.Container`.

Source: mmap(2), MAP_FIXED over a mapping of one's own; madvise(2).
"""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.disk.mapped import note_map

_DONTNEED = 4
_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE
_FIXED = 0x10
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int),
    *(ctypes.c_int, ctypes.c_int, ctypes.c_int64),
)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def map_rows(path: Path, offset: int, kind: Any, count: int, room: int) -> NDArray[Any]:
    """An array of `room` rows, the first `count` of them from byte `offset` of a file.

    What lies behind those is undefined.  The array is writable; the file stays as it is, and may
    be replaced or removed.  Raises OSError.
    """
    dtype = np.dtype(kind)
    before = offset % mmap.PAGESIZE
    held = before + count * dtype.itemsize
    whole = mmap.mmap(-1, max(before + room * dtype.itemsize, held, 1), flags=_FLAGS)
    if count:
        place = ctypes.addressof(ctypes.c_char.from_buffer(whole))
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            mapped = _libc.mmap(
                *(place, held, mmap.PROT_READ | mmap.PROT_WRITE),
                *(mmap.MAP_PRIVATE | _FIXED, descriptor, offset - before),
            )
            note_map(whole, descriptor)
        finally:
            os.close(descriptor)
        if mapped != place:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    return np.frombuffer(whole, dtype, room, before)


def give_back(rows: NDArray[Any]) -> None:
    """Let go of the pages of the first rows of such an array; they are read again when needed.

    To be called only where nothing was written to them: what was would be lost.
    """
    first = rows.__array_interface__["data"][0]
    start = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE
    length = (first + rows.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - start
    if length > 0:
        _libc.madvise(start, length, _DONTNEED)
