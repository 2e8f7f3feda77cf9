"""A store in this process: opened once for a directory, shared by the faces, closed with the last.

Without a directory it lies in a temporary one, which goes with it; nothing there need survive a
power cut, so its writes do not wait for the disk.  Memories come into it from legacy files, or from
another store of this process.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from functools import partial
from pathlib import Path
from typing import Any

from nimad.background.worker import Worker
from nimad.config import Config, load
from nimad.core import maintenance
from nimad.core.store import MemoryStore
from nimad.disk.durable import write_durable
from nimad.errors import NimadError, UsageError
from nimad.legacy.bundle import take_bundle
from nimad.legacy.detect import GRAPH, Detected
from nimad.legacy.snapshot import take_snapshot
from nimad.legacy.stores import Found, find
from nimad.migrate.manager import MigrationManager
from nimad.store import broadcasts, goals

MARKER = "sparse_memory.pkl"
"""The file name that the legacy guides load and save."""
FILES = (".pkl", ".json", ".pt")
PAGE = 500
"""Memories that are copied at a time."""
NOTE = b"The memories are in records.sqlite, beside this file: nimad keeps them there.\n"

_open: weakref.WeakValueDictionary[Path, Embedded] = weakref.WeakValueDictionary()
_lock = threading.Lock()


class Embedded:
    """A MemoryStore and its migrations, without the daemon and without a graph.

    A daemon that opens the directory later makes the graph by itself.  Attributes: `state`, the
    directory; `temporary`, whether it goes when this goes.
    """

    def __init__(self, state: Path, temporary: bool) -> None:
        self.state = state
        self.temporary = temporary
        settings: Config = load(None).replace(graph__engine="none")
        self.store = MemoryStore.open(state, settings)
        if temporary:
            self.store.records.maintain("PRAGMA synchronous = OFF")
        self.manager = MigrationManager(self.store, Worker(lambda: settings))
        close = self.store.close

        def end() -> None:  # knows nothing of this object, which would live for ever
            close()
            if temporary:
                shutil.rmtree(state, ignore_errors=True)

        self._ending = weakref.finalize(self, end)

    def close(self) -> None:
        """Give the directory free; what still uses this face fails from now on."""
        with _lock:
            _open.pop(self.state, None)
        self._ending()


def embedded(state: Path | None = None) -> Embedded:
    """The store of a directory (made when missing), or a temporary one.

    Raises StateBusy when another process, such as a daemon, has it; StateUnusable, RecordsDamaged.
    """
    if state is None:
        return Embedded(Path(tempfile.mkdtemp(prefix="nimad-memory-")), temporary=True)
    place = state.expanduser().absolute()
    with _lock:
        found = _open.get(place)
        if found is None:
            found = _open[place] = Embedded(place, temporary=False)
        return found


def state_of(path: str | Path) -> Path:
    """The state directory that a path of the guides means: itself, or where the file would lie."""
    place = Path(path).expanduser().absolute()
    return place.parent if place.suffix in FILES else place


def is_state(directory: Path) -> bool:
    """Whether nimad keeps memories there."""
    return (directory / "records.sqlite").is_file()


# --- memories from elsewhere ----------------------------------------------------------------------


def stores_at(path: Path) -> Found:
    """The legacy stores at or below a path.

    Raises what stands in the way when there is none that can be taken over.
    """
    found = find(path)
    if not found.stores:
        raise found.refused[0][1]
    return found


def attach(
    home: Embedded, store: Detected, strategy: str, dry_run: bool = False, **wishes: Any
) -> dict[str, Any]:
    """Enter a store in the ledger, or look at it; the reply of migrate.attach.

    Raises SourceNotRecognised and the like.
    """
    graph = take_snapshot(store.path) if store.kind == GRAPH else None
    with graph or take_bundle(store.members, store.path) as snapshot:
        asked = snapshot.request(strategy=strategy, dry_run=dry_run, **wishes)
        return home.manager.attach(snapshot.fd, asked)


def take_over(
    home: Embedded, path: Path, strategy: str = "full", **wishes: Any
) -> tuple[list[str], list[NimadError]]:
    """Move in every store at or below a path, here and now; names of sources, and what was not fit.

    With the strategy full every row is verified at the end.  Raises what stops a migration (a
    NimadError says what to do next); what was taken over stays, and the next call goes on.
    """
    found = stores_at(path)
    refused = [error for _, error in found.refused]
    taken: list[str] = []
    for store in found.stores:
        try:
            taken.append(attach(home, store, strategy, **wishes)["name"])
        except NimadError as error:
            if len(found.stores) == 1 or not error.code.startswith("source_"):
                raise
            refused.append(error)
    home.manager.finish()
    maintenance.finish(home.store)
    return taken, refused


def copy_into(source: Embedded, target: Embedded) -> int:
    """Copy every memory, in order, goals and broadcasts too, into an empty store; how many.

    Raises UsageError when the target holds memories.  A crash leaves whole pages of them there.
    """
    if target.store.records.counts()["memories"]:
        raise UsageError(
            detail=f"{target.state} holds other memories already; load them, or save elsewhere"
        )
    after = 0
    new: dict[int, int] = {}
    while page := source.store.export(after, PAGE):
        after = page[-1].id
        old = [memory.id for memory in page]
        wanted = goals.each_of(source.store.records, page)
        for memory in page:
            memory.id, memory.source = 0, None
        also = partial(goals.add_each, made=page, wanted=wanted)
        new |= zip(old, target.store.remember_many(page, also), strict=True)
    with target.store.records.write() as tx:
        for row in broadcasts.latest(source.store.records, broadcasts.KEPT):
            broadcasts.add(tx, new[row.memory], row.at, row.affect, row.score)
    return len(new)


def mark(filepath: str | Path) -> None:
    """Leave a note where a file would lie, for programs that look whether it exists.

    A legacy file of that name is never overwritten.
    """
    place = Path(filepath).expanduser()
    if place.suffix in FILES and not place.exists():
        write_durable(place, [NOTE])
