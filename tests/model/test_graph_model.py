"""Random changes, questions, restarts: the graph holds what the records hold when it was made."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from nimad.config import Config
from nimad.core import maintenance
from nimad.core.store import MemoryStore
from nimad.keys import ENGINES
from nimad.model import LAYERS, Memory, Relation
from tests.unit.test_graph import KUZU_RUNS, contents, truth

STEPS = 60


class Run:
    """One store, and what its graph has to hold (None: it has not been made)."""

    def __init__(self, state: Path, engine: str, seed: int) -> None:
        self.state, self.engine, self.chance = state, engine, random.Random(seed)
        self.store = self.open()
        self.due: dict[str, Any] | None = None

    def open(self) -> MemoryStore:
        settings = Config().replace(embedder="hash", graph__engine=self.engine)
        return MemoryStore.open(self.state, settings)

    def ids(self) -> list[int]:
        return [int(number) for number in self.store.records.ids()]

    def remember(self) -> None:
        self.store.remember_many(
            [
                Memory(
                    text="x",
                    who=self.chance.choice((None, "Ada", "Ben")),
                    layer=self.chance.choice(LAYERS),
                    turn=self.chance.choice((None, "1", "2")),
                    session=self.chance.choice((None, "a", "b")),
                )
                for _ in range(self.chance.randint(1, 10))
            ]
        )

    def relate(self) -> None:
        if ids := self.ids():
            ends = [(self.chance.choice(ids), self.chance.choice(ids)) for _ in range(3)]
            with self.store.records.write() as tx:
                tx.add_relations([(Relation(a, b, "like", 0.5), None, None) for a, b in ends])

    def forget(self) -> None:
        if ids := self.ids():
            purge = self.chance.random() < 0.3
            self.store.forget(self.chance.sample(ids, min(len(ids), 3)), purge=purge)
            if purge:
                self.due = None

    def ask(self) -> None:
        fresh = self.chance.random() < 0.5
        if fresh or self.due is None:
            self.due = truth(self.store)
        assert contents(self.store, fresh=fresh) == self.due

    def restart(self) -> None:
        self.store.close()
        self.store = self.open()

    def rebuild(self) -> None:
        self.store.graph.rebuild()
        self.due = truth(self.store)

    def idle(self) -> None:
        maintenance.finish(self.store)


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
@pytest.mark.parametrize("engine", ENGINES)
def test_random_runs(tmp_path: Path, engine: str, seed: int) -> None:
    if engine == "kuzu" and not KUZU_RUNS:
        pytest.skip("kuzu works with memory pages of 4 KiB only")
    run = Run(tmp_path / "state", engine, seed)
    steps = [run.remember, run.relate, run.forget, run.ask, run.restart, run.rebuild, run.idle]
    try:
        for _ in range(STEPS):
            run.chance.choices(steps, weights=(6, 4, 3, 3, 1, 1, 1))[0]()
        run.rebuild()
        run.ask()
    finally:
        run.store.close()
