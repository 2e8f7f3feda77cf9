"""Affective binding of the legacy guides: how many roles are bound, by the affects that are set.

A "rich" broadcast binds roles that its memory has, as in an episode; a role without a filler is not
filled by chance, as it was there.
"""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from typing import Any

from nimad.cognition import episodes
from nimad.cognition.consciousness_workspace import AffectiveCore, Agent, GlobalWorkspace, now
from nimad.cognition.sparse_block_vsa import SparseBlockHDVector
from nimad.dataclass import dataclass
from nimad.reflection import affects

SHAPE = (100, 500, 10)
"""Blocks, their dimensions, active blocks of an item."""


@dataclass
class BindingConfig:
    """How few and how many roles are bound, and which."""

    min_slots: int = 2
    max_slots: int = 5
    slot_names: list[str] = field(default_factory=lambda: ["who", "what", "where", "when", "why"])


class AffectivelyModulatedAgent(Agent):
    """An agent whose broadcasts bind as many roles as the affects ask for; it has no `propose`."""

    def __init__(
        self, name: str, base_vector_dim: int = 50_000, config: BindingConfig | None = None
    ) -> None:
        super().__init__(name)
        self.base_vector_dim = base_vector_dim
        self.binding_config = config or BindingConfig()

    def get_binding_richness(self, core: AffectiveCore | None) -> int:
        """How many roles; 3 without affects."""
        found = affects.leading(core.current_affect if core else 0).slots
        return max(self.binding_config.min_slots, min(self.binding_config.max_slots, found))

    def get_binding_strategy(self, core: AffectiveCore | None) -> str:
        """The guides' word for it."""
        return affects.leading(core.current_affect if core else 0).strategy

    def create_rich_broadcast(
        self, workspace: GlobalWorkspace, num_slots: int | None = None
    ) -> Any:
        """The last broadcast with its first roles bound; None when it tells of no role."""
        meta = workspace.buffer[-1].metadata if workspace.buffer else {}
        most = num_slots or self.get_binding_richness(workspace.affective_core)
        told = {n: str(meta[n]) for n in self.binding_config.slot_names if meta.get(n)}
        roles = {name.upper(): told[name] for name in list(told)[:most]}
        if not roles:
            return None
        return SparseBlockHDVector.of(episodes.episode(roles, *SHAPE))


class DemoAffectiveAgent(AffectivelyModulatedAgent):
    """Proposes its rich broadcast."""

    def propose(self, workspace: GlobalWorkspace) -> Any:
        """The last broadcast with its roles bound, or None."""
        return self.create_rich_broadcast(workspace)


@dataclass(frozen=True)
class Change:
    """One change of affects."""

    before: str
    after: str
    reason: str | None
    timestamp: datetime

    def __str__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.before} -> {self.after}{why}"


class EmotionalRegulator:
    """Sets the affects of a workspace and remembers each change in `history`."""

    def __init__(self, workspace: GlobalWorkspace) -> None:
        self.workspace = workspace
        self.history: list[Change] = []

    def set_state(self, mask: int, reason: str | None = None) -> None:
        """Set other affects."""
        core = self.workspace.affective_core
        before = affects.names(core.current_affect)
        core.set_affect(mask)
        self.history.append(Change(before, affects.names(mask), reason, now()))

    def get_current_bandwidth(self) -> int:
        """How many roles are bound now."""
        return affects.leading(self.workspace.affective_core.current_affect).slots

    def summary(self) -> str:
        """The affects now, and how they changed, a line each."""
        current = affects.names(self.workspace.affective_core.current_affect)
        return "\n".join([f"Now {current}.", *map(str, self.history)])


def patch_agent_with_affective_modulation(cls: type[Agent]) -> type[Agent]:
    """Give a class of agents the methods of AffectivelyModulatedAgent."""
    for name in ("get_binding_richness", "get_binding_strategy", "create_rich_broadcast"):
        setattr(cls, name, getattr(AffectivelyModulatedAgent, name))
    if not hasattr(cls, "binding_config"):
        cls.binding_config = BindingConfig()  # type: ignore[attr-defined]
    return cls
