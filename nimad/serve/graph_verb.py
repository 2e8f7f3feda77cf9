"""The verb graph: a question in Cypher that only reads."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any

from nimad import checks
from nimad.core.graph import MAX_SECONDS
from nimad.core.store import MemoryStore
from nimad.limits import MAX_ROWS
from nimad.serve.access import Access
from nimad.serve.params import Param
from nimad.serve.verbs import Call, Verb

MAX_CYPHER = 20_000
"""Length of the longest question [characters]."""
MAX_PARAMETERS = 100


def _parameters(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > MAX_PARAMETERS:
        raise ValueError(f"must be an object of at most {MAX_PARAMETERS} values")
    return value


GRAPH = {
    "cypher": Param(checks.text(MAX_CYPHER)),
    "parameters": Param(_parameters, None),
    "limit": Param(checks.integer(1, MAX_ROWS), 1000),
    "seconds": Param(checks.number(0.01, MAX_SECONDS), 10),
    "fresh": Param(checks.flag, False),
}


def graph_verb(store: MemoryStore, access: Access | None) -> Verb:
    """The verb: making the graph for an answer needs the right to control, as it writes a file."""

    def run(call: Call) -> dict[str, Any]:
        graph = store.graph
        under_way: AbstractContextManager[None] = nullcontext()
        if graph.needs_build(fresh=call.params["fresh"]):
            if access is not None:
                access.check(call.peer, "control", "graph")
            under_way = store.under_way.tell("graph", lambda: graph.fraction)
        with under_way:
            answer = graph.query(**call.params)
        return {**asdict(answer), "took_ms": round(answer.took_ms, 3)}

    return Verb("graph", "read", run, GRAPH)
