"""Makes docs/recall.md: what each part of the ranking is worth, and where its floor lies.

    python packaging/recall_study.py DATA [--output docs/recall.md]

DATA as in bench_recall.py.  Each row of the table is the whole recipe with one thing changed, asked
in this process.  The curve asks every conversation the others' questions, too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dialogues import DEPTH, Dialogue, mean, read_dialogues, score

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.model import Filter, Memory
from nimad.recall.ranking import Recall
from nimad.recall.weights import DEFAULT, Floor, Weights

OPEN = Floor(near=-1.0, fits=-1.0, stranger=-1.0)
WRONG_EVERY = 4
STRANGERS = (0.6, 0.8, 0.9, 1.0, 1.1, 1.2)
FITS = (0.3, 0.6, 0.7, 0.8)

CHANGES: Sequence[tuple[str, dict[str, float]]] = (
    ("the recipe", {}),
    ("semantic 0.5", {"semantic": 0.5}),
    ("semantic 0.7", {"semantic": 0.7}),
    ("words alone (semantic 0)", {"semantic": 0.0}),
    ("meaning alone (semantic 1)", {"semantic": 1.0}),
    ("subject 0", {"subject": 0.0}),
    ("subject 0.2", {"subject": 0.2}),
    ("subject 0.4", {"subject": 0.4}),
    ("no neighbours' words", {"word_before": 0.0, "word_after": 0.0, "word_beyond": 0.0}),
    ("word_beyond 0: next turns only", {"word_beyond": 0.0}),
    ("words 0.4, 0.3, 0.2", {"word_before": 0.4, "word_after": 0.3, "word_beyond": 0.2}),
    ("no neighbours' meaning", {"meaning_before": 0.0, "meaning_after": 0.0}),
    ("date 0", {"date": 0.0}),
    ("asks 0", {"asks": 0.0}),
    ("asks 0.1", {"asks": 0.1}),
    ("importance and recency 0", {"importance": 0.0, "recency": 0.0}),
    ("b 0.5", {"b": 0.5}),
    ("exact_rows 0: candidates only", {"exact_rows": 0}),
)

HEAD = """# Recall

How the ranking works is told in `nimad/recall/ranking.py` and its neighbours; every constant and
its reason stand in `nimad/recall/weights.py`. This page is what they are worth. It is made by

    python packaging/recall_study.py DATA

from labelled dialogues in the format of LoCoMo (snap-research/LoCoMo, CC BY-NC 4.0; not part of
nimad). `make bench-recall DATA=file` measures the same through the daemon's socket, with times.

Here: {dialogues} conversations, {turns:,} turns, {questions} questions, embedder `{embedder}`.
"""
"""Kept short: numbers follow."""


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


def figures(recall: Recall, dialogues: Sequence[Dialogue], merged: bool) -> dict[str, float]:
    """Means over all questions."""
    scores = []
    for dialogue in dialogues:
        where = Filter() if merged else Filter(namespace=dialogue.name)
        for asked in dialogue.questions:
            hits = recall.query(asked.text, DEPTH, "hybrid", where)
            found = [str((hit.memory.extra or {}).get("turn")) for hit in hits]
            scores.append(score(found, frozenset(f"{dialogue.name}/{e}" for e in asked.evidence)))
    return mean(scores)


def surfaced(recall: Recall, dialogues: Sequence[Dialogue]) -> float:
    """The share of questions to a wrong conversation that bring anything to light."""
    found = [
        bool(recall.query(asked.text, 1, "hybrid", Filter(namespace=other.name)))
        for dialogue in dialogues
        for other in dialogues
        if other is not dialogue
        for asked in dialogue.questions[::WRONG_EVERY]
    ]
    return sum(found) / max(len(found), 1)


def ablations(store: MemoryStore, dialogues: Sequence[Dialogue]) -> list[str]:
    """The table of changes, without floors: what ranking alone does."""
    lines = ["| change | recall@10 | nDCG@10 | merged recall@10 |", "|---|---|---|---|"]
    for name, change in CHANGES:
        mixing = {} if "meaning_before" in change else DEFAULT.mixing
        weights = replace(DEFAULT, floors={store.embedder.name: OPEN}, mixing=mixing, **change)  # type: ignore[arg-type]
        recall = recall_with(store, weights)
        own, all_ = (figures(recall, dialogues, merged) for merged in (False, True))
        lines.append(
            f"| {name} | {own['recall@10']:.3f} | {own['ndcg@10']:.3f} | {all_['recall@10']:.3f} |"
        )
        print(lines[-1], flush=True)
    return lines


def curve(store: MemoryStore, dialogues: Sequence[Dialogue]) -> list[str]:
    """False answers against recall, by floor."""
    name = store.embedder.name
    chosen = DEFAULT.floors[name]
    lines = ["| fits | stranger | recall@10 | wrong questions answered |", "|---|---|---|---|"]
    floors = [replace(chosen, stranger=s) for s in STRANGERS]
    floors += [replace(chosen, fits=f) for f in FITS]
    for floor in [OPEN, chosen, *floors]:
        recall = recall_with(store, replace(DEFAULT, floors={name: floor}))
        own = figures(recall, dialogues, False)["recall@10"]
        mark = " (default)" if floor == chosen else ""
        lines.append(
            f"| {floor.fits:.2f} | {floor.stranger:.2f}{mark} | {own:.3f} |"
            f" {surfaced(recall, dialogues):.1%} |"
        )
        print(lines[-1], flush=True)
    return lines


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--embedder", default="static")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    dialogues = read_dialogues(given.data)
    head = HEAD.format(
        dialogues=len(dialogues),
        turns=sum(len(d.turns) for d in dialogues),
        questions=sum(len(d.questions) for d in dialogues),
        embedder=given.embedder,
    )
    with loaded(dialogues, given.embedder) as store:
        floors = curve(store, dialogues)
        parts = ablations(store, dialogues)
    text = "\n".join([head, *ABOUT_PARTS, *parts, *ABOUT_FLOORS, *floors, ""])
    if given.output:
        given.output.write_text(text)
    return 0


ABOUT_PARTS = (
    "## What each part is worth",
    "",
    "One thing changed at a time, floors left out. `merged`: all conversations asked as one store.",
    "",
)
ABOUT_FLOORS = (
    "",
    "## When nothing is shown",
    "",
    "Evidence is the share of the question's words that the best memory meets, plus the best"
    " cosine. Below `fits` nothing is shown; below `stranger` nothing is shown when the question"
    " names (with a capital letter) something that occurs nowhere, and nobody who is known."
    " `near` is the cosine from which a memory without a common word is shown at all.",
    "",
)

if __name__ == "__main__":
    sys.exit(main())
