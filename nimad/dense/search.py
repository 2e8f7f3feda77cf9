"""Searches converted hypervectors: the nearest ones, and which filler was bound to a role.

The nearest ones: candidates by sketch, then the cosine from decoded rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.dense.basis import Basis
from nimad.dense.files import Opened
from nimad.dense.sketch import bins, estimate
from nimad.dense.spectrum import Rows, bind, unbind

CANDIDATES = 256
"""Least number of rows that a search decodes."""
HANDY_VALUES = 4_000_000
"""Coordinates of directions that a search may hold decoded (16 MB)."""
PAGE_VALUES = 1 << 21
"""Coordinates decoded at a time."""


@dataclass(frozen=True, eq=False)
class _Aim:
    """A query as one basis sees it."""

    weights: NDArray[np.float32]
    rest: Rows
    bins: Rows


def search(
    files: list[Opened], query: Rows, k: int, alive: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k nearest rows of files of one shape: ids and cosines, best first; equal ones by id.

    Args:
        query: float32[size], a unit spectrum of that shape.
        alive: int64[n], ascending: the only ids that may be found; None: all.

    Cost: 128 bytes and the coefficients of every row, and the words of 256 rows.
    """
    aims: dict[bytes, _Aim] = {}
    for basis in {each.basis.id: each.basis for each in files}.values():
        shares, rest = _handy(basis).project(query[None])
        weights = shares[0] @ basis.gram if len(basis) else shares[0]
        aims[basis.id] = _Aim(weights, rest[0], bins(rest)[0])
    ids, guesses, owners, places = [], [], [], []
    for number, each in enumerate(files):
        aim = aims[each.basis.id]
        file = each.file
        guess = estimate(file.sketch, file.rests, aim.bins) + file.shares @ aim.weights
        usable = file.norms > 0
        if alive is not None:
            usable &= np.isin(file.ids, alive, assume_unique=True)
        rows = np.flatnonzero(usable)
        ids.append(file.ids[rows])
        guesses.append(guess[rows])
        owners.append(np.full(len(rows), number))
        places.append(rows)
    if not ids:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    every, guess, owner, place = (np.concatenate(part) for part in (ids, guesses, owners, places))
    best = np.argsort(-guess, kind="stable")[: max(CANDIDATES, 8 * k)]
    scores = np.empty(len(best), np.float32)
    for number, each in enumerate(files):
        mine = owner[best] == number
        scores[mine] = _cosines(each, place[best[mine]], aims[each.basis.id])
    order = np.lexsort((every[best], -scores))[:k]
    return every[best[order]], scores[order]


def _handy(basis: Basis) -> Basis:
    """A small basis decoded once instead of piece by piece, each piece more than once."""
    return basis.in_memory() if len(basis) * basis.shape.size <= HANDY_VALUES else basis


def _cosines(each: Opened, rows: NDArray[np.intp], aim: _Aim) -> NDArray[np.float32]:
    """float32[n]: cosines of rows with the query; see `basis` for the formula."""
    out = each.file.shares[rows].astype(np.float32) @ aim.weights
    page = max(1, PAGE_VALUES // each.file.shape.size)
    for first in range(0, len(rows), page):
        part = rows[first : first + page]
        out[first : first + page] += each.file.rest_spectra(part) @ aim.rest
    return np.asarray(np.clip(out, -1, 1), np.float32)


def spectrum_of(each: Opened, row: int) -> Rows:
    """float32[size]: the unit spectrum of a row, as far as it is known."""
    whole = each.file.spectra(np.array([row]), _handy(each.basis))[0]
    length = float(np.linalg.norm(whole))
    return np.asarray(whole / length, np.float32) if length > 0 else whole


# --- fillers of a role --------------------------------------------------------------------------


def fillers_of(
    episode: Rows, role: Rows, fillers: list[Opened], numbers: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """How well each filler explains what an episode binds to a role.

    The score of a filler f is the cosine of the episode and role (x) f, which is the product of
    the unbound episode with f over the lengths: 1 where the episode is that pair alone, about
    1 / sqrt(n) where it is one of n pairs, about 0 where the filler is not in it.

    Args:
        episode, role: float32[size], spectra.
        numbers: int64[n], ascending: the fillers to ask.

    Returns:
        numbers and scores, best first.
    """
    found, scores = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for each in fillers:
        shape = each.file.shape
        unbound = unbind(episode[None], role[None], shape)[0]
        for rows, spectra in _pages(each, numbers):
            pairs = bind(spectra, role[None], shape)
            lengths = np.linalg.norm(pairs, axis=1) * np.linalg.norm(episode)
            products = spectra @ unbound
            found.append(each.file.ids[rows])
            scores.append(
                np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
            )
    every, score = np.concatenate(found), np.concatenate(scores)
    order = np.lexsort((every, -score))
    return every[order], score[order]


def two_nearest(
    queries: Rows, fillers: list[Opened], numbers: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Rows]:
    """The two fillers nearest to each query, with their cosines; every filler is decoded once.

    Args:
        queries: float32[n, size], spectra.
        numbers: int64[m], ascending: the fillers to ask.

    Returns:
        int64[n, 2] and float32[n, 2], best first; 0 and -1 where there are fewer.
    """
    best = np.zeros((len(queries), 2), np.int64)
    scores = np.full((len(queries), 2), -1, np.float32)
    units = queries / np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-30)
    for each in fillers:
        for rows, spectra in _pages(each, numbers):
            lengths = np.maximum(np.linalg.norm(spectra, axis=1), 1e-30)
            cosines = units @ spectra.T / lengths
            owners = np.broadcast_to(each.file.ids[rows], cosines.shape)
            every = np.concatenate([scores, cosines], axis=1)
            names = np.concatenate([best, owners], axis=1)
            order = np.argsort(-every, axis=1, kind="stable")[:, :2]
            scores = np.take_along_axis(every, order, axis=1).astype(np.float32)
            best = np.take_along_axis(names, order, axis=1)
    return best, scores


def item_spectrum(files: list[Opened], number: int) -> Rows | None:
    """float32[size]: the spectrum of a filler or role; None when it is not there."""
    for each in files:
        row = each.file.row_of(number)
        if row is not None:
            return np.asarray(each.file.spectra(np.array([row]), each.basis)[0], np.float32)
    return None


def _pages(each: Opened, numbers: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.intp], Rows]]:
    """Some of a file's rows, decoded a page at a time: which rows, and their spectra."""
    chosen = np.flatnonzero(np.isin(each.file.ids, numbers, assume_unique=True))
    page = max(1, PAGE_VALUES // each.file.shape.size)
    for first in range(0, len(chosen), page):
        rows = chosen[first : first + page]
        yield rows, each.file.spectra(rows, each.basis)
