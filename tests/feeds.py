"""A change feed over dicts: the graph's tests follow it instead of the records."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

from nimad.graph.projection import GraphProjection
from nimad.model import LAYERS, Change, Relation, Turn

ROLES = ("input", "contemplation", "output")

MemoryRow = tuple[str, str | None, int]  # layer, who, timestamp
TurnRow = tuple[int | None, int | None, int | None]
RelationRow = tuple[int, int, str, float | None]


class DictFeed:
    """Rows in dicts, a log in a list; deleting leaves the log as the records would."""

    def __init__(self) -> None:
        self.memories: dict[int, tuple[int, str, str | None, int]] = {}
        self.turns: dict[int, Turn] = {}
        self.relations: dict[int, Relation] = {}
        self.log: list[Change] = []
        self._given = {"memory": 0, "turn": 0, "relation": 0}

    # --- the feed -----------------------------------------------------------------------------

    def head(self) -> int:
        return len(self.log)

    def changes(self, after: int, limit: int) -> list[Change]:
        return self.log[after : after + limit]

    def memory_keys(self, first: int, last: int) -> list[tuple[int, str, str | None, int]]:
        return _between(self.memories, first, last)

    def turn_rows(self, first: int, last: int) -> list[Turn]:
        return _between(self.turns, first, last)

    def relation_rows(self, first: int, last: int) -> list[Relation]:
        return _between(self.relations, first, last)

    def counts(self) -> dict[str, int]:
        return {
            "memories": len(self.memories),
            "turns": len(self.turns),
            "relations": len(self.relations),
        }

    # --- changing it ----------------------------------------------------------------------------

    def add_memories(self, *rows: MemoryRow) -> list[int]:
        ids = [self._give("memory") for _ in rows]
        self.memories.update(
            {number: (number, *row) for number, row in zip(ids, rows, strict=True)}
        )
        self.note("add", "memory", ids)
        return ids

    def add_turns(self, *rows: TurnRow) -> list[int]:
        ids = [self._give("turn") for _ in rows]
        for number, members in zip(ids, rows, strict=True):
            self.turns[number] = Turn(f"turn {number}", *members, timestamp=None, id=number)
        self.note("add", "turn", ids)
        return ids

    def change_turn(self, number: int, members: TurnRow) -> None:
        self.turns[number] = Turn(f"turn {number}", *members, timestamp=None, id=number)
        self.note("add", "turn", [number])

    def add_relations(self, *rows: RelationRow) -> list[int]:
        ids = [self._give("relation") for _ in rows]
        for number, row in zip(ids, rows, strict=True):
            self.relations[number] = Relation(*row, id=number)
        self.note("add", "relation", ids)
        return ids

    def delete_memories(self, ids: Iterable[int]) -> None:
        """As the records do it: relations go, turns lose members, empty turns go."""
        gone = set(ids)
        relations = [r.id for r in self.relations.values() if {r.source, r.target} & gone]
        self.delete_relations(relations)
        for turn in list(self.turns.values()):
            members = (turn.input, turn.contemplation, turn.output)
            left = tuple(None if m in gone else m for m in members)
            if left != members and any(m is not None for m in left):
                self.change_turn(turn.id, left)  # type: ignore[arg-type]
            elif left != members:
                del self.turns[turn.id]
                self.note("delete", "turn", [turn.id])
        for number in gone:
            del self.memories[number]
        self.note("delete", "memory", gone)

    def delete_relations(self, ids: Iterable[int]) -> None:
        gone = list(ids)
        for number in gone:
            del self.relations[number]
        self.note("delete", "relation", gone)

    def note(self, op: str, kind: str, ids: Iterable[int]) -> None:
        """Log ids, as ranges."""
        ordered = sorted(ids)
        while ordered:
            length = 1
            while length < len(ordered) and ordered[length] == ordered[0] + length:
                length += 1
            change = Change(len(self.log) + 1, op, kind, ordered[0], ordered[length - 1])
            self.log.append(change)
            ordered = ordered[length:]

    def _give(self, kind: str) -> int:
        self._given[kind] += 1
        return self._given[kind]


def _between(rows: Mapping[int, Any], first: int, last: int) -> list[Any]:
    if last - first < len(rows):
        return [rows[number] for number in range(first, last + 1) if number in rows]
    return [rows[number] for number in sorted(rows) if first <= number <= last]


def household(memories: int = 4112, relations: int = 4038, turns: int = 1346) -> DictFeed:
    """A feed of that many rows, always the same; three members a turn."""
    chance, feed = random.Random(7), DictFeed()
    names = ("maya", "theo", "the agent", None, "")
    feed.add_memories(
        *(
            (LAYERS[i % 3], chance.choice(names), 1_700_000_000_000 + i * 61_234)
            for i in range(memories)
        )
    )
    kinds = ("caused", "relates_to", "led_to")
    feed.add_relations(
        *(
            (
                *(chance.randint(1, memories), chance.randint(1, memories), chance.choice(kinds)),
                round(chance.random(), 2),
            )
            for _ in range(relations)
        )
    )
    feed.add_turns(*((3 * i + 1, 3 * i + 2, 3 * i + 3) for i in range(turns)))
    return feed


def shown(graph: GraphProjection) -> dict[str, list[Any]]:
    """Everything that is in a graph, as sorted rows; edges as seen from both of their ends."""
    relation, member = "[r:Relation]", "[m:Member]"
    return {
        "memories": _rows(graph, "(n:Memory) RETURN n.id, n.layer, n.who, n.timestamp"),
        "turns": _rows(graph, "(n:Turn) RETURN n.id"),
        "relations": _rows(
            graph,
            f"(a:Memory)-{relation}->(b:Memory) RETURN a.id, b.id, r.id, r.relation, r.weight",
        ),
        "backwards": _rows(graph, f"(b:Memory)<-{relation}-(a:Memory) RETURN a.id, b.id, r.id"),
        "members": _rows(graph, f"(t:Turn)-{member}->(b:Memory) RETURN t.id, m.role, b.id"),
        "memberships": _rows(graph, f"(b:Memory)<-{member}-(t:Turn) RETURN t.id, m.role, b.id"),
    }


def expected(feed: DictFeed) -> dict[str, list[Any]]:
    """What `shown` must give for a graph that has followed the feed ("" and NULL are the same)."""
    relations = [
        (r.source, r.target, r.id, r.relation, r.weight)
        for r in feed.relations.values()
        if r.source in feed.memories and r.target in feed.memories
    ]
    members = sorted(
        (turn.id, role, getattr(turn, role))
        for turn in feed.turns.values()
        for role in ROLES
        if getattr(turn, role) in feed.memories
    )
    return {
        "memories": sorted(_plain(row) for row in feed.memories.values()),
        "turns": sorted((number,) for number in feed.turns),
        "relations": sorted(_plain(row) for row in relations),
        "backwards": sorted(row[:3] for row in relations),
        "members": members,
        "memberships": members,
    }


def _rows(graph: GraphProjection, pattern: str) -> list[Any]:
    return sorted(_plain(row) for row in graph.query(f"MATCH {pattern}"))


def _plain(row: Iterable[Any]) -> tuple[Any, ...]:
    return tuple("" if value is None else value for value in row)
