"""What the hypervectors of a source share: a few directions, kept once for all of them.

Episodes share fillers: the same person, place or day bound to the same role is the same vector in
hundreds of them.  A handful of directions so holds most of their energy, and what is left of each
is small, so that the same bits code it much more finely.  A row keeps its coefficients and the code
of the rest; both are orthogonal, so

    <x, y>  =  c(x)' G c(y)  +  <rest(x), rest(y)>

with G the directions' products, and the rounding of one row's rest meets only the other's rest.

A basis is a container (see `nimad.disk.container`) of format "densebasis".  Version 1,
little-endian; m directions of a spectrum of `size` numbers, w = ceil(width / 4) words a block:

    region   type                        content
    -------  --------------------------  -----------------------------------------------------
    meta     32 bytes                    see below
    words    uint16[m, blocks, w]        the directions, 16 levels a coordinate (see `levels`)
    gram     float32[m, m]               their dot products

    meta
    0        4       u32       dimension
    4        4       u32       segment
    8        4       u32       directions, m
    12       4       u32       zero
    16       16      bytes     id: BLAKE2b-128 of dimension, segment, m and words

Decoded coordinates are divided by sqrt(size).  Rows name the basis by its id.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.dense import levels
from nimad.dense.spectrum import Rows, Shape
from nimad.disk.container import Container, Summary, write_container
from nimad.errors import FormatCorrupt

FORMAT, VERSION = "densebasis", 1
META = struct.Struct("<IIII16s")
LEVELS = 16
"""Levels of a coordinate of a direction."""
NO_BASIS = bytes(16)


@dataclass(frozen=True, eq=False)
class Basis:
    """Directions: `words: uint16[m, blocks, w]`, their products `gram: float32[m, m]`.

    The arrays may point into a map; they stay valid as long as anything refers to them.  `held` are
    the directions, decoded, where they are wanted often.
    """

    shape: Shape
    words: NDArray[np.uint16]
    gram: NDArray[np.float32]
    held: Rows | None = None

    @classmethod
    def empty(cls, shape: Shape) -> Basis:
        """No directions: every row is all rest."""
        width = levels.words_of(shape.width, LEVELS)
        return cls(shape, np.zeros((0, shape.blocks, width), np.uint16), np.zeros((0, 0), "f4"))

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def id(self) -> bytes:
        """What rows name it by; zeros when there are no directions."""
        return identify(self.shape, self.words) if len(self) else NO_BASIS

    def directions(self, first: int = 0, end: int | None = None) -> Rows:
        """float32[m, ...]: the coordinates of blocks `first` to `end`, decoded."""
        values = levels.decode(self.words[:, first:end], self.shape.width, LEVELS)
        values /= np.float32(np.sqrt(self.shape.size))
        return values.reshape(len(self), -1)

    def in_memory(self) -> Basis:
        """The same, decoded once: faster for many rows, at 4 bytes a number."""
        if not len(self):
            return self
        return Basis(self.shape, self.words, self.gram, self.directions())

    def pieces(self, values: int = 1 << 19) -> Iterator[tuple[slice, Rows]]:
        """The directions a few blocks at a time: (which coordinates, float32[m, k])."""
        if self.held is not None:
            values = self.held.size
        blocks = max(1, values // max(1, len(self) * self.shape.width))
        for first in range(0, self.shape.blocks if len(self) else 0, blocks):
            end = min(first + blocks, self.shape.blocks)
            place = slice(first * self.shape.width, end * self.shape.width)
            yield place, self.directions(first, end) if self.held is None else self.held[:, place]

    def project(self, spectra: Rows) -> tuple[Rows, Rows]:
        """The coefficients, float32[n, m], and the rests, float32[n, size], of spectra."""
        if not len(self):
            return np.zeros((len(spectra), 0), np.float32), spectra
        products = np.zeros((len(spectra), len(self)), np.float32)
        for place, part in self.pieces():
            products += spectra[:, place] @ part.T
        shares = self.solve(products)
        rests = spectra.copy()
        for place, part in self.pieces():
            rests[:, place] -= shares @ part
        return shares, rests

    def solve(self, products: Rows) -> Rows:
        """float32[n, m]: coefficients from dot products with the directions."""
        gram = self.gram.astype(np.float64)
        gram[np.diag_indices(len(gram))] += 1e-7  # directions that fell together stay harmless
        return np.linalg.solve(gram, products.astype(np.float64).T).T.astype(np.float32)

    def combine(self, shares: Rows) -> Rows:
        """float32[n, size]: the spectra that coefficients `shares: float32[n, m]` stand for."""
        out = np.zeros((len(shares), self.shape.size), np.float32)
        for place, part in self.pieces():
            out[:, place] = shares @ part
        return out

    def write(self, path: Path) -> Summary:
        """Write it durably; crash points "dense.before_fsync" and so on.  Raises DiskFull."""
        meta = META.pack(self.shape.dimension, self.shape.segment, len(self), 0, self.id)
        regions = [
            ("meta", [meta]),
            ("words", [np.ascontiguousarray(self.words, "<u2").tobytes()]),
            ("gram", [np.ascontiguousarray(self.gram, "<f4").tobytes()]),
        ]
        return write_container(path, FORMAT, VERSION, regions, crash="dense")

    @classmethod
    def open(cls, path: Path) -> Basis:
        """Map a basis after checking all of it.

        Raises FormatCorrupt, FormatTooNew, FormatTooOld.
        """
        container = Container.open(path, FORMAT, VERSION, VERSION)
        container.verify()
        raw = container.region("meta")
        try:
            dimension, segment, count, _, name = META.unpack(raw)
            shape = Shape.of(dimension, segment if segment != dimension else None)
            width = levels.words_of(shape.width, LEVELS)
            words = np.frombuffer(container.region("words"), "<u2")
            gram = np.frombuffer(container.region("gram"), "<f4")
            basis = cls(
                shape, words.reshape(count, shape.blocks, width), gram.reshape(count, count)
            )
        except (struct.error, ValueError) as error:
            raise FormatCorrupt(path=path, detail=f"its description is wrong ({error})") from error
        if basis.id != name:
            raise FormatCorrupt(path=path, detail="its directions are not those it names")
        return basis


def identify(shape: Shape, words: NDArray[np.uint16]) -> bytes:
    """The id of directions."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(struct.pack("<III", shape.dimension, shape.segment, len(words)))
    digest.update(np.ascontiguousarray(words, "<u2").tobytes())
    return digest.digest()
