"""A store with a labelled set in it, asked in this process: for the studies of recall."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recall_sets import LabelledSet

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.model import Memory
from nimad.recall.ranking import Recall
from nimad.recall.weights import Weights

PAGE = 500


@contextmanager
def loaded_set(given: LabelledSet, embedder: str) -> Iterator[MemoryStore]:
    """A store with each store of a set in a namespace; `extra` has the keys."""
    with tempfile.TemporaryDirectory(prefix="nimad-study-") as directory:
        config = Config().replace(embedder=embedder, graph__engine="none")
        store = MemoryStore.open(Path(directory) / "state", config)
        for one in given.stores:
            memories = [
                Memory(**fields, namespace=one.name, extra={"key": key})
                for key, fields in zip(one.keys, one.fields, strict=True)
            ]
            for start in range(0, len(memories), PAGE):
                store.remember_many(memories[start : start + PAGE])
        try:
            yield store
        finally:
            store.close()


def recall_with(store: MemoryStore, weights: Weights) -> Recall:
    """A ranking of its own over the store."""
    return Recall(store.records, lambda: (store.blocks, store.embedder), weights)
