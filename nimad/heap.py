"""How much memory the C library and the kernel keep for this process: little, and freed at rest.

glibc holds on to what was freed: blocks of up to 32 MB after the first such block was, in up to
eight arenas a core.  On a board that memory is everybody's.  Another C library goes its own way.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8

_PR_SET_THP_DISABLE = 41  # <linux/prctl.h>

ARENAS = 1
"""Arenas of the allocator: our threads rarely allocate at the same time, and in each lie holes."""
MAPPED_FROM = 1 << 20
"""Blocks from this size on are mapped, and go when they are freed [bytes].  A fixed size also ends
glibc's habit of raising it: after an import of 10,000 memories and 200 queries the process held
79 MB instead of 103 MB (PSS).  The arrays of a query in a store of 100,000 are smaller: mapping
those each time would cost a query more than it saves."""
KEPT_AT_MOST = 4 << 20
"""Free memory kept at the end of an arena [bytes]."""


def keep_small() -> None:
    """Set the limits for this process; the variable MALLOC_ARENA_MAX does its part from the first
    moment.

    Transparent huge pages are switched off, for children, too: a page of them is 2 MB, or 32 MB
    where the kernel's pages have 16 KiB, and most of it would be memory that is never used.  A
    daemon with 50,000 memories held 81 MB instead of 113 MB (PSS), and queries were not slower.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_ARENA_MAX, ARENAS)
        library.mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM)
        library.mallopt(_M_TRIM_THRESHOLD, KEPT_AT_MOST)
        library.prctl(_PR_SET_THP_DISABLE, *map(ctypes.c_ulong, (1, 0, 0, 0)))


def give_back() -> None:
    """Give freed memory back to the system: after a load the C library keeps 5 to 20 MB of it."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def without_cycles() -> Iterator[None]:
    """Nobody looks for garbage in cycles meanwhile: for a short while in which many objects are
    made that go by themselves.  Looking at them again and again was 4 % of a migration."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
