"""The verbs about nimad itself: ping, status, doctor, rebuild, backup."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from nimad import __version__, checks
from nimad.core import maintenance, status
from nimad.core.fleet import Fleet
from nimad.core.store import MemoryStore
from nimad.dataclass import dataclass
from nimad.errors import DiskFailed, RecordsDamaged
from nimad.serve import params
from nimad.serve.params import Param
from nimad.serve.request_counts import RequestCounts
from nimad.serve.verbs import Call, Verb
from nimad.store import backups

BACKUP = {"path": Param(params.path)}
GONE = {"paths": Param(params.many(1, 1000, "paths", params.path))}
STATUS = {"history": Param(checks.flag, False)}
REBUILD = {"part": Param(checks.choice(*maintenance.PARTS, "all"))}


@dataclass
class Traffic:
    """What the server knows and `status` tells.  Callables: the server is built after the verbs."""

    socket: str = ""
    clients: Callable[[], int] = lambda: 0
    requests: Callable[[], int] = lambda: 0
    counts: Callable[[], RequestCounts] = RequestCounts


class ServiceVerbs:
    """Answers about one store and the server in front of it."""

    def __init__(self, store: MemoryStore, traffic: Traffic, fleet: Fleet) -> None:
        self._store, self._fleet = store, fleet
        self._traffic = traffic

    def all(self) -> list[Verb]:
        """The verbs of this file."""
        return [
            Verb("ping", "read", self.ping, {}, watching=True, bounded=True),
            Verb("status", "read", self.status, STATUS, watching=True, bounded=True),
            Verb("doctor", "read", self.doctor, {}),
            Verb("rebuild", "control", self.rebuild, REBUILD),
            Verb("backup", "control", self.backup, BACKUP, descriptor="an empty file"),
            Verb("backup.forget", "control", self.forget_backups, GONE),
        ]

    def ping(self, call: Call) -> dict[str, Any]:
        """Ready: a worker answers and the records can be read."""
        self._store.records.head()
        told: dict[str, Any] = {"version": __version__, "pid": os.getpid(), "state": "ready"}
        if call.within is None and (under_way := self._store.under_way.fractions()):
            told["under_way"] = under_way
        return told

    def status(self, call: Call) -> dict[str, Any]:
        """Counts, sizes, and how each part is; to a bound user no more than it may know."""
        about = {
            "version": __version__,
            "pid": os.getpid(),
            "socket": self._traffic.socket,
        }
        if call.within is not None:
            return {**about, **status.describe_bound(self._store, call.within)}
        about |= {"clients": self._traffic.clients(), "requests": self._traffic.requests()}
        try:
            return {
                **about,
                **status.describe(self._store),
                "fleet": self._fleet.status(),
                **({"history": self._store.history.days()} if call.params["history"] else {}),
            }
        except (DiskFailed, RecordsDamaged) as error:
            return {**about, **status.describe_unread(self._store, error)}

    def doctor(self, call: Call) -> dict[str, Any]:
        """Every invariant, walked."""
        began = time.perf_counter()
        from nimad.check import check  # as below: what few ask for is imported when it is asked

        problems = check(self._store)
        segments = self._store.blocks.stats()["segments"]
        checked = {"segments": segments}
        with suppress(DiskFailed, RecordsDamaged):  # which is among the problems
            checked = {**self._store.records.counts(), **checked}
        took = (time.perf_counter() - began) * 1000
        return {
            "problems": [asdict(problem) for problem in problems],
            "checked": checked,
            "took_ms": round(took, 3),
        }

    def rebuild(self, call: Call) -> dict[str, Any]:
        """Make a projection anew; the old one serves until then."""
        made = maintenance.rebuild(self._store, call.params["part"])
        return {"rebuilt": {name: asdict(rebuilt) for name, rebuilt in made.items()}}

    def backup(self, call: Call) -> dict[str, Any]:
        """Write all that cannot be made anew into the client's file."""
        from nimad.backup.writing import write_backup

        return write_backup(self._store, call.fds[0], call.params["path"])

    def forget_backups(self, call: Call) -> dict[str, Any]:
        """These backups are gone: a purge names them no more."""
        return {"forgotten": backups.forget(self._store.records, call.params["paths"])}
