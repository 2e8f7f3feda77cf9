"""Taking legacy stores over into a store in this process: copy, attach, move in, verify."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nimad.cognition.embedded import Embedded
from nimad.core import maintenance
from nimad.errors import NimadError
from nimad.legacy.bundle import take_bundle
from nimad.legacy.detect import GRAPH, Detected
from nimad.legacy.snapshot import Snapshot, take_snapshot
from nimad.legacy.stores import Found, find


@dataclass(frozen=True)
class Taken:
    """A source that was attached, or (on a dry run) looked at: the reply of migrate.attach."""

    name: str
    total: int
    new: bool
    report: dict[str, Any]


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
) -> Taken:
    """Enter a store in the ledger.  Raises SourceNotRecognised and the like."""
    with _copy_of(store) as snapshot:
        asked = snapshot.request(strategy=strategy, dry_run=dry_run, **wishes)
        reply = home.manager.attach(snapshot.fd, asked)
    return Taken(reply["name"], reply["total"], reply["new"], reply["report"])


@contextmanager
def _copy_of(store: Detected) -> Iterator[Snapshot]:
    made = take_snapshot(store.path) if store.kind == GRAPH else None
    with made or take_bundle(store.members, store.path) as snapshot:
        yield snapshot


def take_over(
    home: Embedded, path: Path, strategy: str = "full", **wishes: Any
) -> tuple[list[Taken], list[NimadError]]:
    """Move in every store at or below a path, here and now; what was taken, and what was not fit.

    With the strategy full every row is verified at the end.  Raises what stops a migration (a
    NimadError says what to do next); what came in until then stays, and the next call goes on.
    """
    found = stores_at(path)
    refused = [error for _, error in found.refused]
    taken = []
    for store in found.stores:
        try:
            taken.append(attach(home, store, strategy, **wishes))
        except NimadError as error:
            if len(found.stores) == 1 or not error.code.startswith("source_"):
                raise
            refused.append(error)
    home.manager.finish()
    maintenance.finish(home.store)
    return taken, refused
