"""Which filler was bound to a role: the codebook asked with an unbound hypervector."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nimad.dense import spectrum
from nimad.dense.files import Opened
from nimad.dense.spectrum import Rows

PAGE_VALUES = 1 << 21


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
        unbound = spectrum.unbind(episode[None], role[None], shape)[0]
        for rows, spectra in _pages(each, numbers):
            pairs = spectrum.bind(spectra, role[None], shape)
            lengths = np.linalg.norm(pairs, axis=1) * np.linalg.norm(episode)
            products = spectra @ unbound
            found.append(each.file.ids[rows])
            scores.append(
                np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
            )
    every, score = np.concatenate(found), np.concatenate(scores)
    order = np.lexsort((every, -score))
    return every[order], score[order]


def item_spectrum(files: list[Opened], number: int) -> Rows | None:
    """float32[size]: the spectrum of a filler or role; None when it is not there."""
    for each in files:
        row = each.file.row_of(number)
        if row is not None:
            return np.asarray(each.file.spectra(np.array([row]), each.basis)[0], np.float32)
    return None


def _pages(each: Opened, numbers: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.intp], Rows]]:
    chosen = np.flatnonzero(np.isin(each.file.ids, numbers, assume_unique=True))
    page = max(1, PAGE_VALUES // each.file.shape.size)
    for first in range(0, len(chosen), page):
        rows = chosen[first : first + page]
        yield rows, each.file.spectra(rows, each.basis)
