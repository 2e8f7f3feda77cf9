"""Generated episodes: the legacy encoder's hypervectors, and a source that hands them out.

An episode is the unit-norm sum over roles of role (x) filler, by circular convolution; fillers are
shared between episodes, except what was said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

ROLES = ("WHO", "WHAT", "WHERE", "WHEN", "CONTEXT", "EMOTION", "THEME")
POOLS = {"WHO": 12, "WHERE": 20, "WHEN": 60, "CONTEXT": 80, "EMOTION": 8, "THEME": 10}
OPTIONAL = ("EMOTION", "THEME")

Floats = Any


def unit(rng: np.random.Generator, count: int, dimension: int) -> Floats:
    rows = rng.standard_normal((count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@dataclass
class Episodes:
    """`vectors: float32[n, dimension]`, the fillers of each, and the codebooks."""

    vectors: Floats
    fillers: list[dict[str, str]]
    codebook: dict[str, Floats]
    roles: dict[str, Floats]


def episodes(count: int, dimension: int = 10_000, seed: int = 5) -> Episodes:
    """Episodes of `count` memories; WHAT is each one's own."""
    rng = np.random.default_rng(seed)
    roles = dict(zip(ROLES, unit(rng, len(ROLES), dimension), strict=True))
    names = [f"{role.lower()} {n}" for role, size in POOLS.items() for n in range(size)]
    names += [f"what {n}" for n in range(count)]
    codebook = dict(zip(names, unit(rng, len(names), dimension), strict=True))
    spectra = {name: np.fft.rfft(row) for name, row in [*codebook.items(), *roles.items()]}
    vectors, chosen = np.empty((count, dimension), np.float32), []
    for number in range(count):
        picked = {"WHAT": f"what {number}"}
        for role, size in POOLS.items():
            if role not in OPTIONAL or rng.random() < 0.5:
                picked[role] = f"{role.lower()} {int(size * rng.random() ** 2)}"
        whole = sum(spectra[role] * spectra[name] for role, name in picked.items())
        row = np.fft.irfft(whole, n=dimension)
        vectors[number] = row / np.linalg.norm(row)
        chosen.append(picked)
    return Episodes(vectors, chosen, codebook, roles)


def sparse_rows(count: int, blocks: int = 100, width: int = 500, active: int = 10) -> Floats:
    """float32[count, blocks * width]: some blocks of unit length, the others zero."""
    rng = np.random.default_rng(7)
    kinds = unit(rng, 6, width * blocks).reshape(6, blocks, width)
    out = np.zeros((count, blocks, width), np.float32)
    for number in range(count):
        chosen = rng.choice(blocks, active, replace=False)
        out[number, chosen] = kinds[number % 6, chosen] * 30 + rng.standard_normal((active, width))
    return out.reshape(count, -1)


@dataclass
class Rows:
    """Hypervectors as a reader of legacy stores hands them out (legacy/source.py, DenseRows)."""

    vectors: Floats
    names: list[tuple[str, str, Floats]] = field(default_factory=list)
    block_size: int | None = None
    first: int = 1
    asked: int = 0

    @property
    def dimension(self) -> int:
        return int(self.vectors.shape[1])

    def keys(self) -> Floats:
        return np.arange(self.first, self.first + len(self.vectors), dtype=np.int64)

    def rows(self, keys: Sequence[int] | Floats) -> Floats:
        self.asked += len(keys)
        return self.vectors[np.asarray(keys) - self.first].copy()

    def items(self) -> Iterator[tuple[str, str, Floats]]:
        yield from self.names


def neighbours(vectors: Floats, k: int = 10) -> Floats:
    """int[n, k]: the rows nearest to each by cosine, itself left out."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    products = units @ units.T
    np.fill_diagonal(products, -2)
    return np.argsort(-products, axis=1)[:, :k]
