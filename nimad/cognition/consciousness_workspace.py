"""GlobalWorkspace of the legacy guides: agents propose, the most surprising proposal wins.

The names are the guides'; what they name is a small buffer and a rule of choice, no more.  Here a
broadcast stays as it was proposed (affect stands beside it), similarity is the cosine of the whole
vectors, equal scores go to the agent that was added first, and nothing is drawn by chance.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import field
from datetime import datetime, timedelta
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nimad.cognition.codebooks import flat
from nimad.cognition.phi_estimator import PhiEstimator
from nimad.dataclass import dataclass
from nimad.reflection import affects
from nimad.reflection.affects import Affects
from nimad.text import common_form, words_of
from nimad.vsa import algebra

__all__ = [
    "AffectiveCore",
    "Affects",
    "Agent",
    "ConsciousnessMetacognitive",
    "GlobalWorkspace",
    "WorkspaceEntry",
]

log = logging.getLogger(__name__)

HISTORY = 100
"""Number of broadcasts, and of affects, that a workspace keeps [entries]."""


def similarity(one: Any, other: Any) -> float:
    """The cosine of two vectors of any kind, -1 to 1; 0 for different lengths, or zeros."""
    mine, theirs = flat(one), flat(other)
    if mine.shape != theirs.shape or not mine.any() or not theirs.any():
        return 0.0
    return float(algebra.similarity(mine[None], theirs[None]))


def now() -> datetime:
    """The local time, with its zone."""
    return datetime.now().astimezone()


@dataclass
class WorkspaceEntry:
    """A broadcast.

    Attributes:
        bound: the vector, as it was proposed.
        timestamp: with its zone; a number of seconds, or a local time, is understood.
        affect_vector: the mask of affects under which it won.
        surprise_score: what it won with, its terms in `parts`.
        metadata: what the proposing agent tells: of a memory "id" (the store's), "what", "who".
    """

    bound: Any
    timestamp: datetime = field(default_factory=now)
    source_agent: str = "unknown"
    affect_vector: Any = None
    surprise_score: float = 0.0
    metadata: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, float] = field(default_factory=dict)
    _factors: Any = field(default=None, repr=False)
    _phi: float | None = field(default=None, repr=False)
    _decomposition_attempted: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        given: Any = self.timestamp
        if isinstance(given, (int, float)):
            given = datetime.fromtimestamp(given)
        self.timestamp = given.astimezone()

    @property
    def content(self) -> str:
        """What it says; where it says nothing, whose broadcast it is."""
        return str(self.metadata.get("what") or f"Broadcast from {self.source_agent}")

    def decompose(self, resonator: Any) -> Any:
        """Its fillers, as the resonator finds them, kept for the next time; None without one."""
        if not self._decomposition_attempted and resonator is not None:
            self._decomposition_attempted = True
            self._factors = resonator.factor(self.bound)
        return self._factors

    def compute_phi(self, resonator: Any, slot_names: Sequence[str] | None = None) -> float:
        """How well it comes apart (see `phi_estimator`); NaN where that cannot be measured."""
        if self._phi is None:
            self._phi = PhiEstimator(resonator, slot_names).measure_phi(self.bound).phi
        return self._phi

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "timestamp": self.timestamp.isoformat(),
            "source_agent": self.source_agent,
            "surprise_score": self.surprise_score,
            "factors": self._factors is not None,
            "phi": None if self._phi is None or self._phi != self._phi else self._phi,
        }


class Agent:
    """Proposes vectors and hears what won; a subclass has a `propose` of its own.

    `proposal_metadata` (and `proposal_score`, where the agent knows better than the rule of
    surprise) belong to what it proposed last.
    """

    proposal_metadata: dict[str, Any]
    proposal_score: float | None
    proposal_parts: dict[str, float]

    def __init__(self, name: str) -> None:
        self.name = name
        self.last_broadcast: WorkspaceEntry | None = None
        self.broadcast_count = 0
        self.proposal_metadata, self.proposal_score, self.proposal_parts = {}, None, {}

    def propose(self, workspace: GlobalWorkspace) -> Any:
        """A vector, or None."""
        raise NotImplementedError

    def receive_broadcast(self, entry: WorkspaceEntry) -> None:
        """Called with each winner."""
        self.last_broadcast = entry
        self.broadcast_count += 1

    def get_statistics(self) -> dict[str, Any]:
        """Its name, and how many broadcasts it heard."""
        return {"name": self.name, "broadcast_count": self.broadcast_count}


class AffectiveCore:
    """The affects that are set, as a mask; SEEKING at first."""

    def __init__(self) -> None:
        self.current_affect: int = Affects.SEEKING
        self.affect_history: deque[int] = deque(maxlen=HISTORY)

    def set_affect(self, mask: int) -> None:
        """Set other ones."""
        self.affect_history.append(self.current_affect)
        self.current_affect = int(mask)

    def get_affect_vector(self) -> NDArray[np.float32]:
        """float32[7]: 1 for each affect that is set, in the order of the bits."""
        return np.array([bool(self.current_affect & affect) for affect in Affects], np.float32)

    def get_modulation_factors(self) -> dict[str, float]:
        """Factors of novelty and risk, multiplied for a mixture.  Ambiguity is always 1."""
        novelty, risk = affects.factors(self.current_affect)
        return {"novelty": novelty, "risk": risk, "ambiguity": 1.0}


@dataclass
class GlobalWorkspace:
    """A buffer of the last `capacity` broadcasts, and the agents that compete for it."""

    GLOBAL_MARKER: ClassVar[None] = None
    capacity: int = 4
    agents: list[Agent] = field(default_factory=list)
    buffer: deque[WorkspaceEntry] = field(default_factory=deque)
    history: deque[WorkspaceEntry] = field(default_factory=lambda: deque(maxlen=HISTORY))
    affective_core: AffectiveCore = field(default_factory=AffectiveCore)
    resonator: Any = None
    cycle_count: int = 0
    total_broadcasts: int = 0

    def __post_init__(self) -> None:
        self._failed: set[str] = set()

    def add_agent(self, agent: Agent) -> None:
        """Let an agent compete."""
        self.agents.append(agent)

    def surprise(self, vector: Any) -> float:
        """1 less the mean similarity with what is in the buffer; 1 when it is empty."""
        if not self.buffer:
            return 1.0
        return 1.0 - float(np.mean([similarity(vector, entry.bound) for entry in self.buffer]))

    def weigh(self, vector: Any, surprise: float) -> float:
        """What a proposal competes with."""
        return surprise

    def step(self) -> WorkspaceEntry | None:
        """Let every agent propose; the winner goes to the buffer and to all agents.  An agent that
        raises is left out, and logged once."""
        self.cycle_count += 1
        best: WorkspaceEntry | None = None
        highest = 0.0
        for agent in list(self.agents):
            agent.proposal_metadata, agent.proposal_score, agent.proposal_parts = {}, None, {}
            try:
                vector = agent.propose(self)
            except Exception as error:
                if agent.name not in self._failed:
                    self._failed.add(agent.name)
                    log.warning("agent %s does not propose: %r", agent.name, error)
                continue
            if vector is None:
                continue
            score = surprise = agent.proposal_score
            if score is None or surprise is None:
                surprise = self.surprise(vector)
                score = self.weigh(vector, surprise)
            if best is None or score > highest:
                highest = score
                best = WorkspaceEntry(
                    vector,
                    source_agent=agent.name,
                    affect_vector=self.affective_core.current_affect,
                    surprise_score=surprise,
                    metadata=dict(agent.proposal_metadata),
                    parts=dict(agent.proposal_parts),
                )
        if best is not None:
            self.broadcast(best)
        return best

    def broadcast(self, entry: WorkspaceEntry) -> None:
        """Put an entry into buffer and history, and tell every agent."""
        self.hold(entry)
        self.total_broadcasts += 1
        for agent in self.agents:
            agent.receive_broadcast(entry)

    def hold(self, entry: WorkspaceEntry) -> None:
        """Put an entry into buffer and history."""
        self.buffer.append(entry)
        while len(self.buffer) > max(self.capacity, 0):
            self.buffer.popleft()
        self.history.append(entry)

    def query_history(
        self,
        content_query: Any = None,
        affect_filter: int | None = None,
        time_window: float | timedelta | None = None,
        source_agent: str | None = None,
        top_k: int = 5,
    ) -> list[tuple[WorkspaceEntry, float]]:
        """Entries and their scores, best first, later ones before earlier ones of the same score.

        Args:
            content_query: a vector (score: similarity) or words (share of them that it says).
            affect_filter: only entries that won under one of these affects.
            time_window: only those of the last seconds.
        """
        window = time_window
        if window is not None and not isinstance(window, timedelta):
            window = timedelta(seconds=float(window))
        since = None if window is None else now() - window
        wanted = set(words_of(common_form(content_query))) if isinstance(content_query, str) else ()
        found = []
        for place, entry in enumerate(self.history):
            if source_agent is not None and entry.source_agent != source_agent:
                continue
            if affect_filter is not None and not int(entry.affect_vector or 0) & affect_filter:
                continue
            if since is not None and entry.timestamp < since:
                continue
            if isinstance(content_query, str):
                said = set(words_of(common_form(entry.content)))
                score = len(said.intersection(wanted)) / max(1, len(wanted))
            else:
                score = 1.0 if content_query is None else similarity(content_query, entry.bound)
            found.append((-score, -place, entry))
        found.sort(key=lambda item: item[:2])
        return [(entry, -score) for score, _, entry in found[:top_k]]

    def get_recent_broadcasts(self, n: int = 5) -> list[WorkspaceEntry]:
        """The last n, in their order."""
        return list(self.history)[-n:] if n > 0 else []

    def compute_workspace_phi(self, i: int = -1) -> float:
        """Φ of an entry of the buffer; NaN where there is none, or it cannot be measured."""
        if not -len(self.buffer) <= i < len(self.buffer):
            return float("nan")
        return self.buffer[i].compute_phi(self.resonator)

    def get_statistics(self) -> dict[str, Any]:
        """Counts; `average_phi` of what was measured, else None."""
        known = [e._phi for e in self.history if e._phi is not None and e._phi == e._phi]
        return {
            "cycle_count": self.cycle_count,
            "total_broadcasts": self.total_broadcasts,
            "current_buffer_size": len(self.buffer),
            "history_size": len(self.history),
            "num_agents": len(self.agents),
            "agent_names": [agent.name for agent in self.agents],
            "average_phi": float(np.mean(known)) if known else None,
        }


class ConsciousnessMetacognitive:
    """Questions about a workspace."""

    def __init__(self, workspace: GlobalWorkspace) -> None:
        self.workspace = workspace
        self.introspection_history: deque[dict[str, Any]] = deque(maxlen=50)

    def query_workspace_history(self, *args: Any, **kw: Any) -> list[tuple[WorkspaceEntry, float]]:
        """See `GlobalWorkspace.query_history`."""
        return self.workspace.query_history(*args, **kw)

    def what_was_i_thinking(self, n: int = 3) -> list[WorkspaceEntry]:
        """The last n broadcasts, in their order."""
        return self.workspace.get_recent_broadcasts(n)

    def how_did_i_feel(self, entry: WorkspaceEntry) -> str:
        """The affects under which an entry won."""
        return affects.names(int(entry.affect_vector or 0))

    def why_did_i_broadcast(self, entry: WorkspaceEntry) -> str:
        """Who proposed it, and with what it won."""
        parts = ", ".join(f"{name} {value:.2f}" for name, value in entry.parts.items())
        why = f"{entry.source_agent} proposed it; it won with {entry.surprise_score:.2f}"
        return f"{why} ({parts})." if parts else f"{why}."

    def measure_integration(self, i: int = -1) -> float:
        """See `GlobalWorkspace.compute_workspace_phi`."""
        return self.workspace.compute_workspace_phi(i)

    def introspect(self) -> dict[str, Any]:
        """The state of the workspace now."""
        found = {
            "workspace_state": self.workspace.get_statistics(),
            "recent_broadcasts": [e.to_dict() for e in self.workspace.get_recent_broadcasts()],
            "current_affect": affects.names(self.workspace.affective_core.current_affect),
            "buffer_contents": [entry.content for entry in self.workspace.buffer],
        }
        self.introspection_history.append(found)
        return found
