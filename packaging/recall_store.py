"""A store with a labelled set in it, asked in this process: for the studies of recall."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recall_sets import LabelledSet

from nimad.config import Config
from nimad.core.clock import RELEASED
from nimad.core.store import MemoryStore
from nimad.model import Memory
from nimad.recall.ranking import Recall
from nimad.recall.weights import Weights

PAGE = 500
BEGIN = RELEASED + 86_400_000
"""When the first memories are stored [epoch milliseconds].  The newest count a little more, and by
the real clock that would depend on how fast this machine writes."""
STEP = 1000
"""Time from one page of memories to the next [milliseconds]."""
ASKED = BEGIN + 86_400_000
"""When the questions are asked that have no time of their own [epoch milliseconds]."""


@contextmanager
def loaded_set(given: LabelledSet, embedder: str) -> Iterator[MemoryStore]:
    """A store with each store of a set in a namespace; `extra` has the keys."""
    with tempfile.TemporaryDirectory(prefix="nimad-study-") as directory:
        config = Config().replace(embedder=embedder, graph__engine="none")
        store = MemoryStore.open(Path(directory) / "state", config)
        now = BEGIN
        store.clock.now = lambda: now
        for one in given.stores:
            memories = [
                Memory(**fields, namespace=one.name, extra={"key": key})
                for key, fields in zip(one.keys, one.fields, strict=True)
            ]
            for start in range(0, len(memories), PAGE):
                store.remember_many(memories[start : start + PAGE])
                now += STEP
        now = ASKED
        try:
            yield store
        finally:
            store.close()


def recall_with(store: MemoryStore, weights: Weights) -> Recall:
    """A ranking of its own over the store."""
    parts = store.blocks, store.embedder
    return Recall(store.records, lambda: parts, weights, clock=lambda: ASKED)
