"""The verbs complete and phi; what they need is imported when they are asked."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from nimad import checks, times
from nimad.core.store import MemoryStore
from nimad.errors import NotPermitted, OwnerOnly, UsageError
from nimad.limits import MAX_RESULTS
from nimad.model import MAX_KEPT, now_ms
from nimad.serve import params, wire
from nimad.serve.access import Access, Peer
from nimad.serve.oversize import cut_to_fit
from nimad.serve.params import Param
from nimad.serve.query_verb import SCOPE, filter_of
from nimad.serve.verbs import Call, Verb
from nimad.store import phi_rows
from nimad.store.bounded import get_within

ROLES = ("who", "what", "where", "when", "context", "emotion", "theme")
"""What may be known, and asked for."""
SAID = ("what", "context", "emotion", "theme")
"""Roles that are looked for in the text; the others are filters."""
MOST_FILLER = 500
"""Length of the longest filler that is shown whole [characters]."""
MOST_SECONDS = 3600
"""Longest time for measuring [seconds]."""
SECONDS = 0.1
"""Time for measuring where none is given [seconds]."""
_TEXT = Param(checks.text(MAX_KEPT), None)
_ZONE = Param(params.zone, None)
COMPLETE = {
    **dict.fromkeys(ROLES, _TEXT),
    "when": Param(params.date, None),
    "ask": Param(checks.choice(*ROLES)),
    "k": Param(checks.integer(1, 100), 5),
    **SCOPE,
    "time_zone": _ZONE,
}
PHI = {
    "id": Param(checks.integer(1, 2**63 - 1), None),
    "top": Param(checks.integer(1, MAX_RESULTS), None),
    "seconds": Param(checks.number(0, MOST_SECONDS), None),
    "time_zone": _ZONE,
}


class HypervectorVerbs:
    """Answers from one store.  `access` is asked before measurements are kept; None grants it."""

    def __init__(self, store: MemoryStore, access: Access | None = None) -> None:
        self._store, self._access = store, access

    def all(self) -> list[Verb]:
        """The verbs of this file."""
        return [
            Verb("complete", "read", self.complete, COMPLETE, bounded=True),
            Verb("phi", "read", self.phi, PHI, shorten=cut_to_fit),
        ]

    def complete(self, call: Call) -> dict[str, Any]:
        """Candidates for a role, from memories that have what is known of the others."""
        from nimad.cognition.completion import complete

        began = time.perf_counter()
        given = call.params
        ask = given["ask"]
        known = [role for role in ROLES if given[role] is not None]
        if not known or ask in known:
            raise UsageError(detail="complete needs one other role or more that is known")
        zone = given["time_zone"] or times.local_zone()
        span = None
        if given["when"] is not None:
            span = params.span("complete", "when", given["when"], now_ms(), zone)
        where = filter_of(
            call,
            **{name: given[name] for name in ("who", "where")},
            after=span and span.first,
            before=span and span.end,
        )
        text = " ".join(given[role] for role in SAID if given[role] is not None)
        seconds = self._store.config["recall.seconds"]
        found, memories = complete(self._store, text, where, ask.upper(), given["k"], zone, seconds)
        took = (time.perf_counter() - began) * 1000
        shown = [{**asdict(each), "filler": _cut(each.filler)} for each in found]
        degraded = sorted(self._store.degraded())
        return {
            "ask": ask,
            "candidates": shown,
            "memories": memories,
            "took_ms": round(took, 3),
            "degraded": degraded,
        }

    def phi(self, call: Call) -> dict[str, Any]:
        """How well a memory's hypervector comes apart, or the memories where it does best."""
        from nimad.cognition.phi_estimator import METHOD
        from nimad.cognition.phi_of_memories import MemoryPhi

        given = call.params
        zone = given["time_zone"] or times.local_zone()
        if (given["id"] is None) == (given["top"] is None):
            raise UsageError(detail="phi needs either id or top")
        if given["id"] is not None and given["seconds"] is not None:
            raise UsageError(detail="phi takes seconds only with top")
        measuring = MemoryPhi(self._store, zone, call.within)
        if given["id"] is not None:
            found = measuring.measure(given["id"])
            for role in found["roles"]:
                role["filler"] = _cut(role["filler"])
            return found
        seconds = given["seconds"]
        if seconds != 0 and self._may_keep(call.peer, asked=seconds is not None):
            measuring.measure_more(SECONDS if seconds is None else seconds)
        records = self._store.records
        rows = phi_rows.highest(records, METHOD, given["top"], call.within)
        memories = get_within(records, [row.memory for row in rows])
        results = [
            {
                **wire.memory_json(memories[row.memory]),
                "phi": row.phi,
                "uncertainty": row.uncertainty,
                "quality": row.quality,
            }
            for row in rows
            if row.memory in memories
        ]
        measured, refused, left = phi_rows.counts(records, METHOD)
        return {
            "results": results,
            "method": METHOD,
            "measured": measured,
            "not_measurable": refused,
            "left": left,
        }

    def _may_keep(self, peer: Peer, asked: bool) -> bool:
        """Whether a user may write; raises NotPermitted, OwnerOnly if measuring was asked for."""
        try:
            if self._access is not None:
                self._access.check(peer, "control", "phi")
        except (NotPermitted, OwnerOnly):
            if asked:
                raise
            return False
        return True


def _cut(filler: str) -> str:
    """A filler, cut where it is the text of a long memory."""
    return filler if len(filler) <= MOST_FILLER else f"{filler[:MOST_FILLER]} …"
