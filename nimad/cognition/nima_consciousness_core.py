"""ConsciousnessCore of the legacy guides: the faces of this package around one store.

Memories, goals, broadcasts and suggestions are the store's: they survive a restart, `nimactl` shows
the same, and `forget` reaches all of them.  Affects and agents that a program adds are this
process's.  What each number is, and is not: docs/cognition.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import Any

from nimad import times
from nimad.cognition.affective_binding import (
    AffectivelyModulatedAgent,
    BindingConfig,
    EmotionalRegulator,
)
from nimad.cognition.consciousness_workspace import WorkspaceEntry, now
from nimad.cognition.dreaming import DreamingEngine, DreamSession
from nimad.cognition.memory_agent import MemoryAgent
from nimad.cognition.phi_estimator import PhiEstimator, PhiMeasurement
from nimad.cognition.self_narrative import NarrativeMetacognitive, SelfNarrativeGenerator
from nimad.cognition.self_observer_agent import SelfObserverAgent
from nimad.cognition.sparse_block_memory import SparseBlockMemory, store_of
from nimad.cognition.theory_of_mind import (
    Message,
    OtherMindModel,
    SocialConsciousnessWorkspace,
    TheoryOfMindEngine,
)
from nimad.cognition.volition import Goal, VolitionalAgent
from nimad.dataclass import dataclass
from nimad.embed.tokens import TokenCounter
from nimad.model import Filter, Memory, now_ms
from nimad.reflection import affects, goals, lines
from nimad.reflection.affects import Affects
from nimad.reflection.narrative import narrate
from nimad.reflection.themes import vectors_of
from nimad.store import broadcasts

BUDGET = 600
"""Tokens of an answer about oneself, or a day [tokens]."""
MINUTE_CYCLES = 4
"""Number of cycles of a dream for each minute that a program asks for [cycles]."""
PREFIX = "goal_"


@dataclass
class ConsciousnessConfig:
    """What the core has; `tom_history_size` messages of a person make a model."""

    workspace_capacity: int = 4
    default_affect: int = Affects.SEEKING
    binding_config: BindingConfig = field(default_factory=BindingConfig)
    dream_cycles_default: int = 20
    enable_dreaming: bool = True
    enable_volition: bool = True
    max_active_goals: int = 3
    enable_theory_of_mind: bool = True
    tom_history_size: int = 100
    narrative_lookback: int = 20
    enable_phi_tracking: bool = True
    phi_computation_frequency: int = 10
    enable_self_observer: bool = True
    enable_affective_agent: bool = True


class ConsciousnessCore:
    """One workspace over one store.

    Args:
        memory_store: see `sparse_block_memory.store_of`; None: a temporary one.
        workspace_slots, phi_enabled, dreaming_enabled, volition_enabled, theory_of_mind_enabled:
            other names for fields of `config`.
    """

    def __init__(
        self,
        memory_store: Any = None,
        config: ConsciousnessConfig | None = None,
        *,
        workspace_slots: int | None = None,
        phi_enabled: bool | None = None,
        dreaming_enabled: bool | None = None,
        volition_enabled: bool | None = None,
        theory_of_mind_enabled: bool | None = None,
    ) -> None:
        face, store = store_of(memory_store)
        self._face, self.store = face, store
        self.memory_store: Any = face if memory_store is None else memory_store
        self.config = config or ConsciousnessConfig()
        for name, value in (
            ("workspace_capacity", workspace_slots),
            ("enable_phi_tracking", phi_enabled),
            ("enable_dreaming", dreaming_enabled),
            ("enable_volition", volition_enabled),
            ("enable_theory_of_mind", theory_of_mind_enabled),
        ):
            if value is not None:
                setattr(self.config, name, value)
        self.cycle_count = 0
        self.start_time = now()
        self.phi_measurements: list[PhiMeasurement] = []
        self._make_parts(self.config)

    def _make_parts(self, config: ConsciousnessConfig) -> None:
        embed: Callable[[str], Any] = lambda text: self.store.embedder.embed([text])[0]  # noqa: E731
        volition = VolitionalAgent(embed=embed)
        volition.near = self.store.embedder.scale.near
        minds = TheoryOfMindEngine(more=self._said_by)
        self.workspace = SocialConsciousnessWorkspace(
            capacity=config.workspace_capacity, volition=volition, theory_of_mind=minds
        )
        self.memory_agent = MemoryAgent(self.store)
        self.workspace.agents.insert(0, self.memory_agent)
        self.self_observer = SelfObserverAgent() if config.enable_self_observer else None
        if self.self_observer is not None:
            self.self_observer.yields_to = self.memory_agent
            self.workspace.add_agent(self.self_observer)
        self.affective_agent = None
        if config.enable_affective_agent:
            self.affective_agent = AffectivelyModulatedAgent(
                "Affective", config=config.binding_config
            )
        self.workspace.affective_core.current_affect = int(config.default_affect)
        self.emotional_regulator = EmotionalRegulator(self.workspace)
        self.narrative_gen = SelfNarrativeGenerator()
        self.narrative_meta = NarrativeMetacognitive(self.workspace)
        self.volition_agent = volition if config.enable_volition else None
        self.dream_engine = DreamingEngine(self._face) if config.enable_dreaming else None
        self.phi_estimator = None
        if config.enable_phi_tracking:
            self.phi_estimator = PhiEstimator(getattr(self.memory_store, "resonator", None))
        self.memory_agent.recall_history(self.workspace)
        self._take_goals()

    @property
    def theory_of_mind(self) -> TheoryOfMindEngine:
        """Who was heard.  Raises RuntimeError when it is disabled."""
        self._need(self.config.enable_theory_of_mind, "theory of mind")
        return self.workspace.theory_of_mind

    @property
    def global_workspace(self) -> SocialConsciousnessWorkspace:
        """The workspace."""
        return self.workspace

    # --- the cycle ----------------------------------------------------------------------------

    def step(self) -> WorkspaceEntry | None:
        """One cycle: the memory that deserves attention, or what an agent proposes; None when
        nothing competes."""
        self.cycle_count += 1
        self.memory_agent.drop_forgotten(self.workspace)
        entry = self.workspace.step()
        due = self.cycle_count % max(1, self.config.phi_computation_frequency) == 0
        if due and self.phi_estimator is not None and self._resonator() is not None:
            self.measure_current_phi()
        return entry

    def run_cycles(self, n: int = 10) -> list[WorkspaceEntry]:
        """The winners of n cycles."""
        return [entry for _ in range(n) if (entry := self.step()) is not None]

    # --- goals --------------------------------------------------------------------------------

    def set_goal(
        self, description: str, priority: float = 0.8, duration_seconds: float | None = None
    ) -> Goal:
        """Keep a goal, as a memory; it becomes the focus.  Beyond `max_active_goals` the oldest one
        is retired.  Raises RuntimeError when volition is disabled."""
        self._need(self.volition_agent is not None, "volition")
        due = None if duration_seconds is None else now_ms() + int(1000 * duration_seconds)
        number = goals.add(self.store, Memory(description), priority, due)
        active = sorted(goal.memory for goal, _ in goals.listed(self.store))
        goals.retire(self.store, active[: max(0, len(active) - self.config.max_active_goals)])
        self._take_goals()
        return self.workspace.volition.goals[f"{PREFIX}{number}"]

    def clear_goal(self, goal_id: str) -> None:
        """Give a goal up; it stays a memory."""
        self._need(self.volition_agent is not None, "volition")
        if goal_id in self.workspace.volition.goals:
            goals.retire(self.store, [int(goal_id.removeprefix(PREFIX))])
        self._take_goals()

    def get_goals_status(self) -> dict[str, Any]:
        """Goals and the focus; {"error"} when volition is disabled."""
        if self.volition_agent is None:
            return {"error": "volition is disabled"}
        self._take_goals()
        return self.volition_agent.get_status()

    def _take_goals(self) -> None:
        """Make the agent's goals those of the store, the newest of them the focus, and count what
        won since each was set."""
        volition = self.workspace.volition
        volition.goals.clear()
        volition.current_focus = None
        if not self.config.enable_volition:
            return
        found = sorted(goals.listed(self.store), key=lambda pair: pair[0].memory)
        rows = vectors_of(self.store, [memory for _, memory in found])
        kept = broadcasts.latest(self.store.records, broadcasts.KEPT)
        memories = self.store.records.get(sorted({row.memory for row in kept}))
        vectors = dict(zip(memories, vectors_of(self.store, list(memories.values())), strict=True))
        for (goal, memory), row in zip(found, rows, strict=True):
            made = Goal(
                f"{PREFIX}{goal.memory}",
                memory.text,
                row,
                goal.priority,
                _moment(goal.since),
                _moment(goal.due) if goal.due else None,
            )
            volition.take(made)
            for won in kept:
                if won.at >= goal.since and won.memory in vectors:
                    volition.count(made, won.memory, vectors[won.memory])

    # --- narrative ----------------------------------------------------------------------------

    def get_self_narrative(self, lookback: int | None = None) -> str:
        """What won lately, in its own words, each line with the id of its memory."""
        self.memory_agent.drop_forgotten(self.workspace)
        window = self.config.narrative_lookback if lookback is None else lookback
        return self.narrative_gen.answer_what_have_i_been_thinking(self.workspace, window)

    generate_self_narrative = get_self_narrative

    def who_am_i(self) -> str:
        """What all memories tell (`nimactl narrative`)."""
        return self._narrative(Filter())

    def summarize_my_day(self) -> str:
        """What the memories of today tell, from local midnight on."""
        midnight = now().replace(hour=0, minute=0, second=0, microsecond=0)
        return self._narrative(Filter(after=int(midnight.timestamp() * 1000)))

    def _narrative(self, where: Filter) -> str:
        zone = times.local_zone()
        count = TokenCounter(self.store.embedder).count
        return lines.told(narrate(self.store, where, zone, BUDGET, count).lines, zone)

    # --- others -------------------------------------------------------------------------------

    def observe_other(self, name: str, content: str, timestamp: datetime | None = None) -> None:
        """Remember what somebody said; ignored when theory of mind is disabled."""
        if not self.config.enable_theory_of_mind:
            return
        if content not in {text for _, text, _ in self._said_by(name)}:
            at = 0 if timestamp is None else int(timestamp.timestamp() * 1000)
            self.store.remember(Memory(content, who=name, timestamp=at, layer="input"))

        self.workspace.observe_other(name, content, timestamp)

    def _said_by(self, name: str) -> list[Message]:
        """The last messages of somebody that are memories."""
        ids = self.store.records.matching(Filter(who=name))[-self.config.tom_history_size :]
        found = self.store.records.get([int(number) for number in ids])
        return [
            (_moment(memory.timestamp or memory.created or 0), memory.text, memory.id)
            for memory in found.values()
        ]

    def model_other_mind(self, name: str, context: str | None = None) -> OtherMindModel:
        """What the last messages of somebody tell.  Raises RuntimeError when disabled."""
        return self.theory_of_mind.model_other_mind(name, context)

    def what_is_other_thinking(self, name: str) -> str:
        """The same as text."""
        return self.theory_of_mind.what_is_other_thinking(name)

    def simulate_other_response(self, name: str, my_message: str) -> str:
        """The message of theirs that is most like mine, or that none is known."""
        return self.theory_of_mind.simulate_other_response(name, my_message)

    # --- dreams -------------------------------------------------------------------------------

    def _dreams(self) -> DreamingEngine:
        if self.dream_engine is None:
            raise RuntimeError("dreaming is disabled")
        return self.dream_engine

    def dream(
        self,
        initial_affect: int | None = None,
        duration_cycles: int | None = None,
        duration_minutes: float | None = None,
    ) -> DreamSession:
        """The nearest pairs of memories, one a cycle.  Raises RuntimeError when disabled."""
        cycles = duration_cycles
        if cycles is None and duration_minutes is not None:
            cycles = max(1, int(MINUTE_CYCLES * duration_minutes))
        affect = self.workspace.affective_core.current_affect
        return self._dreams().start_dream_session(
            affect if initial_affect is None else initial_affect,
            self.config.dream_cycles_default if cycles is None else cycles,
        )

    def consolidate_dream(self, session: DreamSession | None = None) -> list[int]:
        """Suggest its pairs; the numbers of the suggestions.  Nothing becomes a memory."""
        return self._dreams().consolidate_to_memory(session)

    def get_dream_report(self, session: DreamSession | None = None) -> str:
        """Its episodes as text."""
        return self._dreams().get_dream_report(session)

    # --- phi ----------------------------------------------------------------------------------

    def _resonator(self) -> Any:
        return getattr(self.memory_store, "resonator", None)

    def _estimator(self) -> PhiEstimator:
        if self.phi_estimator is None:
            raise RuntimeError("phi tracking is disabled")
        self.phi_estimator.resonator = self._resonator()
        return self.phi_estimator

    def measure_current_phi(self) -> PhiMeasurement | None:
        """Φ of the last broadcast, with the resonator of the memory store; None before the first.
        Raises RuntimeError when it is disabled."""
        estimator = self._estimator()
        if not self.workspace.history:
            return None
        measured = estimator.measure_phi(self._hypervector(self.workspace.history[-1]))
        self.workspace.history[-1]._phi = measured.phi
        self.phi_measurements.append(measured)
        return measured

    def measure_all_phi(self) -> list[PhiMeasurement]:
        """Φ of each broadcast that is remembered."""
        estimator = self._estimator()
        return [estimator.measure_phi(self._hypervector(e)) for e in self.workspace.history]

    def get_phi_statistics(self) -> dict[str, Any]:
        """Counts and figures; {"error"} when it is disabled."""
        if self.phi_estimator is None:
            return {"error": "phi tracking is disabled"}
        return self.phi_estimator.get_statistics()

    def _hypervector(self, entry: WorkspaceEntry) -> Any:
        """That of an entry's memory, where the memory store has one, else its vector."""
        vectors = getattr(self._face, "memory_vectors", None)
        number = entry.metadata.get("id")
        if vectors is None or number is None:
            return entry.bound
        return vectors[vectors.place(number)]

    # --- affects, statistics ------------------------------------------------------------------

    def get_affective_state(self) -> dict[str, Any]:
        """The affects now, and what they change."""
        core = self.workspace.affective_core
        return {
            "current_affect": affects.names(core.current_affect),
            "affect_mask": int(core.current_affect),
            "modulation": core.get_modulation_factors(),
        }

    def set_affective_state(self, mask: int, reason: str | None = None) -> None:
        """Set other affects."""
        self.emotional_regulator.set_state(mask, reason)

    def get_self_observer_stats(self) -> dict[str, Any]:
        """Attempts of the self-observer; {"error"} when it is disabled."""
        if self.self_observer is None:
            return {"error": "the self-observer is disabled"}
        return self.self_observer.get_statistics()

    def get_status(self) -> dict[str, Any]:
        """All of it; changes nothing."""
        recent = self.workspace.get_recent_broadcasts(self.config.narrative_lookback)
        found: dict[str, Any] = {
            "runtime": {
                "cycles": self.cycle_count,
                "start_time": self.start_time.isoformat(),
                "elapsed_seconds": (now() - self.start_time).total_seconds(),
            },
            "workspace": {
                "capacity": self.workspace.capacity,
                "buffer_size": len(self.workspace.buffer),
                "history_size": len(self.workspace.history),
                "agent_count": len(self.workspace.agents),
            },
            "affective": self.get_affective_state(),
            "narrative": {"recent_thoughts": [entry.content for entry in recent]},
        }
        if self.volition_agent is not None:
            found["volition"] = self.volition_agent.get_status()
        if self.config.enable_theory_of_mind:
            minds = self.workspace.theory_of_mind
            models = {name: m.inferred_state for name, m in minds.get_all_models().items()}
            found["theory_of_mind"] = {"modeled_minds": len(models), "models": models}
        if self.phi_estimator is not None:
            found["phi"] = self.phi_estimator.get_statistics()
        if self.self_observer is not None:
            found["self_observer"] = self.self_observer.get_statistics()
        return found

    def _need(self, there: bool, what: str) -> None:
        if not there:
            raise RuntimeError(f"{what} is disabled")


def _moment(at: int) -> datetime:
    return times.local(at, times.local_zone())


def create_consciousness_core(
    memory_path: str | Path | None = None, enable_all: bool = True
) -> ConsciousnessCore:
    """A core over the memories of a path (see SparseBlockMemory), or temporary ones; without
    `enable_all` it has neither dreams, goals, others nor Φ."""
    config = ConsciousnessConfig()
    if not enable_all:
        config.enable_dreaming = config.enable_volition = False
        config.enable_theory_of_mind = config.enable_phi_tracking = False
    return ConsciousnessCore(SparseBlockMemory(path=memory_path), config)
