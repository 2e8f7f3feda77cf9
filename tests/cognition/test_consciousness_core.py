"""The guides' integrated core on a real store: restart in the middle, forgetting, no inventions."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nimad.check import check
from nimad.cognition.consciousness_workspace import Affects, Agent, GlobalWorkspace
from nimad.cognition.embeddings import get_embedder
from nimad.cognition.nima_consciousness_core import (
    ConsciousnessConfig,
    ConsciousnessCore,
    create_consciousness_core,
)
from nimad.cognition.resonator import CodebookBuilder, ResonatorNetwork
from nimad.cognition.sparse_block_memory import SparseBlockMemory
from nimad.nima_episodic_integration import NIMAVSABridge
from nimad.reflection.dream import reject
from nimad.store import suggestions
from tests.cognition.talk import SAID

TOPICS = ("kiln", "adoption", "train", "garden", "soup")


def filled(path: Path, number: int = 20) -> SparseBlockMemory:
    memory = SparseBlockMemory(path=path)
    for n in range(number):
        who, what = SAID[n % len(SAID)]
        memory.store(who=who, what=f"{what} {n}", importance=0.1 * (n % 10), where="home")
    return memory


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[SparseBlockMemory]:
    made = filled(tmp_path / "state")
    yield made
    made.close()


def cited(text: str) -> set[int]:
    """The ids in brackets."""
    return {int(n) for found in re.findall(r"\[([\d ]+)\]", text) for n in found.split()}


# --- the cycle ------------------------------------------------------------------------------------


def test_ten_steps_are_ten_memories_in_their_own_words(memory: SparseBlockMemory) -> None:
    core = ConsciousnessCore(memory)
    entries = [core.step() for _ in range(10)]
    ids = [entry.metadata["id"] for entry in entries if entry is not None]
    assert len(set(ids)) == 10
    kept = memory.records_store.records.get(ids)
    for entry in entries:
        assert entry is not None
        assert entry.metadata["what"] == kept[entry.metadata["id"]].text
        assert entry.surprise_score == pytest.approx(sum(entry.parts.values()))
    narrative = core.get_self_narrative()
    assert cited(narrative) == set(ids)
    memory.records_store.forget([ids[0]], purge=True)
    assert cited(core.get_self_narrative()) == set(ids[1:])
    assert len(core.run_cycles(3)) == 3


def test_nothing_to_attend_to_is_said(tmp_path: Path) -> None:
    core = ConsciousnessCore(SparseBlockMemory(path=tmp_path / "state"))
    assert core.step() is None
    assert "nothing" in core.get_self_narrative() and "nothing" in core.who_am_i()
    session = core.dream(duration_cycles=5)
    assert session.episodes == [] and session.reason
    assert core.consolidate_dream() == []
    core.memory_store.close()


def test_an_agent_of_a_program_competes_by_surprise(memory: SparseBlockMemory) -> None:
    class Loud(Agent):
        def propose(self, workspace: GlobalWorkspace) -> Any:
            self.proposal_metadata = {"what": "the kettle boils"}
            return np.random.default_rng(1).standard_normal(256).astype(np.float32)

    core = ConsciousnessCore(memory, ConsciousnessConfig(default_affect=0))
    core.workspace.add_agent(Loud("Loud"))
    sources = {entry.source_agent for entry in core.run_cycles(6)}
    assert "Loud" in sources
    assert check(memory.records_store) == []


def test_any_list_of_episodes_will_do() -> None:
    told = [{"who": "Maya", "what": f"the heron counts {n} fish"} for n in range(3)]
    core = ConsciousnessCore(SimpleNamespace(memory_metadata=told))
    assert {e.metadata["what"] for e in core.run_cycles(3)} == {meta["what"] for meta in told}
    assert len(core.dream(duration_cycles=2).episodes) == 2
    with pytest.raises(TypeError, match="no memory store"):
        ConsciousnessCore(object())


def test_status_changes_nothing(memory: SparseBlockMemory) -> None:
    core = ConsciousnessCore(memory)
    core.run_cycles(3)
    core.set_goal("ride the night train")
    first, second = core.get_status(), core.get_status()
    assert {"runtime", "workspace", "affective", "narrative"} <= first.keys()
    assert first["workspace"] == second["workspace"] and first["volition"] == second["volition"]
    assert first["workspace"]["buffer_size"] == 3
    assert len(first["narrative"]["recent_thoughts"]) == 3
    json.dumps(first)


# --- goals ----------------------------------------------------------------------------------------


def test_goals_and_narrative_survive_a_restart(tmp_path: Path) -> None:
    core = ConsciousnessCore(filled(tmp_path / "state"))
    core.run_cycles(4)
    goal = core.set_goal("the night train to the sea", priority=0.9)
    assert core.get_goals_status()["current_focus"] == goal.id
    core.run_cycles(4)
    before, told = core.get_goals_status(), core.get_self_narrative()
    core.memory_store.close()
    again = ConsciousnessCore(SparseBlockMemory(path=tmp_path / "state"))
    after = again.get_goals_status()
    assert after["current_focus"] == before["current_focus"] == goal.id
    assert cited(again.get_self_narrative()) == cited(told)
    kept = again.workspace.volition.goals[goal.id]
    assert kept.priority == 0.9 and kept.related_broadcasts
    assert kept.satisfaction_score == pytest.approx(goal_of(before), abs=0.02)
    ids = {entry.metadata["id"] for entry in again.run_cycles(4)}
    assert ids.isdisjoint(cited(told))
    again.memory_store.close()


def goal_of(status: dict[str, Any]) -> float:
    found: float = status["goals"][0]["satisfaction"]
    return found


def test_matching_memories_win_sooner_with_a_goal(tmp_path: Path) -> None:
    first: dict[bool, int] = {}
    for wanted in (False, True):
        core = ConsciousnessCore(filled(tmp_path / str(wanted), 12))
        if wanted:
            core.set_goal("the price of a repaired kettle at the bridge")
        won = [entry.metadata["what"] for entry in core.run_cycles(12)]
        first[wanted] = min(n for n, text in enumerate(won) if "kettle" in text)
        assert not any("price of a repaired" in text for text in won)
        core.memory_store.close()
    assert first[True] <= first[False] and first[True] == 0


def test_ids_are_new_and_the_oldest_goal_beyond_the_limit_retires(
    memory: SparseBlockMemory,
) -> None:
    core = ConsciousnessCore(memory, ConsciousnessConfig(max_active_goals=2))
    first, second = core.set_goal("one"), core.set_goal("two")
    core.clear_goal(first.id)
    third = core.set_goal("three")
    assert len({first.id, second.id, third.id}) == 3
    fourth = core.set_goal("four")
    assert list(core.workspace.volition.goals) == [third.id, fourth.id]
    assert core.get_goals_status()["active_goals"] == 2


def test_goals_come_along_when_a_memory_is_saved(tmp_path: Path) -> None:
    memory = SparseBlockMemory()
    memory.store(who="Maya", what="the heron stands in the brook", importance=0.9)
    core = ConsciousnessCore(memory)
    goal = core.set_goal("see a heron", priority=0.7)
    core.step()
    memory.save(tmp_path / "state" / "sparse_memory.pkl")
    again = ConsciousnessCore(memory)
    (kept,) = again.workspace.volition.goals.values()
    assert (kept.description, kept.priority) == (goal.description, 0.7)
    assert "heron stands" in again.get_self_narrative()
    memory.close()


# --- others, dreams -------------------------------------------------------------------------------


def test_what_others_said_is_kept_and_quoted(memory: SparseBlockMemory) -> None:
    core = ConsciousnessCore(memory)
    for _ in range(3):
        core.observe_other("Dora", "I'm curious about the two kilns")
    model = core.model_other_mind("Dora")
    assert model.inferred_affect == Affects.SEEKING and 0 < model.confidence <= 0.9
    ids = {number for line in model.evidence for number in cited(line)}
    kept = memory.records_store.records.get(sorted(ids))
    assert [each.who for each in kept.values()] == ["Dora"]
    assert core.model_other_mind("Nobody").confidence == 0.0
    assert cited(core.simulate_other_response("Dora", "are the kilns warm?")) == ids


def test_dreams_are_pairs_and_only_suggest(memory: SparseBlockMemory) -> None:
    core = ConsciousnessCore(memory)
    store = memory.records_store
    before = store.records.counts()
    session = core.dream(initial_affect=Affects.SEEKING, duration_cycles=5)
    assert len(session.episodes) == 5
    for episode in session.episodes:
        assert len(store.records.get(list(episode.ids))) == 2
        assert cited(episode.content) == set(episode.ids)
    assert store.records.counts() == before
    numbers = core.consolidate_dream()
    assert numbers and store.records.counts() == before
    for number in numbers:
        reject(store, number)
    assert suggestions.waiting(store.records, 100) == [] and store.records.counts() == before
    assert cited(core.get_dream_report())


# --- what is disabled, affects, phi ---------------------------------------------------------------


def test_what_is_disabled_says_so(memory: SparseBlockMemory) -> None:
    core = ConsciousnessCore(
        memory,
        volition_enabled=False,
        dreaming_enabled=False,
        theory_of_mind_enabled=False,
        phi_enabled=False,
        workspace_slots=2,
    )
    for refused in (
        lambda: core.set_goal("x"),
        core.dream,
        lambda: core.model_other_mind("x"),
        core.measure_current_phi,
    ):
        with pytest.raises(RuntimeError, match="disabled"):
            refused()  # type: ignore[operator]
    before = len(memory)
    core.observe_other("x", "hello")
    assert len(memory) == before
    assert "error" in core.get_goals_status() and "error" in core.get_phi_statistics()
    assert not {"volition", "theory_of_mind", "phi"} & core.get_status().keys()
    assert core.workspace.capacity == 2


def test_affects_are_told_and_logged(memory: SparseBlockMemory) -> None:
    core = ConsciousnessCore(memory)
    core.set_affective_state(Affects.PLAY, "test")
    assert core.get_affective_state()["current_affect"] == "PLAY"
    assert [str(each) for each in core.emotional_regulator.history] == ["SEEKING -> PLAY (test)"]


def test_phi_uses_the_resonator_of_the_memory_store(memory: SparseBlockMemory) -> None:
    core = ConsciousnessCore(memory)
    core.step()
    unmeasured = core.measure_current_phi()
    assert unmeasured is not None and math.isnan(unmeasured.phi) and unmeasured.reason
    assert core.get_phi_statistics()["unmeasured"] == 1
    resonator = ResonatorNetwork(dimension=50_000)
    resonator.initialize_role_keys(["who", "what", "where"])
    for name, book in CodebookBuilder().build_from_memories(memory.memory_metadata).items():
        resonator.add_codebook(name, book)
    memory.resonator = resonator
    measured = core.measure_current_phi()
    assert measured is not None and measured.phi > 0.1
    assert len(core.measure_all_phi()) == 1


# --- the code of the guide ------------------------------------------------------------------------


def test_the_code_of_the_guide_runs(tmp_path: Path) -> None:
    """Its sections API Changes, Troubleshooting and Integrated Core, with `nimad.` prefixed."""
    bridge = NIMAVSABridge(vsa_dimension=50_000)
    bridge.store(who="user", what="content")
    assert len(bridge.semantic_query("content", top_k=5)) == 1
    bridge.close()
    memory = SparseBlockMemory(path=tmp_path / "state")
    assert memory.store(who="user", what="content", importance=0.8) == 0
    assert memory.semantic_query("content", top_k=5)[0]["id"] == 0
    embedder = get_embedder()
    for meta in memory.memory_metadata:
        row = embedder.encode_single(f"{meta.get('who', '')} {meta.get('what', '')}")
        assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)
    resonator = ResonatorNetwork(dimension=50_000)
    resonator.initialize_role_keys(["who", "what", "where", "when"])
    for name, book in CodebookBuilder().build_from_memories(memory.memory_metadata).items():
        resonator.add_codebook(name, book)
    memory.resonator = resonator
    core = ConsciousnessCore(memory_store=memory, config=ConsciousnessConfig())
    entry = core.step()
    assert entry is not None and entry.metadata["what"] == "content"
    assert "content" in core.get_self_narrative()
    goal = core.set_goal("Understand X", priority=0.9)
    memory.close()
    core = create_consciousness_core(tmp_path / "state")
    assert "content" in core.get_self_narrative()
    assert goal.id in core.workspace.volition.goals
    core.memory_store.close()


SCRIPT = """
import random, sys
import numpy
from nimad.cognition.nima_consciousness_core import ConsciousnessCore
from nimad.cognition.sparse_block_memory import SparseBlockMemory
seed = int(sys.argv[2])
random.seed(seed), numpy.random.seed(seed)
before = random.getstate(), numpy.random.get_state()[1].tolist()
memory = SparseBlockMemory(path=sys.argv[1])
core = ConsciousnessCore(memory)
core.set_goal("the night train to the sea")
won = [entry.metadata["id"] for entry in core.run_cycles(6)]
session = core.dream(duration_cycles=4)
found = [won, core.who_am_i(), [(e.ids, e.score) for e in session.episodes]]
assert (random.getstate(), numpy.random.get_state()[1].tolist()) == before
memory.close()
sys.stderr.write(repr(found))
"""


def test_two_processes_agree_and_leave_global_state_alone(tmp_path: Path) -> None:
    found = []
    for seed in ("1", "2"):
        filled(tmp_path / seed, 12).close()
        ran = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path / seed), seed],
            env={"PYTHONHASHSEED": seed, "TZ": "UTC"},
            capture_output=True,
            text=True,
        )
        assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
        found.append(re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "", ran.stderr))
    assert found[0] == found[1]
