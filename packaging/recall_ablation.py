"""Prints what each part of the ranking is worth on every kind of data: one part off at a time.

    python packaging/recall_ablation.py FILE...

A file is labelled dialogues (see dialogues.py), or a set: {"name", "stores": [{"name", "memories":
[{"key", "text", ...fields}], "questions": [{"q", "evidence": [keys], "as_of"?}]}]}.  Everything
passes: what is silent is measured elsewhere.  Figures are the nDCG at 10 with the part less that
without it, in thousandths, each store asked by itself; of each file at most MOST questions of a
fixed seed.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from dialogues import DEPTH, mean, read_dialogues, score

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.model import Filter, Memory
from nimad.recall import lexical
from nimad.recall.evidence import CERTAIN
from nimad.recall.ranking import Recall
from nimad.recall.scoring import Scoring
from nimad.recall.weights import DEFAULT, Weights

MOST = 600
SEED = 20261128
FIELDS = ("text", "who", "where", "timestamp", "conversation", "session", "turn", "layer", "tags")


@dataclass(frozen=True)
class Asked:
    """A question, of which namespace it is asked, when (epoch milliseconds; None: now), and the
    keys of the memories that answer it."""

    text: str
    namespace: str
    as_of: int | None
    evidence: frozenset[str]


def nothing(*_: object) -> None:
    """In place of a step that is left out."""


def twice(sums: Any, on_dates: Any, once: Any = lexical._Sums.add_dates) -> None:
    """Dates by their words and by the times, added up."""
    sums.dated, words = None, sums.dated
    once(sums, on_dates)
    if words is not None:
        sums.own += words


Patch = tuple[str, object]
PARTS: Sequence[tuple[str, dict[str, Any], Sequence[Patch]]] = (
    ("a date counts once", {}, [("nimad.recall.lexical._Sums.add_dates", twice)]),
    ("date: a part of its own", {"on_date": 0}, []),
    ("literals", {"literal": 0}, [("nimad.recall.lexical._Sums.add_literal", nothing)]),
    ("literal: a part of its own", {"literal": 0}, []),
    ("layer: who is asked", {"layer": 0}, []),
    ("statements may end as questions", {}, [("nimad.recall.scoring.INPUT", "")]),
    ("b for mixed lengths", {}, [("nimad.recall.scopes.MIXED", (8.0, 9.0))]),
    ("standing instructions", {"instruction": 0}, []),
    ("beginnings of words with endings", {}, [("nimad.store.analysis.asked_for", str)]),
    ("small words of other languages", {}, [("nimad.store.words._OTHERS", [frozenset()])]),
    ("small words of Chinese count half", {}, [("nimad.store.words.GRAMMAR_SHARE", 1.0)]),
    ("vectors of spelling alone count less", {"dense": 1}, []),
    (
        "the last sentence of a message",
        {},
        [("nimad.recall.parsed_query._SENTENCE", re.compile("(?!)"))],
    ),
)


def read(file: Path) -> tuple[list[Memory], list[Asked]]:
    """The memories of a file, each store a namespace, and what is asked of them."""
    data = json.loads(file.read_text())
    if isinstance(data, list):
        data = {"stores": [_as_store(dialogue) for dialogue in read_dialogues(file)]}
    memories, asked = [], []
    for store in data["stores"]:
        name = store["name"]
        for one in store["memories"]:
            fields = {key: one[key] for key in FIELDS if one.get(key) is not None}
            memories.append(Memory(**fields, namespace=name, extra={"key": one["key"]}))
        for one in store["questions"]:
            evidence = frozenset(one["evidence"])
            asked.append(Asked(one["q"], name, one.get("as_of"), evidence))
    random.Random(SEED).shuffle(asked)
    return memories, asked[:MOST]


def _as_store(dialogue: Any) -> dict[str, Any]:
    return {
        "name": dialogue.name,
        "memories": [
            {"key": turn.id, "text": turn.text, "who": turn.who, "timestamp": turn.moment}
            | {"conversation": dialogue.name, "session": str(turn.session)}
            for turn in dialogue.turns
        ],
        "questions": [{"q": one.text, "evidence": one.evidence} for one in dialogue.questions],
    }


@contextmanager
def loaded(memories: Sequence[Memory]) -> Iterator[MemoryStore]:
    """A store with them in it."""
    with tempfile.TemporaryDirectory(prefix="nimad-ablation-") as directory:
        config = Config().replace(graph__engine="none")
        store = MemoryStore.open(Path(directory) / "state", config)
        for start in range(0, len(memories), 500):
            store.remember_many(memories[start : start + 500])
        try:
            yield store
        finally:
            store.close()


def measure(store: MemoryStore, asked: Sequence[Asked], weights: Weights) -> float:
    """The nDCG at 10 of a ranking with other weights."""
    recall = Recall(store.records, lambda: (store.blocks, store.embedder), weights)
    scores = []
    for one in asked:
        before = None if one.as_of is None else one.as_of + 1
        where = Filter(namespace=one.namespace, before=before)
        hits = recall.query(one.text, DEPTH, "hybrid", where, now=one.as_of)
        scores.append(score([str((hit.memory.extra or {})["key"]) for hit in hits], one.evidence))
    recall.close()
    return mean(scores)["ndcg@10"]


def ablate(file: Path) -> list[float]:
    """The recipe's figure, and for each of PARTS what it adds to that without it."""
    memories, asked = read(file)
    passing = mock.patch.object(Scoring, "_weigh", lambda scoring, scored: CERTAIN)
    with loaded(memories) as store, passing:
        whole = measure(store, asked, DEFAULT)
        found = [whole]
        for _, changes, patches in PARTS:
            with ExitStack() as undo:
                for name, value in patches:
                    undo.enter_context(mock.patch(name, value))
                found.append(whole - measure(store, asked, replace(DEFAULT, **changes)))
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    files = parser.parse_args().files
    columns = [ablate(file) for file in files]
    print("| part | " + " | ".join(file.stem for file in files) + " |")
    print("|---" * (len(files) + 1) + "|")
    print("| nDCG@10 of the recipe | " + " | ".join(f"{c[0]:.3f}" for c in columns) + " |")
    for place, (name, _, _) in enumerate(PARTS, 1):
        cells = [f"{1000 * c[place]:+.0f}" if abs(c[place]) >= 5e-4 else "" for c in columns]
        print(f"| {name} | " + " | ".join(cells) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
