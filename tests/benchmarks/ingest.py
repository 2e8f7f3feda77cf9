"""How fast `nimactl import` fills a daemon, of this checkout beside others, in turns.

    python -m tests.benchmarks.ingest [--memories 20000] [--rounds 3] [CHECKOUT ...]

Each checkout has its .venv.  Each, this one last, starts a daemon on an empty store and imports a
file of made-up talk (`tests.benchmarks.talk`) with its own nimactl: once alone, once while a client
asks ten questions a second, which it asks again when all is done.  `cpu` is what daemon and nimactl
take for a memory by the kernel's account.  On a busy machine all grow, and only the ratios to the
first checkout tell something.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.benchmarks.migration import processor_seconds
from tests.benchmarks.query_cost import HERE, import_file, start_daemon
from tests.benchmarks.talk import Talk, make_talk
from tests.client import Client

PER_SECOND, AFTERWARDS = 10, 100
UNITS = ("us wall", "us daemon", "us nimactl", "ms p95 meanwhile", "ms p95 afterwards")


def run(checkout: Path, file: Path, talk: Talk, *, asked: bool) -> list[float]:
    """One import; the figures of UNITS, 0 for questions that were not asked."""
    size = len(talk.memories)
    with tempfile.TemporaryDirectory(prefix="nimad-ingest-") as folder:
        place = Path(folder)
        daemon, client = start_daemon(checkout, place)
        try:
            with client:
                client.call("import", memories=talk.memories[:500])
                client.call("query", text=talk.questions[0])
                before, spent = processor_seconds(daemon.pid), _children()
                over, took = threading.Event(), list[float]()
                asker = threading.Thread(target=_ask, args=(client, talk.questions, took, over))
                if asked:
                    asker.start()
                began = time.perf_counter()
                import_file(checkout, place, file)
                seconds = time.perf_counter() - began
                over.set()
                if not asked:
                    daemon_seconds = processor_seconds(daemon.pid) - before
                    each = (seconds, daemon_seconds, _children() - spent)
                    return [*(1e6 * value / size for value in each), 0.0, 0.0]
                asker.join()
                time.sleep(3)  # upkeep
                calm: list[float] = []
                _ask(client, talk.questions[:AFTERWARDS], calm, threading.Event())
                return [0.0, 0.0, 0.0, _p95(took), _p95(calm)]
        finally:
            daemon.terminate()
            daemon.wait()


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _ask(client: Client, questions: list[str], took: list[float], over: threading.Event) -> None:
    for text in questions:
        if over.wait(1 / PER_SECOND):
            break
        began = time.perf_counter()
        client.call("query", text=text)
        took.append((time.perf_counter() - began) * 1000)


def _p95(took: list[float]) -> float:
    return statistics.quantiles(took, n=20)[-1] if len(took) > 1 else 0.0


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkouts", nargs="*", type=Path, metavar="CHECKOUT")
    parser.add_argument("--memories", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    checkouts = [*(checkout.resolve() for checkout in given.checkouts), HERE]
    talk = make_talk(given.memories, 1000)
    found: dict[Path, list[list[float]]] = {checkout: [] for checkout in checkouts}
    with tempfile.TemporaryDirectory(prefix="nimad-ingest-") as folder:
        file = Path(folder) / "talk.jsonl"
        file.write_text("".join(json.dumps(memory) + "\n" for memory in talk.memories))
        for _ in range(given.rounds):
            for checkout in checkouts:
                alone, beside = (run(checkout, file, talk, asked=each) for each in (False, True))
                found[checkout].append([max(pair) for pair in zip(alone, beside, strict=True)])
    medians = {
        checkout: [statistics.median(each) for each in zip(*rounds, strict=True)]
        for checkout, rounds in found.items()
    }
    first = medians[checkouts[0]]
    for checkout, values in medians.items():
        told = [
            f"{value:8.2f} {unit} ({value / base if base else 0:.2f})"
            for value, base, unit in zip(values, first, UNITS, strict=True)
        ]
        print(f"{1e6 / values[0]:,.0f} memories/s", *told, checkout)
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    sys.exit(main())
