"""What connects two memories: the shortest way over relations and turns, and what they share."""

from __future__ import annotations

from datetime import tzinfo

from nimad.core.store import MemoryStore
from nimad.model import Memory
from nimad.namespaces import Namespaces
from nimad.reflection import lines
from nimad.reflection.lines import Line
from nimad.reflection.themes import vectors_of
from nimad.store.relations import Neighbour, neighbours
from nimad.text import common_form

STEPS = 6
"""Number of edges of the longest way that is looked for [edges]."""
REACHED = 5000
"""Number of memories that are reached before the search ends [memories]."""
SHARED = ("who", "where", "conversation", "session", "turn")
"""Fields in which two memories may agree."""


def connect(
    store: MemoryStore, first: int, second: int, zone: tzinfo, within: Namespaces | None = None
) -> tuple[list[Line], float | None]:
    """What connects two memories, and the cosine of their vectors (None where one has none).

    "Nothing is known" is an answer.  Raises NotFound for either that does not exist, or is not in
    some namespaces, which no way leads through, either.
    """
    one, other = store.get(first, within), store.get(second, within)
    made = []
    if first != second:
        made += _way(store, first, second, within)
        made += _shared(one, other, zone)
    rows = vectors_of(store, [one, other])
    cosine = float(rows[0] @ rows[1]) if rows.any(axis=1).all() else None
    near = store.embedder.scale.near
    if cosine is not None and cosine >= near:
        text = f"Near in meaning: cosine {cosine:.2f}."
        made.append(Line("meaning", text, [first, second], more={"cosine": cosine}))
    if not made:
        known = "" if cosine is None else f" (cosine {cosine:.2f})"
        made.append(Line("nothing", f"Nothing is known that connects them{known}.", []))
    return made, cosine


def _way(store: MemoryStore, first: int, second: int, within: Namespaces | None) -> list[Line]:
    """A line for each edge of the shortest way; of equally short ones, over the smaller ids."""
    levels: dict[int, int] = {first: 0}
    for step in neighbours(store.records, first, STEPS, REACHED, within):
        levels.setdefault(step.id, step.distance)
    if second not in levels:
        return []
    edges: list[tuple[int, Neighbour]] = []
    at = second
    while at != first:
        around = neighbours(store.records, at, 1, REACHED, within)
        ways = (step for step in around if levels.get(step.id, STEPS) == levels[at] - 1)
        back = min(ways, key=lambda step: step.id, default=None)
        if back is None:  # forgotten meanwhile
            return []
        edges.append((at, back))
        at = back.id
    made = []
    for at, back in reversed(edges):
        arrow = "->" if back.direction == "in" else "<-"
        weight = "" if back.weight in (None, 1.0) else f" {back.weight:.2f}"
        text = f"{back.id} {arrow} {at}: {back.relation}{weight}."
        more = {"relation": back.relation, "weight": back.weight, "distance": levels[at]}
        made.append(Line("edge", text, [back.id, at], more=more))
    return made


def _shared(one: Memory, other: Memory, zone: tzinfo) -> list[Line]:
    """In what two memories agree: fields, tags, the local day."""
    both = [one.id, other.id]
    made = []
    for name in SHARED:
        mine, theirs = getattr(one, name), getattr(other, name)
        if mine and theirs and common_form(mine) == common_form(theirs):
            more = {"field": name, "value": mine[:200]}
            made.append(Line("shared", f"The same {name}: {mine[:60]}.", both, more=more))
    tags = sorted(set(one.tags) & set(other.tags))
    if tags:
        more = {"field": "tags", "value": tags}
        made.append(Line("shared", f"The same tags: {', '.join(tags)[:60]}.", both, more=more))
    if one.timestamp and other.timestamp:
        day = lines.day(one.timestamp, zone)
        if day == lines.day(other.timestamp, zone):
            more = {"field": "day", "value": day}
            made.append(Line("shared", f"The same day: {day}.", both, more=more))
    return made
