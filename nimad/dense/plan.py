"""How many levels each block is stored with, and the coding of whole rows by it.

A row's words come group by group: all blocks of the fewest levels first, in block order.  Where
blocks are sparse every block has the same levels, and only active blocks have words.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.dense import levels
from nimad.dense.levels import FINEST_PLANNED, LADDER
from nimad.dense.spectrum import Rows, Shape

SPARSE_LEVELS = 256
"""Levels of a coordinate of a sparse block."""


@dataclass(frozen=True, eq=False)
class Plan:
    """How rows of a shape are coded.

    Attributes:
        levels: uint16[blocks], one of `levels.LADDER` each.
        scales: float32[blocks], the usual size of a block's coordinates; of all, about 1.
    """

    shape: Shape
    levels: NDArray[np.uint16]
    scales: NDArray[np.float32]

    @classmethod
    def even(cls, shape: Shape, number: int) -> Plan:
        """The same levels for every block."""
        return cls(
            shape, np.full(shape.blocks, number, np.uint16), np.ones(shape.blocks, np.float32)
        )

    @cached_property
    def words(self) -> int:
        """Words of a row whose blocks are all active."""
        return sum(levels.words_of(self.shape.width, int(number)) for number in self.levels)

    @property
    def bits(self) -> float:
        """Bits that a coordinate takes, on average."""
        return 16 * self.words / self.shape.size

    @cached_property
    def block_words(self) -> int:
        """Words of a block, where all are the same; what sparse rows are measured in."""
        return levels.words_of(self.shape.width, int(self.levels[0]))

    def encode(self, rows: Rows) -> NDArray[np.uint16]:
        """uint16[n, words] of `rows: float32[n, size]`, whose coordinates are about 1 in size."""
        cut = rows.reshape(len(rows), self.shape.blocks, self.shape.width)
        out = np.empty((len(rows), self.words), np.uint16)
        for number, blocks, first, last in self._groups():
            scaled = cut[:, blocks] / self.scales[blocks, None]
            out[:, first:last] = levels.encode(scaled, number).reshape(len(rows), -1)
        return out

    def decode(self, words: NDArray[np.uint16]) -> Rows:
        """float32[n, size] of `words: uint16[n, words]`; unplanned blocks are zero."""
        out = np.zeros((len(words), self.shape.blocks, self.shape.width), np.float32)
        for number, blocks, first, last in self._groups():
            part = words[:, first:last].reshape(len(words), len(blocks), -1)
            values = levels.decode(part, self.shape.width, number)
            out[:, blocks] = values * self.scales[blocks, None]
        return out.reshape(len(words), self.shape.size)

    def _groups(self) -> Iterator[tuple[int, NDArray[np.intp], int, int]]:
        """(levels, their blocks, first word, end) of each group that has words."""
        end = 0
        for number in np.unique(self.levels):
            blocks = np.flatnonzero(self.levels == number)
            first, end = end, end + len(blocks) * levels.words_of(self.shape.width, int(number))
            if end > first:
                yield int(number), blocks, first, end


def allocate(shape: Shape, energies: NDArray[np.float64], words: float) -> Plan:
    """The plan of at most `words` a row that loses least, where blocks have these energies.

    Greedy: the block goes up a rung where a word saves most.  Rungs lie on a convex curve, so this
    is the best there is up to one block.

    Args:
        energies: float64[blocks], mean squares of their coordinates.
    """
    rungs = [step for step in LADDER if step.levels <= FINEST_PLANNED]
    costs = np.array([levels.words_of(shape.width, step.levels) for step in rungs])
    losses = np.array([step.distortion for step in rungs])
    saved = -np.diff(losses) / np.maximum(np.diff(costs), 1)
    worth = energies[:, None] * saved[None, :]
    block, rung = np.divmod(np.argsort(-worth, axis=None, kind="stable"), len(saved))
    spent = np.cumsum(np.diff(costs)[rung])
    at = np.zeros(shape.blocks, np.intp)
    taken = (spent <= words) & (worth[block, rung] > 0)
    np.maximum.at(at, block[taken], rung[taken] + 1)
    numbers = np.array([step.levels for step in rungs], np.uint16)[at]
    scales = np.sqrt(np.maximum(energies, 0)).astype(np.float32)
    usual = float(np.sqrt(np.mean(energies))) or 1.0
    scales = np.where(scales > 0, scales / np.float32(usual), np.float32(1))
    return Plan(shape, numbers, scales.astype(np.float32))
