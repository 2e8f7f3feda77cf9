"""Goals: memories that say what is wanted, how far they are, and how they colour a query.

Nothing is reached by itself: what was remembered since, and is near to a goal, is shown with its
ids, and it is for a person to say that it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nimad.core.store import MemoryStore
from nimad.errors import NotFound
from nimad.model import Filter, Hit, Memory, may_see, now_ms
from nimad.namespaces import Namespaces
from nimad.reflection.themes import vectors_of
from nimad.store import goals
from nimad.store.bounded import get_within
from nimad.store.goals import OPEN, RETIRED, Goal
from nimad.store.transaction import Transaction

TAG = "goal"
"""The tag of a memory that is a goal."""
PRIORITY = 0.8
"""Priority of a goal that names none."""
NEAREST = 20
"""Number of memories that are shown as progress [memories]."""
WEIGHT = 0.3
"""Weight of the goal term of a query: what a memory gains that says the same as a goal of priority
1, beside scores of about 1 for a good answer."""
LOOKED = 50
"""Least number of results that a query with a goal ranks anew [memories]."""

Vector = NDArray[np.float32]


def add(
    store: MemoryStore, memory: Memory, priority: float = PRIORITY, due: int | None = None
) -> int:
    """Remember a memory as a goal, in one transaction; its id.  Raises UsageError, DiskFull."""
    memory.tags = tuple(dict.fromkeys((*memory.tags, TAG)))
    since = now_ms()

    def note(tx: Transaction) -> None:
        goals.add(tx, Goal(memory.id, priority, since, due))

    return store.remember_many([memory], note)[0]


def find(store: MemoryStore, number: int, within: Namespaces | None) -> tuple[Goal, Memory]:
    """A goal and its memory.  Raises NotFound, also for one outside of some namespaces."""
    goal = goals.of_memories(store.records, [number]).get(number)
    memory = store.records.get([number]).get(number)
    if goal is None or memory is None or not may_see(within, memory):
        raise NotFound(kind="goal", id=number)
    return goal, memory


def listed(
    store: MemoryStore, state: str | None = OPEN, within: Namespaces | None = None
) -> list[tuple[Goal, Memory]]:
    """Goals of a state (None: all) and their memories, the weightiest first."""
    found = goals.goals(store.records, state, within)
    memories = get_within(store.records, [goal.memory for goal in found])
    return [(goal, memories[goal.memory]) for goal in found if goal.memory in memories]


def done(
    store: MemoryStore, number: int, by: int | None = None, within: Namespaces | None = None
) -> Goal:
    """Note that a goal is reached, by a memory perhaps.  Raises NotFound."""
    find(store, number, within)
    if by is not None:
        store.get(by, within)
    with store.records.write() as tx:
        goals.close(tx, number, now_ms(), by)
    return find(store, number, within)[0]


def retire(store: MemoryStore, numbers: Sequence[int]) -> None:
    """Give goals up; they stay memories."""
    with store.records.write() as tx:
        for number in numbers:
            goals.close(tx, number, now_ms(), state=RETIRED)


def progress(
    store: MemoryStore, goal: Goal, memory: Memory, within: Namespaces | None = None
) -> list[Hit]:
    """Memories since a goal was set, of its namespace, that are near to it, the nearest first."""
    where = Filter(namespace=memory.namespace, after=goal.since, within=within)
    allowed = store.recall.ids(where)
    index, embedder = store.semantic.serving
    ids, scores = index.search(vectors_of(store, [memory])[0], 2 * NEAREST, allowed)
    own = goals.of_memories(store.records, ids.tolist())
    near = [
        (int(i), float(score))
        for i, score in zip(ids, scores, strict=True)
        if score >= embedder.scale.near and int(i) not in own
    ][:NEAREST]
    memories = get_within(store.records, [number for number, _ in near])
    return [Hit(memories[i], score, {"cosine": score}) for i, score in near if i in memories]


def vectors(store: MemoryStore, found: Sequence[tuple[Goal, Memory]]) -> list[tuple[float, Vector]]:
    """Priority and vector of each goal."""
    rows = vectors_of(store, [memory for _, memory in found])
    return [(goal.priority, row) for (goal, _), row in zip(found, rows, strict=True)]


def pull(store: MemoryStore, wanted: Sequence[tuple[float, Vector]], ids: Sequence[int]) -> Vector:
    """float32[m]: by how much goals want each memory: the largest of priority x cosine, or 0."""
    numbers = np.array(ids, np.int64)
    most = np.zeros(len(ids), np.float32)
    for priority, row in wanted:
        cosines = np.nan_to_num(store.blocks.scores(row, numbers))
        most = np.maximum(most, np.float32(priority) * cosines)
    return most


def ranking(
    store: MemoryStore, which: int | bool, k: int, within: Namespaces | None = None
) -> Callable[[list[Hit]], list[Hit]]:
    """What ranks hits with a goal in mind, or (True) with all open ones.  Raises NotFound."""
    found = listed(store, within=within) if which is True else [find(store, which, within)]
    wanted = vectors(store, found)
    return lambda hits: rank(store, hits, wanted, k)


def rank(
    store: MemoryStore, hits: Sequence[Hit], wanted: Sequence[tuple[float, Vector]], k: int
) -> list[Hit]:
    """The best `k` hits of a query when what goals want counts, too: the part "goal"."""
    ids = [hit.memory.id for hit in hits]
    terms = WEIGHT * pull(store, wanted, ids)
    terms[np.isin(ids, list(goals.of_memories(store.records, ids)))] = 0  # not for itself
    for hit, term in zip(hits, terms.tolist(), strict=True):
        hit.parts["goal"] = term
        hit.score += term
    return sorted(hits, key=lambda hit: (-hit.score, hit.memory.id))[:k]
