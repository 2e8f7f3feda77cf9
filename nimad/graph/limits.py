"""What a graph engine may take, and whether it can run here at all; nothing is imported for it."""

from __future__ import annotations

import importlib.util
import os

from nimad.dataclass import dataclass
from nimad.errors import EngineUnsupported
from nimad.keys import ENGINES

FILES = rf"({'|'.join(ENGINES)})(-new)?\.db[.\w]*"
"""Names of the engines' files."""
VERSION = 2
"""Number of the version of the tables (`tables`); a file of another version is made anew."""
KUZU_PAGE = 4096
"""Size of the memory pages that kuzu works with [bytes]."""
MIB = 1 << 20


@dataclass(frozen=True)
class GraphLimits:
    """What the engine may take: memory for its pages, and address space [bytes].

    The pool is a limit, not a reservation.  Making the graph of 100,000 memories anew needs 24 MiB
    of it, of 300,000 at most 64, of a million more than 64 and at most 128.
    """

    buffer_pool_bytes: int = 64 * MIB
    max_db_size_bytes: int = 1 << 32

    @classmethod
    def for_memory(cls, total_bytes: int) -> GraphLimits:
        """Limits for a board with that much RAM: 1/32 of it, from 64 to 256 MiB."""
        return cls(buffer_pool_bytes=min(max(total_bytes // 32, 64 * MIB), 256 * MIB))


@dataclass(frozen=True)
class Settings:
    """One file, one engine; `rows` is the descriptor of a build's rows, -1: it answers questions.

    `pool` and `size` are the limits of `GraphLimits` [bytes]; `in_parts`: nodes come in parts.
    """

    path: str
    engine: str
    pool: int
    size: int
    rows: int
    in_parts: bool


def check_supported(name: str, page_size: int | None = None) -> None:
    """Raise EngineUnsupported when the engine cannot run here.

    kuzu gives memory back in frames of 4 KiB; a kernel with larger pages (Raspberry Pi 5: 16 KiB)
    refuses that and the engine fails after some thousand rows.  `page_size` [bytes] is the kernel's
    unless given.
    """
    if name not in ENGINES:
        raise EngineUnsupported(engine=name, detail=f"known are {' and '.join(ENGINES)}")
    page = page_size or os.sysconf("SC_PAGE_SIZE")
    if name == "kuzu" and page != KUZU_PAGE:
        raise EngineUnsupported(
            engine=name,
            detail=f"the kernel's memory pages are {page} bytes, and kuzu works with {KUZU_PAGE}",
        )
    if importlib.util.find_spec(name) is None:
        where = " (the Debian package nimad-kuzu has it)" if name == "kuzu" else ""
        detail = f"the Python package {name} is not installed{where}"
        raise EngineUnsupported(engine=name, detail=detail)
