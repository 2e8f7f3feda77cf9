"""A store with labelled dialogues in it, asked in this process: for the studies of recall."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dialogues import DEPTH, Dialogue, mean, score

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.embed.base import AnswerThreshold, CosineScale
from nimad.model import Filter, Memory
from nimad.recall.ranking import Recall
from nimad.recall.weights import Weights

Figures = dict[str, float]
NO_FLOOR = AnswerThreshold(-1.0, -1.0)
OPEN = CosineScale(near=-1.0, hybrid=NO_FLOOR, meaning=NO_FLOOR)
"""Lets everything pass."""


@contextmanager
def loaded(
    dialogues: Sequence[Dialogue],
    embedder: str,
    form: Callable[[Memory], Memory] = lambda memory: memory,
) -> Iterator[MemoryStore]:
    """A store with each conversation in a namespace; `form` may change what a memory tells."""
    with tempfile.TemporaryDirectory(prefix="nimad-study-") as directory:
        config = Config().replace(embedder=embedder, graph__engine="none")
        store = MemoryStore.open(Path(directory) / "state", config)
        for dialogue in dialogues:
            store.remember_many(
                [
                    form(
                        Memory(
                            text=turn.text,
                            who=turn.who,
                            timestamp=turn.moment,
                            namespace=dialogue.name,
                            conversation=dialogue.name,
                            session=str(turn.session),
                            extra={"turn": f"{dialogue.name}/{turn.id}"},
                        )
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


def figures(recall: Recall, dialogues: Sequence[Dialogue], merged: bool) -> list[Figures]:
    """The means of each conversation, weighted in `overall`."""
    made = []
    for dialogue in dialogues:
        where = Filter() if merged else Filter(namespace=dialogue.name)
        scores = []
        for asked in dialogue.questions:
            hits = recall.query(asked.text, DEPTH, "hybrid", where)
            found = [str((hit.memory.extra or {}).get("turn")) for hit in hits]
            scores.append(score(found, frozenset(f"{dialogue.name}/{e}" for e in asked.evidence)))
        made.append({**mean(scores), "questions": len(scores)})
    return made


def overall(parts: Sequence[Figures], name: str) -> float:
    """The mean over all questions."""
    return sum(p[name] * p["questions"] for p in parts) / sum(p["questions"] for p in parts)
