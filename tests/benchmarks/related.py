"""How long `related` takes, and what Cypher takes, in a store of many memories.

    .venv/bin/python -m tests.benchmarks.related [--memories 100000]

Each memory has one relation on average and every third memory begins a turn of three; a few hubs
have a thousand relations each.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.model import Memory, Relation

QUESTIONS = 500
ROLES = ("input", "contemplation", "output")
HUBS = 5


def fill(store: MemoryStore, memories: int) -> None:
    """Memories, relations and turns without vectors: neither door needs them."""
    chance = random.Random(1)
    with store.records.write() as tx:
        tx.add_memories(
            [
                Memory(
                    text=f"memory {number}",
                    who=f"person {number % 50}",
                    layer=ROLES[number % 3],
                    turn=f"{number // 3 % 1000}",
                    session=f"session {number // 3000}",
                    timestamp=1_700_000_000_000 + number,
                )
                for number in range(memories)
            ]
        )
        origins = [chance.randint(1, memories) for _ in range(memories)]
        origins += [hub for hub in range(1, HUBS + 1) for _ in range(1000)]
        tx.add_relations(
            [
                (
                    Relation(
                        origin,
                        chance.randint(1, memories),
                        chance.choice(("caused", "like")),
                        chance.random(),
                    ),
                    None,
                    None,
                )
                for origin in origins
            ]
        )


def percentile(times: list[float], share: float) -> float:
    """The time below which that share of them lies."""
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]


def measure(name: str, ask: Callable[[int], object], memories: int) -> None:
    """Ask about random memories, print the median and the 95th percentile [ms]."""
    chance = random.Random(2)
    times = []
    for _ in range(QUESTIONS):
        number = chance.randint(1, memories)
        began = time.perf_counter()
        ask(number)
        times.append(1000 * (time.perf_counter() - began))
    print(f"{name:28} p50 {percentile(times, 0.5):6.2f} ms   p95 {percentile(times, 0.95):6.2f} ms")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memories", type=int, default=100_000)
    memories = parser.parse_args().memories
    with tempfile.TemporaryDirectory() as directory:
        settings = {"embedder": "hash", "graph__engine": "ladybug"}
        store = MemoryStore.open(Path(directory) / "state", Config().replace(**settings))
        fill(store, memories)
        for depth in (1, 2, 3, 5):
            measure(f"related, depth {depth}", lambda n, d=depth: store.related(n, d), memories)
        measure("related of a hub, depth 2", lambda n: store.related(1 + n % HUBS, 2), memories)
        store.close()


if __name__ == "__main__":
    main()
