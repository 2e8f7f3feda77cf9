"""Build the shipped index over given vectors, ask it given questions, and time both.

    python -m tests.benchmarks.blocks --vectors V.npy --queries Q.npy -k 10 --out ids.npy --json

The index is the one that the daemon uses, with its own parameters: V's rows (float16 or float32)
are sealed in a segment, opened and mapped, and each row of Q is asked alone, on one thread.  Asked
are all questions once to warm up, then three times in turn; a question's time is its best, for a
machine that others use, too.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.index.blocks import BlockIndex
from nimad.index.kernels.contract import MOST_DIMS

PASSES = 3
_BATCH = 10_000


def built(folder: Path, vectors: NDArray[Any]) -> tuple[BlockIndex, float]:
    """The index over the rows of `vectors`, whose numbers are the ids, and the seconds it took."""
    index = BlockIndex(folder, vectors.shape[1])
    began = time.perf_counter()
    index.write_segment("all", np.arange(len(vectors)), vectors)
    index.publish(["all"])
    return index, time.perf_counter() - began


def asked(
    index: BlockIndex,
    queries: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """What each query finds, int64[q, k] (-1 where there is nothing), and how long it took: ms."""
    found = np.full((len(queries), k), -1, np.int64)
    for number, query in enumerate(queries):
        ids, _ = index.search(query, k, allowed)
        found[number, : len(ids)] = ids
    took = np.empty((PASSES, len(queries)))
    for passed in took:
        for number, query in enumerate(queries):
            began = time.perf_counter()
            index.search(query, k, allowed)
            passed[number] = time.perf_counter() - began
    return found, took.min(axis=0) * 1000


def loaded(option: str, path: Path) -> NDArray[Any]:
    """The matrix in a file, mapped.

    Raises:
        OSError: when it cannot be read.
        ValueError: when it is no matrix of finite numbers, or has too many columns.
    """
    matrix: NDArray[Any] = np.load(path, mmap_mode="r")
    if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.floating):
        raise ValueError(f"{option}: {path} is {matrix.dtype}{list(matrix.shape)}, not float[n, d]")
    if not 0 < matrix.shape[1] <= MOST_DIMS:
        raise ValueError(f"{option}: {matrix.shape[1]} dimensions, 1 to {MOST_DIMS} are possible")
    for first in range(0, len(matrix), _BATCH):
        bad = np.flatnonzero(~np.isfinite(matrix[first : first + _BATCH]).all(axis=1))
        if len(bad):
            raise ValueError(f"{option}: row {first + bad[0]} of {path} is not finite")
    return matrix


def measured(vectors: NDArray[Any], queries: NDArray[np.float32], k: int) -> tuple[Any, Any]:
    """The rows found, and the figures."""
    with tempfile.TemporaryDirectory(prefix="nimad-bench-") as folder:
        index, seconds = built(Path(folder), vectors)
        found, took = asked(index, queries, k)
        stats = index.stats()
    rows = max(len(vectors), 1)
    return found, {
        "n": len(vectors),
        "p50_ms": round(float(np.percentile(took, 50)), 4) if len(took) else 0.0,
        "p95_ms": round(float(np.percentile(took, 95)), 4) if len(took) else 0.0,
        "build_us_per_memory": round(seconds / rows * 1e6, 2),
        "disk_bytes_per_memory": round(stats["disk_bytes"] / rows, 2),
        "resident_bytes_per_memory": round(stats["resident_bytes"] / rows, 2),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build the index over vectors and time searches.")
    parser.add_argument(
        "--vectors", type=Path, required=True, help="float16 or float32[n, d], .npy"
    )
    parser.add_argument(
        "--queries", type=Path, required=True, help="float16 or float32[q, d], .npy"
    )
    parser.add_argument("-k", type=int, default=10, help="results of a query (10)")
    parser.add_argument("--out", type=Path, help="write int64[q, k] row numbers here, .npy")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    if options.k < 1:
        parser.error("-k must be at least 1")
    try:
        vectors = loaded("--vectors", options.vectors)
        queries = loaded("--queries", options.queries).astype(np.float32)
        if vectors.shape[1] != queries.shape[1]:
            both = f"{vectors.shape[1]} and {queries.shape[1]}"
            raise ValueError(f"vectors and queries have {both} dimensions: they must be the same")
    except (OSError, ValueError) as error:
        parser.error(str(error))
    found, figures = measured(vectors, queries, options.k)
    if options.out:
        with options.out.open("wb") as file:
            np.save(file, found)
    if options.json:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{name:26} {value}" for name, value in figures.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
