"""The usual ways (`baselines`) on a labelled set: what stands beside nimad's own figures."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import baselines
import numpy as np
from dialogues import DEPTH, Turn, score
from recall_sets import LabelledSet

from nimad.embed.base import Embedder
from nimad.embed.registry import get_embedder
from nimad.errors import NimadError

Scored = dict[str, list[dict[str, float]]]
"""By way: what each question scored, in the order in which they are asked."""


def embedders_here(minilm: bool) -> list[Embedder]:
    """static, and minilm where it is installed and wanted."""
    found = [get_embedder("static")]
    if minilm:
        with contextlib.suppress(NimadError):
            found.append(get_embedder("minilm"))
    return found


def beside(given: LabelledSet, embedders: Sequence[Embedder], *, merged: bool) -> Scored:
    """Every way on the questions of a set, each asked of its own store or of all as one."""
    found: Scored = {}
    places = range(len(given.stores))
    for group in [list(places)] if merged else [[place] for place in places]:
        asked = [question for place, question in given.asked() if place in group]
        if not asked:
            continue
        stores = [given.stores[place] for place in group]
        keys = [key for store in stores for key in store.keys]
        fields = [one for store in stores for one in store.fields]
        times = np.array([one.get("timestamp", 0) for one in fields])
        ways = baselines.all_of(
            [Turn("", one.get("who", ""), one["text"], 0, 0) for one in fields], embedders
        )
        for question in asked:
            there = np.full(len(keys), True)
            if question.as_of is not None:  # later memories count for nobody
                there = times <= question.as_of
            for way, scores in ways(question.text).items():
                best = np.argsort(np.where(there, -scores, np.inf), kind="stable")[:DEPTH]
                shown = [keys[row] for row in best if there[row] and scores[row] != 0]
                found.setdefault(way, []).append(score(shown, question.evidence))
    return found
