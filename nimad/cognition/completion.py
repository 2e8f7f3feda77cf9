"""Completes an episode: some roles are known, another one is asked for.

Memories that have what is known are found by recall and its filters, weighted by their score, and
their hypervectors bundled; the asked role is unbound and what is left is compared with the values
that these memories have there.  So what many of them, and the best, say comes first.  A candidate
must stand out from fillers that are nobody's, or it is not told; each names the memories that
support it.
"""

from __future__ import annotations

from datetime import tzinfo

import numpy as np

from nimad.cognition import episodes
from nimad.cognition.codebooks import CodebookBuilder
from nimad.cognition.resonator import ResonatorNetwork
from nimad.core.store import MemoryStore
from nimad.dataclass import dataclass
from nimad.model import Filter, Hit
from nimad.recall.query_context import Stopwatch
from nimad.text import common_form
from nimad.vsa import sparse
from nimad.vsa.algebra import BLOCKS, DIMS
from nimad.vsa.sparse import ACTIVE

MOST = 40
"""Number of memories that are bundled [memories]."""
EVIDENCE = 1.5
"""Factor by which a question must be met better than for a query: a query shows what it found, but
a completion claims it."""
NEAR = 0.6
"""Share of the best memory's score from which on a memory supports a candidate."""
STRANGERS = 64
"""Number of fillers that are nobody's, which show how near chance comes [fillers]."""
STANDS_OUT = 2.0
"""Factor by which a candidate must be nearer than the nearest of these."""
MOST_IDS = 20
"""Number of memories named for a candidate [memories]."""


@dataclass(frozen=True)
class Candidate:
    """A value of the asked role.

    Attributes:
        score: the cosine of the value with what is left of the bundle.
        margin: by how much that is more than the next candidate, or chance, has.
        ids: the memories that say so, best first.
    """

    filler: str
    score: float
    margin: float
    ids: list[int]


def complete(
    store: MemoryStore, text: str, where: Filter, ask: str, k: int, zone: tzinfo, seconds: float
) -> tuple[list[Candidate], int]:
    """The likeliest values of a role ("WHO", ...) in memories that answer a text and pass a filter,
    best first; and how many memories had that role.  Without a text the newest that pass.

    Raises QueryTooLong.
    """
    weighed: list[tuple[float, int, dict[str, str]]] = []
    for hit in _found(store, text, where, zone, seconds):
        roles = episodes.roles_of(hit.memory, zone)
        if ask in roles:
            weighed.append((hit.score, hit.memory.id, roles))
    if not weighed:
        return [], 0
    total = np.zeros((BLOCKS, DIMS), np.float32)
    labels: dict[str, str] = {}
    support: dict[str, list[int]] = {}
    for weight, number, roles in weighed:
        vector = episodes.episode(roles, BLOCKS, DIMS, ACTIVE)
        length = np.sqrt(max(float(sparse.similarity(vector, vector)), 1e-9))
        total[vector.active] += np.float32(weight / length) * vector.values
        label = labels.setdefault(common_form(roles[ask]), roles[ask])
        support.setdefault(label, []).append(number)
    network = ResonatorNetwork(BLOCKS * DIMS)
    network.initialize_role_keys([ask])
    left = network.unbind(total, network.role_keys[ask])
    builder = CodebookBuilder()
    nobody = builder.codebook("nobody", [f"nobody's filler {n}" for n in range(STRANGERS)])
    floor = STANDS_OUT * max(0.0, nobody.nearest(left)[0][1])
    near = builder.codebook(ask, support).nearest(left, len(support))
    scores = [score for _, score in near] + [0.0]
    return [
        Candidate(label, score, score - max(floor, scores[place + 1]), support[label][:MOST_IDS])
        for place, (label, score) in enumerate(near[:k])
        if score > floor
    ], len(weighed)


def _found(store: MemoryStore, text: str, where: Filter, zone: tzinfo, seconds: float) -> list[Hit]:
    """Memories that have what is known, best first."""
    if text:
        watch = Stopwatch(seconds)
        evidence = store.recall.evidence(text, "hybrid", where, None, watch, zone)
        if evidence is None or evidence.met < EVIDENCE * evidence.least:
            return []
        hits = store.query(text, MOST, "hybrid", where, None, watch, zone).hits
        return [hit for hit in hits if hit.score >= NEAR * hits[0].score]
    newest = store.records.matching(where)[-MOST:]
    found = store.records.get([int(number) for number in newest])
    return [Hit(memory, 1.0) for _, memory in sorted(found.items(), reverse=True)]
