"""What deserves attention now: one memory a step wins a place in a small workspace.

    score = importance + recency + novelty + goal + tone (+ who)

Candidates are the latest memories, what a recall finds for each open goal, and what follows the
last winner in its turn, its session or the graph.  A memory that won lately (`HISTORY`) does not
win again while there are others.  Affects shift the weights between the terms.  Everything is
deterministic: recency counts from the latest memory, not from the clock, and of equal scores the
smaller id wins.  What is kept of a winner is its id (nimad/store/broadcasts.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nimad.core.store import MemoryStore
from nimad.dataclass import dataclass
from nimad.model import ORIGINS, UNKNOWN, Filter, Memory, now_ms
from nimad.namespaces import Namespaces
from nimad.reflection import affects, goals
from nimad.reflection.affects import Affects
from nimad.reflection.themes import cosines, vectors_of
from nimad.store import broadcasts
from nimad.store.bounded import get_within
from nimad.store.goals import of_memories
from nimad.store.relations import neighbours

CAPACITY = 4
"""Number of winners that are in the workspace at a time [memories]."""
HISTORY = 100
"""Number of winners that do not win again while there are others [memories]."""
LATEST = 50
"""Number of latest memories that are candidates [memories]."""
RECALLED = 10
"""Number of memories that are recalled for a goal, and of those that follow a winner [memories]."""
GOALS = 5
"""Number of goals that are looked at, the weightiest [goals]."""
HALF_LIFE = 7 * 86_400_000
"""Age after which the recency of a memory is half [milliseconds]."""
WEIGHTS = {
    "importance": 0.3,
    "recency": 0.2,
    "novelty": 0.3,
    "goal": 0.4,
    "tone": 0.1,
    "who": 0.0,
}
"""Weight of each term, each from 0 to 1, when no affect is set."""
CARE_WHO = 0.1
"""Weight of a memory that is by somebody, under CARE."""
TRUSTED = tuple(origin for origin in (*ORIGINS, UNKNOWN) if origin != "untrusted")

Vectors = NDArray[np.float32]


@dataclass(slots=True)
class Winner:
    """A memory that won, its score and the score's parts; `broadcast` is 0 where it is not kept."""

    memory: Memory
    score: float
    parts: dict[str, float]
    broadcast: int = 0


def weights(mask: int) -> dict[str, float]:
    """The weights under affects: novelty x its factor, recency divided by it, importance x the
    factor of risk; under CARE, who said it counts."""
    novelty, risk = affects.factors(mask)
    found = dict(WEIGHTS)
    found["novelty"] *= novelty
    found["recency"] /= novelty
    found["importance"] *= risk
    if mask & Affects.CARE:
        found["who"] = CARE_WHO
    return found


def attend(
    store: MemoryStore,
    steps: int = 1,
    mask: int = 0,
    within: Namespaces | None = None,
    *,
    keep: bool = True,
    capacity: int = CAPACITY,
) -> list[Winner]:
    """The winners of some steps, fewer when no candidate is left; each is durable (`keep`)."""
    history = [row.memory for row in broadcasts.latest(store.records, HISTORY, within)]
    wanted = goals.listed(store, within=within)[:GOALS]
    pull = goals.vectors(store, wanted)
    recalled = []
    for goal, memory in wanted:
        where = Filter(namespace=memory.namespace, within=within, origin=TRUSTED)
        hits = store.recall.query(memory.text, RECALLED, "hybrid", where)
        recalled += [hit.memory.id for hit in hits if hit.memory.id != goal.memory]
    winners: list[Winner] = []
    for _ in range(steps):
        ids = _candidates(store, history, recalled, capacity, within)
        if not ids:
            break
        best = _best(store, ids, history[-capacity:], pull, mask)
        if best is None:
            break
        if keep:
            with store.records.write() as tx:
                best.broadcast = broadcasts.add(tx, best.memory.id, now_ms(), mask, best.score)
        history.append(best.memory.id)
        winners.append(best)
    return winners


def _candidates(
    store: MemoryStore,
    history: Sequence[int],
    recalled: Sequence[int],
    capacity: int,
    within: Namespaces | None,
) -> list[int]:
    """The ids that compete, ascending."""
    (every,) = store.recall.rows(Filter(within=within, origin=TRUSTED), "id")
    own = of_memories(store.records, every[-LATEST - HISTORY :].tolist()).keys()
    follow: list[int] = []
    if history:
        near = neighbours(store.records, history[-1], 1, RECALLED, within)
        follow = [step.id for step in near] + [history[-1] + 1]
    for out in (set(history[-HISTORY:]), set(history[-capacity:])):
        left = every[~np.isin(every, list(out))]
        wished = np.array([*recalled, *follow], np.int64)
        wished = wished[np.isin(wished, left)]
        some = np.union1d(left[-LATEST:], wished)
        goal_ids = {*own, *of_memories(store.records, wished.tolist())}
        if found := [int(number) for number in some if int(number) not in goal_ids]:
            return found
    return []


def _best(
    store: MemoryStore,
    ids: Sequence[int],
    buffer: Sequence[int],
    pull: Sequence[tuple[float, Vectors]],
    mask: int,
) -> Winner | None:
    """The candidate with the highest score; None when all were forgotten meanwhile."""
    found = get_within(store.records, ids)
    memories = [found[number] for number in ids if number in found]
    rows = vectors_of(store, memories)
    held = vectors_of(store, list(store.records.get(buffer).values()))
    novelty = 1 - cosines(rows, held).max(axis=1, initial=0.0)
    latest = max((memory.timestamp or 0 for memory in memories), default=0)
    wanted = goals.pull(store, pull, [memory.id for memory in memories])
    asked = [str(affect.name) for affect in affects.EFFECTS if mask & affect]
    weight = weights(mask)
    best: Winner | None = None
    for place, memory in enumerate(memories):
        told = affects.told(memory) if asked else {}
        age = latest - memory.timestamp if memory.timestamp else HALF_LIFE
        terms = {
            "importance": 0.5 if memory.importance is None else memory.importance,
            "recency": 0.5 ** (age / HALF_LIFE),
            "novelty": float(novelty[place]),
            "goal": float(wanted[place]),
            "tone": sum(told.get(name, 0.0) for name in asked) / max(1, len(asked)),
            "who": float(bool(memory.who)),
        }
        parts = {name: weight[name] * value for name, value in terms.items() if weight[name]}
        score = sum(parts.values())
        if best is None or score > best.score:
            best = Winner(memory, score, parts)
    return best
