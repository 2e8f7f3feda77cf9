"""What storing some memories at once costs together with the next question: processor time inside
one process, of this checkout beside others, in turns.

    python -m tests.benchmarks.remember_many [--rounds 3] [CHECKOUT ...]

Each checkout has its .venv and a store of its own with made-up talk (`tests.benchmarks.talk`).  A
figure is the median of many calls, in ms of a processor; on a busy machine all grow, and the ratios
to the first checkout tell something.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
from pathlib import Path

from tests.benchmarks.query_cost import HERE, python
from tests.benchmarks.talk import make_talk

CALLS = {1: 250, 10: 150, 100: 60}
"""How many calls are measured, by the number of memories in each."""
BEFORE = 2000
"""Memories that are there before [memories]."""
ASK = """
import json, statistics, sys, tempfile, time
from pathlib import Path
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.model import Filter, Memory
memories, questions, calls, before = json.load(sys.stdin)
given, found = iter(memories), {}

def remember(store, size):
    made = [Memory(**next(given)) for _ in range(size)]
    began = time.process_time()
    store.remember_many(made)
    return time.process_time() - began

def ask(store, number):
    began = time.process_time()
    text = questions[number % len(questions)]
    store.query(text, 10, "hybrid", Filter(), 1_700_000_000_000)
    return time.process_time() - began

with tempfile.TemporaryDirectory(prefix="nimad-many-") as folder:
    store = MemoryStore.open(Path(folder) / "state", Config())
    for _ in range(before // 100):
        remember(store, 100)
    for number in range(30):
        ask(store, number)
    for size, count in calls.items():
        pairs = [(remember(store, int(size)), ask(store, number)) for number in range(count)]
        alone, asked = (statistics.median(each) for each in zip(*pairs))
        found[size] = [1e3 * alone, 1e3 * asked, 1e3 * statistics.median(map(sum, pairs))]
    store.close()
print(json.dumps(found))
"""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkouts", nargs="*", type=Path, metavar="CHECKOUT")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    checkouts = [*(checkout.resolve() for checkout in given.checkouts), HERE]
    talk = make_talk(BEFORE + sum(size * count for size, count in CALLS.items()), 400)
    asked = json.dumps([talk.memories, talk.questions, CALLS, BEFORE])
    rounds: dict[Path, list[dict[str, list[float]]]] = {checkout: [] for checkout in checkouts}
    for _ in range(given.rounds):
        for checkout in checkouts:
            command = [python(checkout), "-c", ASK]
            made = subprocess.run(
                command, cwd=checkout, input=asked, text=True, stdout=subprocess.PIPE, check=True
            )
            rounds[checkout].append(json.loads(made.stdout))
    for size in map(str, CALLS):
        first: list[float] = []
        for checkout, found in rounds.items():
            values = [
                statistics.median(each) for each in zip(*(f[size] for f in found), strict=True)
            ]
            first = first or values
            call, question, both = (
                f"{value:.2f} ms ({value / base:.2f})"
                for value, base in zip(values, first, strict=True)
            )
            print(f"{size:>4} a call: call {call}, question {question}, both {both}  {checkout}")
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
