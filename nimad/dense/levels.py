"""The quantiser: coordinates of variance one become digits, and digits 16-bit words.

A word holds as many digits of base L as fit: 5 of base 9, 4 of base 16 and so on.  So a coordinate
takes 16 / n bits for n from 1 to 16, and decoding is one look into a table.  The centroids are
those of the Lloyd-Max quantiser for a Gaussian; a decoded value is the centroid divided by
(1 - distortion), which makes dot products of decoded and original values come out right on average
instead of too small.

Source: J. Max, Quantizing for Minimum Distortion (1960); S. Lloyd, Least Squares Quantization in
PCM (1982).  Words instead of bits after the "ternary in a byte" packing that is common for base 3.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass

_FINE = 256
"""Places in a range of 1 in which the digit of a coordinate is looked up."""
_REACH = 8
"""Largest coordinate that is told from larger ones."""
_UNIFORM_STEP = 0.0308
"""Width of a step where 256 of them are as good as any placement."""

_CENTROIDS: dict[int, tuple[float, ...]] = {
    2: (0.797885,),
    3: (0.0, 1.224006),
    4: (0.45278, 1.510418),
    6: (0.317716, 1.000106, 1.893595),
    9: (0.0, 0.443639, 0.918796, 1.476392, 2.254664),
    16: (0.128395, 0.388048, 0.656759, 0.94234, 1.256231, 1.618046, 2.069017, 2.73259),
}
"""The upper half; the lower one is its mirror image."""


@dataclass(frozen=True)
class Step:
    """A rung of the ladder: `levels` values, `digits` of them in a word.

    `distortion` is the share of a coordinate's variance that is lost.
    """

    levels: int
    digits: int
    distortion: float

    @property
    def bits(self) -> float:
        """Bits that a coordinate takes."""
        return 16 / self.digits if self.digits else 0.0


LADDER = (
    Step(1, 0, 1.0),
    Step(2, 16, 0.36338),
    Step(3, 10, 0.190174),
    Step(4, 8, 0.117482),
    Step(6, 6, 0.057978),
    Step(9, 5, 0.027853),
    Step(16, 4, 0.009501),
    Step(256, 2, 0.000116),
)
"""What a block may be stored with; one level is nothing at all."""
STEPS = {step.levels: step for step in LADDER}
FINEST_PLANNED = 16
"""Most levels that `training` gives a block; 256 is for sparse blocks, which are few."""


def words_of(width: int, levels: int) -> int:
    """Words that `width` coordinates take."""
    digits = STEPS[levels].digits
    return -(-width // digits) if digits else 0


def encode(values: NDArray[np.float32], levels: int) -> NDArray[np.uint16]:
    """uint16[..., words]: the words of `values: float32[..., width]`, of variance about one."""
    step = STEPS[levels]
    width = values.shape[-1]
    words = words_of(width, levels)
    places = np.clip((values + _REACH) * _FINE, 0, 2 * _REACH * _FINE - 1).astype(np.uint16)
    digits = np.zeros((*values.shape[:-1], words * step.digits), np.uint16)
    digits[..., :width] = _places(levels)[places]
    digits = digits.reshape(*values.shape[:-1], words, step.digits)
    out = digits[..., 0].copy()
    for place in range(1, step.digits):
        out += digits[..., place] * np.uint16(levels**place)
    return out


def decode(words: NDArray[np.uint16], width: int, levels: int) -> NDArray[np.float32]:
    """float32[..., width]: the values that `words: uint16[..., n]` stand for."""
    values = np.take(_table(levels), words, axis=0, mode="clip")
    return values.reshape(*words.shape[:-1], -1)[..., :width]


def _centroids(levels: int) -> NDArray[np.float64]:
    if levels == 256:
        return np.asarray((np.arange(256) - 127.5) * _UNIFORM_STEP, np.float64)
    upper = np.array(_CENTROIDS[levels])
    return np.concatenate([-upper[::-1], upper[levels % 2 :]])


@cache
def _places(levels: int) -> NDArray[np.uint16]:
    """The digit of each of 4,096 places from -8 to 8: a search made once."""
    centroids = _centroids(levels)
    middles = (centroids[1:] + centroids[:-1]) / 2
    grid = (np.arange(2 * _REACH * _FINE) + 0.5) / _FINE - _REACH
    return np.searchsorted(middles, grid).astype(np.uint16)


@cache
def _table(levels: int) -> NDArray[np.float32]:
    """float32[levels ** digits, digits]: the values of every word; up to 4 MB."""
    step = STEPS[levels]
    values = (_centroids(levels) / (1 - step.distortion)).astype(np.float32)
    words = np.arange(levels**step.digits)
    return np.stack([values[words // levels**n % levels] for n in range(step.digits)], axis=1)
