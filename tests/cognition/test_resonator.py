"""The guides' ResonatorNetwork and PhiEstimator: fillers are recovered, noise is called noise."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nimad.cognition import episodes
from nimad.cognition.phi_estimator import PhiEstimator, measure_workspace_integration
from nimad.cognition.resonator import (
    Codebook,
    CodebookBuilder,
    ResonatorNetwork,
    SchemaSlotPredictor,
)
from nimad.cognition.sparse_block_memory import SparseBlockMemory
from nimad.cognition.sparse_block_vsa import SparseBlockHDVector
from nimad.vsa import algebra, codes

ROLES = ("who", "what", "where", "when", "context")
SHAPE = (100, 500, 10)
FILLERS = 1000


def labels_of(role: str) -> list[str]:
    return [f"{role}{number}" for number in range(FILLERS)]


@pytest.fixture(scope="module")
def network() -> ResonatorNetwork:
    """Five roles with a thousand fillers each."""
    made = ResonatorNetwork()
    made.initialize_role_keys(ROLES)
    for role in ROLES:
        made.add_codebook(role, CodebookBuilder().codebook(role, labels_of(role)))
    return made


def draw(rng: np.random.Generator) -> dict[str, str]:
    return {role: f"{role}{rng.integers(FILLERS)}" for role in ROLES}


def bundled(slots: dict[str, str]) -> np.ndarray:  # type: ignore[type-arg]
    """The hypervector of an episode, as `memory_vectors` has it."""
    factors = {role.upper(): value for role, value in slots.items()}
    return SparseBlockHDVector.of(episodes.episode(factors, *SHAPE)).to_dense()


# --- codebooks ------------------------------------------------------------------------------------


def test_a_codebook_names_the_nearest() -> None:
    book = Codebook("people")
    assert book.nearest(np.ones(4)) == [] and book.get("Ana") is None and len(book) == 0
    with pytest.raises(ValueError, match="empty"):
        book.random()
    book.add("Ana", [1, 0, 0, 0])
    book.add("Ben", np.array([1.0, 1, 0, 0]))
    book.vectors["Cleo"] = [0, 0, 2, 0]
    assert [label for label, _ in book.nearest([1, 0, 0, 0], 3)] == ["Ana", "Ben", "Cleo"]
    assert book.nearest([1, 0, 0, 0], 2)[1][1] == pytest.approx(0.5**0.5)
    assert book.nearest(np.zeros(4), 1) == [("Ana", 0.0)]
    drawn = [book.random()[0] for _ in range(20)]
    assert set(drawn) == {"Ana", "Ben", "Cleo"}
    with pytest.raises(ValueError, match="of 4"):
        book.nearest([1, 2])
    book.add("Dan", [1, 2])
    with pytest.raises(ValueError, match="one length"):
        book.nearest([1, 0, 0, 0])


def test_codebooks_of_memories_are_kept_and_read_again(tmp_path: Path) -> None:
    memory = SparseBlockMemory()
    memory.store(who="Ana", what="asked about adoption", raw_text="Ana asked about adoption there")
    memory.store(who="Ben", what="asked about CAD", themes=["work", "tools"])
    memory.store(who="Ana", what="went home")
    books = CodebookBuilder(embedder=object()).build_from_memories(memory.memory_metadata)
    assert list(books["who"].vectors) == ["Ana", "Ben"] and len(books["what"]) == 3
    assert list(books["topic"].vectors) == ["asked", "adoption"]
    themes = CodebookBuilder().build_from_memories(memory.memory_metadata, ["theme"])["theme"]
    assert list(themes.vectors) == ["work", "tools"]
    books["dense"] = Codebook("dense", {"a": np.arange(9.0)})
    books["none"] = Codebook("none")
    CodebookBuilder().save_codebooks(books, tmp_path / "kept")
    again = CodebookBuilder().load_codebooks(tmp_path / "kept")
    assert {r: list(b.vectors) for r, b in again.items()} == {
        r: list(b.vectors) for r, b in books.items()
    }
    assert again["who"].vectors["Ana"] == books["who"].vectors["Ana"]
    np.testing.assert_array_equal(again["dense"].vectors["a"], np.arange(9.0))


# --- roles ----------------------------------------------------------------------------------------


def test_role_keys_depend_on_the_role_alone() -> None:
    one, other = ResonatorNetwork(), ResonatorNetwork(dimension=50_000)
    one.initialize_role_keys(["who", "what", "where", "when"])
    other.initialize_role_keys(["when", "WHO"], seed=42)
    assert np.array_equal(one.role_keys["who"], other.role_keys["WHO"])
    assert np.array_equal(one.role_keys["when"], other.role_keys["when"])
    keys = np.stack(list(one.role_keys.values()))
    likeness = keys @ keys.T / 100
    assert np.abs(likeness - np.eye(4)).max() < 0.05
    other.initialize_role_keys(["when"], seed=7)
    assert not np.array_equal(one.role_keys["when"], other.role_keys["when"])
    role = episodes.role("WHO", 100, 500)
    assert np.array_equal(one.role_keys["who"], SparseBlockHDVector.of(role).to_dense())


@pytest.mark.parametrize(("erased", "least"), [(0.0, 0.99), (0.5, 0.9)])
def test_fillers_of_five_roles(network: ResonatorNetwork, erased: float, least: float) -> None:
    rng = np.random.default_rng(11)
    right = 0
    for _ in range(40):
        slots = draw(rng)
        blocks = bundled(slots).reshape(100, 500)
        active = np.flatnonzero(blocks.any(axis=1))
        blocks[rng.permutation(active)[: int(erased * len(active))]] = 0
        found = network.decompose_direct(blocks)
        right += sum(found.slots[role] == slots[role] for role in ROLES)
        assert found.converged
    assert right / 200 >= least


def test_known_slots_are_left_out(network: ResonatorNetwork) -> None:
    slots = {"who": "who3", "what": "what5", "context": "context7"}
    vector = bundled(slots)
    for way in (network.decompose_direct, network.decompose, network.factor):
        found = way(vector, {"context": "context7"})
        assert (found.slots["who"], found.slots["what"]) == ("who3", "what5")
        assert "context" not in found.slots and found.converged
        assert min(found.confidences[role] for role in ("who", "what")) > 0.3
        assert max(found.confidences[role] for role in ("where", "when")) < 0.1
    only = network.decompose_direct(vector, unknown_slots=["what"])
    assert set(only.slots) == {"what"} and len(only.trajectory) == 1
    memories = [(17, vector, {"who": "WHO3", "topic": "context7 and more"}), (18, vector, {})]
    ((number, meta, result),) = network.query_partial({"topic": "Context7"}, ["who"], memories) or [
        (0, {}, only)
    ]
    assert (
        number in (0, 17) and (number == 0 or result.slots == {"who": "who3"}) and meta is not None
    )


def test_noise_and_wrong_codebooks_are_told(network: ResonatorNetwork) -> None:
    rng = np.random.default_rng(5)
    dense = rng.standard_normal(50_000).astype(np.float32)
    sparse = codes.bundle(codes.random(rng, 5, active=10)).reshape(-1)
    wrong = bundled({role: f"stranger {role}" for role in ROLES})
    for vector in (dense, sparse, wrong):
        for found in (network.decompose_direct(vector), network.decompose(vector)):
            assert not found.converged
            assert max(found.confidences.values()) <= 0.1
    assert network.decompose_direct(np.zeros(50_000)).explained == 0
    with pytest.raises(ValueError, match="50000"):
        network.decompose(np.ones(10))


def test_products_of_one_item_of_each_codebook() -> None:
    made = ResonatorNetwork(dimension=5_000)
    assert made.shape == (10, 500)
    for number in range(3):
        items = {f"{number}.{n}": algebra.item(f"{number}.{n}", 10, 500) for n in range(50)}
        made.add_codebook(f"part {number}", Codebook("x", items))
    picked = [made.codebooks[f"part {n}"].vectors[f"{n}.{7 + n}"] for n in range(3)]
    product = made.bind(made.bind(picked[0], picked[1]), picked[2])
    found = made.factor(product)
    assert found.converged and found.slots == {f"part {n}": f"{n}.{7 + n}" for n in range(3)}
    assert min(found.confidences.values()) > 0.5
    assert not made.factor(np.random.default_rng(1).standard_normal(5000)).converged


def test_dense_hypervectors_of_one_block() -> None:
    """A legacy store's: whole-vector convolution, keys and fillers that are Gaussian."""
    rng = np.random.default_rng(3)
    made = ResonatorNetwork(dimension=2_000, block_dim=2_000)
    with pytest.raises(ValueError, match="no blocks"):
        ResonatorNetwork(dimension=2_000, block_dim=300)
    for role in ("who", "what", "where"):
        made.role_keys[role] = rng.standard_normal(2_000).astype(np.float32) / 2_000**0.5
        rows = rng.standard_normal((40, 2_000)).astype(np.float32) / 2_000**0.5
        made.add_codebook(role, Codebook(role, {f"{role}{n}": row for n, row in enumerate(rows)}))
    slots = {"who": "who39", "what": "what0", "where": "where20"}
    vector = np.sum(list(made.pairs(slots).values()), axis=0)
    for found in (made.decompose(vector), made.decompose_direct(vector)):
        assert found.slots == slots and found.converged
    factors = [made.codebooks[role].vectors[label] for role, label in slots.items()]
    soft = made.factor(made.bind(made.bind(factors[0], factors[1]), factors[2]))
    assert soft.converged and soft.slots == slots
    assert made.stats["decompositions"] == 3 and 0 < made.stats["convergence_rate"] < 1


def test_schemas_count() -> None:
    predictor = SchemaSlotPredictor(None)
    metas = [{"who": "Ana", "where": "home"}] * 3 + [{"who": "Ana", "where": "work"}]
    assert predictor.build_from_memories([*metas, {"who": "Ben", "where": "home"}]) == [
        "person_Ana"
    ]
    assert predictor.predict_slots("person_Ana") == {"where": [("home", 0.75), ("work", 0.25)]}
    assert predictor.predict_slots("person_Ana", {"where": "x"}) == {}
    assert predictor.predict_slots("person_Ben") == {}


# --- phi ------------------------------------------------------------------------------------------


def corrupted(vector: Any, share: float, rng: np.random.Generator) -> Any:
    """Some of the values of an episode at other places."""
    out = vector.copy()
    places = np.flatnonzero(vector)
    lost = rng.permutation(places)[: int(share * len(places))]
    out[lost] = 0
    np.add.at(out, rng.integers(0, len(out), len(lost)), vector[lost])
    return out


def test_phi_tells_episodes_from_what_only_looks_like_them(network: ResonatorNetwork) -> None:
    rng = np.random.default_rng(9)
    estimator = PhiEstimator(network, ROLES)
    genuine, permuted, noise = [], [], []
    falling: list[tuple[float, float]] = []
    for number in range(20):
        slots = draw(rng)
        vector = bundled(slots)
        genuine.append(estimator.measure_phi(vector).phi)
        moved = dict(zip(ROLES, [slots[role] for role in (*ROLES[1:], ROLES[0])], strict=True))
        permuted.append(estimator.measure_phi(bundled(moved)).phi)
        noise.append(estimator.measure_phi(codes.bundle(codes.random(rng, 5, active=10))).phi)
        share = number / 20
        falling.append((share, estimator.measure_phi(corrupted(vector, share, rng)).phi))
    assert np.quantile(genuine, 0.25) > 0.9
    assert max(np.quantile(permuted, 0.75), np.quantile(noise, 0.75)) < 0.2
    shares, phis = np.array(falling).T
    ranks = np.corrcoef(shares.argsort().argsort(), phis.argsort().argsort())
    assert ranks[0, 1] <= -0.9


def test_phi_of_one_episode_in_parts(network: ResonatorNetwork) -> None:
    slots = {role: f"{role}1" for role in ROLES}
    measured = PhiEstimator(network, ROLES).measure_phi(bundled(slots))
    assert measured.factors == slots and measured.is_highly_integrated()
    assert sum(measured.slot_phis.values()) == pytest.approx(measured.phi)
    assert 0 <= measured.uncertainty < 0.05 and measured.decomposition_quality > 0.99
    assert measured.most_integrated_slot() in ROLES
    assert {len(each) for each in measured.lesion_results.values()} == {3}
    assert json.loads(json.dumps(measured.to_dict()))["phi"] == measured.phi


def test_what_cannot_be_measured_has_a_reason(network: ResonatorNetwork) -> None:
    bare = ResonatorNetwork()
    bare.initialize_role_keys(ROLES)
    cases = [(None, "no resonator"), (bare, "fewer than two"), (network, "zero or not finite")]
    for resonator, why in cases:
        estimator = PhiEstimator(resonator)
        measured = estimator.measure_phi(np.zeros(50_000))
        assert math.isnan(measured.phi) and why in measured.reason
        assert not measured.is_highly_integrated() and not measured.is_highly_integrated(0)
        assert json.loads(json.dumps(measured.to_dict(), allow_nan=False))["phi"] is None
        assert measured.slot_phis == {} and measured.most_integrated_slot() is None
        statistics = estimator.get_statistics()
        assert (statistics["unmeasured"], statistics["measured"]) == (1, 0)
        assert statistics["average_phi"] is None
    good = bundled({"who": "who1", "what": "what1", "where": "where1", "when": "when1"})
    ordered = PhiEstimator(network).compare_phi([np.zeros(50_000), good], ["zero", "good"])
    assert [label for label, _ in ordered] == ["good", "zero"]


def test_a_workspace_is_measured(network: ResonatorNetwork) -> None:
    slots = {"who": "who1", "what": "what1", "where": "where1", "when": "when1"}
    entries = [SimpleNamespace(bound=bundled(slots), _phi=None) for _ in range(2)]
    found = measure_workspace_integration(SimpleNamespace(history=entries), network)
    assert found["num_entries_measured"] == found["highly_integrated_count"] == 2
    assert entries[0]._phi == entries[1]._phi == found["max_phi"] > 0.9
    assert "error" in measure_workspace_integration(SimpleNamespace(history=[]), network)
    assert "error" in measure_workspace_integration(SimpleNamespace(history=entries), None)


SCRIPT = """
import random, numpy as np
random.seed(1); np.random.seed(1)
before = (random.getstate(), str(np.random.get_state()))
from nimad.cognition import CodebookBuilder, PhiEstimator, ResonatorNetwork, SparseBlockHDVector
from nimad.vsa import codes
net = ResonatorNetwork(); net.initialize_role_keys({"who", "what", "when"})
for role in sorted(net.role_keys):
    net.add_codebook(role, CodebookBuilder().codebook(role, [f"{role} {n}" for n in range(30)]))
vector = sum(net.pairs({"who": "who 3", "what": "what 5", "when": "when 9"}).values())
print(repr(net.decompose(vector)), repr(net.decompose(SparseBlockHDVector().to_dense())))
measured = PhiEstimator(net).measure_phi(vector).to_dict(); measured.pop("computation_time_ms")
print(measured, SparseBlockHDVector().to_dense()[:50000].sum(), net.codebooks["who"].random()[0])
assert before == (random.getstate(), str(np.random.get_state()))
import sys; assert "torch" not in sys.modules
"""


def test_two_processes_agree_and_leave_global_state_alone() -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", str(random.Random(4).randrange(1000)))
    }
    assert len(printed) == 1 and "who 3" in next(iter(printed))


def test_every_name_of_the_guides_is_there() -> None:
    import nimad.cognition as home
    from nimad.cognition import resonator as here
    from nimad.retrieval import resonator as there

    for name in there.__all__:
        assert getattr(there, name) is getattr(here, name) is getattr(home, name)
    for name in home._HOMES:
        assert getattr(home, name) is not None


def test_the_vector_of_the_guides() -> None:
    one, other = SparseBlockHDVector(), SparseBlockHDVector()
    assert len(one.active_blocks) == 10 and one != other
    assert one.similarity(one) == pytest.approx(1, abs=1e-5)
    for made in (
        SparseBlockHDVector.bind(one, one),
        SparseBlockHDVector.bundle(one, other),
        one.permute(3),
    ):
        assert type(made) is SparseBlockHDVector
    assert one.permute(3).permute(-3) == one
    one.active_blocks = {4, 5}
    assert set(one.blocks) == {4, 5}
    one.blocks = {7: np.ones(500)}
    assert one.active_blocks == {7} and one.to_dense().sum() == 500
    for wrong in ({7: np.ones(3)}, {100: np.ones(500)}):
        with pytest.raises(ValueError, match=r"block"):
            one.blocks = wrong
    small = SparseBlockHDVector(50, 100)
    for way in (
        SparseBlockHDVector.bind,
        SparseBlockHDVector.bundle,
        SparseBlockHDVector.similarity,
    ):
        with pytest.raises(ValueError, match="one shape"):
            way(one, small)
