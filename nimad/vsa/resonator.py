"""A soft, annealed resonator: takes any product of hypervectors apart, by iteration, if it can.

For what `factors` cannot do: dense hypervectors (one block is the whole: D = dimension), and items
that are only near to those of the codebooks.  Each factor's estimate is a weighted mean of its
codebook.  In turn, the other estimates are unbound from the input, what is left is compared with
the codebook, and the weights become a softmax of these cosines, sharper in each round.  It begins
with all items at once, again from other weights where that fails; the input alone decides which.

Unlike `factors` it may fail where an answer exists, and says so (`converged`).  How many items it
can tell apart grows with the dimension: docs/hypervectors.md has a curve.

Source: E. P. Frady, S. J. Kent, B. A. Olshausen, F. T. Sommer, Resonator Networks (2020); the
annealed softmax in place of a projection is ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.vsa import algebra
from nimad.vsa.algebra import Vector
from nimad.vsa.factors import EXPLAINED

ROUNDS = 40
"""Number of rounds from one beginning [rounds]."""
STARTS = 4
"""Number of beginnings [beginnings]."""
SETTLED = 8
"""Number of rounds with the same items that end a beginning [rounds]."""
WARM, COLD = 0.5, 8.0
"""Sharpness of the softmax in the first and in the last round, for cosines in units of what chance
gives."""

Spectra = NDArray[np.complex64]


@dataclass(frozen=True)
class Resonance:
    """What was found.

    Attributes:
        items: the row in each codebook.
        margins: for each codebook, by how much the item is nearer (in cosine) than the next one to
            what is left of the input when the other items are unbound from it.
        explained: the cosine of the input with the product of the items.
        converged: the product explains the input.
        rounds: of all beginnings together.
    """

    items: tuple[int, ...]
    margins: tuple[float, ...]
    explained: float
    converged: bool
    rounds: int


def resonate(
    vector: Vector, codebooks: Sequence[Vector], rounds: int = ROUNDS, starts: int = STARTS
) -> Resonance:
    """The items whose product a hypervector most likely is.

    Args:
        vector: float32[B, D].
        codebooks: two or more of float32[n, B, D].

    Raises:
        ValueError: fewer than two codebooks, an empty one, or one of another shape.

    Cost: `rounds` times the size of the codebooks, for each beginning; they are held as spectra of
        the same size.
    """
    if len(codebooks) < 2:
        raise ValueError("a resonator takes two codebooks or more")
    if any(book.shape[1:] != vector.shape or not len(book) for book in codebooks):
        raise ValueError(f"a codebook must be (n, {vector.shape[0]}, {vector.shape[1]})")
    books = [_Book(book) for book in codebooks]
    whole = _spectra(vector[None])[0]
    seed = hashlib.blake2b(np.ascontiguousarray(vector).tobytes(), digest_size=8).digest()
    rng = np.random.default_rng(int.from_bytes(seed, "little"))
    best: tuple[float, tuple[int, ...]] = (-2.0, ())
    used = 0
    for start in range(starts):
        states = [book.mean(None if start == 0 else rng) for book in books]
        chosen: list[int] = []
        same = 0
        for step in range(rounds):
            used += 1
            before, chosen = chosen, []
            sharpness = WARM * (COLD / WARM) ** (step / max(1, rounds - 1))
            for place, book in enumerate(books):
                cosines = book.cosines(_left(whole, states, place))
                states[place] = book.weighted(cosines, sharpness)
                chosen.append(int(cosines.argmax()))
            same = same + 1 if chosen == before else 0
            if same == SETTLED:
                break
        items = tuple(chosen)
        made = reduce(algebra.bind, (book[n] for book, n in zip(codebooks, items, strict=True)))
        best = max(best, (float(algebra.similarity(vector, made)), items))
        if best[0] >= EXPLAINED:
            break
    explained, items = best
    picked = [book.rows[item] for book, item in zip(books, items, strict=True)]
    margins = []
    for place, book in enumerate(books):
        cosines = book.cosines(_left(whole, picked, place))
        rest = np.delete(cosines, items[place])
        margins.append(float(cosines[items[place]] - (rest.max() if len(rest) else 0)))
    return Resonance(items, tuple(margins), explained, explained >= EXPLAINED, used)


class _Book:
    """A codebook as spectra of unit hypervectors, `rows: complex64[n, ...]`."""

    def __init__(self, vectors: Vector) -> None:
        self.size = vectors[0].size
        lengths = np.linalg.norm(vectors.reshape(len(vectors), -1), axis=1)
        units = vectors / np.maximum(lengths, 1e-30)[:, None, None]
        self.rows = _spectra(units)

    def mean(self, rng: np.random.Generator | None) -> Spectra:
        """All items at once, each as strong, or as strong as chance says."""
        count = len(self.rows)
        weights = np.ones(count) if rng is None else rng.exponential(size=count)
        return np.asarray(weights.astype(np.complex64) @ self.rows)

    def cosines(self, state: Spectra) -> NDArray[np.float32]:
        """The cosine of a hypervector with each item."""
        products = (self.rows @ state.conj()).real
        return np.asarray(products / max(algebra.length(state.view(np.float32)), 1e-30), np.float32)

    def weighted(self, cosines: NDArray[np.float32], sharpness: float) -> Spectra:
        """The mean of the items, weighted by a softmax of cosines."""
        exponents = sharpness * cosines * np.sqrt(self.size)
        weights = np.exp(exponents - exponents.max())
        return np.asarray((weights / weights.sum()).astype(np.complex64) @ self.rows)


def _spectra(vectors: Vector) -> Spectra:
    """complex64[n, size]: spectra whose dot products (their real part) are those of the vectors."""
    dims = vectors.shape[-1]
    spectra = np.fft.rfft(vectors, axis=-1)
    weights = np.full(spectra.shape[-1], np.sqrt(2 / dims))
    weights[0] = dims**-0.5
    if dims % 2 == 0:
        weights[-1] = dims**-0.5
    return np.asarray((spectra * weights).reshape(len(vectors), -1), np.complex64)


def _left(whole: Spectra, states: Sequence[Spectra], place: int) -> Spectra:
    """What is left of the input when all estimates but one are unbound from it: only their phases
    are, because a product's amplitudes are not to be squared."""
    left = whole
    for number, state in enumerate(states):
        if number != place:
            phases = state.conj() / np.maximum(np.abs(state), 1e-12)
            left = np.asarray(left * phases, np.complex64)
    return left
