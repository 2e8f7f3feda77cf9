"""Fits the weights of the evidence on labelled sets: nimad/recall/evidence_weights.py and
closer_weights.py.

    python packaging/fit_evidence.py FOLDER... [--write] [--signals FILE]
                                     [--only MODEL] [--left-out FILE [--unseen FOLDER]]

FOLDERs hold labelled sets (recall_sets.py).  `--signals` keeps what was asked in FILE, or reads it
from there; `--only` fits one of SIDES, and keeps the others.  Without `--write` nothing is changed.

The model is a network of one hidden layer, beside which the signals count directly
(`nimad.recall.evidence.Model`): the mean of NETWORKS with UNITS each, which differ less from data
of another kind than one.  What counts directly begins as a logistic regression, in which every kind
(a set and a group of recall_signals.py) weighs the same; the units begin by chance, of fixed seeds.
Then all is moved, by gradient descent (Adam) on a smooth count, to answer as few questions as
possible that have no answer, while of each kind at most ALLOWED of those that have one stay silent.
What tells of an answer is held close to the logistic regression, which does as well on data of
another kind; what tells of the store and the question only (SETTING) moves more freely, for how
much is needed depends on it.  Each kind has a multiplier, which grows while too many of it stay
silent (the Neyman-Pearson criterion with Lagrange multipliers, as in P. Rigollet and X. Tong,
Neyman-Pearson Classification, Convexity and Stochastic Constraints, 2011).

CLOSER is such a model with what reading the best memory tells (`astray`), which decides where BOTH
is close; what is not read counts there as if every word that is missed went astray.

Printed is what the weights do to each set; `--left-out` writes what weights do to a family of sets
that were fitted on all other families, and what nimad's own do to sets that were not fitted on.
Deterministic, with one thread of the linear algebra (OPENBLAS_NUM_THREADS=1, also faster).
"""

from __future__ import annotations

import argparse
import math
import sys
import textwrap
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import recall_signals
from numpy.typing import NDArray
from recall_sets import LabelledSet, read_sets
from recall_signals import ANSWERED, Asked

from nimad.recall import closer_weights, evidence, evidence_weights
from nimad.recall.evidence import CLOSE, PARTS, SIGNALS, USUAL_SIGNAL, Model

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "nimad/recall/evidence_weights.py"
CLOSER_WEIGHTS = WEIGHTS.with_name("closer_weights.py")
SIDES = {
    "BOTH": frozenset({"astray", "begun"}),
    "CLOSER": frozenset({"begun"}),
    "WORDS": frozenset({*PARTS["meaning"], *PARTS["both"], "begun"}),
    "MEANING": frozenset({*PARTS["words"], *PARTS["both"], *PARTS["known"], "begun"} - {"named"}),
}
"""The models, and the signals that each of them does without.  `begun` moves the threshold, and is
in none: what it is worth is seen on articles that are not fitted on."""
SURE = 0.002
"""Share of what both sides together refuse that one side may answer alone."""
ALLOWED = (
    ("locomo", 0.0005),
    ("beam", 0.008),
    ("xquad-de", 0.0015),
    ("xquad-es", 0.006),
    ("xquad-en", 0.014),
    ("xquad-zh", 0.011),
    ("xquad-", 0.022),
    ("memdaily", 0.013),
    ("technical", 0.016),
    ("", 0.008),
)
"""Shares of the answerable questions that may stay silent, by how names of sets begin.  Fewest in
talk and where other data of the kind stay silent more often; of memdaily, .01 are no questions."""
ALLOWED_SMALL, ALLOWED_ACROSS, ALLOWED_KEYWORDS = 0.04, 0.08, 0.08
"""The same in the small parts of a set, which are few; of notes asked in another language; of notes
asked by a few words of the question, which say less."""
MOST, MOST_NOTES, MOST_LOUD = 60.0, 40.0, 20.0
"""Largest multiplier of a kind, of a sample that is part of nimad, of what it does not answer."""
FOREIGN = 3.0
"""What a question of another subject weighs beside one of another store of its set."""
LIKELY_RIGHT, LONG, OTHERS, SHORT, ACROSS, SMALL, NOTE = 0.3, 1.5, 0.6, 0.3, 0.2, 0.5, 0.2
"""What an answer where there is none weighs: one of another store of ALIKE; the same in beam; in
languages of which there are many sets; to keywords; across languages; in small parts of a set; in
samples."""
MEASURED = {"locomo_dev": 6.0, "xquad-en": 6.0, "xquad-de": 3.0}
"""The same in sets in which a false answer is false for certain."""
ALIKE = ("technical", "timelineqa", "memdaily", "beam")
"""Sets whose stores hold much of the same, so that an answer of another one may be right."""
ASKED_IN, KEYWORDS = "-asked-", "-keywords"
"""What the names of sets have whose notes are asked in another language, or by a few words
(make_xquad.py)."""
NOTES_SILENT, NOTES_LOUD = 0.004, 0.1
"""The same shares of the notes in each of many languages, and the share of what is not answered
there that may bring anything (tests/unit/test_recall_languages.py)."""
SETTING = {*PARTS["store"], *PARTS["question"]}
"""Signals that tell of no answer."""
NETWORKS, UNITS = 8, 16
"""Networks of which the mean is taken, and the size of the hidden layer of each."""
STEPS = 1200
RATE = 0.05
"""Length of a step of the descent."""
DECAY, DECAY_SETTING, DECAY_OUT, KEEP = 0.15, 0.1, 0.01, 1.0
"""What draws to 0 what signals count in the units; the same of SETTING; of what units count; what
draws what counts directly to the logistic regression."""
SOFT = 0.6, 2.0
"""Width of the smooth step that stands for the threshold, at the end of fitting and at its begin:
so what is far on the wrong side is drawn, too [nats]."""
Floats = NDArray[Any]


class Table:
    """What was asked as arrays.  `x: float32[n, signals]`, less the mean, in deviations."""

    def __init__(self, asked: Sequence[Asked], without: Set[str]) -> None:
        self.names = [name for name in SIGNALS if name not in without]
        usual = [{"astray": one.signals.get("missed", 0)} | one.signals for one in asked]
        raw = np.array([[signals[name] for name in self.names] for signals in usual])
        self.mean, self.deviation = raw.mean(axis=0).round(3), raw.std(axis=0).round(3) + 1e-3
        x = ((raw - self.mean) / self.deviation).clip(-USUAL_SIGNAL, USUAL_SIGNAL)
        self.x = x.astype(np.float32)
        self.all = np.ones(len(asked), np.bool_)
        self.read = np.array(["astray" in one.signals for one in asked])
        self.kinds = np.array([one.kind.split(":")[0] for one in asked])
        self.families = np.array([family(one.kind) for one in asked])
        self.groups = np.array([one.group for one in asked])
        self.answered = np.isin(self.groups, ANSWERED)
        labels = [f"{one.kind}|{one.group}" for one in asked]
        self.cells, self.cell = np.unique(labels, return_inverse=True)
        small = np.char.find(self.cells, ", small") > 0
        allowed = np.array([_allowed(cell) for cell in self.cells])
        allowed = np.where(small, ALLOWED_SMALL, allowed)
        notes = np.char.startswith(self.cells, recall_signals.NOTES)
        self.notes = notes
        self.weight = np.array([_weight(cell) for cell in self.cells])
        self.foreign = np.char.endswith(self.cells, "foreign")
        self.allowed = np.where(notes, np.where(self.foreign, NOTES_LOUD, NOTES_SILENT), allowed)
        self.held = notes | ~(self.foreign | np.char.endswith(self.cells, "wrong"))

    def weights(self, fitted: Network) -> dict[str, list[float]]:
        """As `nimad.recall.evidence.Model` takes them."""
        scales = np.c_[self.mean, self.deviation]
        rows = np.c_[scales, fitted.direct[:-1], fitted.into[:-1]]
        found = dict(zip(self.names, rows, strict=True))
        found["base"] = np.array([0, 1, fitted.direct[-1], *fitted.into[-1]])
        found["out"] = np.array([0, 0, 0, *fitted.out])
        return {name: [round(float(v), 3) for v in row] for name, row in found.items()}


@dataclass
class Network:
    """direct: float32[signals + 1], into: float32[signals + 1, units], out: float32[units]."""

    direct: Floats
    into: Floats
    out: Floats

    def score(self, x: Floats) -> Floats:
        """float32[n]"""
        x = np.c_[x, np.ones(len(x), np.float32)]
        found: Floats = x @ self.direct + np.tanh(x @ self.into) @ self.out
        return found


def _allowed(kind: str) -> float:
    if ASKED_IN in kind:
        return ALLOWED_ACROSS
    if KEYWORDS in kind:
        return ALLOWED_KEYWORDS
    return next(share for begin, share in ALLOWED if kind.startswith(begin))


def _weight(cell: str) -> float:
    """Of a kind and group beside others."""
    kind, _, group = cell.partition("|")
    if kind.startswith(recall_signals.NOTES):
        return NOTE
    found = FOREIGN if group == "foreign" else 1.0
    if ASKED_IN in kind:
        return found * ACROSS
    if ", small" in kind:
        return SMALL
    if kind in MEASURED:
        return found * MEASURED[kind]
    if kind.startswith("xquad") and kind[6:] not in ("es", "ru", "zh"):
        return found * (SHORT if KEYWORDS in kind else OTHERS)
    if kind.startswith("beam") and group == "wrong":
        return LONG
    return LIKELY_RIGHT if group == "wrong" and kind.startswith(ALIKE) else found


def family(kind: str) -> str:
    """Sets that say the same, or are of the same kind: they are left out together."""
    name = kind.removesuffix(", small").removesuffix(KEYWORDS)
    if name.startswith(recall_signals.NOTES):
        return recall_signals.NOTES
    if ASKED_IN in name:
        return "across languages"
    if name.startswith("xquad"):
        return {"en": "xquad-en", "de": "xquad-de and the like"}.get(name[6:], name[:5])
    return name.split("-")[0]


def logistic(x: Floats, answered: NDArray[np.bool_], weight: Floats) -> Floats:
    """Weights of a logistic regression, by Newton's method."""
    x = x.astype(np.float64)
    ridge = np.full(x.shape[1], 0.03)
    ridge[-1] = 1e-9
    found = np.zeros(x.shape[1])
    for _ in range(15):
        chance = 1 / (1 + np.exp(-np.clip(x @ found, -30, 30)))
        slope = x.T @ (weight * (chance - answered)) + ridge * found
        curve = (x * (weight * chance * (1 - chance))[:, None]).T @ x + np.diag(ridge)
        found -= np.linalg.solve(curve, slope)
    return found


def fit(table: Table, rows: NDArray[np.bool_]) -> Network:
    """The mean of some networks for some rows, 0 being the threshold."""
    some = [_fit_one(table, rows, seed) for seed in range(1, NETWORKS + 1)]
    return Network(
        np.mean([one.direct for one in some], axis=0),
        np.hstack([one.into for one in some]),
        np.hstack([one.out for one in some]) / NETWORKS,
    )


def _fit_one(table: Table, rows: NDArray[np.bool_], seed: int) -> Network:
    """The mean of the last hundred steps."""
    x, answered = np.c_[table.x[rows], np.ones(rows.sum(), np.float32)], table.answered[rows]
    there, cell = np.unique(table.cell[rows], return_inverse=True)
    count = np.bincount(cell).astype(np.float32)
    own, allowed, held = np.bincount(cell, answered) > 0, table.allowed[there], table.held[there]
    chance = np.random.default_rng(seed)
    start = logistic(x, answered, 1 / count[cell]).astype(np.float32)
    decay = np.array([DECAY_SETTING if n in SETTING else DECAY for n in table.names])
    decay = np.append(decay, DECAY_SETTING).astype(np.float32)[:, None]
    size = x.shape[1]
    found: list[Floats] = [
        start.copy(),
        chance.normal(0, 1 / math.sqrt(size), (size, UNITS)),
        chance.normal(0, 0.1, UNITS),
    ]
    found = [part.astype(np.float32) for part in found]
    first, second, kept = ([np.zeros_like(part) for part in found] for _ in range(3))
    multiplier = table.weight[there]
    most = np.where(table.notes[there], np.where(own, MOST_NOTES, MOST_LOUD), MOST)
    for step in range(STEPS):
        direct, into, out = found
        units = np.tanh(x @ into)
        score = x @ direct + units @ out
        if step % 4 == 0:
            wrong = np.bincount(cell, (score < 0) == answered) / count
            grown = np.exp(0.25 * np.clip((wrong - allowed) / allowed, -1, 2))
            multiplier = np.where(held, np.clip(multiplier * grown, 0.02, most), multiplier)
        soft = SOFT[0] + (SOFT[1] - SOFT[0]) * max(0.0, 1 - 1.5 * step / STEPS) ** 2
        shown = 1 / (1 + np.exp(-np.clip(score / soft, -30, 30)))
        pull = np.where(own, -multiplier, multiplier) / count
        slope = (pull[cell] * shown * (1 - shown) / soft).astype(np.float32)
        slopes = [
            x.T @ slope + KEEP * (direct - start),
            x.T @ (slope[:, None] * out * (1 - units**2)) + decay * into,
            units.T @ slope + DECAY_OUT * out,
        ]
        rate = RATE * min(1.0, 2 * (1 - step / STEPS))
        for n, value in enumerate(slopes):
            first[n] = 0.9 * first[n] + 0.1 * value
            second[n] = 0.99 * second[n] + 0.01 * value**2
            found[n] -= (rate * first[n] / (np.sqrt(second[n]) + 1e-8)).astype(np.float32)
            if step >= STEPS - 100:
                kept[n] += found[n] / 100
    return Network(*kept)


def table_of(kinds: Sequence[str], groups: Sequence[str], score: Floats) -> list[str]:
    """What a score does to each set: shares that are shown of each group; of answerable questions,
    those that are not."""
    lines = ["| set | silent | merged | wrong | foreign |", "|---|---|---|---|---|"]
    shown: dict[tuple[str, str], list[bool]] = {}
    for kind, group, value in zip(kinds, groups, score, strict=True):
        shown.setdefault((kind, group), []).append(bool(value >= 0) != (group in ANSWERED))
    for kind in sorted(set(kinds)):
        found = [shown.get((kind, group)) for group in ("own", "merged", "wrong", "foreign")]
        cells = [f"{sum(one) / len(one):.1%}" if one else "" for one in found]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return lines


def decided(read: NDArray[np.bool_], both: Floats, closer: Floats) -> Floats:
    """What decides, as in `nimad.recall.evidence.weigh`."""
    return np.where(read & (np.abs(both) < CLOSE), closer, both)


def left_out_table(tables: Sequence[Table]) -> list[str]:
    """What weights do to each family of sets that were fitted on all others; of BOTH and CLOSER."""
    table = tables[0]
    unseen = np.zeros(len(table.x))
    for name in np.unique(table.families):
        there = table.families == name
        both, closer = (fit(one, ~there).score(one.x[there]) for one in tables)
        unseen[there] = decided(table.read[there], both, closer)
    return table_of(table.kinds.tolist(), table.groups.tolist(), unseen)


def unseen_table(sets: Sequence[LabelledSet], others: Sequence[LabelledSet]) -> list[str]:
    """What the weights that nimad has do to sets."""
    asked = [one for given in sets for one in recall_signals.gather(given, given.foreign(others))]
    found = [evidence.weigh(one.signals, 0.0) for one in asked]
    score = np.array([one.met - one.least for one in found])
    return table_of([one.kind for one in asked], [one.group for one in asked], score)


def _names(asked: Sequence[Asked]) -> str:
    plain = sorted({one.kind.split(":")[0].removesuffix(", small") for one in asked})
    return "\n    ".join(textwrap.wrap(", ".join(plain), 92, break_on_hyphens=False))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", choices=SIDES, help="the model to be fitted, the others stay")
    parser.add_argument("--signals", type=Path)
    parser.add_argument("--left-out", type=Path, help="where to write what is left out in turn")
    parser.add_argument("--unseen", type=Path, help="sets that were not fitted on, for --left-out")
    given = parser.parse_args()
    sets = [one for folder in given.folders for one in read_sets(folder)]
    if given.signals and given.signals.exists():
        asked = recall_signals.read(given.signals)
    else:
        asked = recall_signals.gather_all(sets, lambda text: print(text, flush=True))
        if given.signals:
            recall_signals.write(asked, given.signals)
    fitted = f"Fitted on, and on small parts of:\n\n    {_names(asked)}"
    same = "Fitted on the sets of `evidence_weights`."
    files = {WEIGHTS: [HEAD.format(sets=fitted)], CLOSER_WEIGHTS: [HEAD.format(sets=same)]}
    tables = {name: Table(asked, without) for name, without in SIDES.items()}
    found = np.zeros(0)
    for name, table in tables.items():
        lines = files[CLOSER_WEIGHTS if name == "CLOSER" else WEIGHTS]
        module = closer_weights if name == "CLOSER" else evidence_weights
        kept = given.only not in (None, name)
        weights = getattr(module, name) if kept else table.weights(fit(table, table.all))
        model = Model(weights)
        score = np.array([model.evidence({"astray": 0.0} | one.signals) for one in asked])
        if name == "CLOSER":
            score = decided(table.read, found, score)
        if name in ("BOTH", "CLOSER"):
            found = score
        print(
            "\n".join(
                [f"\n{name}\n", *table_of(table.kinds.tolist(), table.groups.tolist(), score)]
            )
        )
        lines.append(f"{name}: dict[str, tuple[float, ...]] = {{")
        for signal, row in weights.items():
            text = f'"{signal}": ({", ".join(f"{value:g}" for value in row)}),'
            lines += textwrap.wrap(text, 99, initial_indent="    ", subsequent_indent="        ")
        lines.append("}")
        if name in ("WORDS", "MEANING"):
            sure = float(np.quantile(score[~table.answered & (found < 0)], 1 - SURE))
            sure = getattr(evidence_weights, f"SURE_{name}") if kept else sure
            lines.append(f"SURE_{name} = {sure:.2f}")
            share = np.mean(score[table.answered] >= sure)
            print(f"\none side is enough for {share:.0%} of the answerable ones")
    if given.left_out:
        told = [LEFT_OUT, *left_out_table([tables["BOTH"], tables["CLOSER"]])]
        if given.unseen:
            told += [UNSEEN, *unseen_table(read_sets(given.unseen), sets)]
        given.left_out.write_text("\n".join(told) + "\n")
    for file, lines in files.items():
        print("\n".join(lines[1:]))
        if given.write:
            file.write_text("\n".join(lines) + "\n")
    return 0


LEFT_OUT = """
Each family of sets left out in turn:
"""
UNSEEN = """
As shipped, on articles that were not fitted on:
"""
HEAD = '''"""The weights of the evidence, written by `packaging/fit_evidence.py FOLDER... --write`;
`nimad.recall.evidence.Model` tells what they are.

{sets}
"""

# fmt: off
'''

if __name__ == "__main__":
    sys.exit(main())
