"""From hypervectors to rows of a file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nimad.dense.basis import Basis
from nimad.dense.plan import Plan, allocate
from nimad.dense.sketch import sketch
from nimad.dense.spectrum import Rows, Shape, to_spectrum
from nimad.dense.training import FIXED_BYTES, RATIO, Learned, good_words, unit
from nimad.dense.vectors import Coded, rest_spectra

ITEM_LEVELS = 16
"""Levels of a coordinate of a sparse filler or role."""


def for_items(shape: Shape) -> Learned:
    """What fillers and roles are coded with: a little under four bits, and nothing shared."""
    if shape.sparse:
        return Learned(Basis.empty(shape), Plan.even(shape, ITEM_LEVELS))
    words = max((4 * shape.dimension / RATIO - FIXED_BYTES) / 2, good_words(shape))
    return Learned(Basis.empty(shape), allocate(shape, np.ones(shape.blocks), words))


def code(learned: Learned, ids: NDArray[np.int64], vectors: Rows) -> Coded:
    """Code `vectors: float32[n, dimension]`, finite, under `ids`.

    Cost: about 40 ns a coordinate, and a product with each direction.
    """
    basis, plan = learned.basis, learned.plan
    shape = plan.shape
    spectra, norms = unit(to_spectrum(vectors, shape))
    shares, rests = basis.project(spectra)
    lengths = np.sqrt(np.einsum("ij,ij->i", rests, rests))
    filled = np.asarray(rests.reshape(len(rests), shape.blocks, shape.width).any(axis=2))
    used = filled.sum(axis=1) * shape.width if shape.sparse else shape.size
    size = lengths / np.sqrt(np.maximum(used, 1))
    scaled = rests / np.where(size > 0, size, 1)[:, None]
    words = plan.encode(np.asarray(scaled, np.float32))
    parts = list(words)
    if shape.sparse:
        whole = words.reshape(len(words), shape.blocks, plan.block_words)
        parts = [row[blocks].reshape(-1) for row, blocks in zip(whole, filled, strict=True)]
    coded = Coded(
        ids=ids,
        norms=norms,
        rests=lengths,
        gains=np.ones(len(ids), np.float32),
        shares=shares.astype(np.float16),
        sketch=np.zeros((len(ids), 0), np.uint8),
        active=np.packbits(filled, axis=1) if shape.sparse else np.zeros((len(ids), 0), np.uint8),
        words=parts,
    )
    # the gains make <rest, decoded> equal <rest, rest>
    decoded = rest_spectra(plan, coded)
    found = np.einsum("ij,ij->i", rests, decoded)
    usable = found > 0
    gains = np.where(usable, coded.rests**2 / np.where(usable, found, 1), 0).astype(np.float32)
    return replace(coded, gains=gains, sketch=sketch(decoded))
