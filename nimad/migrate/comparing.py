"""Compares converted hypervectors with those of the snapshot: each must point where it did."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nimad.core.store import MemoryStore
from nimad.dense.files import Opened
from nimad.dense.learning import STEP_VALUES, unit
from nimad.dense.spectrum import Shape, to_spectrum
from nimad.legacy.source import DenseRows
from nimad.migrate.findings import Findings
from nimad.store import sources
from nimad.store.sources import Source

LEAST_COSINE = 0.8
"""Between a hypervector and its compact form.  Episodes have .985 and more; vectors of few strong
frequencies, which suit the quantiser less, have .93; a wrong or damaged one has about 0."""


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
        tally = findings.hypervectors
        tally.found += len(right)
        tally.identical += int(np.count_nonzero(right))
        tally.differing += int(np.count_nonzero(~right))
        for key, cosine in zip(keys[places[some]][~right], cosines[~right], strict=True):
            findings.differ(
                "hypervector", int(key), "", f"its compact form has cosine {cosine:.3f}"
            )
        yield
