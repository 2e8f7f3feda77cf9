"""VSAMigrator of the legacy guides: dense stores into a state directory, here and now.

`python -m nimad.cognition.migrate_to_sparse_block --help` does it from a shell; with a daemon that
is running, `nimactl migrate` does it better.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nimad.cognition.embedded import (
    MARKER,
    Embedded,
    attach,
    embedded,
    is_state,
    mark,
    state_of,
    stores_at,
    take_over,
)
from nimad.dataclass import dataclass
from nimad.disk.durable import size_of
from nimad.errors import NimadError, VerifyFailed


@dataclass(frozen=True)
class MigrationConfig:
    """Where from, where to, and how.

    Attributes:
        source_dir: a directory of legacy stores, or one file; only read.
        target_dir: a state directory of nimad, made when missing.
        batch_size: rows at a time; 0 lets the batches follow free memory.
        preserve_backup: keep the copy of the source (for `rollback` and a later comparison).
        verify_migration: compare every row once more at the end; each was when it came in.
    """

    source_dir: str | Path = "storage/data/sessions"
    target_dir: str | Path = "storage/data/sparse_memories"
    batch_size: int = 0
    preserve_backup: bool = True
    verify_migration: bool = True


class VSAMigrator:
    """Moves the stores of a MigrationConfig; running it again adds only what is new."""

    def __init__(self, config: MigrationConfig) -> None:
        self.config = config
        self._source = Path(config.source_dir).expanduser()
        self._target = state_of(config.target_dir)

    def check_status(self) -> dict[str, Any]:
        """What there is: source_count, target_exists, estimated_minutes, migrated, problems.

        Raises SourceMissing and the like when there is nothing to migrate.
        """
        looked = self._look()
        home = self._home() if is_state(self._target) else None
        return {
            "source_count": looked["memories"],
            "source_bytes": looked["bytes"],
            "target_exists": home is not None,
            "estimated_minutes": looked["seconds"] / 60,
            "migrated": 0 if home is None else home.store.records.counts()["memories"],
            "problems": looked["problems"],
        }

    def migrate(self, dry_run: bool = False) -> dict[str, Any]:
        """Move everything; memories, compression, errors (a count), problems, elapsed_seconds.

        `compression` is the size of the source's files over what nimad keeps of them, the backup
        apart; on a dry run it is estimated.  Raises SourceMissing, DiskFull, StateBusy (a daemon
        has the target), ...
        """
        began = time.perf_counter()
        if dry_run:
            looked = self._look()
            return {
                "memories": looked["memories"],
                "compression": looked["bytes"] / max(1, looked["kept"]),
                "errors": len(looked["problems"]),
                "problems": looked["problems"],
                "elapsed_seconds": time.perf_counter() - began,
                "dry_run": True,
            }
        stores_at(self._source)  # nothing is made for a source that is none
        home = self._home()
        names, refused = take_over(home, self._source, batch_size=self.config.batch_size)
        if self.config.verify_migration:
            compared = {name: home.manager.verify(name) for name in names}
            refused += [
                VerifyFailed(name=name, differences=len(found["differences"]))
                for name, found in compared.items()
                if not found["ok"]
            ]
        told = [home.manager.status(name)["sources"][0] for name in names]
        problems = [error.message for error in refused]
        for source in told:
            problems += [
                f"{row['kind']} {row['key']}: {row['reason']}" for row in source["quarantine"]
            ]
        if not self.config.preserve_backup:
            for name in names:
                home.manager.forget_backup(name)
        home.store.records.checkpoint()
        mark(self._target / MARKER)
        kept = size_of(home.state) - size_of(home.state / "snapshots")
        return {
            "memories": sum(source["copied"] for source in told),
            "compression": self._bytes() / max(1, kept),
            "errors": len(refused) + sum(source["quarantined"] for source in told),
            "problems": problems,
            "elapsed_seconds": time.perf_counter() - began,
            "sources": names,
        }

    def rollback(self) -> dict[str, int]:
        """Take out of the target exactly what came from this source; how much of each kind.

        The source was never changed, so nothing is put back.
        """
        home, removed = self._home(), {"memories": 0, "relations": 0, "turns": 0}
        paths = {str(store.path) for store in stores_at(self._source).stores}
        for source in home.manager.status()["sources"]:
            if source["path"] in paths and source["state"] != "rolled_back":
                gone = home.manager.rollback(source["name"])["removed"]
                removed = {kind: count + gone.get(kind, 0) for kind, count in removed.items()}
        return removed

    # --- helpers ------------------------------------------------------------------------------

    def _home(self) -> Embedded:
        return embedded(self._target)

    def _bytes(self) -> int:
        return sum(store.size_bytes for store in stores_at(self._source).stores)

    def _look(self) -> dict[str, Any]:
        """A dry run in a temporary store: nothing is written to the target."""
        found, home = stores_at(self._source), embedded()
        total: dict[str, Any] = {"memories": 0, "bytes": self._bytes(), "seconds": 0.0, "kept": 0}
        problems = [error.message for _, error in found.refused]
        for store in found.stores:
            report = attach(home, store, "full", dry_run=True)["report"]
            total["memories"] += report["memories"] - report["unreadable"]
            total["seconds"] += report["estimate_seconds"]
            total["kept"] += report["estimate_bytes"] - report["backup_bytes"]
            problems += [
                f"{row['kind']} {row['key']}: {row['reason']}" for row in report["refusals"]
            ]
        home.close()
        return {**total, "problems": problems}


def main(argv: Sequence[str] | None = None) -> int:
    """Migrate and print the result."""
    parser = argparse.ArgumentParser(
        prog="python -m nimad.cognition.migrate_to_sparse_block",
        description="Take legacy checkpoints, sparse memories and databases over into a state"
        " directory of nimad, without a daemon; they are only read.",
        epilog="exit codes are those of nimactl(1)",
    )
    defaults = MigrationConfig()
    parser.add_argument("--source", metavar="DIR", default=defaults.source_dir, help="where from")
    parser.add_argument("--target", metavar="DIR", default=defaults.target_dir, help="where to")
    parser.add_argument("--batch-size", metavar="N", type=int, default=0, help="rows at a time")
    parser.add_argument("--dry-run", action="store_true", help="only report; nothing is written")
    args = parser.parse_args(argv)
    migrator = VSAMigrator(MigrationConfig(args.source, args.target, args.batch_size))
    try:
        result = migrator.migrate(dry_run=args.dry_run)
    except NimadError as error:
        print(error.sentences, file=sys.stderr)
        return error.exit
    width = shutil.get_terminal_size().columns
    done = "would be migrated" if args.dry_run else "migrated"
    print(f"{result['memories']:,} memories {done} in {result['elapsed_seconds']:.1f} s")
    print(f"{result['compression']:.1f} times smaller, {result['errors']} errors")
    for problem in result["problems"]:
        print(f"  {problem}"[:width])
    return 0


if __name__ == "__main__":
    sys.exit(main())
