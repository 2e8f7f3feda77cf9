"""The verbs that look without a question: browse lists memories, timeline counts them over time."""

from __future__ import annotations

from typing import Any

import numpy as np

from nimad import checks, times
from nimad.core.store import MemoryStore
from nimad.limits import MAX_RESULTS
from nimad.model import MAX_TIME, MIN_TIME, Filter
from nimad.serve import params, wire
from nimad.serve.oversize import cut_to_fit
from nimad.serve.params import Param
from nimad.serve.query_verb import QUERY, question_filter
from nimad.serve.verbs import Call, Verb
from nimad.store.bounded import get_within

MAX_EDGES = 1000
"""Number of edges between which memories are counted [moments]."""
ORDERS = ("stored", "time")
_FILTER = {
    name: QUERY[name]
    for name in ("who", "where", "layer", "namespace", "agent", "origin", "tags", "after", "before")
} | {"time_zone": QUERY["time_zone"]}
BROWSE = {
    **_FILTER,
    "order": Param(checks.choice(*ORDERS), "stored"),
    "below": Param(checks.integer(1, 2**63 - 1), None),
    "limit": Param(checks.integer(1, MAX_RESULTS), 50),
    "offset": Param(checks.integer(0, 2**53), 0),
}
_EDGE = checks.integer(MIN_TIME, MAX_TIME)
TIMELINE = {**_FILTER, "edges": Param(params.many(0, MAX_EDGES, "moments", _EDGE), ())}


class BrowseVerbs:
    """Answers from one store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def all(self) -> list[Verb]:
        """The verbs of this file."""
        return [
            Verb(
                "browse",
                "read",
                self.browse,
                BROWSE,
                shorten=cut_to_fit,
                bounded=True,
                watching=True,  # a page that is followed asks every few seconds
            ),
            Verb("timeline", "read", self.timeline, TIMELINE, bounded=True, watching=True),
        ]

    def browse(self, call: Call) -> dict[str, Any]:
        """Memories without a question: the newest first, or by their time, without one last."""
        given = call.params
        ids, moments = self._store.recall.rows(_where(call), "id", "time")
        newest, undated = slice(None, None, -1), moments == 0
        ids = ids[newest if given["order"] == "stored" else np.lexsort((moments, undated))]
        if given["below"] is not None:
            ids = ids[ids < given["below"]]
        first, end = given["offset"], given["offset"] + given["limit"]
        page = ids[first:end].tolist()
        found = get_within(self._store.records, page)
        results = [wire.memory_json(found[number]) for number in page if number in found]
        return {"results": results, "more": end < len(ids)}

    def timeline(self, call: Call) -> dict[str, Any]:
        """When the first and the last of them were, and how many lie between the edges."""
        edges = np.array(sorted(call.params["edges"]), np.int64)
        (moments,) = self._store.recall.rows(_where(call), "time")
        dated = moments[moments != 0]
        places = np.searchsorted(edges, dated, side="right")
        counts = np.bincount(places, minlength=len(edges) + 1)[1:-1] if len(edges) else places[:0]
        return {
            "first": int(dated.min()) if len(dated) else None,
            "last": int(dated.max()) if len(dated) else None,
            "dated": len(dated),
            "undated": len(moments) - len(dated),
            "counts": counts.tolist(),
        }


def _where(call: Call) -> Filter:
    zone = call.params["time_zone"] or times.local_zone()
    asked = {**call.params, "as_of": None, "context": False, "budget": None}
    return question_filter(asked, zone, call.within)[0]
