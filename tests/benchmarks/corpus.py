"""The vectors that the benchmarks search: real embeddings, and as many more as a size asks for.

Real ones (30,000 sentences, 600 held-out questions, 384 dimensions) come from $NIMAD_INDEX_DATA or
shared/index beside the checkout.  Where they are missing a made-up set takes their place: unit
vectors around 1,000 centres of unequal weight in a 60-dimensional subspace, with a tenth of noise
in all 384.  It is easier than text; a table says which of the two it was measured on.

Larger sets add crossovers of the real ones: two parents of one cell (of 33 rows on average) are
turned by a random rotation, each coordinate is taken from the one or the other (a share of .3 to .7
from the first), and the mixture is turned back and made unit.  They are harder than real sentences:
the ten nearest lie about as near, and the local dimension is higher.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]

CHAT_QUERIES = 200
_DIMS, _SUBSPACE, _CENTRES = 384, 60, 1000
_ROWS_PER_CELL, _ROUNDS, _BATCH = 33, 6, 20_000


@dataclass(frozen=True)
class Corpus:
    """`rows: float16[n, d]`, unit; `queries: float32[q, d]`; the first `chat` of them are chat."""

    rows: Halves
    queries: Floats
    chat: int
    source: str


def load(size: int) -> Corpus:
    """The first `size` rows of the corpus; the same ones every time."""
    given = os.environ.get("NIMAD_INDEX_DATA")
    root = Path(given) if given else Path(__file__).parents[3] / "shared" / "index"
    if (root / "base.f16.npy").is_file():
        base, queries = np.load(root / "base.f16.npy"), np.load(root / "queries.f16.npy")
        base = base[base.any(axis=1)]  # an empty text has no direction; peers trip over it
        source, chat = f"{len(base):,} real sentences", CHAT_QUERIES
    else:
        base, queries = _made_up(30_000, 600)
        source, chat = "made-up clusters", 0
    if size > len(base):
        source += " and crossovers of them"
    return Corpus(grown(base, size), queries.astype(np.float32), chat, source)


def grown(base: Halves, size: int) -> Halves:
    """`base` cut or extended to `size` rows: float16[size, d]."""
    if size <= len(base):
        return base[:size]
    rng = np.random.default_rng(20_261_121)
    parents = unit(base.astype(np.float32))
    members, edges = _cells(parents, rng)
    out = np.empty((size, base.shape[1]), np.float16)
    out[: len(base)] = base
    for first in range(len(base), size, _BATCH):
        count = min(_BATCH, size - first)
        out[first : first + count] = _crossovers(parents, members, edges, count, rng)
    return out


def exact(rows: Halves, queries: Floats, k: int) -> NDArray[np.int64]:
    """The k rows nearest to each query by float32 brute force, best first: int64[q, k]."""
    best = np.full((len(queries), k), -np.inf, np.float32)
    ids = np.zeros((len(queries), k), np.int64)
    asked = unit(queries)
    for first in range(0, len(rows), _BATCH):
        near = asked @ unit(rows[first : first + _BATCH].astype(np.float32)).T
        here = np.broadcast_to(np.arange(first, first + near.shape[1]), near.shape)
        near, here = np.concatenate([best, near], 1), np.concatenate([ids, here], 1)
        order = np.argsort(-near, axis=1, kind="stable")[:, :k]
        best, ids = np.take_along_axis(near, order, 1), np.take_along_axis(here, order, 1)
    return ids


def recall(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """The share of the true nearest that were found."""
    hits = [np.isin(mine, theirs).sum() for mine, theirs in zip(found, truth, strict=True)]
    return float(np.sum(hits) / truth.size)


def _cells(
    parents: Floats, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows grouped by spherical k-means: members[edges[c] : edges[c + 1]] are those of cell c."""
    count = len(parents) // _ROWS_PER_CELL
    centres = parents[rng.choice(len(parents), count, replace=False)]
    cell = np.zeros(len(parents), np.int64)
    for _ in range(_ROUNDS):
        cell = np.argmax(parents @ centres.T, axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, cell, parents)
        full = np.bincount(cell, minlength=count) > 0
        centres[full] = unit(sums[full])
    members = np.argsort(cell, kind="stable")
    return members, np.searchsorted(cell[members], np.arange(count + 1))


def _crossovers(
    parents: Floats,
    members: NDArray[np.int64],
    edges: NDArray[np.int64],
    count: int,
    rng: np.random.Generator,
) -> Halves:
    place = rng.integers(0, len(members), count)
    cell = np.searchsorted(edges, place, side="right") - 1
    other = edges[cell] + (rng.random(count) * (edges[cell + 1] - edges[cell])).astype(np.int64)
    turn = np.linalg.qr(rng.standard_normal((parents.shape[1],) * 2))[0].astype(np.float32)
    share = rng.uniform(0.3, 0.7, (count, 1)).astype(np.float32)
    first = rng.random((count, parents.shape[1]), np.float32) < share
    mixed = np.where(first, parents[members[place]] @ turn, parents[members[other]] @ turn)
    return unit(mixed @ turn.T).astype(np.float16)


def _made_up(rows: int, queries: int) -> tuple[Halves, Halves]:
    rng = np.random.default_rng(7)
    frame = np.linalg.qr(rng.standard_normal((_DIMS, _SUBSPACE)))[0]
    centres = rng.standard_normal((_CENTRES, _SUBSPACE))
    weight = rng.pareto(1.5, _CENTRES) + 0.1
    which = rng.choice(_CENTRES, rows + queries, p=weight / weight.sum())
    inner = centres[which] + 0.8 * rng.standard_normal((len(which), _SUBSPACE))
    noise = 0.1 * rng.standard_normal((len(which), _DIMS))
    made = unit((inner @ frame.T + noise).astype(np.float32)).astype(np.float16)
    return made[:rows], made[rows:]


def unit(rows: Floats) -> Floats:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
