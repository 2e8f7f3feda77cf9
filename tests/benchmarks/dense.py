"""Size against recall of converted hypervectors, beside simpler ways to make them small.

    python -m tests.benchmarks.dense [--svg docs/dense.svg] [--json]

Episodes are generated (tests/hypervectors.py): seven roles, shared fillers, each its own WHAT.  A
row of the table is a whole conversion: learned, coded, written, opened and searched as the daemon
does.  Sizes are bytes of float32 divided by bytes of all files, the shared directions counted.
Recall is the share of the ten nearest by exact cosine that are among the ten found.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from nimad.dense import vectors
from nimad.dense.encoder import code, for_items
from nimad.dense.files import DenseFiles, Listed
from nimad.dense.search import fillers_of, item_spectrum, search, spectrum_of
from nimad.dense.spectrum import Shape
from nimad.dense.training import Learned, learn
from tests.benchmarks.curve import draw
from tests.hypervectors import Episodes, Floats, episodes, neighbours

T = TypeVar("T")
RATIOS = (5.0, 8.25, 12.0, 16.0, 24.0)
QUERIES = 200
K = 10


@dataclass
class Row:
    """What one way to store costs and finds."""

    way: str
    smaller: float
    bits: float
    directions: int
    recall: float
    query_ms: float


def driven(steps: Generator[None, None, T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def stored(place: Path, rows: Floats, ratio: float) -> tuple[DenseFiles, Learned]:
    """The rows as files in `place`; memory n + 1 is row n."""
    shape = Shape.of(rows.shape[1])
    learned = driven(learn(shape, lambda picks: rows[picks], len(rows), ratio))
    quick = Learned(learned.basis.in_memory(), learned.plan)
    parts = [
        code(quick, np.arange(at, min(at + 32, len(rows))) + 1, rows[at : at + 32])
        for at in range(0, len(rows), 32)
    ]
    files, listed = DenseFiles(place), [Listed("rows", 1, "rows")]
    coded = vectors.joined(parts)
    vectors.write(files.path("rows"), vectors.MEMORIES, learned.plan, learned.basis.id, coded)
    if len(learned.basis):
        learned.basis.write(files.path("basis"))
        listed.append(Listed("basis", 1, "basis"))
    assert files.open(listed) == []
    return files, learned


def recall(truth: Floats, find: Callable[[int], list[int]]) -> tuple[float, float]:
    """Share of the true neighbours found, and the median time of a search [ms]."""
    asked = np.unique(np.linspace(0, len(truth) - 1, QUERIES).astype(int))
    hits, took = 0, []
    for place in asked:
        began = time.perf_counter()
        found = find(int(place))
        took.append((time.perf_counter() - began) * 1000)
        hits += len({*found} & {*truth[place].tolist()})
    return hits / (K * len(asked)), statistics.median(took)


def ours(told: Episodes, truth: Floats, ratio: float) -> Row:
    """The conversion, at about this size."""
    with tempfile.TemporaryDirectory(prefix="nimad-bench-") as folder:
        files, learned = stored(Path(folder), told.vectors, ratio)
        size = sum(path.stat().st_size for path in Path(folder).iterdir())

        def find(place: int) -> list[int]:
            found = files.find(place + 1)
            assert found is not None
            ids, _ = search(files.rows(), spectrum_of(*found), K + 1)
            return [int(i) - 1 for i in ids if i != place + 1][:K]

        found, took = recall(truth, find)
    smaller = told.vectors.nbytes / size
    return Row("nimad", smaller, learned.plan.bits, len(learned.basis), found, took)


# --- simpler ways ---------------------------------------------------------------------------------


def strongest_blocks(rows: Floats) -> Floats:
    """The 10 of 100 blocks with most energy, as float32."""
    cut = rows.reshape(len(rows), 100, -1).copy()
    energy = (cut**2).sum(axis=2)
    weak = np.argsort(-energy, axis=1)[:, 10:]
    np.put_along_axis(cut, weak[:, :, None], 0, axis=1)
    return cut.reshape(rows.shape)


def four_bits(rows: Floats) -> Floats:
    """Each row in 4 bits a coordinate, scaled by its largest."""
    scale = np.abs(rows).max(axis=1, keepdims=True) / 7
    return np.rint(rows / scale) * scale


def signs(rows: Floats) -> Floats:
    """One bit a coordinate."""
    return np.sign(rows)


SIMPLER: dict[str, tuple[Callable[[Floats], Floats], float]] = {
    "10 of 100 blocks": (strongest_blocks, 1 / 0.1),
    "4 bits, by peak": (four_bits, 8.0),
    "signs": (signs, 32.0),
}


def simpler(told: Episodes, truth: Floats) -> list[Row]:
    """Recall by exact cosine between rows stored in these ways."""
    made = []
    for way, (store, smaller) in SIMPLER.items():
        near = neighbours(store(told.vectors), K)
        hits = [len({*a.tolist()} & {*b.tolist()}) for a, b in zip(near, truth, strict=True)]
        made.append(Row(way, smaller, 32 / smaller, 0, float(np.mean(hits)) / K, 0.0))
    return made


# --- roles ----------------------------------------------------------------------------------------


def roles(told: Episodes, ratio: float, count: int = 200) -> dict[str, float]:
    """Share of (episode, role) for which the right filler comes first: before, and converted."""
    names = [*told.roles, *told.codebook]
    items = np.stack([*told.roles.values(), *told.codebook.values()])
    before = after = total = 0
    with tempfile.TemporaryDirectory(prefix="nimad-bench-") as folder:
        files, _ = stored(Path(folder), told.vectors, ratio)
        coded = for_items(Shape.of(items.shape[1]))
        parts = [code(coded, np.array([n + 1]), items[n : n + 1]) for n in range(len(items))]
        plan = coded.plan
        vectors.write(files.path("i"), vectors.ITEMS, plan, bytes(16), vectors.joined(parts))
        files.add([Listed("i", 1, "items")])
        fillers = np.arange(len(told.roles), len(names)) + 1
        spectra = np.fft.rfft(items[len(told.roles) :])
        for place in np.linspace(0, len(told.vectors) - 1, count).astype(int):
            found = files.find(int(place) + 1)
            assert found is not None
            episode = spectrum_of(*found)
            for number, role in enumerate(told.roles):
                if role not in told.fillers[place]:
                    continue
                right = told.fillers[place][role]
                unbound = np.fft.rfft(told.vectors[place]) * np.conj(np.fft.rfft(told.roles[role]))
                best = int(np.argmax((spectra * np.conj(unbound)).real.sum(axis=1)))
                before += names[len(told.roles) + best] == right
                known = item_spectrum(files.items(), number + 1)
                assert known is not None
                ids, _ = fillers_of(episode, known, files.items(), fillers)
                after += names[ids[0] - 1] == right
                total += 1
    return {"asked": total, "dense": before / total, "converted": after / total}


def main(arguments: list[str] | None = None) -> int:
    """The figures, to standard output."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--dimension", type=int, default=10_000)
    parser.add_argument("--ratios", type=float, nargs="+", default=RATIOS)
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--roles", type=int, default=10, help="episodes asked for their fillers")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    told = episodes(args.rows, args.dimension)
    truth = neighbours(told.vectors, K)
    rows = [ours(told, truth, ratio) for ratio in args.ratios]
    others = simpler(told, truth)
    asked = roles(told, 8.25, args.roles) if args.roles else {}
    if args.svg:
        args.svg.write_text(_plot(rows, others), encoding="utf-8")
    if args.json:
        print(json.dumps({"rows": [asdict(row) for row in [*rows, *others]], "roles": asked}))
        return 0
    _print([*rows, *others], asked)
    return 0


def _plot(rows: list[Row], others: list[Row]) -> str:
    names = ("times smaller than float32, all files counted", "recall@10")
    curves: dict[str, Any] = {"nimad": [(row.smaller, row.recall) for row in rows]}
    marks = {row.way: (row.smaller, row.recall) for row in others}
    across = (0, 4, 8, 12, 16, 20, 24, 28, 32, 36)
    return draw(curves, marks, across, (0.2, 0.4, 0.6, 0.8, 0.9, 1.0), names)


def _print(rows: list[Row], asked: dict[str, float]) -> None:
    print("| stored | smaller | bits | directions | recall@10 | search |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        took = f"{row.query_ms:.0f} ms" if row.query_ms else "-"
        print(
            f"| {row.way} | {row.smaller:.1f} | {row.bits:.2f} | {row.directions or '-'}"
            f" | {row.recall:.3f} | {took} |"
        )
    if asked:
        told = f"dense {asked['dense']:.4f}, converted {asked['converted']:.4f}"
        print(f"right filler first, of {asked['asked']:.0f} roles: {told}")


if __name__ == "__main__":
    sys.exit(main())
