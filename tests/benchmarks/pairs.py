"""A Chinese question of 40 characters over many memories: pairs come from the index.

    python -m tests.benchmarks.pairs [--memories 100000] [--state DIR]

Memories and questions are made of 20,000 made-up words, some as common as those of a language.
Prints milliseconds of 60 questions, none asked before: of the clock, and of the processor, which
does not count what else the machine does.  The bar is 10 ms.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import random
import statistics
import tempfile
import time
from pathlib import Path

from nimad.config import Config
from nimad.core import maintenance
from nimad.core.store import MemoryStore
from nimad.model import Memory

LENGTH = 40
QUESTIONS = 60


class Talk:
    """Runs of characters, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        made = random.Random(3)
        letters = [chr(code) for code in range(0x4E00, 0x4E00 + 2500)]
        sizes = [made.choice((1, 2, 2, 2, 3)) for _ in range(20_000)]
        self._words = ["".join(made.choices(letters, k=size)) for size in sizes]
        self._weights = list(itertools.accumulate(1 / (n + 5) for n in range(20_000)))
        self._random = random.Random(seed)

    def run(self) -> str:
        """LENGTH characters."""
        some = self._random.choices(self._words, cum_weights=self._weights, k=LENGTH)
        return "".join(some)[:LENGTH]


def measure(state: Path, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of the clock, and of the processor, of each question."""
    store = MemoryStore.open(state, Config().replace(graph__engine="none"))
    notes, questions = Talk(1), Talk(2)
    for _ in range(store.records.counts()["memories"], count, 1000):
        store.remember_many([Memory(notes.run(), timestamp=1) for _ in range(1000)])
    maintenance.finish(store)
    store.query("warm up")
    gc.collect()
    gc.freeze()  # as the daemon has it
    clock, processor = [], []
    for _ in range(QUESTIONS):
        text = questions.run()
        began, used = time.perf_counter(), time.thread_time()
        store.query(text)
        clock.append((time.perf_counter() - began) * 1000)
        processor.append((time.thread_time() - used) * 1000)
    store.close()
    return clock, processor


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Chinese questions over many memories")
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--state", type=Path, help="kept for the next time")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(given.state or Path(scratch) / "state", given.memories)
    for name, took in zip(("clock", "processor"), found, strict=True):
        median, worst = statistics.median(took), max(took)
        print(f"{given.memories:,} memories, {name}: median {median:.1f} ms, worst {worst:.1f} ms")


if __name__ == "__main__":
    main()
