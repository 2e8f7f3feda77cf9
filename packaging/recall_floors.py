"""Calibrates what decides whether anything is shown, and draws false answers against recall.

    python packaging/recall_floors.py DATA [--embedder NAME] [--svg FILE]

DATA as in bench_recall.py.  Every question is asked of its own conversation, and every second one
of each other conversation, where all answers are wrong.  Printed for each mode: the default floor,
a curve of floors, and what floors chosen on all conversations but one do on that one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dialogues import Dialogue, read_dialogues, score
from recall_store import NO_FLOOR, OPEN, loaded, recall_with

from nimad.core.store import MemoryStore
from nimad.embed.base import AnswerThreshold
from nimad.model import Filter
from nimad.recall.weights import DEFAULT

WRONG_EVERY = 2
COST = 0.005
"""What a floor may cost where it is chosen [recall@10]."""
FITS = {
    "hybrid": [n / 20 for n in range(8, 21)],
    "words": [n / 50 for n in range(2, 20, 2)],
    "meaning": [n / 20 for n in range(6, 15)],
}
MARGIN = {"hybrid": 0.5, "words": 0.4, "meaning": 0.3}
"""Between the two floors of a mode, when others are tried."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to one conversation; `least` 0 is that of a store of 500 memories and more.

    Attributes:
        own, asked: the conversation that the question is of, and the one that is asked.
        met, unknown_name: as `nimad.recall.evidence` has them.
        recall: recall@10 without a floor; 0 where all answers are wrong.
        lower: what the size of the store takes off a floor.
    """

    own: str
    asked: str
    met: float
    unknown_name: bool
    recall: float
    lower: float

    def shown(self, floor: AnswerThreshold) -> bool:
        """Whether a floor lets it pass."""
        return self.met >= (floor.unknown_name if self.unknown_name else floor.usual) - self.lower


def gather(store: MemoryStore, dialogues: Sequence[Dialogue], mode: str) -> list[Asked]:
    """The evidence of every question in every conversation."""
    zero = AnswerThreshold(0.0, 0.0)
    scale = replace(OPEN, hybrid=zero, meaning=zero)
    measured = recall_with(store, replace(DEFAULT, scale=scale, words=zero))
    opened = recall_with(store, replace(DEFAULT, scale=OPEN, words=NO_FLOOR))
    made = []
    for own in dialogues:
        for other in dialogues:
            where = Filter(namespace=other.name)
            for question in own.questions[:: 1 if other is own else WRONG_EVERY]:
                recall = 0.0
                if other is own:
                    hits = opened.query(question.text, 10, mode, where)
                    found = [str((hit.memory.extra or {}).get("turn")) for hit in hits]
                    right = frozenset(f"{own.name}/{turn}" for turn in question.evidence)
                    recall = score(found, right)["recall@10"]
                got = measured.evidence(question.text, mode, where)
                assert got is not None, "a conversation has memories"
                made.append(
                    Asked(own.name, other.name, got.met, got.unknown_name, recall, -got.least)
                )
    return made


def worth(asked: Sequence[Asked], floor: AnswerThreshold) -> tuple[float, float, float]:
    """(recall@10, its cost, the share of wrong questions that surface anything)."""
    own = [one for one in asked if one.own == one.asked]
    wrong = [one for one in asked if one.own != one.asked]
    got = sum(one.recall for one in own if one.shown(floor)) / len(own)
    lost = sum(one.recall for one in own) / len(own) - got
    return got, lost, sum(one.shown(floor) for one in wrong) / max(len(wrong), 1)


def chosen(asked: Sequence[Asked], mode: str) -> AnswerThreshold:
    """The floor that lets the least through at no more than COST."""
    floors = [AnswerThreshold(fits, fits + MARGIN[mode]) for fits in FITS[mode]]
    return max((f for f in floors if worth(asked, f)[1] <= COST), default=floors[0])


def left_out(asked: Sequence[Asked], mode: str) -> list[tuple[str, AnswerThreshold, float, float]]:
    """For each conversation: a floor chosen without it, its cost and its false answers there."""
    made = []
    for name in dict.fromkeys(one.asked for one in asked):
        floor = chosen([one for one in asked if name not in (one.own, one.asked)], mode)
        _, lost, surfaced = worth([one for one in asked if one.asked == name], floor)
        made.append((name, floor, lost, surfaced))
    return made


def report(
    asked: Sequence[Asked], mode: str, floor: AnswerThreshold, say: Callable[[str], None]
) -> None:
    """The tables of one mode."""
    say(f"\n### {mode}\n")
    say("| usual | unknown name | recall@10 | cost | wrong questions answered |")
    say("|---|---|---|---|---|")
    for one in [floor, *(AnswerThreshold(fits, fits + MARGIN[mode]) for fits in FITS[mode])]:
        got, lost, surfaced = worth(asked, one)
        name = f"{one.usual:.2f} | {one.unknown_name:.2f}" + (" (default)" if one is floor else "")
        say(f"| {name} | {got:.3f} | {lost:.3f} | {surfaced:.1%} |")
    say("\n| left out | usual | unknown name | cost there | wrong questions answered there |")
    say("|---|---|---|---|---|")
    rows = left_out(asked, mode)
    for name, one, lost, surfaced in rows:
        say(f"| {name} | {one.usual:.2f} | {one.unknown_name:.2f} | {lost:.3f} | {surfaced:.1%} |")
    cost, share = sum(row[2] for row in rows), sum(row[3] for row in rows)
    say(f"| mean | | | {cost / len(rows):.3f} | {share / len(rows):.1%} |")


def draw(
    curves: dict[str, list[tuple[float, float]]], marks: dict[str, tuple[float, float]], path: Path
) -> None:
    """False answers (x) against recall@10 (y), a line for each mode, the defaults marked."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "nimad"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for mode, points in curves.items():
        (line,) = axes.plot(*zip(*points, strict=True), marker=".", label=mode)
        axes.plot(*marks[mode], marker="o", markersize=9, color=line.get_color())
    axes.set_xlabel("questions of another conversation that surface anything [%]")
    axes.set_ylabel("recall@10")
    axes.legend(title="large: the default floor")
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def study(
    store: MemoryStore,
    dialogues: Sequence[Dialogue],
    say: Callable[[str], None],
    svg: Path | None,
) -> None:
    """Say the tables of every mode, and draw them."""
    scale = store.embedder.scale
    floors = {"hybrid": scale.hybrid, "words": DEFAULT.words, "meaning": scale.meaning}
    curves, marks = {}, {}
    for mode, floor in floors.items():
        asked = gather(store, dialogues, mode)
        report(asked, mode, floor, say)
        tried = [worth(asked, AnswerThreshold(f, f + MARGIN[mode])) for f in FITS[mode]]
        curves[mode] = [(100 * surfaced, got) for got, _, surfaced in tried]
        got, _, surfaced = worth(asked, floor)
        marks[mode] = (100 * surfaced, got)
    if svg:
        draw(curves, marks, svg)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--embedder", default="static")
    parser.add_argument("--svg", type=Path)
    given = parser.parse_args()
    dialogues = read_dialogues(given.data)
    with loaded(dialogues, given.embedder) as store:
        study(store, dialogues, print, given.svg)
    return 0


if __name__ == "__main__":
    sys.exit(main())
