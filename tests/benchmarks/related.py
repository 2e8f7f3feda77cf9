"""How long `related` takes, and what Cypher takes, in a store of many memories.

    .venv/bin/python -m tests.benchmarks.related [--memories 100000]

Each memory has one relation on average and every third memory begins a turn of three; a few hubs
have a thousand relations each.
"""

from __future__ import annotations

import argparse
import random
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.keys import ENGINES
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


def measure_cypher(store: MemoryStore) -> None:
    """Ask in Cypher after a change, and again."""
    cypher = "MATCH (m:Memory)-[r]->(n) RETURN r.relation, count(*)"
    store.graph.query(cypher)
    store.remember(Memory(text="a change"))
    first = store.graph.query(cypher, fresh=True).took_ms
    times = sorted(store.graph.query(cypher).took_ms for _ in range(100))
    pid = store.graph.pid
    held = re.search(r"Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text())
    store.graph.close()
    store.graph.query(cypher)
    started = store.graph.query("RETURN 1").took_ms
    print(
        f"{store.graph.engine}: first answer after a change {first:.0f} ms, later p50"
        f" {percentile(times, 0.5):.1f} ms, p95 {percentile(times, 0.95):.1f} ms;"
        f" its process holds {int(held[1]) / 1024 if held else 0:.0f} MB;"
        f" file {store.graph.size() / 1e6:.1f} MB; smallest question {started:.1f} ms"
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memories", type=int, default=100_000)
    memories = parser.parse_args().memories
    with tempfile.TemporaryDirectory() as directory:
        state = Path(directory) / "state"
        store = MemoryStore.open(state, Config().replace(embedder="hash", graph__engine="none"))
        fill(store, memories)
        for depth in (1, 2, 3, 5):
            measure(f"related, depth {depth}", lambda n, d=depth: store.related(n, d), memories)
        measure("related of a hub, depth 2", lambda n: store.related(1 + n % HUBS, 2), memories)
        for engine in ENGINES:
            store.close()
            store = MemoryStore.open(state, Config().replace(embedder="hash", graph__engine=engine))
            measure_cypher(store)
        store.close()


if __name__ == "__main__":
    main()
