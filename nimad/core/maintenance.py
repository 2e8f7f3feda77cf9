"""The work that can wait: done in small steps, when the daemon is idle or told to; rebuilding.

First a purge is finished, then each projection does what it has to do, in the order of the list;
then old changes are pruned, the WAL is folded into the file, and once a month the records are
compared with their checksums.  What fails is set aside with its
reason and tried more and more seldom (`nimad.core.setbacks`); the rest is done nevertheless.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from nimad import heap
from nimad.dataclass import dataclass
from nimad.disk.durable import size_of
from nimad.disk.mapped import remove_waiting
from nimad.errors import Degraded, NimadError, UsageError
from nimad.legacy.recent_catalog import RECENT
from nimad.store.database_files import WAL_BYTES

if TYPE_CHECKING:
    from nimad.core.store import MemoryStore

log = logging.getLogger(__name__)

PARTS = ("words", "blocks", "graph")
"""What people are offered; the other projections can be named, too."""
KEEP_CHANGES = 100_000
"""Changes kept at most for a projection that is behind; one that needs more is made anew [rows]."""
PRUNE_CHANGES = 10_000
"""Changes that are pruned at once, at least: less is not worth a write [rows]."""
FREE_PAGES = 64
"""Free pages of the records from which they are given back to the file system [pages of 4 KiB]."""


def step(store: MemoryStore, *, sparing: bool = False, only: str | None = None) -> bool:
    """Do the most urgent piece; False when nothing can be done now.  Never raises.

    With `sparing`, what is large and can wait is left for idle time (`Projection.sparing`); `only`
    names the one that is looked at.
    `store.setbacks.due_in()` tells when something that failed is to be tried again.
    """
    for projection in store.projections:
        projection.sparing = sparing
    pieces: list[tuple[str, Callable[[], bool]]] = [  # most urgent first
        ("purge", store.purge.finish),
        ("clock", store.clock.set_right),
        *((projection.name, projection.follow) for projection in store.projections),
        ("history", store.history.follow),
        ("changes", lambda: prune_changes(store)),
        ("wal", lambda: fold(store)),
        ("leftovers", lambda: not sparing and tidy(store)),
        ("records", store.integrity.follow),
    ]
    for name, work in pieces:
        if store.setbacks.remaining(name) or only not in (None, name):
            continue
        try:
            with store.maintenance:
                more = work()
                remove_waiting(store.state)
        except Exception as error:
            setback = store.setbacks.note(name, error)
            expected = isinstance(error, (NimadError, OSError))
            level = logging.WARNING if expected else logging.ERROR
            told = "maintenance of %s waits: %s"
            log.log(level, told, name, setback.why, exc_info=None if expected else error)
            continue
        store.setbacks.clear(name)
        if more:
            return True
    return False


def rest(store: MemoryStore) -> None:
    """Nothing is left to do: give back the memory that the work took."""
    with store.maintenance:
        for projection in store.projections:
            projection.rest()
        store.records.rest()
        remove_waiting(store.state)
    RECENT.drop()
    gc.collect()  # empties the interpreter's lists of free tuples, too, each of which keeps a page
    heap.give_back()


def finish(store: MemoryStore) -> None:
    """Do everything that can be done."""
    while step(store):
        pass


def prune_changes(store: MemoryStore) -> bool:
    """Delete changes that every projection has, and those that are too old to wait for one."""
    head = store.records.head()
    positions = [projection.position for projection in store.projections]
    oldest = min((position for position in positions if position is not None), default=head)
    upto = max(oldest, head - KEEP_CHANGES)
    if upto - store.records.pruned_to() < PRUNE_CHANGES:
        return False
    with store.records.write() as tx:
        tx.prune_changes(upto)
    return True


def fold(store: MemoryStore) -> bool:
    """Give back what the WAL and the file take for nothing; commits fold the WAL by themselves."""
    long = size_of(store.state / "records.sqlite-wal") > 2 * WAL_BYTES
    if long or store.records.value("PRAGMA freelist_count") >= FREE_PAGES:
        store.records.release_space()
    return False  # folding again at once would not help: a reader may hold the WAL


def tidy(store: MemoryStore) -> bool:
    """Delete what errors left of files."""
    store.purge.remove_leftovers()
    return False


# --- on request ---------------------------------------------------------------------------------


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
    waiting = [*known] if part == "all" else [part]
    parts, total = len(waiting), max(1, store.records.counts()["memories"])

    def fraction() -> float:
        work = store.semantic.reencoding if waiting[:1] == ["blocks"] else None
        return (parts - len(waiting) + (work.done / total if work else 0)) / parts

    with store.under_way.tell("rebuild", fraction):
        while waiting:
            name, began = waiting[0], time.perf_counter()
            rows = known[name].rebuild()
            if rows is not None:
                made[name] = Rebuilt(rows, round(time.perf_counter() - began, 3))
                store.setbacks.clear(name)
            elif part != "all":
                detail = store.health.reason(name) or "it is not there, or cannot be made from here"
                raise Degraded(part=name, detail=detail)
            waiting.pop(0)
    return made
