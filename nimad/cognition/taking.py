"""Taking a legacy store over into a store in this process: copy, attach, move in, verify."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nimad.cognition.embedded import Embedded
from nimad.core import upkeep
from nimad.legacy.snapshot import take_snapshot


@dataclass(frozen=True)
class Taken:
    """A source that was attached, or (on a dry run) looked at: the reply of migrate.attach."""

    name: str
    total: int
    new: bool
    report: dict[str, Any]


def attach(
    home: Embedded, path: Path, strategy: str, dry_run: bool = False, **wishes: Any
) -> Taken:
    """Enter the store at `path` in the ledger.  Raises SourceNotRecognised and the like."""
    with take_snapshot(path) as snapshot:
        reply = home.manager.attach(
            snapshot.fd,
            path=snapshot.origin,
            kind=snapshot.kind,
            sha256=snapshot.digest,
            size=snapshot.size_bytes,
            strategy=strategy,
            dry_run=dry_run,
            **wishes,
        )
    return Taken(reply["name"], reply["total"], reply["new"], reply["report"])


def take_over(home: Embedded, path: Path, **wishes: Any) -> Taken:
    """Attach a store and move all of it in, here and now; every row is verified at the end.

    Raises what stops it (a NimadError says what to do next); what came in until then stays, and
    the next call goes on behind it.
    """
    taken = attach(home, path, "full", **wishes)
    home.manager.finish()
    upkeep.finish(home.store)
    return taken
