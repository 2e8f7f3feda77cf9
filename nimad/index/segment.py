"""A sealed segment: an immutable, checksummed, memory-mapped file of vectors.

It is a container (see `nimad.disk.container`) of format "segment".  Version 2, little-endian; d
dimensions, n rows of which m have a direction (the others are vectors of zeros: known, never
found), b blocks, c cells (a cell is one learned dimension of one block), g(x) = ceil(x / 32):

    region       type                    content
    -----------  ----------------------  -------------------------------------------------------
    meta         64 bytes                see below
    mean         float32[d]              what rows are centred on before they are coded
    blocks       int8[b, d]              directions of the learned blocks
    block_start  uint32[b + 1] or empty  cells of block i: block_start[i] .. block_start[i + 1]
    cell_codes   uint64[g(c), 8, 32]     sign codes of the learned dimensions
    cell_start   uint32[c + 1] or empty  rows of cell i: cell_start[i] .. cell_start[i + 1]
    fit          float32[19] or empty    cosines that cut held-out rows into 20 equal parts
    added        uint32[20] or empty     rows added since, in each part (`nimad.index.drift`)
    ids          uint32[n] or uint64[n]  id of each row, less `first`
    order        uint32[n] or empty      rows in ascending order of id; empty: they are in order
    codes        uint64[g(m), 8, 32]     sign codes of the rows, 32 rows a group
    rows         int8[m, d]              the rows: rint(127 x / max|x|)

    meta offset  size  type  field
    0            4     u32   d, 1..1024 (1..512 in version 1)
    4            4     u32   bits of a code, 512
    8            8     u64   n
    16           8     u64   m
    24           8     i64   first: the lowest id
    32           8     i64   last: the highest id
    40           4     u32   bytes of an id, 4 or 8
    44           4     u32   b; 0 in a segment that is scanned flat
    48           4     u32   c; 0 in a segment that is scanned flat
    52           4     u32   number of the rotation, 1 (see `nimad.index.kernels.contract`)
    56           8     u64   rows that the blocks were learned from; 0 in a flat segment

Rows with a direction come first, sorted by (cell, id); rows of zeros follow, sorted by id, and have
neither code nor vector.  A posting list is therefore a range of rows, and no list of ids is stored.
Codes and rows are functions of each other and `mean`: a merge copies rows and codes them anew.

Version 1 has neither `fit` nor `added`, and zeros at offset 56 of `meta`: it is read, but a merge
cannot tell whether its codebooks still fit, and learns new ones.

At 384 dimensions a row takes 456 bytes (384 + 64 + 4 + 4) and cells about 2 more.  A query reads
codes in order and rows at random, so only touched pages of `rows` become resident.
"""

from __future__ import annotations

import functools
import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.disk.container import Container
from nimad.errors import FormatCorrupt
from nimad.index.drift import EDGES, PARTS, Fit
from nimad.index.kernels.contract import (
    BITS,
    LANES,
    MOST_DIMS,
    ROTATION,
    WORDS,
    Marks,
    Space,
    ascends,
    groups,
)
from nimad.index.kernels.loader import load_kernels
from nimad.index.params import SegmentInfo
from nimad.index.quantise import Ids
from nimad.index.rowsets import Ranks, marked

FORMAT = "segment"
VERSION, OLDEST = 2, 1
SUFFIX = ".nsb"
META = struct.Struct("<IIQQqqIIIIQ")

# Opening reads everything but the rows, and those too while they are few: a start stays short on
# a card that reads 40 MB a second, and `verify` checks the rest.
_CHECK_ROWS_UP_TO = 32 << 20


@dataclass(frozen=True)
class Meta:
    """The region `meta`, field by field."""

    dims: int
    bits: int
    rows: int
    scored: int
    first: int
    last: int
    id_bytes: int
    blocks: int
    cells: int
    rotation: int = ROTATION
    learned: int = 0

    def pack(self) -> bytes:
        """The 64 bytes of the region."""
        return META.pack(*self.__dict__.values())


class Segment:
    """The mapped arrays of one segment file; immutable, shared by all readers.

    Arrays taken from it point into the map and keep it alive.

    Attributes:
        mean: float32[d].  codes: uint64[g, 8, 32].  vectors: int8[m, d].
        blocks: int8[b, d].  block_start, cell_start: uint32.  cell_codes: uint64[g, 8, 32].
        fit: how near rows lie to their block; None when flat, or written as version 1.
    """

    def __init__(self, name: str, container: Container) -> None:
        self.name = name
        self.container = container
        raw = container.region("meta")
        if len(raw) != META.size:
            detail = f"region meta has {len(raw)} bytes, expected {META.size}"
            raise FormatCorrupt(path=container.path, detail=detail)
        meta = Meta(*META.unpack(raw))
        known = (meta.bits, meta.rotation) == (BITS, ROTATION) and meta.id_bytes in (4, 8)
        if not known or not 0 < meta.dims <= MOST_DIMS or meta.scored > meta.rows:
            detail = f"its description is impossible: {meta}"
            raise FormatCorrupt(path=container.path, detail=detail)
        self.meta = meta
        self.mean = self._array("mean", np.float32, meta.dims)
        self.vectors = self._array("rows", np.int8, meta.scored, meta.dims)
        self.codes = self._array("codes", np.uint64, groups(meta.scored), WORDS, LANES)
        self.blocks = self._array("blocks", np.int8, meta.blocks, meta.dims)
        self.cell_codes = self._array("cell_codes", np.uint64, groups(meta.cells), WORDS, LANES)
        learned = meta.cells > 0
        self.block_start = self._array("block_start", np.uint32, (meta.blocks + 1) * learned)
        self.cell_start = self._array("cell_start", np.uint32, (meta.cells + 1) * learned)
        self.fit: Fit | None = None
        if meta.learned:
            edges = self._array("fit", np.float32, EDGES)
            self.fit = Fit(meta.learned, edges, self._array("added", np.uint32, PARTS))
        width: type[np.uint32 | np.uint64] = np.uint32 if meta.id_bytes == 4 else np.uint64
        self._ids: NDArray[Any] = self._array("ids", width, meta.rows)
        ordered = not container.regions["order"].length
        self._order = None if ordered else self._array("order", np.uint32, meta.rows)
        # a range that leaves the file would make a kernel read foreign memory
        ends = [(self.cell_start, meta.scored), (self.block_start, meta.cells)]
        sound = all(ascends(edge, end) for edge, end in ends if len(edge))
        if not sound or (self._order is not None and not (self._order < meta.rows).all()):
            raise FormatCorrupt(path=container.path, detail="its row ranges contradict it")
        self._ranks = Ranks.of(self._ids, meta.last - meta.first + 1)
        book = (self.mean, self.blocks, self.block_start, self.cell_codes, self.cell_start)
        self.space = Space(*book, self.codes, self.vectors)

    @classmethod
    def open(cls, path: Path, dims: int, *, check: bool = True) -> Segment:
        """Map a segment and check it: header, footer, and what a query relies on.

        Args:
            check: compare checksums; off only for a file that this process has just written.

        Raises FormatCorrupt when anything is not what was written, or the dimensions are others;
        FormatTooOld or FormatTooNew when another nimad wrote it.
        """
        container = Container.open(path, FORMAT, OLDEST, VERSION)
        small = container.regions["rows"].length <= _CHECK_ROWS_UP_TO
        if check:
            container.verify(name for name in container.regions if small or name != "rows")
        segment = cls(path.name.removesuffix(SUFFIX), container)
        if segment.meta.dims != dims:
            detail = f"its vectors have {segment.meta.dims} dimensions, expected {dims}"
            raise FormatCorrupt(path=path, detail=detail)
        # Rows are picked one by one; read-ahead would fetch 117 MB for what takes 3.
        container.advise("rows", mmap.MADV_RANDOM)
        return segment

    @property
    def info(self) -> SegmentInfo:
        """What the records keep about it."""
        meta = self.meta
        container = self.container
        return SegmentInfo(
            self.name,
            meta.rows,
            container.bytes,
            container.digest,
            meta.first,
            meta.last,
            meta.learned,
            self.fit.drift if self.fit else 0.0,
        )

    def ids_at(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The ids of `rows: int64[m]`."""
        return self._ids[rows].astype(np.int64) + self.meta.first

    def ids(self) -> NDArray[np.int64]:
        """The id of every row, in the order of rows: int64[n], a copy."""
        return self._ids.astype(np.int64) + self.meta.first

    def rows_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row of each of `ids: int64[m]`, -1 where the segment has none; O(m), or O(m log n)
        where ids lie far apart."""
        if self._ranks is not None:
            first, ranks = self.meta.first, self._ranks
            return load_kernels().ranked(ranks.words, ranks.before, self._order, ids - first)
        found = np.full(len(ids), -1, np.int64)
        inside = np.flatnonzero((ids >= self.meta.first) & (ids <= self.meta.last))
        if not len(inside):
            return found
        wanted = (ids[inside] - self.meta.first).astype(self._ids.dtype)
        place = np.searchsorted(self._ids, wanted, sorter=self._order)
        rows = place if self._order is None else self._order[place]
        hit = self._ids[rows] == wanted
        found[inside[hit]] = rows[hit]
        return found

    def has(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the id of each row is among `ids: int64[m]`: bool[n]; O(n) for many ids that lie
        close together, as they do in a store."""
        meta = self.meta
        found = np.zeros(meta.rows, np.bool_)
        if self._ranks is None or len(ids) * 8 < meta.rows:
            rows = self.rows_of(ids)
            found[rows[rows >= 0]] = True
            return found
        inside = ids[(ids >= meta.first) & (ids <= meta.last)] - meta.first
        wanted = np.zeros(meta.last - meta.first + 1, np.bool_)
        wanted[inside] = True
        chosen: NDArray[np.bool_] = wanted.take(self._ids)
        return chosen

    def _array(self, region: str, dtype: type, *shape: int) -> NDArray[Any]:
        raw = self.container.region(region)
        array = np.frombuffer(raw, np.dtype(dtype).newbyteorder("<"))
        if array.size != int(np.prod(shape)):
            detail = f"region {region} has {array.size} values, expected {int(np.prod(shape))}"
            raise FormatCorrupt(path=self.container.path, detail=detail)
        return array.reshape(shape)


@dataclass(frozen=True)
class Sealed:
    """A segment and which of its rows are live.

    Attributes:
        alive: bitmap over the rows, bit (row % 8) of byte row // 8; None: all of them.
        dead: how many are not.
    """

    segment: Segment
    alive: NDArray[np.uint8] | None = None
    dead: int = 0

    @functools.cached_property
    def marks(self) -> Marks | None:
        """The live rows with a direction as the kernels want them; None: all."""
        if self.alive is None:
            return None
        scored = self.segment.meta.scored
        alive = np.unpackbits(self.alive, bitorder="little", count=scored).view(np.bool_)
        return Marks.of(self.segment.space, alive)

    def live(self, rows: Ids) -> Ids:
        """Those of `rows` that exist (not -1) and are live."""
        rows = rows[rows >= 0]
        if self.alive is None:
            return rows
        return rows[marked(self.alive, rows)]

    def every(self) -> Ids:
        """All live rows, ascending."""
        return self.live(np.arange(self.segment.meta.rows))

    def without(self, ids: Ids) -> Sealed:
        """With the rows of these ids (ascending) struck out; copies one bit a row."""
        meta = self.segment.meta
        if not len(ids) or ids[0] > meta.last or ids[-1] < meta.first:
            return self
        rows = self.live(self.segment.rows_of(ids))
        if not len(rows):
            return self
        size = -(-meta.rows // 8)
        alive = np.full(size, 0xFF, np.uint8) if self.alive is None else self.alive.copy()
        np.bitwise_and.at(alive, rows >> 3, ~(np.uint8(1) << (rows & 7).astype(np.uint8)))
        return Sealed(self.segment, alive, self.dead + len(rows))
