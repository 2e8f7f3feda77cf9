"""Fits the weights of the evidence on labelled sets: nimad/recall/evidence_weights.py.

    python packaging/fit_evidence.py FOLDER... [--write] [--signals FILE] [--left-out FILE]

FOLDERs hold labelled sets (recall_sets.py).  `--signals` keeps what was asked in FILE, or reads it
from there.  Without `--write` nothing is changed.

The model is linear.  It begins as a logistic regression, in which every kind (a set and a group of
recall_signals.py) weighs the same.  Then it is moved, by gradient descent on a smooth count, to
answer as few questions as possible that have no answer, while of each kind at most ALLOWED of those
that have one stay silent: each kind has a multiplier, which grows while too many do (the
Neyman-Pearson criterion with Lagrange multipliers, as in P. Rigollet and X. Tong, Neyman-Pearson
Classification, Convexity and Stochastic Constraints, 2011).

Printed is what the weights do to each set; `--left-out` writes what weights do to a family of sets
that were fitted on all other families.  Deterministic.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import numpy as np
import recall_signals
from numpy.typing import NDArray
from recall_sets import read_sets
from recall_signals import ANSWERED, Asked

from nimad.recall.evidence import PARTS, SIGNALS

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "nimad/recall/evidence_weights.py"
PRODUCTS = (
    *(f"hashed*{name}" for name in ("coverage", "common", "nearest", "gap", "usual")),
    *(f"hashed*{name}" for name in ("length", "size", "texts")),
    *(f"cut*{name}" for name in ("coverage", "gap", "length", "size", "texts")),
    *(f"paired*{name}" for name in ("coverage", "common", "gap", "length", "size")),
    *("gap*size", "gap*gap", "coverage*gap", "coverage*size"),
    *("texts*size", "size*size", "texts*texts", "length*length", "size*length", "texts*length"),
)
"""Products of signals: what counts otherwise in another language, and what a question must reach by
its length and the size of the store."""
SIDES = {
    "BOTH": frozenset[str](),
    "WORDS": frozenset({"together", *PARTS["meaning"]}),
    "MEANING": frozenset({"together", "common", "strangers", *PARTS["words"]}),
}
"""The models, and the signals that each of them does without."""
SURE = 0.05
"""Share of what both sides together refuse that one side may answer alone."""
ALLOWED, ALLOWED_TECHNICAL, ALLOWED_OTHER, ALLOWED_SMALL = 0.01, 0.02, 0.03, 0.05
"""Shares of the answerable questions of a kind that may stay silent: in English, German, Spanish;
of commands and code; in other languages; and in the small parts of a set, which are few."""
MARGIN = 0.8
"""Factor of these where the weights are fitted: other data of a kind is not the same."""
MOST, MOST_NOTES, MOST_LOUD = 60.0, 40.0, 20.0
"""Largest multiplier of a kind, of a sample that is part of nimad, of what it does not answer."""
FOREIGN, LIKELY_RIGHT = 3.0, 0.3
"""What a question of another subject weighs, and one of another store of a set of ALIKE, beside one
of another store."""
ALIKE = ("technical", "timelineqa", "memdaily", "beam")
"""Sets whose stores hold much of the same, so that an answer of another one may be right."""
NOTES_SILENT, NOTES_LOUD = 0.004, 0.1
"""The same shares of the notes in each of many languages, and the share of what is not answered
there that may bring anything (tests/unit/test_recall_languages.py)."""
MOST_STRANGE = -5.0
"""Least weight of unknown names: they count, but what is met counts more [nats]."""
STEPS = 1000
SOFT = 0.6, 2.0
"""Width of the smooth step that stands for the threshold, at the end of fitting and at its begin:
so what is far on the wrong side is drawn, too [nats]."""
Floats = NDArray[np.float64]


class Table:
    """What was asked as arrays.  `x: float64[n, signals]`, scaled to mean 0 and deviation 1."""

    def __init__(self, asked: Sequence[Asked], without: Set[str]) -> None:
        names = [*SIGNALS, *PRODUCTS]
        self.names = [name for name in names if without.isdisjoint(name.split("*"))]
        columns = {name: np.array([one.signals[name] for one in asked]) for name in SIGNALS}
        raw = np.array(
            [np.prod([columns[part] for part in name.split("*")], axis=0) for name in self.names]
        ).T
        self.mean, self.deviation = raw.mean(axis=0), raw.std(axis=0) + 1e-9
        self.x = np.c_[(raw - self.mean) / self.deviation, np.ones(len(raw))]
        self.kinds = np.array([one.kind.split(":")[0] for one in asked])
        self.families = np.array([family(one.kind) for one in asked])
        self.groups = np.array([one.group for one in asked])
        self.answered = np.isin(self.groups, ANSWERED)
        labels = [f"{one.kind}|{one.group}" for one in asked]
        self.cells, self.cell = np.unique(labels, return_inverse=True)
        small = np.char.find(self.cells, ", small") > 0
        allowed = np.array([_allowed(cell) for cell in self.cells])
        allowed = np.where(small, ALLOWED_SMALL, allowed) * MARGIN
        notes = np.char.startswith(self.cells, recall_signals.NOTES)
        self.notes = notes
        alike = np.array([cell.startswith(ALIKE) for cell in self.cells])
        self.weight = np.where(np.char.endswith(self.cells, "wrong") & alike, LIKELY_RIGHT, 1.0)
        self.weight[np.char.endswith(self.cells, "foreign") & ~small] = FOREIGN
        self.weight[notes] = 0.2
        self.foreign = np.char.endswith(self.cells, "foreign")
        self.allowed = np.where(notes, np.where(self.foreign, NOTES_LOUD, NOTES_SILENT), allowed)
        self.held = notes | ~(self.foreign | np.char.endswith(self.cells, "wrong"))

    def weights(self, fitted: Floats) -> dict[str, float]:
        """Of the signals as they are, and "base"."""
        plain = fitted[:-1] / self.deviation
        base = fitted[-1] - float(plain @ self.mean)
        pairs = zip([*self.names, "base"], [*plain, base], strict=True)
        return {name: round(float(value), 4) for name, value in pairs}


def _allowed(kind: str) -> float:
    if kind.startswith("technical"):
        return ALLOWED_TECHNICAL
    other = kind.startswith("xquad-") and kind[6:8] not in ("en", "de", "es")
    return ALLOWED_OTHER if other or kind.startswith("memdaily") else ALLOWED


def family(kind: str) -> str:
    """Sets that say the same, or are of the same kind: they are left out together."""
    name = kind.removesuffix(", small")
    if name.startswith(recall_signals.NOTES):
        return recall_signals.NOTES
    if name.startswith("xquad"):
        return {"en": "xquad-en", "de": "xquad-de and the like"}.get(name[6:], name[:5])
    return name.split("-")[0]


def logistic(x: Floats, answered: NDArray[np.bool_], weight: Floats) -> Floats:
    """Weights of a logistic regression, by Newton's method."""
    ridge = np.full(x.shape[1], 0.03)
    ridge[-1] = 1e-9
    found = np.zeros(x.shape[1])
    for _ in range(15):
        chance = 1 / (1 + np.exp(-np.clip(x @ found, -30, 30)))
        slope = x.T @ (weight * (chance - answered)) + ridge * found
        curve = (x * (weight * chance * (1 - chance))[:, None]).T @ x + np.diag(ridge)
        found -= np.linalg.solve(curve, slope)
    return found


def fit(table: Table, rows: NDArray[np.bool_], steps: int = STEPS) -> Floats:
    """Weights for the scaled signals of some rows, 0 being the threshold."""
    x, answered = table.x[rows], table.answered[rows]
    there, cell = np.unique(table.cell[rows], return_inverse=True)
    count = np.bincount(cell).astype(float)
    own, allowed, held = np.bincount(cell, answered) > 0, table.allowed[there], table.held[there]
    start = logistic(x, answered, 1 / count[cell])
    found, first, second = start.copy(), np.zeros_like(start), np.zeros_like(start)
    multiplier = table.weight[there]
    most = np.where(table.notes[there], np.where(own, MOST_NOTES, MOST_LOUD), MOST)
    kept = np.zeros_like(start)
    for step in range(steps):
        score = x @ found
        if step % 5 == 0:
            wrong = np.bincount(cell, (score < 0) == answered) / count
            grown = np.exp(0.2 * np.clip((wrong - allowed) / allowed, -1, 2))
            multiplier = np.where(held, np.clip(multiplier * grown, 0.02, most), multiplier)
        soft = SOFT[0] + (SOFT[1] - SOFT[0]) * max(0.0, 1 - 1.5 * step / steps) ** 2
        shown = 1 / (1 + np.exp(-np.clip(score / soft, -30, 30)))
        pull = np.where(own, -multiplier, multiplier) / count
        slope = x.T @ (pull[cell] * shown * (1 - shown) / soft) + 0.004 * (found - start)
        first = 0.9 * first + 0.1 * slope
        second = 0.99 * second + 0.01 * slope**2
        rate = 0.03 * min(1.0, 2 * (1 - step / steps))
        found -= rate * first / (np.sqrt(second) + 1e-8)
        if "strangers" in table.names:
            place = table.names.index("strangers")
            found[place] = max(found[place], MOST_STRANGE * table.deviation[place])
        if step >= steps - 100:
            kept += found / 100
    return kept


def figures(table: Table, score: Floats, kind: str) -> dict[str, float]:
    """Shares that are shown of each group of a kind; of answerable ones, those that are not."""
    found = {}
    for group in ("own", "merged", "wrong", "foreign"):
        rows = (table.kinds == kind) & (table.groups == group)
        if rows.any():
            shown = float(np.mean(score[rows] >= 0))
            found[group] = 1 - shown if group in ANSWERED else shown
    return found


def table_of(table: Table, score: Floats) -> list[str]:
    """What a score does to each set."""
    lines = ["| set | silent | merged | wrong | foreign |", "|---|---|---|---|---|"]
    for kind in np.unique(table.kinds):
        lines.append(f"| {kind} | {_cells(figures(table, score, kind))} |")
    return lines


def left_out_table(table: Table) -> list[str]:
    """What weights do to each family of sets that were fitted on all others."""
    unseen = np.zeros(len(table.x))
    for name in np.unique(table.families):
        there = table.families == name
        unseen[there] = table.x[there] @ fit(table, ~there, STEPS // 2)
    return table_of(table, unseen)


def _cells(found: Mapping[str, float]) -> str:
    groups = ("own", "merged", "wrong", "foreign")
    return " | ".join(f"{found[g]:.1%}" if g in found else "" for g in groups)


def _names(asked: Sequence[Asked]) -> str:
    plain = sorted({one.kind.split(":")[0].removesuffix(", small") for one in asked})
    return "\n    ".join(textwrap.wrap(", ".join(plain), 92, break_on_hyphens=False))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--signals", type=Path)
    parser.add_argument("--left-out", type=Path, help="where to write what is left out in turn")
    given = parser.parse_args()
    if given.signals and given.signals.exists():
        asked = recall_signals.read(given.signals)
    else:
        sets = [one for folder in given.folders for one in read_sets(folder)]
        asked = recall_signals.gather_all(sets, lambda text: print(text, flush=True))
        if given.signals:
            recall_signals.write(asked, given.signals)
    lines = [HEAD.format(sets=_names(asked))]
    refused = np.zeros(0, np.bool_)
    for name, without in SIDES.items():
        table = Table(asked, without)
        print(f"\n{name}\n")
        fitted = fit(table, np.ones(len(table.x), np.bool_))
        print("\n".join(table_of(table, table.x @ fitted)))
        if given.left_out and not without:
            given.left_out.write_text("\n".join(left_out_table(table)) + "\n")
        lines.append(f"{name} = {{")
        lines += [f'    "{signal}": {value},' for signal, value in table.weights(fitted).items()]
        lines.append("}")
        score = table.x @ fitted
        if without:
            sure = float(np.quantile(score[refused], 1 - SURE))
            lines.append(f"SURE_{name} = {sure:.2f}")
            share = np.mean(score[table.answered] >= sure)
            print(f"\none side is enough for {share:.0%} of the answerable ones")
        else:
            refused = ~table.answered & (score < 0)
    print("\n".join(lines[1:]))
    if given.write:
        TARGET.write_text("\n".join(lines) + "\n")
    return 0


HEAD = '''"""The weights of the evidence, written by `packaging/fit_evidence.py FOLDER --write`.

Fitted on, and on small parts of:

    {sets}
"""
'''

if __name__ == "__main__":
    sys.exit(main())
