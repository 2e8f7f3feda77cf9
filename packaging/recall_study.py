"""Makes docs/recall.md: what each part of the ranking is worth, and where its floors lie.

    python packaging/recall_study.py DATA [--embedder NAME] [--bench docs/recall.json]
                                     [--output docs/recall.md] [--svg FILE]

`--bench` takes what `make bench-recall` wrote, whose table then stands first.  DATA as in
bench_recall.py.  Each row of the first table is the whole recipe with one thing changed, asked in
this process.  The floors are measured by recall_floors.py.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import recall_floors
import recall_forms
import recall_report
from dialogues import Dialogue, read_dialogues
from recall_store import NO_FLOOR, OPEN, Figures, figures, loaded, overall, recall_with

from nimad.core.store import MemoryStore
from nimad.recall.weights import DEFAULT, Weights

CHANGES: Sequence[tuple[str, dict[str, float]]] = (
    ("the recipe", {}),
    ("semantic 0: words alone", {"semantic": 0.0}),
    ("semantic 1: meaning alone", {"semantic": 1.0}),
    ("semantic 0.5", {"semantic": 0.5}),
    ("semantic 0.7", {"semantic": 0.7}),
    ("subject 0", {"subject": 0.0}),
    ("subject 0.2", {"subject": 0.2}),
    ("subject 0.4", {"subject": 0.4}),
    (
        "word_before, word_after, word_beyond 0",
        {"word_before": 0, "word_after": 0, "word_beyond": 0},
    ),
    ("word_before 0", {"word_before": 0.0}),
    ("word_after 0", {"word_after": 0.0}),
    ("word_beyond 0", {"word_beyond": 0.0}),
    ("words 0.4, 0.3, 0.2", {"word_before": 0.4, "word_after": 0.3, "word_beyond": 0.2}),
    ("no neighbours' meaning", {"meaning_before": 0.0, "meaning_after": 0.0}),
    ("meaning_before 0", {"meaning_before": 0.0}),
    ("meaning_after 0", {"meaning_after": 0.0}),
    ("date 0", {"date": 0.0}),
    ("date 0.5", {"date": 0.5}),
    ("asks 0", {"asks": 0.0}),
    ("asks 0.1", {"asks": 0.1}),
    ("importance 0", {"importance": 0.0}),
    ("recency 0", {"recency": 0.0}),
    ("k1 0.9", {"k1": 0.9}),
    ("b 0.5", {"b": 0.5}),
    ("unseen 0", {"unseen": 0}),
    ("exact_rows 0: candidates only", {"exact_rows": 0}),
    ("exact_rows 0, candidates 100", {"exact_rows": 0, "candidates": 100, "nearest": 50}),
)
HEAD = """# Recall

How the ranking works is told in `nimad/recall/ranking.py` and its neighbours; every constant and
its reason stand in `nimad/recall/weights.py`. This page is what they are worth. It is made by

    make bench-recall DATA=file JSON=docs/recall.json SVG=docs/recall.svg
    python packaging/recall_study.py file --bench docs/recall.json --output docs/recall.md \\
        --svg docs/recall-floors.svg

from labelled dialogues in the format of LoCoMo (snap-research/LoCoMo, CC BY-NC 4.0; not part of
nimad).

Here: {dialogues} conversations, {turns:,} turns, {questions} questions, embedder `{embedder}`."""
BENCH = """
## Beside other ways

The first command's table: the usual ways as anybody would build them (`packaging/baselines.py`),
this recipe on other vectors, and nimad through its socket (floors as shipped, times of this
machine, which did other work, too).
`merged`: all conversations asked as one store.

![recall of each way](recall.svg)
"""
PARTS = """
## What each part is worth

One thing changed at a time, without floors. `better in`: the number of conversations in which the
recipe has the higher nDCG@10.

| change | recall@10 | | nDCG@10 | | merged recall@10 | merged nDCG@10 | better in |
|---|---|---|---|---|---|---|---|"""
CHOSEN = """
Whether the constants are fitted to these questions: for each conversation, the row above that is
best on the others (nDCG@10), and what it does on this one.

| left out | best on the others | its nDCG@10 here | the recipe's |
|---|---|---|---|"""
FLOORS = """
## When nothing is shown

What is measured is told in `nimad/recall/evidence.py`. Below `usual` nothing is shown; below
`unknown name` nothing is shown when the question names something that no memory mentions. Each
question was asked of its own conversation, and every second one of each other conversation, where
all answers are wrong
(`python packaging/recall_floors.py DATA` prints this part alone).

![recall against false answers](recall-floors.svg)"""


def changed(change: dict[str, float]) -> Weights:
    """The weights of a row, without floors."""
    return replace(DEFAULT, scale=OPEN, words=NO_FLOOR, **change)  # type: ignore[arg-type]


def ablations(store: MemoryStore, dialogues: Sequence[Dialogue]) -> list[list[Figures]]:
    """Prints the table of changes; the figures of each row by conversation."""
    rows: list[list[Figures]] = []
    for name, change in CHANGES:
        recall = recall_with(store, changed(change))
        own = figures(recall, dialogues, False)
        merged = figures(recall, dialogues, True)
        rows.append(own)
        cells = [name]
        for figure in ("recall@10", "ndcg@10"):
            value, recipe = overall(own, figure), overall(rows[0], figure)
            cells += [f"{value:.3f}", f"{value - recipe:+.3f}"]
        cells += [f"{overall(merged, figure):.3f}" for figure in ("recall@10", "ndcg@10")]
        better = sum(a["ndcg@10"] > b["ndcg@10"] for a, b in zip(rows[0], own, strict=True))
        say(f"| {' | '.join(cells)} | {better if change else ''} |")
    return rows


def left_out(rows: list[list[Figures]], dialogues: Sequence[Dialogue]) -> None:
    """Prints what the best row on all conversations but one does on that one."""
    for place, dialogue in enumerate(dialogues):
        others = [[p for n, p in enumerate(row) if n != place] for row in rows]
        best = max(range(len(rows)), key=lambda n: overall(others[n], "ndcg@10"))
        here, recipe = (rows[n][place]["ndcg@10"] for n in (best, 0))
        say(f"| {dialogue.name} | {CHANGES[best][0]} | {here:.3f} | {recipe:.3f} |")


LINES: list[str] = []


def say(text: str) -> None:
    """Print, and keep for the page."""
    print(text, flush=True)
    LINES.append(text)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--embedder", default="static")
    parser.add_argument("--bench", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--svg", type=Path)
    given = parser.parse_args()
    dialogues = read_dialogues(given.data)
    say(
        HEAD.format(
            dialogues=len(dialogues),
            turns=sum(len(d.turns) for d in dialogues),
            questions=sum(len(d.questions) for d in dialogues),
            embedder=given.embedder,
        )
    )
    if given.bench:
        say(BENCH)
        say(recall_report.page(json.loads(given.bench.read_text())))
    say(PARTS)
    with loaded(dialogues, given.embedder) as store:
        rows = ablations(store, dialogues)
        say(CHOSEN)
        left_out(rows, dialogues)
        recall_forms.study(dialogues, given.embedder, say)
        say(FLOORS)
        recall_floors.study(store, dialogues, say, given.svg)
    if given.output:
        given.output.write_text("\n".join(LINES) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
