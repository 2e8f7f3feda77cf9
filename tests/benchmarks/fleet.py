"""How fast a fleet moves: one board gives, a fresh one takes, one that was away catches up.

    python -m tests.benchmarks.fleet [--memories 100000] [--changes 10000]

Needs root, and what packaging/make_postgres.py makes; daemons, hub and helper share a machine.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.fleet.boards import Board, make_hub
from tests.fleet.postgres import Postgres

WORDS = [f"{a}{b}" for a in "bdfgklmnprstvz" for b in ("ano", "ero", "ilo", "uma", "ola", "iren")]


def fill(board: Board, first: int, count: int, namespace: str = "family") -> None:
    """Import generated memories of about 60 characters."""
    drawn = random.Random(first)
    for start in range(first, first + count, 500):
        lines = [
            {"text": f"{n} {' '.join(drawn.choices(WORDS, k=10))}", "namespace": namespace}
            for n in range(start, min(start + 500, first + count))
        ]
        board.call("import", memories=lines)


def took(what: str, work: Callable[[], object]) -> None:
    """Print how long something took."""
    began = time.monotonic()
    work()
    print(f"{what}: {time.monotonic() - began:.1f} s", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--changes", type=int, default=10_000)
    options = parser.parse_args()
    spaces = {"family": "both"}
    postgres = Postgres(shared_buffers="512MB", max_wal_size="4GB").start()
    boards: list[Board] = []
    try:
        passwords = make_hub(postgres, {"home": spaces, "car": spaces})
        with tempfile.TemporaryDirectory() as folder:
            for name in ("home", "car"):
                url = postgres.url(name, passwords[name])
                most = 2 * (options.memories + options.changes)
                more = {"max_memories": most, "max_mb": 4096}
                boards.append(Board(Path(folder) / name, name, url, spaces, **more).start())
            home, car = boards
            fill(home, 0, options.memories)
            took(f"{options.memories} memories pushed", lambda: home.round(0))
            took(f"{options.memories} memories pulled by a fresh board", lambda: car.round(0))
            fill(home, options.memories, options.changes)
            home.round(0)
            took(f"{options.changes} changes caught up with", lambda: car.round(0))
            took("vectors of all pushed, into an HNSW index", lambda: home.round(1e9))
            for table in ("memories", "vectors_0"):
                size = (
                    "SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint"
                    f" FROM pg_inherits WHERE inhparent = 'nimad.{table}'::regclass"
                )
                if postgres.execute(f"SELECT to_regclass('nimad.{table}')") != [(None,)]:
                    rows = options.memories + options.changes
                    found = postgres.execute(size)[0][0]
                    assert isinstance(found, int)
                    print(f"{table}: {found / rows:.0f} bytes a memory on the hub")
    finally:
        for board in boards:
            board.finish()
        postgres.finish()


if __name__ == "__main__":
    main()
