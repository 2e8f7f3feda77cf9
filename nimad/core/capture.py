"""Turns of a conversation become memories: each is stored whole, completed, or left as it is.

A turn is told apart by namespace, session and name.  What is stored of it already stays: the same
text again is nothing new, another text in its place is a conflict, which is told and changes
nothing of that turn.  A part that was not there is added, with the relations that it closes; one
that was forgotten stays forgotten, however often an agent sends its transcript.

Crash prose: all turns of a call are one transaction.  A crash before its COMMIT leaves none of
them, after it all; a caller that got no answer sends them again, and what is there is unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from typing import Any

from nimad.dataclass import dataclass
from nimad.model import TURN_ROLES, Memory, Relation
from nimad.store.transaction import ROLE_BITS, Transaction
from nimad.text import common_form

RELATIONS = (
    ("triggered", "input", "contemplation"),
    ("produced", "contemplation", "output"),
    ("responded_to", "output", "input"),
)
"""What connects the parts of a turn, as nima-core has it: relation, from, to."""
WEIGHT = 1.0
"""Weight of such a relation."""

Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
"""Runs a statement with parameters and gives all rows: of a reader, or inside a transaction."""

_OF_SESSION = """
t.source = 0 AND (t.listed OR t.gone)
  AND t.namespace = (SELECT id FROM names WHERE name = ?)
  AND t.session = (SELECT id FROM names WHERE name = ?)
"""
_STORED = f"""
SELECT c.name, t.gone, t.input, t.contemplation, t.output FROM turns t
LEFT JOIN names c ON c.id = t.conversation WHERE {_OF_SESSION} AND t.name = ?
ORDER BY t.listed DESC, t.id LIMIT 1
"""
_NAMED = f"""
SELECT t.name, t.gone, t.input, t.contemplation, t.output FROM turns t
WHERE {_OF_SESSION} AND t.name > ? ORDER BY t.name LIMIT ?
"""
_TEXTS = "SELECT id, text FROM memories WHERE id IN (?, ?, ?)"


@dataclass(slots=True)
class CapturedTurn:
    """A turn as a caller tells it: its memories by role, all of one namespace, session and turn."""

    name: str
    namespace: str
    session: str
    memories: dict[str, Memory]
    affect: str | None = None


@dataclass(slots=True)
class StoredTurn:
    """What became of a captured turn.

    `state` is stored, completed, unchanged or conflict; `ids` are the memories of the turn by
    role, `conflicts` the roles whose text is another one than was captured, `forgotten` those that
    were captured and are not stored, because they were forgotten.
    """

    turn: str
    state: str
    ids: dict[str, int]
    conflicts: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Plan:
    """What a turn lacks, compared with what is stored of it; `conversation` is that of its row."""

    conversation: str | None
    ids: dict[str, int]
    conflicts: list[str]
    forgotten: list[str]
    missing: list[Memory]


class Capture:
    """The work of one call; `results` tells what became of each turn.

    `missing` are the memories that are not stored yet, as far as a reader sees: the others need
    neither times nor vectors.  What another caller changes meanwhile is seen in `store`.
    """

    def __init__(self, turns: Sequence[CapturedTurn], ask: Ask) -> None:
        plans = [_compare(ask, turn) for turn in turns]
        self._turns = turns
        self.missing = [memory for plan in plans for memory in plan.missing]
        self.results = [_result(t, plan, "unchanged") for t, plan in zip(turns, plans, strict=True)]

    def store(self, tx: Transaction) -> list[Memory]:
        """Store what is missing; those that were, with their ids."""
        self.results = []
        stored: list[Memory] = []
        wanted = {id(memory) for memory in self.missing}
        pending: dict[tuple[str, str, str], tuple[CapturedTurn, _Plan, list[Memory]]] = {}
        for turn in self._turns:
            if (name := (turn.namespace, turn.session, turn.name)) in pending:
                stored += self._store(tx, pending)  # then this one finds it
            plan = _compare(tx.rows, turn)
            added = [memory for memory in plan.missing if id(memory) in wanted]
            if plan.ids:  # of a turn that is there, its own conversation counts
                for memory in added:
                    memory.conversation = plan.conversation
            pending[name] = turn, plan, added
        return stored + self._store(tx, pending)

    def _store(
        self,
        tx: Transaction,
        pending: dict[tuple[str, str, str], tuple[CapturedTurn, _Plan, list[Memory]]],
    ) -> list[Memory]:
        """Store what different turns lack, all of it by few statements: others wait to write."""
        stored = [memory for _, _, added in pending.values() for memory in added]
        tx.add_memories(stored)
        edges: list[Relation] = []
        for turn, plan, added in pending.values():
            state = "completed" if plan.ids else "stored"
            ids, new = plan.ids, {memory.layer for memory in added}
            ids |= {memory.layer: memory.id for memory in added}
            edges += [
                Relation(ids[origin], ids[target], name, WEIGHT)
                for name, origin, target in RELATIONS
                if origin in ids and target in ids and new & {origin, target}
            ]
            if added and turn.affect is not None:
                tx.keep_affect(added[0].id, turn.affect)
            self.results.append(_result(turn, plan, state if added else "unchanged"))
        tx.add_relations([(edge, None, None) for edge in edges])
        pending.clear()
        return stored


def captured_parts(
    ask: Ask, namespace: str, session: str, after: str, limit: int
) -> list[tuple[str, str, int | None]]:
    """What was captured of the turns of a session whose names come after one, those of `limit`
    turns: the turn, the role, and the memory's id (None: it was forgotten)."""
    return [
        (name, role, number)
        for name, gone, *members in ask(_NAMED, (namespace, session, after, limit))
        for role, number in _known_parts(gone, members)
    ]


def is_captured(ask: Ask, memory: Memory) -> bool:
    """Whether the part of a turn that a memory says it is was captured, forgotten ones too."""
    if not (memory.turn and memory.session and memory.layer in TURN_ROLES):
        return False
    found = ask(_STORED, (memory.namespace, memory.session, memory.turn))
    return any(memory.layer in dict(_known_parts(gone, members)) for _, gone, *members in found)


def _known_parts(gone: int, members: Sequence[int | None]) -> Iterator[tuple[str, int | None]]:
    """The parts of a turn that were captured, with their ids, None where one was forgotten."""
    for role, number in zip(TURN_ROLES, members, strict=True):
        if number or gone & ROLE_BITS[role]:
            yield role, number or None


def _compare(ask: Ask, turn: CapturedTurn) -> _Plan:
    found = ask(_STORED, (turn.namespace, turn.session, turn.name))
    conversation, gone, *members = found[0] if found else (None, 0, None, None, None)
    ids = {role: number for role, number in zip(TURN_ROLES, members, strict=True) if number}
    texts: dict[int, str] = dict(ask(_TEXTS, members)) if ids else {}
    conflicts, forgotten, missing = [], [], []
    for role, memory in turn.memories.items():
        if role not in ids and gone & ROLE_BITS[role]:
            forgotten.append(role)
        elif role not in ids:
            missing.append(memory)
        elif common_form(texts.get(ids[role], "")) != common_form(memory.text):
            conflicts.append(role)
    return _Plan(conversation, ids, conflicts, forgotten, [] if conflicts else missing)


def _result(turn: CapturedTurn, plan: _Plan, state: str) -> StoredTurn:
    ids = {role: plan.ids[role] for role in TURN_ROLES if role in plan.ids}
    state = "conflict" if plan.conflicts else state
    return StoredTurn(turn.name, state, ids, plan.conflicts, plan.forgotten)
