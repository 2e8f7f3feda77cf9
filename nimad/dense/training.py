"""Learns from a sample what hypervectors share, and what each block's levels should be.

The sample's principal directions come from the products of its rows (512 of them at most), so
that rows of 50,000 coordinates cost no more than their number.  How many directions to keep is a
question of bytes: each costs its own code, shared by all rows, and a coefficient in every row,
which the codes of the rests then lack.  What a direction is worth is measured on rows that were
kept out, because on its own sample every direction looks good.

Every step takes a few ten milliseconds and ends with a `yield`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.dense import levels
from nimad.dense.basis import LEVELS, Basis
from nimad.dense.levels import LADDER
from nimad.dense.plan import SPARSE_LEVELS, Plan, allocate
from nimad.dense.spectrum import Rows, Shape, to_spectrum

RATIO = 8.25
"""Size of float32 hypervectors over that of their files, everything counted [times]."""
SAMPLE = 512
"""Rows that are learned from."""
STEP_VALUES = 1 << 18
"""Coordinates read in one step."""
STEP_PRODUCTS = 1 << 27
"""Multiplications of one step."""
FIXED_BYTES = 160
"""Fixed cost of a row besides its words and coefficients: id, lengths, sketch [bytes]."""
FILE_BYTES = 6144
"""Fixed cost of the files, shared by their rows (128 a row at most) [bytes]."""
LEAST_BITS = 1.0
"""Fewest bits of a coordinate beside directions: with fewer, these cost more than they give."""
GOOD_LEVELS = 9
"""Fewest levels of a coordinate where nothing is shared (cosines of .98).  At RATIO, those of
under about 3,400 dimensions would have fewer, because the fixed cost of a row weighs more there;
they are small enough to be stored well instead."""
PRIOR = 300
"""Weight of the mean energy in that of a block [coordinates]."""
MOST_HELD = 10_000_000
"""Coordinates of all directions together that converting holds in memory (40 MB)."""

Read = Callable[[NDArray[np.int64]], Rows]
Steps = Generator[None, None, "Learned"]


@dataclass(frozen=True, eq=False)
class Learned:
    """What rows of a source are coded with."""

    basis: Basis
    plan: Plan


def learn(shape: Shape, read: Read, total: int, ratio: float = RATIO) -> Steps:
    """Learn from `total` rows, of which `read(numbers)` gives float32[n, dimension].

    Args:
        ratio: the size to reach, as float32 size / stored size.

    Cost: reads up to 512 rows; memory for them in float16.
    """
    if shape.sparse:
        return Learned(Basis.empty(shape), Plan.even(shape, SPARSE_LEVELS))
    sample = yield from _sample(shape, read, total)
    gram = np.zeros((len(sample), len(sample)))
    width = max(16, STEP_PRODUCTS // max(1, len(sample) ** 2))
    for at in range(0, sample.shape[1], width):
        part = sample[:, at : at + width].astype(np.float32)
        gram += part @ part.T
        yield
    gram /= sample.shape[1]
    words = _Budget(shape, total, ratio)
    count = yield from _choose(gram, words)
    if count:
        values, vectors = _sorted_eigen(gram)
        yield
        basis = yield from _directions(shape, sample, vectors[:, :count] / np.sqrt(values[:count]))
    else:
        basis = Basis.empty(shape)
    energies = yield from _energies(basis, sample)
    return Learned(basis, allocate(shape, energies, words.of_row(len(basis))))


@dataclass(frozen=True)
class _Budget:
    """What a row may take."""

    shape: Shape
    total: int
    ratio: float

    def of_row(self, directions: int) -> float:
        """Words that are left for the codes of a row beside a number of directions."""
        basis = directions * 2 * self.shape.blocks * levels.words_of(self.shape.width, LEVELS)
        shared = (basis + 4 * directions**2) / self.total
        files = min(128.0, FILE_BYTES / self.total)
        whole = 4 * self.shape.dimension / self.ratio
        left = whole - FIXED_BYTES - files - shared - 2 * directions
        return max(left / 2, good_words(self.shape) if not directions else 0)


def good_words(shape: Shape) -> int:
    """Words of a row whose every block has GOOD_LEVELS."""
    return shape.blocks * levels.words_of(shape.width, GOOD_LEVELS)


def _sample(shape: Shape, read: Read, total: int) -> Generator[None, None, NDArray[np.float16]]:
    """float16[n, size]: unit spectra spread over all rows, times sqrt(size)."""
    picks = np.unique(np.linspace(0, total - 1, min(total, SAMPLE)).astype(np.int64))
    out = np.empty((len(picks), shape.size), np.float16)
    page = max(1, STEP_VALUES // shape.size)
    for first in range(0, len(picks), page):
        spectra = to_spectrum(read(picks[first : first + page]), shape)
        out[first : first + page] = unit(spectra)[0] * np.float32(np.sqrt(shape.size))
        yield
    return out


def unit(spectra: Rows) -> tuple[Rows, NDArray[np.float32]]:
    """The rows with length one, and their lengths: float32[n]; zero stays zero."""
    lengths = np.sqrt(np.einsum("ij,ij->i", spectra, spectra, dtype=np.float64)).astype(np.float32)
    divisors = np.where(lengths > 0, lengths, np.float32(1))
    return np.asarray(spectra / divisors[:, None], np.float32), np.asarray(lengths, np.float32)


def _choose(gram: NDArray[np.float64], budget: _Budget) -> Generator[None, None, int]:
    """How many directions lose least in the bytes that there are."""
    rows = len(gram)
    kept = np.arange(rows) % 8 != 7
    values, vectors = _sorted_eigen(gram[np.ix_(kept, kept)])
    yield
    out = gram[np.ix_(~kept, kept)] @ vectors / np.sqrt(values)
    left = 1 - np.cumsum(np.mean(out**2, axis=0)) if (~kept).any() else np.ones(len(values))
    rungs = [step for step in LADDER if step.levels <= levels.FINEST_PLANNED]
    bits, distortions = [s.bits for s in rungs], [s.distortion for s in rungs]
    best, least = 0, np.inf
    most = min(len(values) // 2, MOST_HELD // budget.shape.size)
    for count in range(0, most + 1, 8):
        words = budget.of_row(count)
        if 16 * words / budget.shape.size < LEAST_BITS:
            break
        rest = max(float(left[count - 1]) if count else 1.0, 1e-6)
        loss = float(np.interp(16 * words / budget.shape.size, bits, distortions))
        # the error of a dot product: rounding of one rest times length of the other
        error = rest**2 * loss / (1 - loss)
        if error < least:
            best, least = count, error
    return best


def _sorted_eigen(
    gram: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values, vectors = np.linalg.eigh(gram)
    return np.maximum(values[::-1], 1e-12), vectors[:, ::-1]


def _directions(
    shape: Shape, sample: NDArray[np.float16], mixing: NDArray[np.float64]
) -> Generator[None, None, Basis]:
    """Coded directions: `mixing` of the sample's rows, unit length."""
    count = mixing.shape[1]
    mix = mixing.T.astype(np.float32)
    words = np.empty((count, shape.blocks, levels.words_of(shape.width, LEVELS)), np.uint16)
    gram = np.zeros((count, count))
    for block in range(shape.blocks):
        place = slice(block * shape.width, (block + 1) * shape.width)
        part = mix @ sample[:, place].astype(np.float32)
        words[:, block] = levels.encode(part, LEVELS)
        coded = levels.decode(words[:, block], shape.width, LEVELS)
        gram += coded @ coded.T
        yield
    return Basis(shape, words, (gram / shape.size).astype(np.float32))


def _energies(
    basis: Basis, sample: NDArray[np.float16]
) -> Generator[None, None, NDArray[np.float64]]:
    """float64[blocks]: mean squares of what the directions leave of the sample."""
    shape = basis.shape
    root = np.float32(np.sqrt(shape.size))
    products = np.zeros((len(sample), len(basis)), np.float32)
    for place, part in basis.pieces():
        products += sample[:, place].astype(np.float32) @ part.T / root
        yield
    shares = basis.solve(products) if len(basis) else products
    energies = np.empty(shape.blocks)
    for block in range(shape.blocks):
        place = slice(block * shape.width, (block + 1) * shape.width)
        rest = sample[:, place].astype(np.float32)
        if len(basis):
            rest -= shares @ basis.directions(block, block + 1) * root
        energies[block] = np.mean(rest.astype(np.float64) ** 2)
        yield
    # a few rows say little of a single block: PRIOR coordinates of the usual size are added to each
    seen = len(sample) * shape.width
    return (energies * seen + np.mean(energies) * PRIOR) / (seen + PRIOR)
