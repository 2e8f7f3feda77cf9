"""The verb graph: a question in Cypher that only reads."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nimad import checks
from nimad.core.graph import MAX_SECONDS, Graph
from nimad.limits import MAX_ROWS
from nimad.serve import params
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
    "fresh": Param(params.flag, False),
}


class GraphVerb:
    """Answers from one graph."""

    def __init__(self, graph: Graph, access: Access | None) -> None:
        self._graph = graph
        self._access = access

    def all(self) -> list[Verb]:
        """The verb of this file."""
        return [Verb("graph", "read", self.graph, GRAPH)]

    def graph(self, call: Call) -> dict[str, Any]:
        """The answer; making the graph for it needs the right to control, as it writes a file."""
        given = call.params
        if self._access is not None and self._graph.needs_build(fresh=given["fresh"]):
            self._access.check(call.peer, "control", "graph")
        answer = self._graph.query(
            given["cypher"],
            given["parameters"],
            limit=given["limit"],
            seconds=given["seconds"],
            fresh=given["fresh"],
        )
        return {**asdict(answer), "took_ms": round(answer.took_ms, 3)}
