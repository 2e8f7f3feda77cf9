"""What stands around a hit: its turn and its neighbours in the session, as passages.

A passage is a stretch of one session (or of talk, see `session_neighbours`) with at least one hit
in it.  Hits of one turn, and hits that are already in a better hit's passage, join it instead of
making one of their own, so no memory is ever shown twice; nor is one that says the same as another
by the same speaker in the same namespace.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.model import EVERYTHING, TURN_ROLES, Filter, Hit, Memory
from nimad.recall.columns import NONE, Columns
from nimad.store.bounded import get_within
from nimad.store.records import Records
from nimad.text import common_form

NEIGHBOURS = 1
"""Memories beyond the turn on each side: what was asked, and what came back."""
_LONGEST_TURN = 8
"""How far from a hit the rest of its turn may stand."""


@dataclass(slots=True)
class Passage:
    """A stretch of one session.

    Attributes:
        hit: the best one in it.
        hits: all of them, best first.
        turn: ids of the best hit's turn by role; empty when it has none.
        memories: in the order of time, hits included.
    """

    hit: Hit
    hits: list[Hit] = field(default_factory=list)
    turn: dict[str, int] = field(default_factory=dict)
    memories: list[Memory] = field(default_factory=list)

    def kept(self, ids: Iterable[int]) -> list[Memory]:
        """Those of its memories, in order."""
        wanted = set(ids)
        return [memory for memory in self.memories if memory.id in wanted]


def saying(memory: Memory) -> tuple[str, str, str]:
    """`Columns.said` of a memory that need not be a row: equal where two say the same."""
    who = common_form(memory.who or "")
    return common_form(memory.text) or memory.text, who, memory.namespace


def alone(hits: Sequence[Hit]) -> list[Passage]:
    """Each hit as a passage without anything around it."""
    return [Passage(hit, [hit], {}, [hit.memory]) for hit in hits]


def ids_around(columns: Columns, hits: Sequence[Hit]) -> dict[int, list[int]]:
    """For the id of each hit, the ids around it in its session that may be shown, it included.
    They are in the order of time; as far as a turn may reach where the hit belongs to one."""
    found = {}
    for hit in hits:
        rows = columns.rows_of(np.array([hit.memory.id], np.int64))
        if not len(rows):
            continue
        reach = NEIGHBOURS if hit.memory.turn is None else NEIGHBOURS + _LONGEST_TURN
        before = _along(columns.before, int(rows[0]), reach)
        after = _along(columns.after, int(rows[0]), reach)
        around = [*reversed(before), int(rows[0]), *after]
        found[hit.memory.id] = [int(columns.id[row]) for row in around]
    return found


def _along(chain: NDArray[np.int32], row: int, reach: int) -> list[int]:
    found: list[int] = []
    while len(found) < reach and (row := int(chain[row])) != NONE:
        found.append(row)
    return found


def passages(
    records: Records,
    hits: Sequence[Hit],
    around: dict[int, list[int]],
    upto: int | None,
    most: int,
    where: Filter = EVERYTHING,
) -> list[Passage]:
    """The best `most` passages of hits, best first.

    Args:
        hits: best first.
        around: `ids_around` them.
        upto: nothing later is shown, nor what has no date [epoch milliseconds]; None: all is.
        where: of it, the origins and namespaces bound what stands around the hits, too.
    """
    turns = _turns(records, hits)
    wanted = {i for ids in (*around.values(), *(t.values() for t in turns.values())) for i in ids}
    known = get_within(records, sorted(wanted | {hit.memory.id for hit in hits}))
    known = {i: m for i, m in known.items() if where.lets_see(m)}
    if upto is not None:
        known = {i: m for i, m in known.items() if m.timestamp is not None and m.timestamp <= upto}
    made: list[Passage] = []
    places: dict[int, Passage] = {}
    said: dict[tuple[object, ...], int] = {}
    for hit in hits:
        number = hit.memory.id
        if number not in known:  # forgotten meanwhile
            continue
        if said.get(saying(hit.memory), number) != number:
            continue
        chain = [i for i in around.get(number, [number]) if i in known]
        turn = _turn(hit.memory, turns.get(number, {}), chain, known)
        inside = [place for place, i in enumerate(chain) if i == number or i in turn.values()]
        first, end = inside[0], inside[-1] + 1
        beside = (*chain[max(0, first - NEIGHBOURS) : first], *chain[end : end + NEIGHBOURS])
        shown = {number, *turn.values(), *beside}
        passage = places.get(number) or next(
            (places[i] for i in turn.values() if i in places), None
        )
        if passage is None:
            if len(made) == most:
                continue
            passage = Passage(hit, [], turn, [])
            made.append(passage)
        passage.hits.append(hit)
        around_it = [known[i] for i in sorted(shown, key=lambda i: i != number)]
        fresh = [  # what no passage has, and what says what none has said
            memory
            for memory in around_it
            if memory.id not in places and said.setdefault(saying(memory), memory.id) == memory.id
        ]
        passage.memories += fresh
        passage.memories.sort(key=lambda m: (m.timestamp or 0, m.id))
        places.update((memory.id, passage) for memory in fresh)
    return made


def _turns(records: Records, hits: Sequence[Hit]) -> dict[int, dict[str, int]]:
    """For the hits that belong to a turn: its members by role, as the turn's row lists them."""
    ids = [hit.memory.id for hit in hits if hit.memory.turn is not None]
    if not ids:
        return {}
    rows = records.rows(
        "SELECT m.id, t.input, t.contemplation, t.output FROM memories m"
        f" JOIN turns t ON t.id = m.turn WHERE m.id IN ({','.join('?' * len(ids))})",
        ids,
    )
    return {
        row[0]: {role: member for role, member in zip(TURN_ROLES, row[1:], strict=True) if member}
        for row in rows
    }


def _turn(
    memory: Memory, listed: dict[str, int], chain: Sequence[int], known: dict[int, Memory]
) -> dict[str, int]:
    """The members of a memory's turn by role.

    What the row lists counts where it is of the same session: a legacy row may name memories of
    others.  Members of a turn that no row lists are found beside it.
    """
    if memory.turn is None:
        return {}
    near = {i: known[i] for i in [*listed.values(), *chain] if i in known}
    mine = _session(memory)
    found = {memory.layer: memory.id} if memory.layer in TURN_ROLES else {}
    for number, other in near.items():
        if other.turn == memory.turn and _session(other) == mine and other.layer in TURN_ROLES:
            found.setdefault(other.layer, number)
    return {role: found[role] for role in TURN_ROLES if role in found}


def _session(memory: Memory) -> tuple[object, ...]:
    source = memory.source[0] if memory.source else None
    return memory.namespace, memory.conversation, memory.session, source
