"""How much memory the C library and the kernel keep for this process: little, and freed at rest.

glibc holds on to what was freed: blocks of up to 32 MB after the first such block was, in up to
eight arenas a core.  On a board that memory is everybody's.  Another C library goes its own way.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8

_MADV_DONTNEED = 4  # <sys/mman.h>
_PR_SET_THP_DISABLE = 41  # <linux/prctl.h>
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+ +(/.*)")

ARENAS = 2
"""Our threads rarely allocate at the same time."""
MAPPED_FROM = 1 << 20
"""Blocks from this size on are mapped, and go when they are freed [bytes].  A fixed size also ends
glibc's habit of raising it: after an import of 10,000 memories and 200 queries the process held
79 MB instead of 103 MB (PSS).  The arrays of a query in a store of 100,000 are smaller: mapping
those each time would cost a query more than it saves."""
KEPT_AT_MOST = 4 << 20
"""What may lie free at the end of an arena [bytes]."""


def keep_small() -> None:
    """Set the limits for this process; the variable MALLOC_ARENA_MAX does its part from the first
    moment.

    Transparent huge pages are switched off, for children, too: a page of them is 2 MB, or 32 MB
    where the kernel's pages have 16 KiB, and most of it would be memory that nobody asked for.  A
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


def give_back_code(part: str) -> None:
    """Give back the pages of libraries with `part` in their path that are as they are in the file.

    What is needed again comes from the page cache.  Of a graph engine that rests this is 13 MB.
    """
    with suppress(OSError, AttributeError, ValueError):
        advise = ctypes.CDLL(None).madvise
        advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for first, end in list(_unchanged(part)):
            advise(first, end - first, _MADV_DONTNEED)


def _unchanged(part: str) -> Iterator[tuple[int, int]]:
    """Mappings that cannot be written to and where no page differs from the file.

    Relocated pages differ, and would be lost: `Anonymous` counts them.
    """
    mapping: re.Match[str] | None = None
    for line in Path("/proc/self/smaps").read_text("utf-8", "surrogateescape").splitlines():
        if found := _MAPPING.fullmatch(line):
            fitting = part in found[4] and "w" not in found[3] and found[3].endswith("p")
            mapping = found if fitting else None
        elif mapping and line.startswith("Anonymous:") and line.split()[1] == "0":
            yield int(mapping[1], 16), int(mapping[2], 16)
        elif not line.partition(" ")[0].endswith(":"):
            mapping = None
