"""What torch-hd does with dense hypervectors; run by an interpreter that has it, prints JSON.

    PYTHON tests/benchmarks/hypervector_peer.py --sizes 20 50 100 --dimension 50000

Imports nothing of nimad: `tests.benchmarks.hypervectors --peer PYTHON` runs it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

ITERATIONS = 100
"""Number of steps after which a resonator gives up [steps]."""


def resonator(torch: Any, torchhd: Any, size: int, dimension: int, trials: int) -> dict[str, float]:
    """Share of exact answers for a product of three, and the median time of one [ms]."""
    exact, took = 0, []
    for _ in range(trials):
        domains = torch.stack([torchhd.random(size, dimension) for _ in range(3)])
        items = torch.randint(size, (3,))
        product = domains[0, items[0]].bind(domains[1, items[1]]).bind(domains[2, items[2]])
        began = time.perf_counter()
        estimates = torch.stack([torchhd.multiset(domain) for domain in domains])
        for _ in range(ITERATIONS):
            before = estimates
            estimates = torchhd.resonator(product, estimates, domains)
            if torch.equal(before, estimates):
                break
        scores = torchhd.dot_similarity(estimates.unsqueeze(-2), domains).squeeze(-2)
        took.append(1000 * (time.perf_counter() - began))
        exact += bool(torch.equal(scores.argmax(-1), items))
    return {"size": size, "exact": exact / trials, "ms": statistics.median(took)}


def timed(work: Callable[[], object], repeats: int) -> float:
    """The median time of a call [us]."""
    work()
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        took.append(1e6 * (time.perf_counter() - began))
    return statistics.median(took)


def operations(torch: Any, torchhd: Any, dimension: int, repeats: int) -> dict[str, Any]:
    """Times [us] for 100 bindings, for a bundle of 100 and one of 5, for 100 similarities."""
    found: dict[str, Any] = {}
    for model in ("MAP", "HRR"):
        a, b = (torchhd.random(100, dimension, model) for _ in range(2))
        found[model] = {
            "bind": timed(lambda a=a, b=b: torchhd.bind(a, b), repeats),
            "bundle": timed(lambda a=a: torchhd.multiset(a), repeats),
            "bundle of 5": timed(lambda a=a: torchhd.multiset(a[:5]), repeats),
            "similarity": timed(lambda a=a, b=b: torchhd.cosine_similarity(a[0], b), repeats),
            "bytes": a[0].element_size() * dimension,
        }
    return found


def main() -> None:
    """Measure and print."""
    import torch
    import torchhd

    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="*", default=[])
    parser.add_argument("--dimension", type=int, default=50_000)
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(1)
    found = {
        "version": getattr(torchhd, "__version__", ""),
        "resonator": [
            resonator(torch, torchhd, size, args.dimension, args.trials) for size in args.sizes
        ],
        "operations": operations(torch, torchhd, args.dimension, args.repeats),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
