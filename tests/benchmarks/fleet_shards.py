"""How the rate of a hub's inserts grows with the servers that hold its partitions.

    python -m tests.benchmarks.fleet_shards [--memories 3000] [--share 0.015] [--rounds 2]

Twelve boards, each with a namespace of its own, give all they have side by side over each number of
servers.  Where it matters, servers that hold partitions are machines of their own; here the kernel
gives each the same share of one processor, so that they are the bound, and neither the boards nor
the server that boards connect to is.  Needs root, cgroups, and what packaging/make_postgres.py
makes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.fleet import fill
from tests.fleet.boards import Board, make_hub, spread
from tests.fleet.postgres import Postgres

SHARDS, PERIOD = 3, 100_000
CGROUPS = Path("/sys/fs/cgroup")
HERTZ = os.sysconf("SC_CLK_TCK")


def limit(postgres: Postgres, share: float) -> Path:
    """Give a server a share of one processor, by a cgroup of version 2 or 1; its directory."""
    unified = (CGROUPS / "cgroup.controllers").exists()
    place = (CGROUPS if unified else CGROUPS / "cpu") / f"nimad-{postgres.port}"
    place.mkdir()
    quota = str(int(share * PERIOD))
    if unified:
        (place / "cpu.max").write_text(f"{quota} {PERIOD}")
    else:
        (place / "cpu.cfs_period_us").write_text(str(PERIOD))
        (place / "cpu.cfs_quota_us").write_text(quota)
    assert postgres.process is not None
    pid = postgres.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for each in (pid, *children):
        (place / "cgroup.procs").write_text(str(each))
    return place


def namespaces(hub: Postgres) -> list[str]:
    """Two in each of the first six partitions: each number of servers gets equally many."""
    sql = "SELECT r, n FROM generate_series(0, 5) r CROSS JOIN LATERAL (SELECT 'space' || n"
    sql += " FROM generate_series(0, 200) n WHERE satisfies_hash_partition("
    sql += "'nimad.memories'::regclass, 16, r, 'space' || n) LIMIT 2) AS found (n)"
    return [str(name) for _, name in hub.execute(sql)]


def give(boards: Sequence[Board]) -> float:
    """Let all boards make a round at the same time; how long all took [seconds]."""
    made = multiprocessing.get_context("fork")
    processes = [made.Process(target=board.round, args=(0,)) for board in boards]
    began = time.monotonic()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return time.monotonic() - began


def processor_time(processes: Sequence[subprocess.Popen[bytes] | None]) -> float:
    """What processes and their children used so far, also those that have ended [seconds]."""
    while True:
        total = 0
        try:
            for pid in (str(process.pid) for process in processes if process is not None):
                for each in (pid, *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
                    stat = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
                    total += sum(map(int, stat[11:15]))
        except (FileNotFoundError, ProcessLookupError):
            continue  # a child ended meanwhile: its time is its parent's from now on
        return total / HERTZ


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memories", type=int, default=3000, help="of each board")
    parser.add_argument("--share", type=float, default=0.015, help="of a processor, of each server")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    hub, *shards = (Postgres(max_wal_size="4GB").start() for _ in range(SHARDS + 1))
    boards: list[Board] = []
    limits: list[Path] = []
    rates: dict[int, list[float]] = {count: [] for count in range(1, SHARDS + 1)}
    try:
        make_hub(hub, {})
        spaces = namespaces(hub)
        names = [f"board{n}" for n in range(len(spaces))]
        rights = {name: {space: "push"} for name, space in zip(names, spaces, strict=True)}
        passwords = make_hub(hub, rights)
        with tempfile.TemporaryDirectory() as folder:
            for name, space in zip(names, spaces, strict=True):
                url = hub.url(name, passwords[name])
                board = Board(Path(folder) / name, name, url, rights[name]).start()
                boards.append(board)
                fill(board, 0, options.memories, space)
            limits += [limit(shard, options.share) for shard in shards]
            for count in list(rates) * options.rounds:
                for server in (hub, *shards):
                    server.execute(
                        "DROP DATABASE IF EXISTS nimad WITH (FORCE)", database="postgres"
                    )
                make_hub(hub, rights)
                spread(hub, shards[:count])
                groups = [[shard.process for shard in shards[:count]], [hub.process]]
                groups.append([board.daemon.process for board in boards])
                before = [processor_time(group) for group in groups]
                helpers = resource.getrusage(resource.RUSAGE_CHILDREN)
                took = give(boards)
                used = [processor_time(g) - b for g, b in zip(groups, before, strict=True)]
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                used[2] += sum(after[:2]) - sum(helpers[:2])
                (held,) = hub.execute("SELECT count(*) FROM nimad.memories")[0]
                assert held == options.memories * len(boards)
                rates[count].append(held / took)
                busy, *others = (seconds / took for seconds in used)
                print(
                    f"{count} servers: {held / took:.0f} memories a second; they use"
                    f" {busy / options.share / count:.0%} of their shares, the one that boards"
                    f" connect to {others[0]:.2f} processors, boards and helpers {others[1]:.2f}",
                    flush=True,
                )
        middle = {count: statistics.median(found) for count, found in rates.items()}
        print("medians:", *(f"{rate:.0f} ({rate / middle[1]:.2f})" for rate in middle.values()))
    finally:
        for board in boards:
            board.finish()
        for server in (hub, *shards):
            server.finish()
        for place in limits:
            place.rmdir()


if __name__ == "__main__":
    main()
