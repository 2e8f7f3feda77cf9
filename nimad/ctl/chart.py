"""A series of numbers as columns in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

BLOCKS, PLAIN = " ▁▂▃▄▅▆▇█", "  ...:::#"
"""Eighths of a character, and what stands for them where only ASCII can be shown."""


def chart(
    values: Sequence[float | None], width: int, height: int = 1, signs: str = BLOCKS
) -> list[str]:
    """The lines of a chart, the highest first; from 0 to the largest value.

    More values than columns are drawn as means of neighbours; None is a gap.
    """
    columns = resampled(values, width)
    most = max((value for value in columns if value), default=0) or 1
    eighths = [
        0 if value is None else max(1 if value else 0, round(8 * height * value / most))
        for value in columns
    ]
    return [
        "".join(signs[min(max(full - 8 * row, 0), 8)] for full in eighths)
        for row in range(height - 1, -1, -1)
    ]


def resampled(values: Sequence[float | None], width: int) -> list[float | None]:
    """At most `width` values: means of as many neighbours as it takes."""
    size = max(1, -(-len(values) // max(1, width)))
    means: list[float | None] = []
    for start in range(0, len(values), size):
        some = [value for value in values[start : start + size] if value is not None]
        means.append(sum(some) / len(some) if some else None)
    return means
