"""Goals of the legacy guides, on nimad's own: what is wanted is a memory, kept and never reused.

A goal's vector is that of its text.  It makes like proposals more surprising, and proposes nothing
itself; it is satisfied by broadcasts of memories only, each once.
"""

from __future__ import annotations

from dataclasses import field
from datetime import datetime, timedelta
from typing import Any

from nimad.cognition.consciousness_workspace import Agent, GlobalWorkspace, now, similarity
from nimad.cognition.embeddings import get_embedder
from nimad.dataclass import dataclass

FRESH = 0.3
"""Share of a new memory in the satisfaction of a goal; the rest is what it was before."""
NEAR = 0.3
"""Similarity from which on a broadcast counts for a goal."""


@dataclass
class Goal:
    """What is wanted; `related_broadcasts` are ids of memories that counted."""

    id: str
    description: str
    target_vector: Any
    priority: float
    created_at: datetime = field(default_factory=now)
    deadline: datetime | None = None
    satisfaction_score: float = 0.0
    related_broadcasts: list[int] = field(default_factory=list)

    def is_expired(self) -> bool:
        """Whether its deadline has passed."""
        return self.deadline is not None and now() > self.deadline

    def update_satisfaction(self, vector: Any) -> None:
        """Count a broadcast: the mean moves towards its similarity."""
        found = max(0.0, similarity(vector, self.target_vector))
        self.satisfaction_score = (1 - FRESH) * self.satisfaction_score + FRESH * found


class VolitionalAgent(Agent):
    """Keeps goals; `embed` makes the vector of a text."""

    def __init__(self, name: str = "Volition", embed: Any = None) -> None:
        super().__init__(name)
        self.goals: dict[str, Goal] = {}
        self.goal_history: list[Goal] = []
        self.current_focus: str | None = None
        self.satisfaction_threshold = 0.7
        self.near = NEAR
        self._embed = embed
        self._made = 0

    def set_goal(
        self,
        goal_id: str,
        description: str,
        target_concept: Any = None,
        priority: float = 0.8,
        duration_seconds: float | None = None,
    ) -> Goal:
        """Set a goal, which becomes the focus.  Its vector is `target_concept`, or the text's."""
        target = target_concept if target_concept is not None else self.vector_of(description)
        until = None if duration_seconds is None else now() + timedelta(seconds=duration_seconds)
        goal = Goal(goal_id, description, target, priority, deadline=until)
        self.take(goal)
        return goal

    def vector_of(self, text: str) -> Any:
        """The vector of a text."""
        if self._embed is None:
            self._embed = get_embedder().encode_single
        return self._embed(text)

    def take(self, goal: Goal) -> None:
        """Keep a goal that was made elsewhere; it becomes the focus."""
        self.goals[goal.id] = goal
        self.goal_history = [each for each in self.goal_history if each.id != goal.id] + [goal]
        self.current_focus = goal.id

    def next_id(self) -> str:
        """An id that no goal had."""
        self._made += 1
        return f"goal_{self._made}"

    def clear_goal(self, goal_id: str) -> None:
        """Give a goal up; the newest one that is left becomes the focus."""
        self.goals.pop(goal_id, None)
        if self.current_focus == goal_id:
            self.current_focus = next(reversed(self.goals), None)

    def compute_goal_weighted_surprise(self, vector: Any, base: float) -> float:
        """base x (1 + the largest of priority x similarity over goals that have not expired)."""
        alive = [goal for goal in self.goals.values() if not goal.is_expired()]
        wanted = (goal.priority * similarity(vector, goal.target_vector) for goal in alive)
        return base * (1 + max((0.0, *wanted)))

    def propose(self, workspace: GlobalWorkspace) -> Any:
        """Nothing: a goal that wins by its own proposal would satisfy itself."""
        return None

    def receive_broadcast(self, entry: Any) -> None:
        """Count a memory for each goal that it is near to, once."""
        super().receive_broadcast(entry)
        number = entry.metadata.get("id")
        if number is None:
            return
        for goal in self.goals.values():
            self.count(goal, number, entry.bound)

    def count(self, goal: Goal, number: int, vector: Any) -> None:
        """Count a memory for a goal, once, where it is near."""
        near = similarity(vector, goal.target_vector) >= self.near
        if near and number not in goal.related_broadcasts:
            goal.related_broadcasts.append(number)
            goal.update_satisfaction(vector)

    def get_status(self) -> dict[str, Any]:
        """Goals and the focus."""
        return {
            "active_goals": len(self.goals),
            "current_focus": self.current_focus,
            "goals": [
                {
                    "id": goal.id,
                    "description": goal.description,
                    "priority": goal.priority,
                    "satisfaction": goal.satisfaction_score,
                    "expired": goal.is_expired(),
                }
                for goal in self.goals.values()
            ],
        }


@dataclass
class VolitionalWorkspace(GlobalWorkspace):
    """A workspace whose goals make like proposals more surprising."""

    volition: VolitionalAgent = field(default_factory=VolitionalAgent)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.agents.append(self.volition)

    def weigh(self, vector: Any, surprise: float) -> float:
        """The surprise, weighed by the goals."""
        return self.volition.compute_goal_weighted_surprise(vector, surprise)

    def set_goal(self, description: str, priority: float = 0.8) -> Goal:
        """Set a goal."""
        return self.volition.set_goal(self.volition.next_id(), description, priority=priority)

    def clear_all_goals(self) -> None:
        """Give all goals up."""
        for goal_id in list(self.volition.goals):
            self.volition.clear_goal(goal_id)
