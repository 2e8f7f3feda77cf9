"""Goals in the records.  A goal is a memory; its row tells what else is known of it.

So the text of a goal is forgotten, exported, found and kept to its namespace as that of any memory,
and its id is the memory's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nimad.model import Memory
from nimad.namespaces import Namespaces
from nimad.store import stamps
from nimad.store.namespaces import memories_within
from nimad.store.records import Records
from nimad.store.transaction import Transaction

OPEN, DONE, RETIRED = "open", "done", "retired"
STATES = (OPEN, DONE, RETIRED)
"""Retired: given up, or replaced by a newer one."""


class Goal(NamedTuple):
    """One goal: `memory` has its text; times are epoch milliseconds; `by` is the memory that
    reached it, where somebody said so."""

    memory: int
    priority: float
    since: int
    due: int | None = None
    state: str = OPEN
    closed: int | None = None
    by: int | None = None


_COLUMNS = ", ".join(Goal._fields)


def add(tx: Transaction, goal: Goal) -> None:
    """Make a goal of a memory that is there."""
    tx.insert("goals", **goal._asdict())
    stamps.note(tx, [goal.memory], goal.since)


def close(tx: Transaction, memory: int, at: int, by: int | None = None, state: str = DONE) -> None:
    """A goal is reached, or retired; once it is, this changes nothing."""
    sql = "UPDATE goals SET state = ?, closed = ?, by = ? WHERE memory = ? AND state = ?"
    if tx.execute(sql, (state, at, by, memory, OPEN)):
        stamps.note(tx, [memory], at)


def goals(
    records: Records, state: str | None = OPEN, within: Namespaces | None = None
) -> list[Goal]:
    """Goals of a state (None: all) in some namespaces, the weightiest first, then the older."""
    sql = (
        f"SELECT {_COLUMNS} FROM goals WHERE (?1 IS NULL OR state = ?1) AND EXISTS"
        f" (SELECT 1 FROM memories m WHERE m.id = memory AND {memories_within(records, within)})"
        " ORDER BY state != 'open', priority DESC, memory"
    )
    return [Goal(*row) for row in records.rows(sql, (state,))]


def of_memories(records: Records, ids: Sequence[int]) -> dict[int, Goal]:
    """Those of some memories that are goals."""
    found = (
        Goal(*row) for row in records.rows_in(f"SELECT {_COLUMNS} FROM goals WHERE memory IN", ids)
    )
    return {goal.memory: goal for goal in found}


def each_of(records: Records, memories: Sequence[Memory]) -> list[Goal | None]:
    """For each memory the goal that it is, or None."""
    found = of_memories(records, [memory.id for memory in memories])
    return [found.get(memory.id) for memory in memories]


def add_each(tx: Transaction, made: Sequence[Memory], wanted: Sequence[Goal | None]) -> None:
    """Make goals of new memories, of those that have one in `wanted`."""
    for memory, goal in zip(made, wanted, strict=True):
        if goal is not None:
            add(tx, goal._replace(memory=memory.id, by=None))
