"""Seals rows into a segment file, streaming: only ids, cells and one batch of rows are in memory.

Crash prose (points "segment.before_fsync", "segment.before_rename", "segment.after_rename"): until
the rename the file has its temporary name, which the next start sweeps.  After it the segment is
whole but no record names it: `BlockIndex.unlisted` finds it, the next start removes it.  Only the
records' commit makes it part of the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nimad.disk.container import write_container
from nimad.index.cells import Codebook, RowSource, flat, learn
from nimad.index.kernels.contract import BITS, LANES, Kernels
from nimad.index.params import BlockParams, SegmentInfo
from nimad.index.segment import FORMAT, SUFFIX, VERSION, Meta

# A multiple of 32: each batch of codes is whole groups.
_BATCH = 128 * LANES
_NOTHING = np.zeros(0, np.uint32)


class MemoryRows:
    """A RowSource over rows in memory, `ids: int64[n]` in any order and `rows: int8[n, d]`.

    Raises:
        ValueError: when an id comes twice.
    """

    def __init__(self, ids: NDArray[np.int64], rows: NDArray[np.int8]) -> None:
        order = np.argsort(ids, kind="stable")
        if len(ids) and (np.diff(ids[order]) == 0).any():
            raise ValueError("ids must be unique")
        directed: NDArray[np.bool_] = np.asarray(rows.any(axis=1))[order]
        self._place = order[directed]
        self._rows = rows
        self.ids = ids[self._place]
        self.zero_ids = ids[order[~directed]]
        self.dims = rows.shape[1]

    def take(self, picks: NDArray[np.int64]) -> NDArray[np.int8]:
        return self._rows[self._place[picks]]


@dataclass(frozen=True)
class _Plan:
    """What goes where: `order` is the position in the source of each row to be written."""

    source: RowSource
    kernels: Kernels
    book: Codebook
    order: NDArray[np.int64]


def write_segment(
    path: Path,
    source: RowSource,
    params: BlockParams,
    kernels: Kernels,
    kept: Codebook | None = None,
) -> SegmentInfo:
    """Write the rows of `source` as a segment, durably; return what was written.

    Codebooks are `kept` ones, or learned; a small segment is flat.  The same rows and parameters
    give the same bytes on the same kind of machine.

    Raises:
        DiskFull: when there is no room; nothing is left behind.
    """
    learned = params.learns(len(source.ids))
    book = kept or (learn if learned else flat)(source, params, kernels)
    plan = _Plan(source, kernels, book, np.argsort(book.cell_of, kind="stable"))
    order = plan.order
    ids = np.concatenate([source.ids[order], source.zero_ids])
    meta = _meta(plan, ids)
    summary = write_container(path, FORMAT, VERSION, list(_regions(plan, meta, ids)), "segment")
    name = path.name.removesuffix(SUFFIX)
    size, digest, drift = summary.bytes, summary.digest, book.fit.drift if book.fit else 0.0
    return SegmentInfo(name, meta.rows, size, digest, meta.first, meta.last, meta.learned, drift)


def _meta(plan: _Plan, ids: NDArray[np.int64]) -> Meta:
    first, last = (int(ids.min()), int(ids.max())) if len(ids) else (0, -1)
    return Meta(
        dims=plan.source.dims,
        bits=BITS,
        rows=len(ids),
        scored=len(plan.order),
        first=first,
        last=last,
        id_bytes=4 if last - first < 1 << 32 else 8,
        blocks=len(plan.book.blocks),
        cells=plan.book.cells,
        learned=plan.book.fit.learned if plan.book.fit else 0,
    )


def _regions(
    plan: _Plan, meta: Meta, ids: NDArray[np.int64]
) -> Iterator[tuple[str, Iterator[memoryview]]]:
    book = plan.book
    cell_start: NDArray[np.int64] = np.zeros(0, np.int64)
    if book.cells:
        cell_start = np.searchsorted(book.cell_of[plan.order], np.arange(book.cells + 1))
    ascending = bool((np.diff(ids) > 0).all())
    order = np.zeros(0, np.int64) if ascending else np.argsort(ids)
    yield "meta", iter([memoryview(meta.pack())])
    yield "mean", _raw(book.mean, "<f4")
    yield "blocks", _raw(book.blocks, "i1")
    yield "block_start", _raw(book.block_start, "<u4")
    yield "cell_codes", _raw(book.cell_codes, "<u8")
    yield "cell_start", _raw(cell_start, "<u4")
    yield "fit", _raw(book.fit.edges if book.fit else _NOTHING, "<f4")
    yield "added", _raw(book.fit.added if book.fit else _NOTHING, "<u4")
    yield "ids", _raw(ids - meta.first, f"<u{meta.id_bytes}")
    yield "order", _raw(order, "<u4")
    yield "codes", (_bytes(plan.kernels.encode(rows, book.mean)) for rows in _batches(plan))
    yield "rows", (_bytes(rows) for rows in _batches(plan))


def _batches(plan: _Plan) -> Iterator[NDArray[np.int8]]:
    for first in range(0, len(plan.order), _BATCH):
        yield plan.source.take(plan.order[first : first + _BATCH])


def _raw(array: NDArray[np.generic], dtype: str) -> Iterator[memoryview]:
    if array.size:
        yield _bytes(array.astype(dtype))


def _bytes(array: NDArray[np.generic]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
