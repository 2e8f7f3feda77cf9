"""The guides' workspace, observer, binding, goals and minds: names kept, wonders left out."""

from __future__ import annotations

import logging
import subprocess
import sys
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from nimad.cognition.affective_binding import (
    AffectivelyModulatedAgent,
    BindingConfig,
    EmotionalRegulator,
)
from nimad.cognition.consciousness_workspace import (
    AffectiveCore,
    Affects,
    Agent,
    ConsciousnessMetacognitive,
    GlobalWorkspace,
    WorkspaceEntry,
)
from nimad.cognition.self_narrative import NarrativeMetacognitive, SelfNarrativeGenerator
from nimad.cognition.self_observer_agent import SelfObserverAgent
from nimad.cognition.sparse_block_vsa import SparseBlockHDVector
from nimad.cognition.theory_of_mind import TheoryOfMindEngine
from nimad.cognition.volition import VolitionalAgent, VolitionalWorkspace

IMPORTS = """
import sys
sys.modules["torch"] = None
before = list(sys.meta_path)
from nimad.cognition.nima_consciousness_core import ConsciousnessCore, ConsciousnessConfig
from nimad.cognition import PhiEstimator, PhiMeasurement, GlobalWorkspace, DreamingEngine, Goal
from nimad.cognition.sparse_block_vsa import SparseBlockHDVector
from nimad.cognition.migrate_to_sparse_block import VSAMigrator, MigrationConfig
from nimad.retrieval.resonator import ResonatorNetwork, Codebook
from nimad.cognition.resonator import ResonatorNetwork as Same
from nimad.nima_episodic_integration import NIMAVSABridge
from nimad.integrations.nima_episodic_integration import NIMAVSABridge as Bridge
from nimad.nima_consciousness_core import ConsciousnessCore as Core
from nimad import volition, dreaming, theory_of_mind, affective_binding, self_narrative
import nimad.self_observer_agent, nimad.consciousness_workspace, nimad.sparse_block_memory
import nimad.phi_estimator, nimad.sparse_block_vsa
from nimad.embeddings.embeddings import get_embedder
from nimad.embeddings import get_embedder as again
from nimad.experimental.phi_estimator import PhiEstimator as Later
from nimad.experimental.theory_of_mind import TheoryOfMindEngine
from nimad.experimental import PhiEstimator as Latest
import nimad.cognition as faces
assert Same is ResonatorNetwork and Bridge is NIMAVSABridge and Core is ConsciousnessCore
assert again is get_embedder and Later is PhiEstimator is Latest
for name in faces._HOMES:
    getattr(faces, name)
try:
    import nimad.no_such_thing
except ModuleNotFoundError:
    sys.exit(7)
"""


def test_every_import_line_of_the_guides_works_and_prints_nothing() -> None:
    ran = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (7, "", "")


class Says(Agent):
    """Proposes what it is given, in turn."""

    def __init__(self, name: str, *vectors: Any) -> None:
        super().__init__(name)
        self.vectors = list(vectors)

    def propose(self, workspace: GlobalWorkspace) -> Any:
        return self.vectors.pop(0) if self.vectors else None


def vectors(number: int) -> list[SparseBlockHDVector]:
    rng = np.random.default_rng(3)
    return [SparseBlockHDVector(50, 10, rng=rng) for _ in range(number)]


# --- the workspace --------------------------------------------------------------------------------


def test_an_empty_workspace_has_no_winner() -> None:
    workspace = GlobalWorkspace(capacity=4)
    assert not workspace.buffer and workspace.affective_core.current_affect == Affects.SEEKING
    assert workspace.step() is None


def test_the_winner_is_what_was_proposed_and_the_same_again_is_no_news() -> None:
    one, other = vectors(2)
    workspace = GlobalWorkspace()
    workspace.add_agent(Says("A", one, one, one))
    first = workspace.step()
    assert first is not None and first.source_agent == "A" and first.surprise_score == 1.0
    assert first.bound is one
    workspace.add_agent(Says("B", None, other))
    second = workspace.step()
    assert second is not None and second.surprise_score == pytest.approx(0, abs=1e-6)
    third = workspace.step()
    assert third is not None and third.source_agent == "B"


def test_buffer_history_and_listeners_hear_six_broadcasts() -> None:
    workspace = GlobalWorkspace(capacity=4)
    agents = [Says("A", *vectors(6)), Says("B")]
    for agent in agents:
        workspace.add_agent(agent)
    for _ in range(6):
        workspace.step()
    assert (len(workspace.buffer), len(workspace.history)) == (4, 6)
    assert [agent.broadcast_count for agent in agents] == [6, 6]
    found = workspace.get_statistics()
    assert (found["total_broadcasts"], found["agent_names"]) == (6, ["A", "B"])
    assert found["average_phi"] is None


def test_an_agent_that_raises_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    workspace = GlobalWorkspace()
    workspace.add_agent(Agent("Broken"))
    workspace.add_agent(Says("A", *vectors(3)))
    with caplog.at_level(logging.WARNING):
        assert all(workspace.step() is not None for _ in range(3))
    assert sum("Broken" in record.message for record in caplog.records) == 1


def test_times_of_entries_are_understood() -> None:
    one = WorkspaceEntry(vectors(1)[0], 1_700_000_000.0)
    other = WorkspaceEntry(vectors(1)[0], datetime.fromtimestamp(1_700_000_000))
    assert one.timestamp == other.timestamp and one.timestamp.tzinfo is not None


def test_history_is_ranked_and_felt_as_it_was() -> None:
    workspace = GlobalWorkspace()
    for number, vector in enumerate(vectors(6)):
        entry = WorkspaceEntry(vector, metadata={"what": f"the heron stands at brook {number}"})
        entry.affect_vector = Affects.FEAR if number == 2 else Affects.PLAY
        workspace.hold(entry)
    best = workspace.query_history("heron brook 4", top_k=2)
    assert best[0][0] is workspace.history[4] and best[0][1] == 1.0 > best[1][1]
    vector = workspace.history[1].bound
    assert workspace.query_history(vector, top_k=1)[0][0] is workspace.history[1]
    assert [e for e, _ in workspace.query_history(top_k=2)] == list(workspace.history)[:3:-1]
    (felt,) = workspace.query_history(affect_filter=Affects.FEAR)
    meta = ConsciousnessMetacognitive(workspace)
    assert meta.how_did_i_feel(felt[0]) == "FEAR"
    assert len(meta.what_was_i_thinking(3)) == 3 and "brook 5" in str(meta.introspect())


# --- affects --------------------------------------------------------------------------------------


def test_affects_have_the_guides_numbers() -> None:
    agent, core = AffectivelyModulatedAgent("A"), AffectiveCore()
    expected = {
        Affects.SEEKING: (5, "exploratory"),
        Affects.FEAR: (2, "survival"),
        Affects.CARE | Affects.FEAR: (4, "relational"),
    }
    for mask, (slots, strategy) in expected.items():
        core.set_affect(mask)
        assert (agent.get_binding_richness(core), agent.get_binding_strategy(core)) == (
            slots,
            strategy,
        )
    assert (agent.get_binding_richness(None), agent.get_binding_strategy(None)) == (3, "moderate")
    core.set_affect(Affects.SEEKING)
    assert core.get_modulation_factors()["novelty"] > 1
    core.set_affect(Affects.FEAR)
    found = core.get_modulation_factors()
    assert found["risk"] > 1 and found["novelty"] < 1
    assert BindingConfig().min_slots == 2
    with pytest.raises(NotImplementedError):
        agent.propose(GlobalWorkspace())


def test_a_change_of_affects_is_one_line() -> None:
    regulator = EmotionalRegulator(GlobalWorkspace())
    regulator.set_state(Affects.PLAY, "test")
    assert [str(change) for change in regulator.history] == ["SEEKING -> PLAY (test)"]
    assert regulator.get_current_bandwidth() == 4


# --- the observer, the narrative ------------------------------------------------------------------


def test_the_observer_stops_after_three_in_a_row() -> None:
    workspace = GlobalWorkspace()
    observer = SelfObserverAgent(dimension=500)
    assert observer.propose(workspace) is None
    workspace.hold(WorkspaceEntry(vectors(1)[0]))
    workspace.add_agent(observer)
    won = [workspace.step() for _ in range(5)]
    assert [entry is not None for entry in won] == [True, True, True, False, False]
    assert won[2] is not None and won[2].metadata["recursion_depth"] == 3
    assert observer.observation_attempts == observer.successful_observations == 3


def test_a_narrative_says_what_entries_say() -> None:
    workspace = GlobalWorkspace()
    for number, vector in enumerate(vectors(5)):
        workspace.hold(WorkspaceEntry(vector, metadata={"what": f"lantern number {number}"}))
    found = SelfNarrativeGenerator().generate_narrative(workspace, 5)
    text = found.to_natural_language()
    assert len(found.timeline) == 5
    assert all(f"lantern number {number}" in text for number in range(5))
    assert "5 moments" in NarrativeMetacognitive(workspace).who_am_i_right_now()
    assert "nothing" in NarrativeMetacognitive(GlobalWorkspace()).summarize_my_day().lower()


# --- goals, minds ---------------------------------------------------------------------------------


def test_a_goal_weighs_and_never_satisfies_itself() -> None:
    agent = VolitionalAgent()
    base = 0.5
    train = agent.vector_of("the night train to the sea")
    assert agent.compute_goal_weighted_surprise(train, base) == base
    goal = agent.set_goal("goal_1", "ride the night train", priority=0.8)
    assert agent.current_focus == "goal_1"
    assert agent.compute_goal_weighted_surprise(train, base) > base
    assert agent.propose(GlobalWorkspace()) is None and goal.satisfaction_score == 0
    agent.receive_broadcast(WorkspaceEntry(train))
    assert goal.satisfaction_score == 0, "no memory, no satisfaction"
    for _ in range(3):
        agent.receive_broadcast(WorkspaceEntry(train, metadata={"id": 7}))
    assert goal.related_broadcasts == [7] and 0 < goal.satisfaction_score < 0.3


def test_ids_of_goals_are_not_used_again() -> None:
    workspace = VolitionalWorkspace()
    first, second = workspace.set_goal("one"), workspace.set_goal("two")
    workspace.volition.clear_goal(first.id)
    third = workspace.set_goal("three")
    assert len({first.id, second.id, third.id}) == 3 and second.id in workspace.volition.goals
    workspace.clear_all_goals()
    assert workspace.volition.get_status()["active_goals"] == 0


def test_minds_are_whole_words_and_real_messages() -> None:
    engine = TheoryOfMindEngine()
    for number in range(3):
        engine.observe_interaction("Dora", f"I'm curious about kiln {number}")
    model = engine.model_other_mind("Dora")
    assert model.inferred_affect == Affects.SEEKING and model.inferred_state == "SEEKING"
    assert model.confidence == pytest.approx(0.9)
    assert any("curious about kiln 2" in line for line in model.evidence)
    engine.observe_interaction("Max", "this function displays the country of Philadelphia")
    found = engine.model_other_mind("Max")
    assert (found.inferred_affect, found.confidence) == (0, 0.0)
    unknown = engine.model_other_mind("Zoe")
    assert (unknown.inferred_affect, unknown.confidence, len(unknown.evidence)) == (0, 0.0, 1)
    engine.observe_interaction("Dora", "The glaze cracked.")
    assert "glaze cracked" in engine.simulate_other_response("Dora", "what of the glaze?")
    assert "No message" in engine.simulate_other_response("Dora", "the weather in Oslo")
    assert engine.simulate_other_response("Zoe", "x").startswith("No message")
