"""docs/hypervectors.md names what exists, and carries the figures of its benchmark."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import hypervectors

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "hypervectors.md").read_text(encoding="utf-8")
HOMES = {
    "algebra": "nimad.vsa.algebra",
    "codes": "nimad.vsa.codes",
    "factors": "nimad.vsa.factors",
    "resonator": "nimad.vsa.resonator",
    "sparse": "nimad.vsa.sparse",
    "episodes": "nimad.cognition.episodes",
    "completion": "nimad.cognition.completion",
    "ResonatorNetwork": "nimad.cognition.resonator",
    "CodebookBuilder": "nimad.cognition.resonator",
    "PhiEstimator": "nimad.cognition.phi_estimator",
    "MemoryPhi": "nimad.cognition.phi_of_memories",
}


def test_what_it_names_exists() -> None:
    named = re.findall(r"`(\w+)(?:\([^`]*?\))?\.(\w+)", PAGE)
    known = [(owner, name) for owner, name in named if owner in HOMES]
    assert len(known) > 12
    for owner, name in known:
        module = importlib.import_module(HOMES[owner])
        assert hasattr(getattr(module, owner, module), name), f"{owner}.{name}"
    for module in re.findall(r"`(nimad\.[a-z_.]+)`", PAGE):
        importlib.import_module(module)
    for picture in re.findall(r"\]\(([\w-]+\.svg)\)", PAGE):
        assert (ROOT / "docs" / picture).is_file()


def test_its_figures_are_those_of_the_benchmark_and_reach_their_bars() -> None:
    figures = json.loads((ROOT / "docs" / "hypervectors.json").read_text())
    assert hypervectors.text(figures) in PAGE
    assert [line for line in hypervectors.bars(figures) if line.startswith("MISSED")] == []


@pytest.mark.parametrize("products", [1, 2])
def test_the_benchmark_measures(products: int) -> None:
    rng = np.random.default_rng(1)
    exact, took = hypervectors.trial(rng, [20, 30], 0.3, 0.1, products)
    assert exact == 1 and took > 0
    broken = hypervectors.share(3, 1, [20, 20], wrong=1.0)
    assert broken["exact"] == 0 and broken["trials"] == 3
