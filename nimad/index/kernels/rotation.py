"""The rotation of the code for the compiled kernels: three rounds of signs and butterflies.

Eight butterflies at a time over 16 rows side by side: the span of a pass is a constant of its
function, so a vectoriser knows that what is loaded and what is stored do not overlap.
"""
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nimad.index.kernels.contract import BITS, ROUNDS
from nimad.index.kernels.intrinsics import inline

WIDTH = 16


@inline
def _eight(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
    """Three stages of butterflies on eight values."""
    a, b, c, d = a + b, a - b, c + d, c - d
    e, f, g, h = e + f, e - f, g + h, g - h
    a, c, b, d = a + c, a - c, b + d, b - d
    e, g, f, h = e + g, e - g, f + h, f - h
    return a + e, b + f, c + g, d + h, a - e, b - f, c - g, d - h


def _butterflies(span: int, width: int) -> Callable[..., None]:
    """The stages h, 2h and 4h with h = `span`, on `values[512, width]`, flat."""
    step = span * width

    @inline
    def run(values: Any) -> None:
        for base in range(0, BITS * width, 8 * step):
            for j in range(base, base + step):
                out = _eight(
                    values[j],
                    values[j + step],
                    values[j + 2 * step],
                    values[j + 3 * step],
                    values[j + 4 * step],
                    values[j + 5 * step],
                    values[j + 6 * step],
                    values[j + 7 * step],
                )
                values[j], values[j + step] = out[0], out[1]
                values[j + 2 * step], values[j + 3 * step] = out[2], out[3]
                values[j + 4 * step], values[j + 5 * step] = out[4], out[5]
                values[j + 6 * step], values[j + 7 * step] = out[6], out[7]

    return run  # type: ignore[no-any-return]


def _signed_butterflies(width: int) -> Callable[..., None]:
    """The signs of one round and the stages 1, 2 and 4, in one pass over `values[512, width]`."""

    @inline
    def run(values: Any, signs: Any, first: Any) -> None:
        for row in range(0, BITS, 8):
            s0, s1, s2, s3, s4, s5, s6, s7 = (
                signs[first + row],
                signs[first + row + 1],
                signs[first + row + 2],
                signs[first + row + 3],
                signs[first + row + 4],
                signs[first + row + 5],
                signs[first + row + 6],
                signs[first + row + 7],
            )
            for j in range(row * width, row * width + width):
                out = _eight(
                    values[j] * s0,
                    values[j + width] * s1,
                    values[j + 2 * width] * s2,
                    values[j + 3 * width] * s3,
                    values[j + 4 * width] * s4,
                    values[j + 5 * width] * s5,
                    values[j + 6 * width] * s6,
                    values[j + 7 * width] * s7,
                )
                values[j], values[j + width] = out[0], out[1]
                values[j + 2 * width], values[j + 3 * width] = out[2], out[3]
                values[j + 4 * width], values[j + 5 * width] = out[4], out[5]
                values[j + 6 * width], values[j + 7 * width] = out[6], out[7]

    return run  # type: ignore[no-any-return]


def _rotation(width: int) -> Callable[..., None]:
    """R of `width` rows side by side: values[512, width], flat."""
    first, middle, last = (
        _signed_butterflies(width),
        _butterflies(8, width),
        _butterflies(64, width),
    )

    @inline
    def run(values: Any, signs: Any) -> None:
        for turn in range(ROUNDS):
            first(values, signs, turn * BITS)
            middle(values)
            last(values)

    return run  # type: ignore[no-any-return]


rotate_wide = _rotation(WIDTH)
rotate_lone = _rotation(1)
