"""Seals rows into a segment file, streaming: only ids, cells and one batch of rows are in memory.

Crash prose (points "segment.before_fsync", "segment.before_rename", "segment.after_rename"): until
the rename the file has its temporary name, which the next start sweeps.  After it the segment is
whole but no record names it: `BlockIndex.unlisted` finds it, the next start removes it.  Only the
records' commit makes it part of the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.disk.container import write_container
from nimad.index.cells import Codebook, RowSource, flat, learn
from nimad.index.kernels.contract import BITS, LANES, Kernels
from nimad.index.params import BlockParams, SegmentInfo
from nimad.index.segment import FORMAT, SUFFIX, VERSION, Meta

_BATCH = 512 * LANES
"""Rows that are written at a time, 4 MB; a multiple of LANES: their codes are whole groups, and
large: each batch of a merge reads all over the files [rows]."""
_PIECE = 16 * LANES
"""Rows that are coded, or written, between two looks whether a query waits: 1 ms [rows]."""


class MemoryRows:
    """A RowSource over rows in memory, `ids: int64[n]` in any order and `rows: int8[n, d]`.
    `going_on` is called now and then, and may raise.  Raises ValueError when an id comes twice."""

    def __init__(
        self,
        ids: NDArray[np.int64],
        rows: NDArray[np.int8],
        going_on: Callable[[], object] = lambda: None,
    ) -> None:
        self._going_on = going_on
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
        self._going_on()
        return self._rows[self._place[picks]]


def write_segment(
    path: Path,
    source: RowSource,
    params: BlockParams,
    kernels: Kernels,
    kept: Codebook | None = None,
    give_way: Callable[[], object] = lambda: None,
) -> SegmentInfo:
    """Write the rows of `source` as a segment, durably; return what was written.

    Codebooks are `kept` ones, or learned; a small segment is flat.  `give_way` is called now and
    then.  The same rows and parameters
    give the same bytes on the same kind of machine.  Raises DiskFull when there is no room; nothing
    is left behind.
    """
    learns = params.learns(len(source.ids))
    book = kept or (learn if learns else flat)(source, params, kernels)
    rows = np.argsort(book.cell_of, kind="stable")
    ids = np.concatenate([source.ids[rows], source.zero_ids])
    first, last = (int(ids.min()), int(ids.max())) if len(ids) else (0, -1)
    meta = Meta(
        dims=source.dims,
        bits=BITS,
        rows=len(ids),
        scored=len(rows),
        first=first,
        last=last,
        id_bytes=4 if last - first < 1 << 32 else 8,
        blocks=len(book.blocks),
        cells=book.cells,
        learned=book.fit.learned if book.fit else 0,
    )

    def pieces() -> Iterator[NDArray[np.int8]]:
        for start in range(0, len(rows), _BATCH):
            batch = source.take(rows[start : start + _BATCH])
            for first in range(0, len(batch), _PIECE):
                give_way()
                yield batch[first : first + _PIECE]

    regions = [
        ("meta", iter([memoryview(meta.pack())])),
        *_tables(meta, book, rows, ids),
        ("codes", (_bytes(kernels.encode(piece, book.mean)) for piece in pieces())),
        ("rows", map(_bytes, pieces())),
    ]
    made = write_container(path, FORMAT, VERSION, regions, "segment")
    name, drift = path.name.removesuffix(SUFFIX), book.fit.drift if book.fit else 0.0
    return SegmentInfo(name, meta.rows, made.bytes, made.digest, first, last, meta.learned, drift)


def _tables(
    meta: Meta, book: Codebook, rows: NDArray[np.int64], ids: NDArray[np.int64]
) -> Iterator[tuple[str, Iterator[memoryview]]]:
    """The regions between `meta` and `codes`: those of numbers that are all in memory."""
    cells = np.arange(book.cells + 1) if book.cells else np.zeros(0, np.int64)
    ascending = bool((np.diff(ids) > 0).all())
    tables: list[tuple[str, str, NDArray[Any]]] = [
        ("mean", "<f4", book.mean),
        ("blocks", "i1", book.blocks),
        ("block_start", "<u4", book.block_start),
        ("cell_codes", "<u8", book.cell_codes),
        ("cell_start", "<u4", np.searchsorted(book.cell_of[rows], cells)),
        ("fit", "<f4", book.fit.edges if book.fit else np.zeros(0)),
        ("added", "<u4", book.fit.added if book.fit else np.zeros(0)),
        ("ids", f"<u{meta.id_bytes}", ids - meta.first),
        ("order", "<u4", np.zeros(0) if ascending else np.argsort(ids)),
    ]
    for name, kind, table in tables:
        yield name, iter([_bytes(table.astype(kind))] if table.size else [])


def _bytes(array: NDArray[np.generic]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
