"""SelfObserverAgent of the legacy guides: it proposes what the workspace just held, three times.

An observation tells in its metadata how deep it is; after `max_recursion_depth` in a row it stops.
What it proposes is the mean of the buffer: there is nothing else that it could know.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nimad.cognition.codebooks import flat
from nimad.cognition.consciousness_workspace import Agent, GlobalWorkspace, WorkspaceEntry
from nimad.vsa import algebra

NAME = "SelfObserver"


class SelfObserverAgent(Agent):
    """Proposes the buffer's own mean.

    Attributes:
        observation_attempts, successful_observations: proposals, and those that won.
        yields_to: an agent beside whose proposals it is silent; None: it always competes.
    """

    def __init__(self, dimension: int = 50_000) -> None:
        super().__init__(NAME)
        self.dimension = dimension
        self.self_marker = algebra.item("self", 1, dimension).reshape(-1)
        self.max_recursion_depth = 3
        self.observation_attempts = 0
        self.successful_observations = 0
        self.attempts: list[dict[str, Any]] = []
        self.yields_to: Agent | None = None

    def propose(self, workspace: GlobalWorkspace) -> Any:
        """The mean of the buffer; None when it is empty, or was observed often enough."""
        if not workspace.buffer:
            return None
        depth = 1 + int(workspace.buffer[-1].metadata.get("recursion_depth", 0))
        if depth > self.max_recursion_depth:
            return None
        if self.yields_to is not None and self.yields_to.proposal_score is not None:
            return None
        self.observation_attempts += 1
        last = flat(workspace.buffer[-1].bound)
        held = [flat(entry.bound) for entry in workspace.buffer]
        self.proposal_metadata = {"recursion_depth": depth, "what": ""}
        return np.mean([each for each in held if each.shape == last.shape], axis=0)

    def receive_broadcast(self, entry: WorkspaceEntry) -> None:
        """Count its own."""
        super().receive_broadcast(entry)
        if entry.source_agent == self.name:
            self.successful_observations += 1

    def record_attempt(
        self, memory_phi: float, success: bool, depth: int, response_time_ms: float
    ) -> None:
        """Note an attempt that was made elsewhere."""
        self.observation_attempts += 1
        self.successful_observations += bool(success)
        noted = {"phi": memory_phi, "success": success, "depth": depth, "ms": response_time_ms}
        self.attempts.append(noted)

    def get_statistics(self) -> dict[str, Any]:
        """Attempts and those that won."""
        share = self.successful_observations / max(1, self.observation_attempts)
        return {
            **super().get_statistics(),
            "observation_attempts": self.observation_attempts,
            "successful_observations": self.successful_observations,
            "success_rate": share,
        }
