"""How long it takes to tell what many memories say: narrative, person, complete, step and the like.

    .venv/bin/python -m tests.benchmarks.reflection [--memories 100000]

Made-up talk with vectors (tests/benchmarks/talk.py), and some relations.  The time of this thread's
processor is shown beside the clock's, which on a busy machine tells more of the others.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from nimad import times
from nimad.cognition.completion import complete
from nimad.config import Config
from nimad.core import maintenance
from nimad.core.store import MemoryStore
from nimad.embed.tokens import TokenCounter
from nimad.model import Filter, Memory, Relation
from nimad.reflection import attention, dream, goals
from nimad.reflection.connection import connect
from nimad.reflection.narrative import narrate
from nimad.reflection.person import describe
from nimad.serve import wire
from tests.benchmarks.talk import make_talk

ROUNDS = 9
BATCH = 500


def fill(store: MemoryStore, memories: int) -> None:
    """Talk in one namespace, and a chain of relations."""
    lines = make_talk(memories, 1).memories
    for start in range(0, len(lines), BATCH):
        part = [wire.imported(line, "default") for line in lines[start : start + BATCH]]
        store.remember_many(part)
    with store.records.write() as tx:
        steps = range(1, memories - 100, 100)
        tx.add_relations([(Relation(n, n + 100, "led_to", 1.0), None, None) for n in steps])
    maintenance.finish(store)


def measure(name: str, ask: Callable[[], object]) -> None:
    """Print the medians and the longest of some rounds."""
    ask()
    clock, processor = [], []
    for _ in range(ROUNDS):
        began, spent = time.perf_counter(), time.thread_time()
        ask()
        clock.append(1000 * (time.perf_counter() - began))
        processor.append(1000 * (time.thread_time() - spent))
    middle = ROUNDS // 2
    figures = (sorted(processor)[middle], sorted(clock)[middle], max(clock))
    print(f"{name:22}" + "".join(f"{figure:10.1f}" for figure in figures))


def main() -> None:
    """Fill a store and ask."""
    options = argparse.ArgumentParser()
    options.add_argument("--memories", type=int, default=100_000)
    number = options.parse_args().memories
    zone = times.local_zone()
    with tempfile.TemporaryDirectory() as folder:
        store = MemoryStore.open(Path(folder) / "state", Config().replace(graph__engine="none"))
        fill(store, number)
        who = store.records.get([5])[5].who or ""
        count = TokenCounter(store.embedder).count
        goal = goals.add(store, Memory("learn what the others said"))
        print(f"{number} memories [ms]     thread    median   longest")
        measure("narrative", lambda: narrate(store, Filter(), zone, 600, count))
        measure("narrative --who", lambda: narrate(store, Filter(who=who), zone, 600, count))
        measure("person", lambda: describe(store, who, Filter(), zone))
        measure("connect", lambda: connect(store, 1, 401, zone))
        measure("goal show", lambda: goals.progress(store, *goals.find(store, goal, None)))
        text, known = "what the others said", Filter(who=who)
        measure("complete", lambda: complete(store, text, known, "WHERE", 5, zone, 2.0))
        measure("complete --who", lambda: complete(store, "", known, "WHEN", 5, zone, 2.0))
        measure("step", lambda: attention.attend(store))
        measure("query", lambda: store.query("what the others said"))
        ranked = goals.ranking(store, True, 10)
        measure("query --goal", lambda: store.query("what the others said", 50, rank=ranked))
        dreamer = dream.Dreamer(store)
        measure("dream, 10 memories", lambda: dreamer.step(keep=False))
        store.close()


if __name__ == "__main__":
    main()
