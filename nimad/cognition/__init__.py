"""The names of the legacy guides, as thin faces on the real store (L3: may import core, migrate).

A snippet of the guides runs with `nimad.` before its imports.  What a face keeps lies in a state
directory like the daemon's own, which `nimad --state DIR` can serve later.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "HybridMemoryStore": "nimad.cognition.hybrid",
    "LazyMigrationStore": "nimad.cognition.hybrid",
    "MigrationConfig": "nimad.cognition.migrate_to_sparse_block",
    "SparseBlockConfig": "nimad.cognition.sparse_block_memory",
    "SparseBlockMemory": "nimad.cognition.sparse_block_memory",
    "VSAMigrator": "nimad.cognition.migrate_to_sparse_block",
    "get_embedder": "nimad.cognition.embeddings",
}


def __getattr__(name: str) -> Any:
    """A face by its name; its module loads only now."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
