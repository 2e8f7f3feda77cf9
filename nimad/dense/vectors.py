"""The file of converted hypervectors: immutable, checksummed, memory-mapped.

It is a container (see `nimad.disk.container`) of format "densevectors".  Version 1, little-endian;
n rows over b blocks of w coordinates, m directions (0 without a basis, see `basis`):

    region   type                  content
    -------  --------------------  -----------------------------------------------------------
    meta     48 bytes              see below
    levels   uint16[b]             how many levels each block has (see `levels`)
    scales   float32[b]            usual size of each block's coordinates
    ids      int64[n]              ascending: ids of memories, or numbers of fillers and roles
    norms    float32[n]            lengths of the legacy hypervectors; 0: it is all zeros
    rests    float32[n]            length of what the directions leave of the unit vector
    gains    float32[n]            what decoded words are multiplied with to give that rest
    shares   float16[n, m]         coefficients of the directions
    sketch   uint8[n, 128]         of the rests (see `sketch`)
    active   uint8[n, ceil(b/8)]   sparse shapes: which blocks a row has, first bit highest; else
                                   empty
    words    uint16[...]           row after row, each as `plan` says

    meta
    0        4       u32       dimension
    4        4       u32       segment: the dimension, or the size of a block in sparse shapes
    8        4       u32       rows, n
    12       4       u32       directions, m
    16       16      bytes     id of the basis; zeros without one
    32       4       u32       kind: 1 memories, 2 fillers and roles
    36       12                zero

A row, decoded, is  gain * decode(words), less its share of the directions, plus shares *
directions: a unit spectrum whose dot products with others come out right on average.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.dense.basis import NO_BASIS, Basis
from nimad.dense.levels import STEPS
from nimad.dense.plan import Plan
from nimad.dense.sketch import BYTES
from nimad.dense.spectrum import Rows, Shape
from nimad.disk.container import Container, Summary, write_container
from nimad.errors import FormatCorrupt

FORMAT, VERSION = "densevectors", 1
META = struct.Struct("<IIII16sI12x")
MEMORIES, ITEMS = 1, 2
ARRAYS = ("ids", "norms", "rests", "gains", "shares", "sketch", "active")
SMALL = ("meta", "levels", "scales", *ARRAYS)
"""Regions that are checked when a file is opened; the words are checked by `verify`."""


@dataclass(frozen=True, eq=False)
class Coded:
    """Rows as a file holds them; the fields are its regions, `words` one array a row."""

    ids: NDArray[np.int64]
    norms: NDArray[np.float32]
    rests: NDArray[np.float32]
    gains: NDArray[np.float32]
    shares: NDArray[np.float16]
    sketch: NDArray[np.uint8]
    active: NDArray[np.uint8]
    words: list[NDArray[np.uint16]]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def bytes(self) -> int:
        """Memory of the arrays."""
        arrays: list[NDArray[Any]] = [*(getattr(self, name) for name in ARRAYS), *self.words]
        return sum(array.nbytes for array in arrays)

    def take(self, rows: NDArray[np.intp]) -> Coded:
        """Some of the rows, in that order."""
        arrays = {name: getattr(self, name)[rows] for name in ARRAYS}
        return Coded(**arrays, words=[self.words[int(row)] for row in rows])

    def sorted(self) -> Coded:
        """The same rows, by id."""
        return self.take(np.argsort(self.ids, kind="stable"))


def joined(parts: Sequence[Coded]) -> Coded:
    """The rows of several, one after the other; `parts` is not empty."""
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS}
    return Coded(**arrays, words=[row for part in parts for row in part.words])


def write(path: Path, kind: int, plan: Plan, basis_id: bytes, rows: Coded) -> Summary:
    """Write rows, ids ascending, durably; crash points "dense.before_fsync" and so on.

    Crash prose: as `nimad.disk.durable.replacing`; a file that no record names is swept at start.

    Raises DiskFull: nothing is left behind.
    """
    shape = plan.shape
    meta = META.pack(
        shape.dimension, shape.segment, len(rows), rows.shares.shape[1], basis_id, kind
    )

    def raw(array: NDArray[Any], kind: str) -> Iterable[bytes]:
        return [np.ascontiguousarray(array, kind).tobytes()]

    regions: list[tuple[str, Iterable[bytes]]] = [
        ("meta", [meta]),
        ("levels", raw(plan.levels, "<u2")),
        ("scales", raw(plan.scales, "<f4")),
        ("ids", raw(rows.ids, "<i8")),
        ("norms", raw(rows.norms, "<f4")),
        ("rests", raw(rows.rests, "<f4")),
        ("gains", raw(rows.gains, "<f4")),
        ("shares", raw(rows.shares, "<f2")),
        ("sketch", raw(rows.sketch, "u1")),
        ("active", raw(rows.active, "u1")),
        ("words", (row.astype("<u2").tobytes() for row in rows.words)),
    ]
    return write_container(path, FORMAT, VERSION, regions, crash="dense")


class VectorFile:
    """An open file.  Its arrays point into the map and stay valid as long as anything refers to
    them, even when the file was removed."""

    def __init__(self, container: Container) -> None:
        """Raises FormatCorrupt when what it says of itself cannot be."""
        self.container = container
        self.path = container.path
        try:
            region = self.container.region
            dimension, segment, rows, count, basis, kind = META.unpack(region("meta"))
            self.shape = shape = Shape.of(dimension, segment if segment != dimension else None)
            self.kind, self.basis_id = kind, basis
            numbers = np.frombuffer(region("levels"), "<u2").reshape(shape.blocks)
            scales = np.frombuffer(region("scales"), "<f4").reshape(shape.blocks)
            if not set(numbers.tolist()) <= set(STEPS):
                raise ValueError("unknown levels")
            self.plan = Plan(shape, numbers, scales)
            self.ids = np.frombuffer(region("ids"), "<i8").reshape(rows)
            self.norms = np.frombuffer(region("norms"), "<f4").reshape(rows)
            self.rests = np.frombuffer(region("rests"), "<f4").reshape(rows)
            self.gains = np.frombuffer(region("gains"), "<f4").reshape(rows)
            self.shares = np.frombuffer(region("shares"), "<f2").reshape(rows, count)
            self.sketch = np.frombuffer(region("sketch"), "u1").reshape(rows, BYTES)
            mask = -(-shape.blocks // 8) if shape.sparse else 0
            self.active = np.frombuffer(region("active"), "u1").reshape(rows, mask)
            self._words = np.frombuffer(region("words"), "<u2")
            if len(self._words) != self._starts[-1] or (count > 0) != (basis != NO_BASIS):
                raise ValueError("its regions contradict each other")
        except (struct.error, ValueError, KeyError) as error:
            raise FormatCorrupt(
                path=self.path, detail=f"its description is wrong ({error})"
            ) from error

    @classmethod
    def open(cls, path: Path) -> VectorFile:
        """Map `path`, and check everything but the words.

        Raises FormatCorrupt, FormatTooNew, FormatTooOld.
        """
        container = Container.open(path, FORMAT, VERSION, VERSION)
        container.verify(SMALL)
        container.advise("words", mmap.MADV_RANDOM)
        return cls(container)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """int64[n + 1]: where each row's words begin."""
        rows = len(self.ids)
        if not self.shape.sparse:
            return np.arange(rows + 1, dtype=np.int64) * self.plan.words
        blocks = np.unpackbits(self.active, axis=1, count=self.shape.blocks).sum(axis=1)
        return np.concatenate([[0], np.cumsum(blocks * self.plan.block_words)]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    def row_of(self, number: int) -> int | None:
        """The row of an id; None when it is not here."""
        at = int(np.searchsorted(self.ids, number))
        return at if at < len(self.ids) and self.ids[at] == number else None

    def coded(self, rows: NDArray[np.intp] | None = None) -> Coded:
        """Rows (all by default) as they are stored."""
        picked = np.arange(len(self)) if rows is None else rows
        arrays = {name: getattr(self, name)[picked] for name in ARRAYS}
        words = [self._words[self._starts[row] : self._starts[row + 1]] for row in picked]
        return Coded(**arrays, words=words)

    def rest_spectra(self, rows: NDArray[np.intp]) -> Rows:
        """float32[k, size]: gain * decode(words) of rows."""
        return rest_spectra(self.plan, self.coded(rows))

    def spectra(self, rows: NDArray[np.intp], basis: Basis) -> Rows:
        """float32[k, size]: the rows, decoded whole, of length about 1."""
        return spectra(self.plan, basis, self.coded(rows))

    def verify(self) -> None:
        """Read every byte and compare the checksums.  Raises FormatCorrupt."""
        self.container.verify()


def rest_spectra(plan: Plan, rows: Coded) -> Rows:
    """float32[k, size]: gain * decode(words) of rows."""
    shape = plan.shape
    if not shape.sparse:
        words = np.stack(rows.words) if rows.words else np.zeros((0, plan.words), np.uint16)
        return plan.decode(words) * rows.gains[:, None]
    blocks = np.unpackbits(rows.active, axis=1, count=shape.blocks).astype(bool)
    whole = np.zeros((len(rows), shape.blocks, plan.block_words), np.uint16)
    for number, words in enumerate(rows.words):
        whole[number, blocks[number]] = words.reshape(-1, plan.block_words)
    out = plan.decode(whole.reshape(len(rows), -1)) * rows.gains[:, None]
    out *= np.repeat(blocks, shape.width, axis=1)
    return out


def spectra(plan: Plan, basis: Basis, rows: Coded) -> Rows:
    """float32[k, size]: rows, decoded whole: unit spectra, nearly."""
    rests = rest_spectra(plan, rows)
    if not len(basis):
        return rests
    return basis.project(rests)[1] + basis.combine(rows.shares.astype(np.float32))
