"""Helpers of the migration tests: a store with its migrations, and the way of a source into it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nimad.background.maintenance_job import MaintenanceJob
from nimad.background.worker import Worker
from nimad.check import check
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.legacy.snapshot import take_snapshot
from nimad.migrate.manager import MigrationManager

CALM = {
    "migration__max_pressure": 0,
    "migration__max_load": 0,
    "migration__max_temperature": 0,
    "migration__min_battery": 0,
}
"""However busy the machine is that the tests run on: to the daemon it is at rest."""
QUICK = {"embedder": "hash", "graph__engine": "none", **CALM}
"""Settings of tests that are about neither meaning nor graph."""


@contextmanager
def opened(state: Path, **settings: Any) -> Iterator[tuple[MemoryStore, MigrationManager]]:
    """A store and its migrations, without the thread; every invariant holds at the end."""
    store = MemoryStore.open(state, Config().replace(**{**QUICK, **settings}))
    worker = Worker(lambda: store.config)
    maintenance = MaintenanceJob(store, worker)
    manager = MigrationManager(store, worker, moved=maintenance.hurry)
    worker.add(maintenance)
    try:
        yield store, manager
        assert [problem.what for problem in check(store)] == []
    finally:
        worker.stop()
        store.close()


def attach(manager: MigrationManager, path: Path, **wishes: Any) -> dict[str, Any]:
    """What nimactl does: copy the source, hand the copy over."""
    wishes.setdefault("strategy", "full")
    with take_snapshot(path) as taken:
        return manager.attach(taken.fd, taken.request(**wishes))


def migrate(manager: MigrationManager, path: Path, **wishes: Any) -> dict[str, Any]:
    """Take a source over to its end; its status then."""
    name = attach(manager, path, **wishes)["name"]
    manager.finish()
    return status(manager, name)


def status(manager: MigrationManager, name: str) -> dict[str, Any]:
    """The status of one source."""
    (source,) = manager.status(name)["sources"]
    return source
