"""A store in this process: opened once for a directory, shared by the faces, closed with the last.

Without a directory it lies in a temporary one, which goes with it; nothing there need survive a
power cut, so its writes do not wait for the disk.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

from nimad.background.worker import Worker
from nimad.config import Config, load
from nimad.core.store import MemoryStore
from nimad.migrate.manager import MigrationManager

MARKER = "sparse_memory.pkl"
"""The file name that the legacy guides load and save."""
FILES = (".pkl", ".json", ".pt")

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
        self._ending = weakref.finalize(self, _end, self.store.close, state, temporary)

    def close(self) -> None:
        """Give the directory free; whatever still uses this face fails from now on."""
        with _lock:
            _open.pop(self.state, None)
        self._ending()


def _end(close: Callable[[], None], state: Path, temporary: bool) -> None:
    close()
    if temporary:
        shutil.rmtree(state, ignore_errors=True)


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
