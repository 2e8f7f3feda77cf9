"""The names of the legacy guides, as thin faces on the real store (L3: may import core, migrate).

A snippet of the guides runs with `nimad.` before its imports.  What a face keeps lies in a state
directory like the daemon's own, which `nimad --state DIR` can serve later.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Codebook": "nimad.cognition.resonator",
    "CodebookBuilder": "nimad.cognition.resonator",
    "HybridMemoryStore": "nimad.cognition.hybrid",
    "LazyMigrationStore": "nimad.cognition.hybrid",
    "MigrationConfig": "nimad.cognition.migrate_to_sparse_block",
    "PhiEstimator": "nimad.cognition.phi_estimator",
    "PhiMeasurement": "nimad.cognition.phi_estimator",
    "ResonatorNetwork": "nimad.cognition.resonator",
    "ResonatorResult": "nimad.cognition.resonator",
    "SchemaSlotPredictor": "nimad.cognition.resonator",
    "SparseBlockConfig": "nimad.cognition.sparse_block_memory",
    "SparseBlockHDVector": "nimad.cognition.sparse_block_vsa",
    "SparseBlockMemory": "nimad.cognition.sparse_block_memory",
    "VSAMigrator": "nimad.cognition.migrate_to_sparse_block",
    "get_embedder": "nimad.cognition.embeddings",
    "measure_workspace_integration": "nimad.cognition.phi_estimator",
}


def __getattr__(name: str) -> Any:
    """A face by its name; its module loads only now."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
