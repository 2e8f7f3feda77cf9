"""Walking the graph from one memory: nearest first, always in the same order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nimad.graph.engine import Rows
from nimad.model import TURN_ROLES

MAX_DEPTH = 3
SAME_TURN = "same_turn"

_EDGES = """
MATCH (a:Memory){edge}(b:Memory) WHERE a.id IN {start}
WITH b.id AS number, r.relation AS name, r.weight AS weight WHERE NOT number IN {seen}
RETURN number, name, weight ORDER BY weight IS NULL, weight DESC, number, name LIMIT {most}
"""
_TURNS = """
MATCH (a:Memory)<-[m:Member]-(:Turn)-[n:Member]->(b:Memory) WHERE a.id IN {start}
WITH b.id AS number, n.role AS role, a.id AS origin, m.role AS part WHERE NOT number IN {seen}
RETURN number, role, origin, part ORDER BY number, role, origin, part LIMIT {most}
"""
# What was seen is filtered behind WITH: before it, the planner would scan from that side.
# Ids stand in the text: see `engine` for what parameters cost.

Query = Callable[[str], Rows]


@dataclass(slots=True, frozen=True)
class Neighbour:
    """A memory that was reached, and by what.

    `direction` is "out" when the last edge leads away from the start, "in" when it leads towards
    it; in a turn, "out" leads to what came later.  `distance` counts edges, from 1; a turn is
    one edge.  `weight` is None where the edge has none.
    """

    id: int
    relation: str
    weight: float | None
    direction: str
    distance: int


def walk(query: Query, memory_id: int, depth: int, limit: int) -> list[Neighbour]:
    """Up to `limit` neighbours of a memory within `depth` edges (at most 3), nearest first.

    Each memory appears at its smallest distance only, once for each relation and direction that
    leads to it there (of parallel edges the heaviest).  At one distance: the heavier first, those
    without weight after them, members of the same turn last; then by id.  An unknown memory has no
    neighbours.  Cost: three queries for each distance.
    """
    seen, frontier = {memory_id}, [memory_id]
    found: list[Neighbour] = []
    for distance in range(1, min(depth, MAX_DEPTH) + 1):
        if not frontier or len(found) >= limit:
            break
        level = _level(query, frontier, seen, distance, limit - len(found))
        found += level
        frontier = sorted({neighbour.id for neighbour in level})
        seen.update(frontier)
    return found


def _rank(neighbour: Neighbour) -> tuple[bool, float, int, str, str]:
    weight = float("inf") if neighbour.weight is None else -neighbour.weight
    turn = neighbour.relation == SAME_TURN
    return (turn, weight, neighbour.id, neighbour.relation, neighbour.direction)


def _level(
    query: Query, frontier: list[int], seen: set[int], distance: int, limit: int
) -> list[Neighbour]:
    """The best `limit` neighbours that are one edge away from the frontier and were not seen."""
    ends = {"start": str(frontier), "seen": str(sorted(seen))}
    level: list[Neighbour] = []
    for direction, edge in (("out", "-[r:Relation]->"), ("in", "<-[r:Relation]-")):
        for (number, name), weight in _edges(query, {**ends, "edge": edge}, limit):
            level.append(Neighbour(number, name, weight, direction, distance))
    for number, later in _turns(query, ends, limit):
        level.append(Neighbour(number, SAME_TURN, None, "out" if later else "in", distance))
    return sorted(level, key=_rank)[:limit]


def _edges(
    query: Query, ends: dict[str, str], limit: int
) -> Iterable[tuple[tuple[int, str], float | None]]:
    """The heaviest of each parallel edge, the best `limit` of them: (id, relation) and weight.

    Parallel edges take places in the engine's answer, so it is asked for more when they did.
    """
    asked = limit + 1
    while True:
        rows = query(_EDGES.format(most=asked, **ends))
        best: dict[tuple[int, str], float | None] = {}
        for number, name, weight in rows:
            best.setdefault((number, name or ""), weight)
        if len(rows) < asked or len(best) >= limit:
            return best.items()
        asked *= 4


def _turns(query: Query, ends: dict[str, str], limit: int) -> Iterable[tuple[int, bool]]:
    """The members of the frontier's turns: id, and whether any of the turns has it later."""
    asked = 4 * limit + 1
    while True:
        rows = query(_TURNS.format(most=asked, **ends))
        later: dict[int, bool] = {}
        for number, role, origin, part in rows:
            after = (TURN_ROLES.index(role), number) > (TURN_ROLES.index(part), origin)
            later[number] = later.get(number, False) or after
        if len(rows) < asked or len(later) > limit:  # the last one may be cut short
            return later.items()
        asked *= 4


def totals(read: Callable[[str], Rows]) -> dict[str, int]:
    """How many memories, turns and relations there are."""
    patterns = {
        "memories": "(n:Memory)",
        "turns": "(n:Turn)",
        "relations": "(:Memory)-[n:Relation]->(:Memory)",
    }
    return {
        kind: int(read(f"MATCH {pattern} RETURN count(*)")[0][0])
        for kind, pattern in patterns.items()
    }
