"""The names of the legacy guides, as thin faces on the real store (L3: may import core, migrate).

A snippet of the guides runs with `nimad.` before its imports.  What a face keeps lies in a state
directory like the daemon's own, which `nimad --state DIR` can serve later.
"""

from __future__ import annotations

import importlib
from typing import Any

_NAMES = {
    "affective_binding": "AffectivelyModulatedAgent BindingConfig DemoAffectiveAgent"
    " EmotionalRegulator patch_agent_with_affective_modulation",
    "consciousness_workspace": "AffectiveCore Affects Agent ConsciousnessMetacognitive"
    " GlobalWorkspace WorkspaceEntry",
    "dreaming": "DreamEpisode DreamSession DreamingEngine",
    "embeddings": "get_embedder",
    "hybrid": "HybridMemoryStore LazyMigrationStore",
    "migrate_to_sparse_block": "MigrationConfig VSAMigrator",
    "nima_consciousness_core": "ConsciousnessConfig ConsciousnessCore create_consciousness_core",
    "phi_estimator": "PhiEstimator PhiMeasurement measure_workspace_integration",
    "resonator": "Codebook CodebookBuilder ResonatorNetwork ResonatorResult SchemaSlotPredictor",
    "self_narrative": "NarrativeMetacognitive NarrativeTheme SelfNarrative SelfNarrativeGenerator",
    "self_observer_agent": "SelfObserverAgent",
    "sparse_block_memory": "SparseBlockConfig SparseBlockMemory",
    "sparse_block_vsa": "SparseBlockHDVector",
    "theory_of_mind": "OtherMindModel SocialConsciousnessWorkspace TheoryOfMindEngine",
    "volition": "Goal VolitionalAgent VolitionalWorkspace",
}
"""Module → what it has for programs."""
_HOMES = {
    name: f"nimad.cognition.{module}" for module, names in _NAMES.items() for name in names.split()
}


def __getattr__(name: str) -> Any:
    """A face by its name; its module loads only now."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
