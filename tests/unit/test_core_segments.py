"""Which segments are merged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nimad.core.segments import small_ones


def written(parts: list[int], most: int) -> tuple[int, int]:
    """Rows that merges write while parts come, and how many segments there are in the end."""
    sizes, total = list[int](), 0
    for rows in parts:
        sizes = sorted([*sizes, rows])
        chosen = small_ones([(str(place), rows) for place, rows in enumerate(sizes)], most)
        if chosen:
            merged = sum(sizes[: len(chosen)])
            sizes, total = sorted([*sizes[len(chosen) :], merged]), total + merged
    return total, len(sizes)


@given(st.lists(st.integers(0, 10_000), max_size=60), st.integers(2, 12))
def test_there_are_never_too_many(parts: list[int], most: int) -> None:
    total, left = written(parts, most)
    assert left <= most
    assert len(parts) > most or total == 0


def test_a_row_is_written_again_as_its_segment_doubles() -> None:
    for part, parts, times in ((2000, 500, 3.5), (256, 3900, 10.8), (4096, 250, 2.8)):
        total, _ = written([part] * parts, 8)
        assert total <= times * part * parts


def test_a_large_import_becomes_one_segment() -> None:
    sizes = [(f"seg-{number}", 4096) for number in range(25)]
    assert len(small_ones(sizes, 8)) == 25
    assert len(small_ones([*sizes, ("seg-25", 1_000_000)], 8)) == 25
