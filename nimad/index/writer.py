"""Seals rows into a segment file, streaming: only ids, cells and one batch of rows are in memory.

Crash prose (points "segment.before_fsync", "segment.before_rename", "segment.after_rename"): until
the rename the file has its temporary name, which the next start sweeps.  After it the segment is
whole but no record names it: `BlockIndex.unlisted` finds it, the next start removes it.  Only the
records' commit makes it part of the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nimad.disk.container import write_container
from nimad.index.cells import Codebook, RowSource, learn, sample
from nimad.index.kernels.contract import BITS, LANES, Kernels
from nimad.index.params import BlockParams, SegmentInfo
from nimad.index.quantise import directions
from nimad.index.segment import FORMAT, SUFFIX, VERSION, Meta, Segment

# A multiple of 32: each batch of codes is whole groups.
_BATCH = 128 * LANES


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


class MergedRows:
    """A RowSource over the live rows of several segments, which stay mapped as long as it lives.

    Where an id is live in several, the later segment's row is taken.  Holds 14 bytes a row.
    """

    def __init__(self, parts: Sequence[tuple[Segment, NDArray[np.int64]]], dims: int) -> None:
        """`parts`: segments, each with its live rows, ascending."""
        self._segments = [segment for segment, _ in parts]
        self.dims = dims
        ids = [segment.ids_at(rows) for segment, rows in parts]
        every = np.concatenate([np.zeros(0, np.int64), *ids])
        part = np.repeat(np.arange(len(parts), dtype=np.uint16), [len(rows) for _, rows in parts])
        place = np.concatenate([np.zeros(0, np.uint32), *(r.astype(np.uint32) for _, r in parts)])
        order = np.lexsort((part, every))
        latest = order[np.append(every[order][1:] != every[order][:-1], True)[: len(order)]]
        scored = np.array([segment.meta.scored for segment in self._segments] or [0])
        directed = place[latest] < scored[part[latest]]
        self.ids, self.zero_ids = every[latest[directed]], every[latest[~directed]]
        self._part, self._place = part[latest[directed]], place[latest[directed]]

    def take(self, picks: NDArray[np.int64]) -> NDArray[np.int8]:
        out = np.empty((len(picks), self.dims), np.int8)
        part = self._part[picks]
        for number in np.unique(part):
            mine = np.flatnonzero(part == number)
            out[mine] = self._segments[number].vectors[self._place[picks[mine]]]
        return out


@dataclass(frozen=True)
class _Plan:
    """What goes where: `order` is the position in the source of each row to be written."""

    source: RowSource
    kernels: Kernels
    book: Codebook
    order: NDArray[np.int64]
    mean: NDArray[np.float32]


def write_segment(
    path: Path, source: RowSource, params: BlockParams, kernels: Kernels
) -> SegmentInfo:
    """Write the rows of `source` as a segment, durably; return what was written.

    The same rows and parameters give the same bytes on the same kind of machine.

    Raises:
        DiskFull: when there is no room; nothing is left behind.
    """
    learned = len(source.ids) >= max(params.learn_rows, 1)
    book = learn(source, params) if learned else Codebook.flat(source)
    order = np.argsort(book.cell_of, kind="stable")
    plan = _Plan(source, kernels, book, order, _mean(source))
    ids = np.concatenate([source.ids[order], source.zero_ids])
    meta = _meta(plan, ids)
    summary = write_container(path, FORMAT, VERSION, list(_regions(plan, meta, ids)), "segment")
    name = path.name.removesuffix(SUFFIX)
    return SegmentInfo(name, meta.rows, summary.bytes, summary.digest, meta.first, meta.last)


def _mean(source: RowSource) -> NDArray[np.float32]:
    if not len(source.ids):
        return np.zeros(source.dims, np.float32)
    some = directions(source.take(sample(len(source.ids))))
    return np.asarray(some.mean(axis=0, dtype=np.float64), np.float32)


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
        cells=len(plan.book.cells),
    )


def _regions(
    plan: _Plan, meta: Meta, ids: NDArray[np.int64]
) -> Iterator[tuple[str, Iterator[memoryview]]]:
    book = plan.book
    cell_start: NDArray[np.int64] = np.zeros(0, np.int64)
    if len(book.cells):
        cell_start = np.searchsorted(book.cell_of[plan.order], np.arange(len(book.cells) + 1))
    ascending = bool((np.diff(ids) > 0).all())
    order = np.zeros(0, np.int64) if ascending else np.argsort(ids)
    yield "meta", iter([memoryview(meta.pack())])
    yield "mean", _raw(plan.mean, "<f4")
    yield "blocks", _raw(book.blocks, "i1")
    yield "block_start", _raw(book.block_start, "<u4")
    yield "cell_codes", _raw(plan.kernels.encode(book.cells, plan.mean), "<u8")
    yield "cell_start", _raw(cell_start, "<u4")
    yield "ids", _raw(ids - meta.first, f"<u{meta.id_bytes}")
    yield "order", _raw(order, "<u4")
    yield "codes", (_bytes(plan.kernels.encode(rows, plan.mean)) for rows in _batches(plan))
    yield "rows", (_bytes(rows) for rows in _batches(plan))


def _batches(plan: _Plan) -> Iterator[NDArray[np.int8]]:
    for first in range(0, len(plan.order), _BATCH):
        yield plan.source.take(plan.order[first : first + _BATCH])


def _raw(array: NDArray[np.generic], dtype: str) -> Iterator[memoryview]:
    if array.size:
        yield _bytes(array.astype(dtype))


def _bytes(array: NDArray[np.generic]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
