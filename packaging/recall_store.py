"""A store with labelled dialogues in it, asked in this process: for the studies of recall."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dialogues import Dialogue

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.model import Memory
from nimad.recall.ranking import Recall
from nimad.recall.weights import Floor, Least, Weights

NO_FLOOR = Least(-1.0, -1.0)
OPEN = Floor(near=-1.0, hybrid=NO_FLOOR, meaning=NO_FLOOR)
"""Lets everything pass."""


@contextmanager
def loaded(dialogues: Sequence[Dialogue], embedder: str) -> Iterator[MemoryStore]:
    """A store with each conversation in a namespace."""
    with tempfile.TemporaryDirectory(prefix="nimad-study-") as directory:
        config = Config().replace(embedder=embedder, graph__engine="none")
        store = MemoryStore.open(Path(directory) / "state", config)
        for dialogue in dialogues:
            store.remember_many(
                [
                    Memory(
                        text=turn.text,
                        who=turn.who,
                        timestamp=turn.moment,
                        namespace=dialogue.name,
                        conversation=dialogue.name,
                        session=str(turn.session),
                        extra={"turn": f"{dialogue.name}/{turn.id}"},
                    )
                    for turn in dialogue.turns
                ]
            )
        try:
            yield store
        finally:
            store.close()


def recall_with(store: MemoryStore, weights: Weights) -> Recall:
    """A ranking of its own over the store."""
    return Recall(store.records, lambda: (store.blocks, store.embedder), weights)
