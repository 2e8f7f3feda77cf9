"""Compares converted hypervectors with those of the snapshot: each must point where it did."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nimad.core.store import MemoryStore
from nimad.dense.encoder import code
from nimad.dense.files import Opened
from nimad.dense.spectrum import Shape, to_spectrum
from nimad.dense.training import STEP_VALUES, Learned, unit
from nimad.legacy.source import DenseRows
from nimad.migrate.findings import Findings
from nimad.store import sources
from nimad.store.sources import Source

LEAST_COSINE = 0.8
"""Between a hypervector and its compact form.  Episodes have .98 and more; vectors of few strong
frequencies, which suit the quantiser less, have .93; a wrong or damaged one has about 0.  What is
below is coded once more: where that gives the same words, it is what its compact form can be."""


def hypervectors(
    store: MemoryStore, source: Source, dense: DenseRows | None, findings: Findings
) -> Iterator[None]:
    """Compare every hypervector of the snapshot that belongs to a memory, a few at a time."""
    if dense is None:
        return
    keys = dense.keys()
    found = sources.memory_ids(store.records, source.id, keys.tolist())
    ids = np.array([found.get(key, 0) for key in keys.tolist()], np.int64)
    keys, ids = keys[ids > 0], ids[ids > 0]
    tally = findings.hypervectors
    tally.expected = len(keys)
    missing = ~np.isin(ids, store.dense.files.ids(source.id))
    tally.missing = int(np.count_nonzero(missing))
    for key in keys[missing]:
        findings.differ("hypervector", int(key), "", "it was not converted")
    yield
    for each in store.dense.files.rows(source.id):
        yield from _file(dense, each, keys, ids, findings)


def _file(
    dense: DenseRows,
    each: Opened,
    keys: NDArray[np.int64],
    ids: NDArray[np.int64],
    findings: Findings,
) -> Iterator[None]:
    shape = each.file.shape
    if shape != Shape.of(dense.dimension, dense.block_size):
        return
    basis = each.basis.in_memory()
    _, rows, places = np.intersect1d(each.file.ids, ids, return_indices=True)
    page = max(1, STEP_VALUES // shape.size)
    for first in range(0, len(rows), page):
        some = slice(first, first + page)
        truth, _ = unit(to_spectrum(dense.rows(keys[places[some]]), shape))
        stored, _ = unit(each.file.spectra(rows[some], basis))
        cosines = np.einsum("ij,ij->i", truth, stored)
        zero = ~truth.any(axis=1)
        right = (cosines >= LEAST_COSINE) | (zero & (each.file.norms[rows[some]] == 0))
        poor = np.flatnonzero(~right)
        right[poor] = _is_its_code(each, rows[some][poor], dense.rows(keys[places[some]][poor]))
        tally = findings.hypervectors
        tally.found += len(right)
        tally.identical += int(np.count_nonzero(right))
        tally.differing += int(np.count_nonzero(~right))
        for key, cosine in zip(keys[places[some]][~right], cosines[~right], strict=True):
            findings.differ(
                "hypervector", int(key), "", f"its compact form has cosine {cosine:.3f}"
            )
        yield


def _is_its_code(
    each: Opened, rows: NDArray[np.intp], vectors: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """bool[k]: whether rows of a file are, word by word, what coding these vectors gives."""
    if not len(rows):
        return np.zeros(0, np.bool_)
    stored = each.file.coded(rows)
    again = code(Learned(each.basis, each.file.plan), stored.ids, vectors)
    pairs = zip(stored.words, again.words, strict=True)
    return np.array([np.array_equal(old, new) for old, new in pairs], np.bool_)
