"""Hypervectors as spectra in blocks: similarity and binding are both plain arithmetic there.

A circular convolution multiplies spectra value by value, so binding and unbinding never leave a
block of neighbouring frequencies; and the transform keeps lengths and angles (Parseval).  A dense
hypervector is transformed whole and cut into 100 blocks of its spectrum; one that consists of
blocks already (sparse pickles: 100 of 500, bound block by block) is transformed block by block.
Besides, whatever the coordinates were (signs, integers, Gaussian), those of a spectrum are close to
Gaussian, which is what the quantiser expects.

Source: T. Plate, Holographic Reduced Representations (1995).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass

BLOCKS = 100
_HALF = np.float32(np.sqrt(2))

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Shape:
    """How the hypervectors of a space are laid out.

    Attributes:
        dimension: coordinates of the legacy hypervector.
        segment: coordinates that one transform takes: all, or those of a block.
        blocks, width: the spectrum is `blocks` times `width` real numbers; the last ones are
            padding (zero) where `dimension` does not fill them.
    """

    dimension: int
    segment: int
    blocks: int
    width: int

    @classmethod
    def of(cls, dimension: int, block_size: int | None = None) -> Shape:
        """The layout for dense hypervectors, or for those of blocks of `block_size`.

        Raises:
            ValueError: when a dimension is not positive, or no multiple of the block size.
        """
        if dimension < 1 or (block_size is not None and (block_size < 1 or dimension % block_size)):
            raise ValueError(f"{dimension} dimensions in blocks of {block_size}")
        if block_size is not None:
            return cls(dimension, block_size, dimension // block_size, block_size)
        blocks = min(BLOCKS, dimension)
        return cls(dimension, dimension, blocks, -(-dimension // blocks))

    @property
    def sparse(self) -> bool:
        """Whether a hypervector has blocks of its own, most of them empty."""
        return self.segment != self.dimension

    @property
    def size(self) -> int:
        """Real numbers of a spectrum, padding included."""
        return self.blocks * self.width


def to_spectrum(vectors: Rows, shape: Shape) -> Rows:
    """float32[n, size]: the spectra, orthonormal: dot products are those of the vectors.

    Args:
        vectors: float32[n, dimension].

    Cost: O(D log D) a row.
    """
    parts = vectors.reshape(len(vectors), -1, shape.segment)
    spectra = np.fft.rfft(parts, axis=2).astype(np.complex64)
    spectra /= np.float32(np.sqrt(shape.segment))
    real = _real(spectra, shape.segment).reshape(len(vectors), shape.dimension)
    out = np.zeros((len(vectors), shape.size), np.float32)
    out[:, : shape.dimension] = real
    return out


def from_spectrum(spectra: Rows, shape: Shape) -> Rows:
    """float32[n, dimension]: the vectors that `to_spectrum` was given, up to rounding."""
    whole = _complex(_segments(spectra, shape)) * np.float32(np.sqrt(shape.segment))
    vectors = np.fft.irfft(whole, n=shape.segment, axis=2)
    return np.ascontiguousarray(vectors.reshape(len(spectra), shape.dimension), np.float32)


def bind(a: Rows, b: Rows, shape: Shape) -> Rows:
    """The spectra of a (x) b: circular convolution, of the whole or block by block.

    Shapes: a (n, size), b (n or 1, size), result (n, size).
    """
    return _product(a, b, shape, conjugate=False)


def unbind(bound: Rows, known: Rows, shape: Shape) -> Rows:
    """The spectra of what was bound to `known`, nearly: circular correlation.

    Shapes: bound (n, size), known (n or 1, size), result (n, size).
    """
    return _product(bound, known, shape, conjugate=True)


def _product(a: Rows, b: Rows, shape: Shape, *, conjugate: bool) -> Rows:
    left, right = _complex(_segments(a, shape)), _complex(_segments(b, shape))
    both = left * (np.conj(right) if conjugate else right) * np.float32(np.sqrt(shape.segment))
    out = np.zeros((len(a), shape.size), np.float32)
    out[:, : shape.dimension] = _real(both, shape.segment).reshape(len(a), shape.dimension)
    return out


def _segments(spectra: Rows, shape: Shape) -> Rows:
    return spectra[:, : shape.dimension].reshape(len(spectra), -1, shape.segment)


def _real(spectra: NDArray[np.complex64], length: int) -> Rows:
    """float32[n, s, length]: the mean, then real and imaginary part of each frequency."""
    out = np.empty((*spectra.shape[:2], length), np.float32)
    inner = (length - 1) // 2
    out[..., 0] = spectra[..., 0].real
    out[..., 1 : 2 * inner : 2] = spectra[..., 1 : inner + 1].real * _HALF
    out[..., 2 : 2 * inner + 1 : 2] = spectra[..., 1 : inner + 1].imag * _HALF
    if length % 2 == 0:  # the highest frequency of an even length is real
        out[..., -1] = spectra[..., -1].real
    return out


def _complex(real: Rows) -> NDArray[np.complex64]:
    length = real.shape[2]
    inner = (length - 1) // 2
    out = np.zeros((*real.shape[:2], length // 2 + 1), np.complex64)
    out[..., 0] = real[..., 0]
    out[..., 1 : inner + 1].real = real[..., 1 : 2 * inner : 2] / _HALF
    out[..., 1 : inner + 1].imag = real[..., 2 : 2 * inner + 1 : 2] / _HALF
    if length % 2 == 0:
        out[..., -1] = real[..., -1]
    return out
