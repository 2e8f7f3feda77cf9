"""DreamingEngine of the legacy guides: pairs of memories that are near, in place of invented texts.

An episode names two memories and quotes both.  To consolidate a session is to suggest its pairs
(`nimactl dream list`): nothing becomes a memory, and nothing is linked before somebody accepts it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import field
from datetime import datetime
from typing import Any

import numpy as np

from nimad.cognition.consciousness_workspace import now
from nimad.cognition.sparse_block_memory import store_of
from nimad.dataclass import dataclass
from nimad.model import Memory
from nimad.reflection import affects, dream, quotes
from nimad.reflection.affects import Affects
from nimad.reflection.themes import cosines, vectors_of
from nimad.store import suggestions
from nimad.store.relations import neighbours
from nimad.store.suggestions import Pair

LOOKED = 200
"""Number of latest memories that a session compares [memories]."""
CONSOLIDATED = 3
"""Number of episodes that are suggested in any case [episodes]."""
NO_PAIRS = "there are not two memories to compare"


@dataclass
class DreamEpisode:
    """Two memories: their ids, what they say, how near they are (a cosine), and why they are here.

    `kind` is that of a suggestion (duplicate, repeat, link).
    """

    content: str
    bound_vector: Any
    affective_tone: str
    source: str
    timestamp: datetime
    is_lucid: bool = False
    emotional_intensity: float = 0.5
    recurrence_count: int = 0
    ids: tuple[int, int] = (0, 0)
    kind: str = "link"
    score: float = 0.0


@dataclass
class DreamSession:
    """The episodes of one dream; `reason` tells why there are none."""

    start_time: datetime
    end_time: datetime
    episodes: list[DreamEpisode]
    dominant_affect: int
    insights: list[str] = field(default_factory=list)
    consolidation_targets: list[int] = field(default_factory=list)
    reason: str = ""


class DreamingEngine:
    """Dreams about one store; see `sparse_block_memory.store_of`."""

    def __init__(self, memory_store: Any) -> None:
        self.memory_store = memory_store
        self._face, self._store = store_of(memory_store)
        self.default_cycles = 20
        self.sessions: list[DreamSession] = []

    def start_dream_session(
        self, initial_affect: int = Affects.SEEKING, duration_cycles: int | None = None
    ) -> DreamSession:
        """The nearest pairs of the latest memories, at most one for each cycle; writes nothing."""
        began = now()
        most = self.default_cycles if duration_cycles is None else duration_cycles
        tone = affects.leading(int(initial_affect)).tone
        episodes = []
        for pair, both in self._nearest(max(0, most)):
            felt = [value for memory in both for value in affects.told(memory).values()]
            made = DreamEpisode(
                " / ".join(f'"{quotes.quotation(m.text)}" [{m.id}]' for m in both),
                vectors_of(self._store, both).mean(axis=0),
                tone,
                pair.kind,
                now(),
                emotional_intensity=max(felt, default=0.0),
                ids=(pair.first, pair.second),
                kind=pair.kind,
                score=pair.score,
            )
            episodes.append(made)
        words = Counter(word for each in episodes for word in dict.fromkeys(each.content.split()))
        recurring = [word for word, count in words.items() if count > 2 and len(word) > 5][:3]
        reason = "" if episodes else NO_PAIRS
        session = DreamSession(
            began, now(), episodes, int(initial_affect), recurring, reason=reason
        )
        self.sessions.append(session)
        return session

    def _nearest(self, most: int) -> list[tuple[Pair, tuple[Memory, Memory]]]:
        """The nearest pairs that no edge connects, the nearest first, of equal ones the older."""
        sql = "SELECT id FROM memories WHERE id NOT IN (SELECT memory FROM goals)"
        rows = self._store.records.rows(f"{sql} ORDER BY id DESC LIMIT ?", (LOOKED,))
        found = self._store.records.get(sorted(number for (number,) in rows))
        memories = [found[number] for number in sorted(found)]
        if len(memories) < 2:
            return []
        vectors = vectors_of(self._store, memories)
        nearness = cosines(vectors, vectors)
        first, second = np.triu_indices(len(memories), 1)
        order = np.lexsort((second, first, -np.round(nearness[first, second], 6)))
        sound = {
            (pair.first, pair.second): pair
            for pair in dream.pairs(self._store, [memory.id for memory in memories])
        }
        made: list[tuple[Pair, tuple[Memory, Memory]]] = []
        for place in order.tolist():
            if len(made) == most:
                break
            one, other = memories[first[place]], memories[second[place]]
            edges = neighbours(self._store.records, one.id, 1, dream.EDGES)
            if one.namespace != other.namespace or any(step.id == other.id for step in edges):
                continue
            near = round(float(nearness[first[place], second[place]]), 4)
            pair = sound.get((one.id, other.id), Pair("link", one.id, other.id, near))
            made.append((pair, (one, other)))
        return made

    def consolidate_to_memory(self, session: DreamSession | None = None) -> list[int]:
        """Suggest the pairs of a session (the last one); the numbers of the suggestions."""
        chosen = session or (self.sessions[-1] if self.sessions else None)
        if chosen is None or not chosen.episodes:
            return []
        kept = [
            Pair(each.kind, *each.ids, each.score)
            for place, each in enumerate(chosen.episodes)
            if place < CONSOLIDATED or each.kind != "link"
        ]
        with self._store.records.write() as tx:
            suggestions.add(tx, kept, suggestions.dreamt_to(self._store.records))
        wanted = {(pair.first, pair.second) for pair in kept}
        waiting = suggestions.waiting(self._store.records, dream.MOST_WAITING)
        chosen.consolidation_targets = sorted(
            each.id for each in waiting if (each.first, each.second) in wanted
        )
        return chosen.consolidation_targets

    def get_dream_report(self, session: DreamSession | None = None) -> str:
        """The episodes as text, each with the ids of its memories."""
        chosen = session or (self.sessions[-1] if self.sessions else None)
        if chosen is None:
            return "There was no dream."
        if not chosen.episodes:
            return f"A dream without episodes: {chosen.reason}."
        lines = [f"{each.kind} {each.score:.2f}: {each.content}" for each in chosen.episodes]
        return "\n".join([f"{len(lines)} episodes.", *lines])
