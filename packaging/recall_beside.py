"""What stands beside nimad's own rows: the usual ways, and the same recipe on other vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import baselines
import numpy as np
from dialogues import DEPTH, Dialogue, mean, score
from recall_exact import exact_recall
from recall_store import loaded, recall_with

from nimad.core.store import MemoryStore
from nimad.embed.base import Embedder
from nimad.model import Filter
from nimad.recall.ranking import Recall
from nimad.recall.weights import DEFAULT

Row = dict[str, Any]
Asked = Callable[[Dialogue, str], list[str]]


def beside(dialogues: Sequence[Dialogue], embedder: str) -> list[Row]:
    """Every row: its name, and the figures of separate and of merged stores."""
    with loaded(dialogues, embedder) as store:
        rows = _usual(dialogues, store.embedder)
        rows += [
            _recipe("this recipe, exact float32 vectors", exact_recall(store), dialogues),
            _recipe("this recipe, 8-bit vectors", recall_with(store, DEFAULT), dialogues),
        ]
        return [*rows, _by_blocks(store, dialogues)]


def _by_blocks(store: MemoryStore, dialogues: Sequence[Dialogue]) -> Row:
    """Candidates from the sealed block index, as in a store too large to be scored whole."""
    store.semantic.flush()
    few = recall_with(store, replace(DEFAULT, exact_rows=0))
    return _recipe("this recipe, candidates of the sparse-block index", few, dialogues)


def _recipe(name: str, recall: Recall, dialogues: Sequence[Dialogue]) -> Row:
    def ask(where: Filter, text: str) -> list[str]:
        hits = recall.query(text, DEPTH, "hybrid", where)
        return [str((hit.memory.extra or {}).get("turn")) for hit in hits]

    return {
        "name": name,
        "separate": _figures(dialogues, lambda d, text: ask(Filter(namespace=d.name), text)),
        "merged": _figures(dialogues, lambda _, text: ask(Filter(), text)),
    }


def _usual(dialogues: Sequence[Dialogue], embedder: Embedder) -> list[Row]:
    own = {d.name: baselines.all_of(d.turns, embedder) for d in dialogues}
    merged = baselines.all_of([turn for d in dialogues for turn in d.turns], embedder)
    labels = {d.name: [f"{d.name}/{turn.id}" for turn in d.turns] for d in dialogues}
    every = [label for d in dialogues for label in labels[d.name]]

    def apart(way: str) -> Asked:
        return lambda d, text: _first(own[d.name][way](text), labels[d.name])

    def together(way: str) -> Asked:
        return lambda _, text: _first(merged[way](text), every)

    return [
        {
            "name": way,
            "separate": _figures(dialogues, apart(way)),
            "merged": _figures(dialogues, together(way)),
        }
        for way in merged
    ]


def _first(scores: baselines.Scores, labels: Sequence[str]) -> list[str]:
    best = np.argsort(-scores, kind="stable")[:DEPTH]
    return [labels[place] for place in best if scores[place] != 0]


def _figures(dialogues: Sequence[Dialogue], ask: Asked) -> dict[str, float]:
    return mean(
        [
            score(ask(d, asked.text), frozenset(f"{d.name}/{turn}" for turn in asked.evidence))
            for d in dialogues
            for asked in d.questions
        ]
    )
