"""Vectors for the tests of the index: made ones, and real ones where they are at hand."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


def clustered(rows: int, dims: int, seed: int, clusters: int = 40) -> Floats:
    """float32[rows, dims]: unit vectors that gather around some directions, as texts do."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((clusters, dims))
    made = centres[rng.integers(0, clusters, rows)] + 0.7 * rng.standard_normal((rows, dims))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


@functools.cache
def real_vectors() -> tuple[Floats, Floats]:
    """Embeddings of real sentences and of questions: float32[30000, 384], float32[600, 384].

    From $NIMAD_INDEX_DATA or shared/index beside the checkout; skips where there are none.
    """
    given = os.environ.get("NIMAD_INDEX_DATA")
    root = Path(given) if given else Path(__file__).parents[2] / "shared" / "index"
    if not (root / "base.f16.npy").is_file():
        pytest.skip(f"no real embeddings in {root} (NIMAD_INDEX_DATA names another place)")
    base, queries = np.load(root / "base.f16.npy"), np.load(root / "queries.f16.npy")
    return base.astype(np.float32), queries.astype(np.float32)


def cosine(vectors: Floats, query: Floats) -> NDArray[np.float64]:
    """Exact cosines of rows with a query: float64[n]; 0 for rows of zeros."""
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1) * np.linalg.norm(query.astype(np.float64))
    return np.divide(wide @ query, lengths, out=np.zeros(len(wide)), where=lengths > 0)


@functools.cache
def real_nearest(rows: int) -> NDArray[np.int64]:
    """The exact ten nearest of the first `rows` real vectors to each question: int64[600, 10]."""
    base, queries = real_vectors()
    return nearest(base[:rows], queries, 10)


def nearest(vectors: Floats, queries: Floats, k: int) -> NDArray[np.int64]:
    """The exact k nearest rows of each query: int64[q, k]."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return np.argsort(-(queries @ unit.T), axis=1, kind="stable")[:, :k]
