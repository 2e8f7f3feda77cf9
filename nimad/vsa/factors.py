"""Takes a product of one-hot codes apart: which item of each codebook it was made of, exactly.

A product of codes is, in each block, a sum of positions modulo D.  So no search by iteration is
needed.  Two blocks are the *key*: the codebooks are split into two groups, every combination of a
group has one sum in each key block, and the two groups must meet in the value that the input has
there ("meet in the middle", `nimad.vsa.meeting`).  Of N combinations N / D^2 are left; up to four
further blocks vote on these, and the best are compared in all blocks.  Where a key block is wrong,
the right ones do not meet; other key blocks are tried.

A bundle of products has a few strong values in a block: all pairs of the strongest of both key
blocks are looked for at once.

A combination counts when it agrees with the input in more blocks than chance explains among all
combinations.  Related work: M. Hersche et al., Factorizers for Distributed Sparse Block Codes
(2023), which iterate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.vsa import algebra, codes
from nimad.vsa.algebra import Vector
from nimad.vsa.codes import Codes
from nimad.vsa.meeting import meet, split

TRIES = 24
"""Number of pairs of key blocks that are tried [pairs]."""
VOTES = 4
"""Number of further blocks that vote before all are compared [blocks]."""
MOST_PRODUCTS = 8
"""Number of bundled products that are looked for when none is given [products]."""
MOST_SUMS = 1 << 21
"""Number of sums that the table may hold; with them factorization takes up to 300 MB [sums]."""
FALSE_ALARM = 1e-6
"""Probability at which chance alone makes a combination count, among all of them."""
EXPLAINED = 0.5
"""Cosine of the input with the rebuild from which on the rebuild explains the input."""


@dataclass(frozen=True)
class Product:
    """One product that was found.

    Attributes:
        items: the row in each codebook.
        agreement: share of the blocks that are not zero in which the product has a strong value.
        margins: for each codebook, by how much the item is nearer (in cosine) than the next one to
            what is left of the input when the other items are unbound from it.
    """

    items: tuple[int, ...]
    agreement: float
    margins: tuple[float, ...]


@dataclass(frozen=True)
class Factorization:
    """What was found: products, the best first.

    Attributes:
        explained: the cosine of the input with the rebuilt bundle; 0 when nothing was found.
        converged: as many products as were asked for, and the rebuild explains the input.
        tries: pairs of key blocks that were used.
    """

    products: list[Product]
    explained: float
    converged: bool
    tries: int


def factorize(
    vector: Vector, codebooks: Sequence[Codes], products: int | None = None, tries: int = TRIES
) -> Factorization:
    """The items whose product (or bundle of products) a hypervector is, as far as it is known.

    Blocks that are zero tell nothing, and up to half of the others may be wrong.

    Args:
        vector: float32[B, D].
        codebooks: two or more of int16[n, B], without zero blocks.
        products: how many products the bundle has; None: as many as blocks have strong values.

    Raises:
        ValueError: fewer than two codebooks, an empty one, one with zero blocks or another B; or
            more combinations than memory allows (`MOST_SUMS` in the smaller of the two groups,
            times the square of `products`).

    Cost: for codebooks of n items O(n^2) for three or four of them, O(n^3) for five or six;
        docs/hypervectors.md has figures.
    """
    if len(codebooks) < 2:
        raise ValueError("factorization takes two codebooks or more")
    for book in codebooks:
        if book.ndim != 2 or not len(book) or book.shape[1] != len(vector) or (book < 0).any():
            raise ValueError(f"a codebook must be (n, {len(vector)}) without zero blocks")
    wanted = strong_values(vector) if products is None else products
    strong, order = _evidence(vector, wanted)
    least = _least_matches(strong, len(order), math.prod(len(book) for book in codebooks))
    left, right = split(codebooks)
    if wanted**2 * right.size > MOST_SUMS:
        raise ValueError(f"a table of {wanted**2 * right.size} sums is more than memory allows")
    found: dict[tuple[int, ...], int] = {}
    used = 0
    # pairs of blocks: at first such that share none, then the others
    apart = zip(order[::2], order[1::2], strict=False)
    key_pairs = dict.fromkeys([*apart, *itertools.combinations(order, 2)])
    for pair in itertools.islice(key_pairs, tries if least <= len(order) else 0):
        later = 2 * used % len(order)  # others vote in each try: some of them are wrong, too
        voters = [b for b in (*order[later:], *order[:later]) if b not in pair][:VOTES]
        used += 1
        for rows, matches in meet(strong, left, right, pair, voters):
            good = matches >= least
            pairs = zip(rows[good].tolist(), matches[good].tolist(), strict=True)
            found.update((tuple(row), number) for row, number in pairs)
        if len(found) >= wanted:
            break
    best = sorted(found, key=lambda items: (-found[items], items))[:wanted]
    made, explained = _rebuild(vector, codebooks, best)
    judged = [
        Product(items, found[items] / len(order), _margins(vector - others, codebooks, items))
        for place, items in enumerate(best)
        for others in [np.delete(made, place, axis=0).sum(axis=0)]
    ]
    return Factorization(judged, explained, len(best) == wanted and explained >= EXPLAINED, used)


def strong_values(vector: Vector) -> int:
    """How many products are bundled, as far as blocks show: their values above half the largest."""
    peaks = vector.max(axis=1)
    counts = np.count_nonzero(vector > peaks[:, None] / 2, axis=1)[peaks > 0]
    return int(np.clip(np.median(counts), 1, MOST_PRODUCTS)) if len(counts) else 1


def product(codebooks: Sequence[Codes], items: Sequence[int], dims: int) -> Codes:
    """The product of an item of each codebook; int16[B]."""
    total = np.sum([book[item] for book, item in zip(codebooks, items, strict=True)], axis=0)
    return np.asarray(total % dims, codes.dtype_of(dims))


def _evidence(vector: Vector, wanted: int) -> tuple[NDArray[np.bool_], list[int]]:
    """bool[B, D]: the strongest values of each block; and the blocks that have some, those whose
    values stand out most first."""
    top = np.argpartition(-vector, min(wanted, vector.shape[1]) - 1, axis=1)[:, :wanted]
    values = np.maximum(np.take_along_axis(vector, top, axis=1), 0)
    strong = np.zeros(vector.shape, np.bool_)
    np.put_along_axis(strong, top, values > 0, axis=1)
    total = np.abs(vector).sum(axis=1, dtype=np.float64)
    clear = np.round(values.sum(axis=1) / np.maximum(total, 1e-30), 6)
    active = np.flatnonzero(strong.any(axis=1))
    return strong, active[np.argsort(-clear[active], kind="stable")].tolist()


def _least_matches(strong: NDArray[np.bool_], known: int, combinations: int) -> int:
    """The number of matching blocks from which on chance does not explain them; more than are known
    where it always does."""
    chance = float(strong.sum()) / max(1, known) / strong.shape[1]
    tail = 0.0
    for matches in range(known, 0, -1):
        ways = math.comb(known, matches)
        tail += ways * chance**matches * (1 - chance) ** (known - matches)
        if tail * combinations > FALSE_ALARM:
            return max(2, matches + 1)
    return 2


def _margins(
    vector: Vector, codebooks: Sequence[Codes], items: tuple[int, ...]
) -> tuple[float, ...]:
    """For each item of a product, by how much it is nearer than the next one of its codebook."""
    blocks, dims = vector.shape
    length = algebra.length(vector) * math.sqrt(blocks)
    whole = product(codebooks, items, dims)
    margins = []
    for book, item in zip(codebooks, items, strict=True):
        others = codes.unbind(whole, book[item], dims)
        scores = codes.products(vector, codes.bind(others, book, dims)) / length
        rest = np.delete(scores, item)
        margins.append(float(scores[item] - (rest.max() if len(rest) else 0)))
    return tuple(margins)


def _rebuild(
    vector: Vector, codebooks: Sequence[Codes], found: Sequence[tuple[int, ...]]
) -> tuple[Vector, float]:
    """float32[n, B, D]: products, as strong as they are in the input; and the cosine of the input
    with their bundle, in the blocks that are not zero."""
    known = vector.any(axis=1)
    made = np.zeros((len(found), *vector.shape), np.float32)
    for place, items in enumerate(found):
        code = product(codebooks, items, vector.shape[1])
        strength = float(codes.products(vector, code[None])[0]) / max(1, int(known.sum()))
        made[place, known] = strength * codes.densify(code, vector.shape[1])[known]
    return made, float(algebra.similarity(vector, algebra.bundle(made)))
