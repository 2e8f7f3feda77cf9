"""Random additions, changes, deletions, restarts and rebuilds: the graph equals a dict model."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from nimad.graph import projection
from nimad.graph.projection import GraphLimits, GraphProjection
from nimad.graph.traverse import Neighbour
from tests.engines import ENGINE
from tests.feeds import ROLES, DictFeed, expected, shown

SEEDS = range(6 if ENGINE == "ladybug" else 3)


class Walk:
    """One random run; `feed` is the model."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.feed = DictFeed()
        self.graph = GraphProjection(directory, ENGINE, GraphLimits())
        self.graph.open()

    def some(self, ids: object, most: int) -> list[int]:
        there = sorted(ids)  # type: ignore[call-overload]
        return self.chance.sample(there, min(len(there), self.chance.randint(0, most)))

    def add(self) -> None:
        count = self.chance.choice([1, 1, 3, 40])
        self.feed.add_memories(
            *(
                (self.chance.choice(ROLES), self.chance.choice(["maya", None]), n)
                for n in range(count)
            )
        )

    def connect(self) -> None:
        there = list(self.feed.memories)
        if there:
            self.feed.add_relations(
                *(
                    (
                        *(self.chance.choice(there), self.chance.choice(there)),
                        self.chance.choice(["caused", "led_to"]),
                        self.chance.choice([None, 0.25, 0.5, 1.0]),
                    )
                    for _ in range(self.chance.choice([1, 5, 30]))
                )
            )

    def members(self) -> tuple[int | None, int | None, int | None]:
        picked = [*self.some(self.feed.memories, 3), None, None, None]
        return picked[0], picked[1], picked[2]

    def talk(self) -> None:
        self.feed.add_turns(*(self.members() for _ in range(self.chance.choice([1, 4]))))

    def retell(self) -> None:
        for number in self.some(self.feed.turns, 3):
            self.feed.change_turn(number, self.members())

    def forget(self) -> None:
        self.feed.delete_memories(self.some(self.feed.memories, self.chance.choice([1, 5, 30])))

    def cut(self) -> None:
        self.feed.delete_relations(self.some(self.feed.relations, 10))

    def follow(self) -> None:
        self.graph.catch_up(self.feed, self.chance.choice([1, 2, 7, 50, 100_000]))

    def restart(self) -> None:
        self.graph.close()
        self.graph.open()

    def rebuild(self) -> None:
        self.graph.rebuild(self.feed)

    def run(self, length: int) -> None:
        steps = [self.add, self.connect, self.talk, self.retell, self.forget, self.cut]
        steps += [self.add, self.connect, self.follow, self.follow, self.follow, self.restart]
        for number in range(length):
            self.chance.choice(steps)()
            if number % 25 == 24:
                self.rebuild()
                self.check()

    def check(self) -> None:
        while not self.graph.catch_up(self.feed, 100_000):
            pass
        assert shown(self.graph) == expected(self.feed)
        assert self.graph.counts() == self.feed.counts()
        for number in self.some(self.feed.memories, 3):
            assert self.graph.related(number, 1, 10_000) == neighbours(self.feed, number)


def neighbours(feed: DictFeed, start: int) -> list[Neighbour]:
    """What is one edge away, worked out from the dicts."""
    best: dict[tuple[int, str, str], float | None] = {}
    for r in feed.relations.values():
        for end, other, direction in ((r.source, r.target, "out"), (r.target, r.source, "in")):
            if end == start != other:
                key = (other, r.relation, direction)
                weights = [w for w in (best.get(key), r.weight) if w is not None]
                best[key] = max(weights, default=None)
    later: dict[int, bool] = {}
    for turn in feed.turns.values():
        parts = [(place, getattr(turn, role)) for place, role in enumerate(ROLES)]
        for here in (part for part in parts if part[1] == start):
            for part in parts:
                if part[1] is not None and part[1] != start:
                    later[part[1]] = later.get(part[1], False) or part > here
    found = [Neighbour(n, name, w, way, 1) for (n, name, way), w in best.items()]
    found.sort(key=lambda n: (n.weight is None, -(n.weight or 0), n.id, n.relation, n.direction))
    turns = [Neighbour(n, "same_turn", None, "out" if out else "in", 1) for n, out in later.items()]
    return found + sorted(turns, key=lambda n: n.id)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_runs(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "FOLD_STEPS", 5)
    monkeypatch.setattr(projection, "BUILD_ROWS", 200 if seed % 2 else 20)
    walk = Walk(tmp_path / "graph", seed)
    walk.run(75)
    walk.check()
    walk.restart()
    walk.check()
    walk.graph.close()
