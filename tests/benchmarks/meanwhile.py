"""What whoever asks notices of a migration and of an import, of this checkout beside others.

    python -m tests.benchmarks.meanwhile [--memories 20000] [--rounds 3] [--realtime] [CHECKOUT ...]

Each checkout has its .venv.  Each, this one last, starts a daemon on a store of 10,000 made-up
memories (`tests.benchmarks.talk`) and is asked through its socket, each time something else, at
irregular moments, twenty times a second: while nothing else is done (idle), while a legacy store
moves in with the strategy full, and while its own nimactl imports a file.  After each of both the
same is asked of the idle daemon again, for the store has grown.  All times of a phase count, of all
rounds.  `--realtime`, as root, runs both sides at SCHED_RR: then other processes hardly matter.

On a machine that others use, times tell of them.  `work` is the processor time of all threads of
the daemon from when a question is sent until its reply is here: what it takes itself, and what
others do meanwhile that did not let it go first.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from nimad.legacy.snapshot import take_snapshot
from tests.benchmarks import legacy
from tests.benchmarks.query_cost import HERE, import_file, start_daemon
from tests.benchmarks.talk import Talk, make_talk
from tests.client import Client

BEFORE, PAGE = 10_000, 500
PER_SECOND, CALM_SECONDS = 20, 5.0
UPKEEP_SECONDS = 2.0
PHASES = ("idle", "migration", "idle after it", "import", "idle after that")

Times = dict[str, list[float]]
"""Milliseconds of the questions of each phase; under `NAME/s` the memories a second, under
`NAME/work` the processor time of the daemon meanwhile [milliseconds]."""


def run(checkout: Path, source: Path, talk: Talk) -> Times:
    """All phases, one after the other."""
    found: Times = {}
    with tempfile.TemporaryDirectory(prefix="nimad-meanwhile-") as folder:
        place = Path(folder)
        daemon, client = start_daemon(checkout, place)
        try:
            with client, Client(place / "socket") as other:
                for first in range(0, BEFORE, PAGE):
                    client.call("import", memories=talk.memories[first : first + PAGE])
                questions = iter(talk.questions)

                def import_rest() -> None:
                    file = place / "talk.jsonl"
                    rest = talk.memories[BEFORE:]
                    file.write_text("".join(json.dumps(memory) + "\n" for memory in rest))
                    import_file(checkout, place, file)

                def wait() -> None:
                    time.sleep(CALM_SECONDS)

                work = (wait, lambda: move_in(other, source), wait, import_rest, wait)
                for name, doing in zip(PHASES, work, strict=True):
                    if doing is wait:
                        time.sleep(UPKEEP_SECONDS)
                    began = time.perf_counter()
                    asked = asked_while(client, questions, doing, daemon.pid)
                    found[name], found[f"{name}/work"] = asked
                    found[f"{name}/s"] = [
                        (len(talk.memories) - BEFORE) / (time.perf_counter() - began)
                    ]
        finally:
            daemon.terminate()
            daemon.wait()
    return found


def move_in(client: Client, source: Path) -> None:
    """Hand a snapshot over, as nimactl does, and wait until all of it is verified."""
    with take_snapshot(source) as taken:
        given = {"path": taken.origin, "kind": taken.kind, "sha256": taken.digest}
        client.send_with(
            [taken.fd], "migrate.attach", **given, size=taken.size_bytes, strategy="full"
        )
        reply = client.reply()
        assert "error" not in reply, reply
    while True:
        (status,) = client.call("migrate.status")["sources"]
        assert status["state"] not in ("failed", "paused"), status
        if status["state"] == "verified":
            return
        time.sleep(0.05)


def worked(pid: int) -> float:
    """Processor time of all threads of a process so far, clock_getcpuclockid(3) [milliseconds]."""
    return time.clock_gettime_ns((~pid << 3) | 2) / 1e6


def asked_while(
    client: Client, questions: Iterator[str], doing: Callable[[], None], pid: int
) -> tuple[list[float], list[float]]:
    """Ask until something is done; milliseconds of each question, and of the daemon's work."""
    over, chance = threading.Event(), random.Random(7)
    took, work = list[float](), list[float]()

    def ask() -> None:
        while not over.wait(chance.uniform(0.5, 1.5) / PER_SECOND):
            text, before = next(questions), worked(pid)
            began = time.perf_counter()
            client.call("query", text=text)
            took.append((time.perf_counter() - began) * 1000)
            work.append(worked(pid) - before)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        doing()
    finally:
        over.set()
        asker.join()
    return took, work


def table(checkout: Path, rounds: list[Times]) -> str:
    """What was found of one checkout."""
    lines = [str(checkout)]
    cuts, works = {}, {}
    for name in PHASES:
        took = [each for times in rounds for each in times[name]]
        hundredths = statistics.quantiles(took, n=100)
        work = [each for times in rounds for each in times[f"{name}/work"]]
        cuts[name], works[name] = hundredths[94], statistics.quantiles(work, n=20)[18]
        lines.append(
            f"  {name:16} p50 {hundredths[49]:6.2f} ms  p95 {hundredths[94]:6.2f} ms"
            f"  p99 {hundredths[98]:6.2f} ms"
            f"  work p50 {statistics.median(work):6.2f} ms  p95 {works[name]:6.2f} ms"
            f"  ({len(took)} asked)"
        )
    for during, after in (("migration", "idle after it"), ("import", "idle after that")):
        rate = statistics.median(times[f"{during}/s"][0] for times in rounds)
        times_idle, more = cuts[during] / cuts[after], works[during] / works[after]
        lines.append(
            f"  {during}: p95 {times_idle:.2f} times idle, that of the work {more:.2f} times,"
            f" {rate:,.0f} memories/s"
        )
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkouts", nargs="*", type=Path, metavar="CHECKOUT")
    parser.add_argument("--memories", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--realtime", action="store_true", help="go first; as root")
    given = parser.parse_args()
    if given.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    checkouts = [*(checkout.resolve() for checkout in given.checkouts), HERE]
    talk = make_talk(BEFORE + given.memories, 5000)
    found: dict[Path, list[Times]] = {checkout: [] for checkout in checkouts}
    with tempfile.TemporaryDirectory(prefix="nimad-meanwhile-") as folder:
        source = Path(folder) / "graph.sqlite"
        legacy.create(source, given.memories)
        for _ in range(given.rounds):
            for checkout in checkouts:
                found[checkout].append(run(checkout, source, talk))
    for checkout, rounds in found.items():
        print(table(checkout, rounds))
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    sys.exit(main())
