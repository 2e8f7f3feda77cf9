"""Measures hypervectors: factorization, unbinding, bundles, Φ, and the cost of each operation.

    python -m tests.benchmarks.hypervectors [--peer PYTHON] [--write] [--trials 200]

Prints tables and the bars that must be reached; `--write` puts tables, JSON and curves into docs/.
`--peer` is an interpreter that has torch-hd: its resonator and its operations on dense hypervectors
of the same dimension are measured beside nimad's, in the same run, on one thread.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nimad.cognition import episodes
from nimad.cognition.codebooks import CodebookBuilder
from nimad.cognition.phi_estimator import PhiEstimator
from nimad.cognition.resonator import ResonatorNetwork
from nimad.cognition.sparse_block_vsa import SparseBlockHDVector
from nimad.vsa import algebra, codes, factors, resonator
from tests.benchmarks.curve import draw
from tests.benchmarks.hypervector_peer import timed

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, FIGURES = DOCS / "hypervectors.md", DOCS / "hypervectors.json"
BEGIN, END = "<!-- figures: make bench-vsa -->", "<!-- end of figures -->"
B, D = algebra.BLOCKS, algebra.DIMS
ROLES = ("who", "what", "where", "when", "context")
FILLERS = 1000
SIZES = (20, 50, 100, 200, 500, 1000, 2000, 3000)
PEER_SIZES = (20, 50, 100, 200, 300, 500)

CASES: dict[str, dict[str, Any]] = {
    "3 x 1,000": {"sizes": [1000] * 3, "least": 0.99, "ms": 100},
    "3 x 1,000, half of the blocks erased": {
        "sizes": [1000] * 3,
        "erased": 0.5,
        "least": 0.99,
        "ms": 100,
    },
    "3 x 1,000, 90 % erased": {"sizes": [1000] * 3, "erased": 0.9},
    "3 x 1,000, 30 % wrong": {"sizes": [1000] * 3, "wrong": 0.3, "least": 0.95, "ms": 100},
    "3 x 1,000, three bundled": {"sizes": [1000] * 3, "products": 3, "least": 0.95, "ms": 100},
    "4 x 100": {"sizes": [100] * 4, "least": 0.95, "ms": 2000, "mb": 300},
    "5 x 40": {"sizes": [40] * 5, "least": 0.95, "ms": 2000, "mb": 300},
    "4 x 1,000": {"sizes": [1000] * 4, "few": True},
    "3 x 10,000": {"sizes": [10_000] * 3, "few": True},
}
"""What is factorized, and the bars: least share of exact answers, most median ms, most MB."""

Figures = dict[str, Any]


# --- factorization --------------------------------------------------------------------------------


def trial(
    rng: np.random.Generator,
    sizes: Sequence[int],
    erased: float = 0,
    wrong: float = 0,
    products: int = 1,
) -> tuple[float, float]:
    """Share of the products that were found exactly, and the time [ms]."""
    books = [codes.random(rng, size) for size in sizes]
    truth = {tuple(int(rng.integers(size)) for size in sizes) for _ in range(products)}
    made = np.stack([factors.product(books, items, D) for items in sorted(truth)])
    for code in made:
        places = rng.permutation(B)[: round(wrong * B)]
        code[places] = rng.integers(0, D, len(places))
    vector = codes.bundle(made, D)
    vector[rng.permutation(B)[: round(erased * B)]] = 0
    began = time.perf_counter()
    found = factors.factorize(vector, books, products)
    took = 1000 * (time.perf_counter() - began)
    return len({product.items for product in found.products} & truth) / len(truth), took


def share(trials: int, seed: int, sizes: Sequence[int], **more: float) -> Figures:
    """Trials with other codebooks each; share exact and median time."""
    rng = np.random.default_rng(seed)
    done = [trial(rng, sizes, **more) for _ in range(trials)]  # type: ignore[arg-type]
    return {
        "exact": float(np.mean([exact for exact, _ in done])),
        "ms": statistics.median(took for _, took in done),
        "trials": trials,
    }


def factorization(trials: int) -> list[Figures]:
    """The cases, with the memory that one takes above its input."""
    rows = []
    for seed, (name, case) in enumerate(CASES.items()):
        given = {key: case[key] for key in ("erased", "wrong", "products") if key in case}
        found = share(5 if case.get("few") else trials, seed, case["sizes"], **given)
        tracemalloc.start()
        trial(np.random.default_rng(seed), case["sizes"], **given)
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        rows.append({"case": name, **found, "mb": peak})
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def curves(trials: int) -> Figures:
    """Where it breaks: with the size of three codebooks, and with damage."""
    by_size = {
        name: [
            (math.log10(size**3), share(max(4, trials // 10), size, [size] * 3, **given)["exact"])
            for size in SIZES
        ]
        for name, given in (
            ("nimad, clean", {}),
            ("nimad, 90 % of the blocks erased", {"erased": 0.9}),
            ("nimad, 60 % of the blocks wrong", {"wrong": 0.6}),
        )
    }
    some = max(10, trials // 5)
    steps = [round(0.1 * n, 1) for n in range(11)]
    tries = {
        "wrong blocks": [(s, share(some, 1, [1000] * 3, wrong=s)["exact"]) for s in steps],
        "erased blocks": [
            (s, share(some, 2, [1000] * 3, erased=s)["exact"])
            for s in (0, 0.3, 0.6, 0.8, 0.9, 0.92, 0.94, 0.96, 0.98)
        ],
    }
    bundled = [
        {"products": n, **share(max(5, some // 4), n, [300] * 3, products=n)}
        for n in (1, 2, 3, 5, 8, 12)
    ]
    return {"by_size": by_size, "damage": tries, "bundled": bundled}


def dense_resonator() -> list[Figures]:
    """nimad's resonator on dense hypervectors of 10,000 dimensions, fillers exact and only near."""
    rows = []
    for size in (20, 50, 100, 200, 400):
        rng = np.random.default_rng(size)
        exact, took = 0, []
        for _ in range(5):
            books = [rng.standard_normal((size, 1, 10_000)).astype(np.float32) for _ in range(3)]
            items = tuple(int(rng.integers(size)) for _ in range(3))
            near = [
                book[i] + 0.3 * rng.standard_normal((1, 10_000)).astype(np.float32)
                for book, i in zip(books, items, strict=True)
            ]
            vector = algebra.bind(algebra.bind(near[0], near[1]), near[2])
            began = time.perf_counter()
            exact += resonator.resonate(vector, books).items == items
            took.append(1000 * (time.perf_counter() - began))
        rows.append({"size": size, "exact": exact / 5, "ms": statistics.median(took)})
    return rows


# --- bundles --------------------------------------------------------------------------------------


def capacity() -> dict[str, list[tuple[float, float]]]:
    """How often a member of a bundle of n scores above 1,000 strangers: theory, and measured.

    A stranger's score is about normal with mean and variance B n / D, a member's lies B higher; so
    a member wins with probability E[F(x + sqrt(B D / n))^1000] (Plate 1995; Frady and others 2021).
    """
    counts = (500, 1000, 1500, 2000, 3000, 4000, 6000, 8000, 10_000)
    rng = np.random.default_rng(4)
    grid = np.linspace(-8, 8, 2001)
    density = np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi) * (grid[1] - grid[0])
    theory, measured = [], []
    for count in counts:
        apart = math.sqrt(B * D / count)
        below = np.array([0.5 * math.erfc(-(x + apart) / math.sqrt(2)) for x in grid])
        theory.append((count / 1000, float((density * below**FILLERS).sum())))
        won = []
        for _ in range(6):
            members = codes.random(rng, count)
            vector = codes.bundle(members)
            scores = codes.products(vector, members[:500])
            for _ in range(10):
                strangers = codes.products(vector, codes.random(rng, FILLERS))
                won.append(np.mean(scores > strangers.max()))
        measured.append((count / 1000, float(np.mean(won))))
    return {"theory": theory, "measured": measured}


# --- episodes and phi -----------------------------------------------------------------------------


def network() -> ResonatorNetwork:
    """Five roles, a thousand fillers each."""
    made = ResonatorNetwork()
    made.initialize_role_keys(ROLES)
    for role in ROLES:
        labels = [f"{role}{number}" for number in range(FILLERS)]
        made.add_codebook(role, CodebookBuilder().codebook(role, labels))
    return made


def episode(slots: dict[str, str]) -> np.ndarray[Any, Any]:
    """The hypervector of an episode."""
    upper = {role.upper(): filler for role, filler in slots.items()}
    return SparseBlockHDVector.of(episodes.episode(upper, B, D, 10)).to_dense()


def drawn(rng: np.random.Generator) -> dict[str, str]:
    return {role: f"{role}{rng.integers(FILLERS)}" for role in ROLES}


def unbinding(net: ResonatorNetwork, trials: int) -> list[Figures]:
    """Right fillers of five roles, whole and with active blocks zeroed."""
    rows = []
    for zeroed in (0.0, 0.25, 0.5, 0.75, 0.9):
        rng = np.random.default_rng(7)
        right = 0
        for _ in range(trials):
            slots = drawn(rng)
            blocks = episode(slots).reshape(B, D)
            active = np.flatnonzero(blocks.any(axis=1))
            blocks[rng.permutation(active)[: round(zeroed * len(active))]] = 0
            found = net.decompose_direct(blocks).slots
            right += sum(found[role] == slots[role] for role in ROLES)
        rows.append({"zeroed": zeroed, "right": right / trials / len(ROLES)})
    return rows


def phi(net: ResonatorNetwork, trials: int) -> Figures:
    """Φ of episodes, of permuted and random ones, and of ones that are damaged more and more."""
    rng = np.random.default_rng(9)
    estimator = PhiEstimator(net, ROLES)
    kinds: dict[str, list[float]] = {"genuine": [], "roles permuted": [], "random": []}
    shares, damaged = [], []
    began = time.process_time()
    for _ in range(trials):
        slots = drawn(rng)
        vector = episode(slots)
        kinds["genuine"].append(estimator.measure_phi(vector).phi)
        moved = dict(zip(ROLES, [slots[r] for r in (*ROLES[1:], ROLES[0])], strict=True))
        kinds["roles permuted"].append(estimator.measure_phi(episode(moved)).phi)
        noise = codes.bundle(codes.random(rng, len(ROLES), active=10))
        kinds["random"].append(estimator.measure_phi(noise).phi)
        lost = float(rng.random())
        places = np.flatnonzero(vector)
        gone = rng.permutation(places)[: round(lost * len(places))]
        broken = vector.copy()
        broken[gone] = 0
        np.add.at(broken, rng.integers(0, len(broken), len(gone)), np.float32(1))
        shares.append(len(gone))
        damaged.append(estimator.measure_phi(broken).phi)
    took = (time.process_time() - began) / estimator.total_measurements
    ranks = [np.argsort(np.argsort(values)) for values in (shares, damaged)]
    quartiles = {k: [float(np.quantile(v, q)) for q in (0.25, 0.5, 0.75)] for k, v in kinds.items()}
    spearman = float(np.corrcoef(ranks[0], ranks[1])[0, 1])
    return {"quartiles": quartiles, "spearman": spearman, "cpu_ms": 1000 * took, "trials": trials}


# --- cost -----------------------------------------------------------------------------------------


def operations() -> dict[str, float]:
    """As `hypervector_peer.operations`: times [us], and bytes of a hypervector."""
    rng = np.random.default_rng(1)
    a, b = codes.random(rng, 100), codes.random(rng, 100)
    work: dict[str, Callable[[], object]] = {
        "bind": lambda: codes.bind(a, b),
        "bundle": lambda: codes.bundle(a),
        "bundle of 5": lambda: codes.bundle(a[:5]),
        "similarity": lambda: codes.similarity(a[0], b),
    }
    return {**{name: timed(call, 15) for name, call in work.items()}, "bytes": a[0].nbytes}


def peer(python: str) -> Figures:
    """torch-hd's figures, from its own interpreter."""
    script = Path(__file__).with_name("hypervector_peer.py")
    sizes = map(str, PEER_SIZES)
    command = [python, str(script), "--dimension", str(B * D), "--sizes", *sizes]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    found: Figures = json.loads(ran.stdout)
    return found


# --- report ---------------------------------------------------------------------------------------


def table(head: str, rows: Sequence[str]) -> str:
    """A table in Markdown; cells stand between bars."""
    line = "|".join("---" for _ in head.split("|"))
    return "\n".join([f"|{head}|", f"|{line}|", *(f"|{row}|" for row in rows), ""])


def text(found: Figures) -> str:
    """The tables."""
    parts = [
        table(
            " factorization | exact | median | memory ",
            [
                f" {r['case']} | {r['exact']:.3f} | {r['ms']:.0f} ms | {r['mb']:.0f} MB "
                for r in found["factorization"]
            ],
        ),
        table(
            " bundled products of 3 x 300 | each found | median ",
            [
                f" {r['products']} | {r['exact']:.2f} | {r['ms']:.0f} ms "
                for r in found["curves"]["bundled"]
            ],
        ),
        table(
            " resonator, 3 codebooks of dense 10,000, fillers with noise of .3 | exact | median ",
            [f" {r['size']} | {r['exact']:.1f} | {r['ms']:.0f} ms " for r in found["resonator"]],
        ),
        table(
            " active blocks zeroed | right fillers, 5 roles of 1,000 ",
            [f" {100 * r['zeroed']:.0f} % | {r['right']:.3f} " for r in found["unbinding"]],
        ),
        table(
            " Φ, quartiles | .25 | .5 | .75 ",
            [
                f" {name} | {' | '.join(f'{x:.3f}' for x in quartiles)} "
                for name, quartiles in found["phi"]["quartiles"].items()
            ],
        ),
        "Φ against the share of values that are at other places: Spearman"
        f" {found['phi']['spearman']:.3f}; {found['phi']['cpu_ms']:.1f} ms of processor each.\n",
    ]
    ours = found["operations"]
    if "peer" in found:
        theirs = found["peer"]["operations"]
        parts.append(
            table(
                " operation | nimad | torch-hd MAP | torch-hd HRR ",
                [
                    f" {name} | {ours[name]:.0f} us |"
                    + " |".join(
                        f" {theirs[m][name]:.0f} us, {theirs[m][name] / ours[name]:.0f} times"
                        for m in ("MAP", "HRR")
                    )
                    + " "
                    for name in ("bind", "bundle", "bundle of 5", "similarity")
                ]
                + [
                    f" bytes of a hypervector | {ours['bytes']} |"
                    f" {theirs['MAP']['bytes']} | {theirs['HRR']['bytes']} "
                ],
            )
        )
        parts.append(
            table(
                " torch-hd's resonator, 3 codebooks of dense 50,000 | exact | median ",
                [
                    f" {r['size']} | {r['exact']:.1f} | {r['ms']:.0f} ms "
                    for r in found["peer"]["resonator"]
                ],
            )
        )
    return "\n".join(parts)


def bars(found: Figures) -> list[str]:
    """Each bar that must be reached, and whether it is."""
    checks: list[tuple[str, bool]] = []
    for row in found["factorization"]:
        case = CASES[row["case"]]
        for key, good in (
            ("least", lambda most, row=row: row["exact"] >= most),
            ("ms", lambda most, row=row: row["ms"] <= most),
            ("mb", lambda most, row=row: row["mb"] <= most),
        ):
            if key in case:
                checks.append((f"{row['case']}: {key} {case[key]}", bool(good(case[key]))))
    right = {row["zeroed"]: row["right"] for row in found["unbinding"]}
    checks += [("unbinding .99", right[0.0] >= 0.99), ("half zeroed .9", right[0.5] >= 0.9)]
    quartiles = found["phi"]["quartiles"]
    others = max(quartiles["roles permuted"][2], quartiles["random"][2])
    checks += [
        ("phi: quartiles apart", quartiles["genuine"][0] > others),
        ("phi: Spearman -.9", found["phi"]["spearman"] <= -0.9),
        ("phi: 20 ms a memory", found["phi"]["cpu_ms"] <= 20),
    ]
    for model, theirs in found.get("peer", {}).get("operations", {}).items():
        for name in ("bind", "bundle", "similarity"):
            ratio = theirs[name] / found["operations"][name]
            checks.append((f"{name}: 5 times as fast as torch-hd {model}", ratio >= 5))
    return [f"{'reached' if ok else 'MISSED '}  {name}" for name, ok in checks]


def write(found: Figures) -> None:
    """Tables into the page, figures as JSON, curves as SVG."""
    FIGURES.write_text(json.dumps(found, indent=1) + "\n")
    head, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n\n{text(found)}\n{END}{rest.partition(END)[2]}")
    up = (0, 0.2, 0.4, 0.6, 0.8, 1.0)
    by_size = dict(found["curves"]["by_size"])
    if "peer" in found:
        by_size["torch-hd's resonator, dense 50,000"] = [
            (math.log10(r["size"] ** 3), r["exact"]) for r in found["peer"]["resonator"]
        ]
    names = ("log10 of the combinations of three codebooks", "share exact")
    plots = {
        "sizes": draw(by_size, {}, (3, 4, 5, 6, 7, 8, 9, 10, 11), up, names),
        "damage": draw(
            found["curves"]["damage"],
            {},
            (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
            up,
            ("share of the blocks", "share exact, 3 x 1,000"),
        ),
        "bundle": draw(
            found["capacity"],
            {},
            (0, 2, 4, 6, 8, 10),
            up,
            ("thousands of items in a bundle of 100 x 500", "members above 1,000 strangers"),
        ),
    }
    for name, svg in plots.items():
        (DOCS / f"hypervectors-{name}.svg").write_text(svg)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and end with 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", help="an interpreter that has torch-hd")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/")
    parser.add_argument("--trials", type=int, default=200)
    args = parser.parse_args(arguments)
    net = network()
    found: Figures = {
        "factorization": factorization(args.trials),
        "curves": curves(args.trials),
        "resonator": dense_resonator(),
        "capacity": capacity(),
        "unbinding": unbinding(net, args.trials),
        "phi": phi(net, args.trials),
        "operations": operations(),
    }
    if args.peer:
        found["peer"] = peer(args.peer)
    if args.write:
        write(found)
    print(text(found))
    told = bars(found)
    print("\n".join(told))
    return int(any(line.startswith("MISSED") for line in told))


if __name__ == "__main__":
    sys.exit(main())
