"""Making projections anew on request, while the old ones serve."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nimad.errors import Degraded, UsageError

if TYPE_CHECKING:
    from nimad.core.store import MemoryStore

PARTS = ("words", "blocks", "graph")
"""What people are offered; the other projections can be named, too."""


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild made: rows, and how long it took [seconds]."""

    rows: int
    seconds: float


def rebuild(store: MemoryStore, part: str) -> dict[str, Rebuilt]:
    """Make one projection anew, or "all" that can be; what became of each.

    Raises UsageError for a name that is none, Degraded when it cannot be made now, DiskFull.
    """
    known = {projection.name: projection for projection in store.projections}
    if part not in known and part != "all":
        raise UsageError(detail=f"there is no part {part!r}; parts are {', '.join(known)} and all")
    made: dict[str, Rebuilt] = {}
    for name in known if part == "all" else (part,):
        began = time.perf_counter()
        rows = known[name].rebuild()
        if rows is not None:
            made[name] = Rebuilt(rows, round(time.perf_counter() - began, 3))
            store.setbacks.clear(name)
        elif part != "all":
            detail = store.health.reason(name) or "it is not there, or cannot be made from here"
            raise Degraded(part=name, detail=detail)
    return made
