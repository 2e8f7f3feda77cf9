"""Vectors are rounded to float16, and which segments are merged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimad.core.segments import flat_ones, rounded, small_ones

BOUND = 35_000


@given(st.integers(0, 2**32), st.integers(0, 0x3F800000))
def test_vectors_are_rounded_as_a_conversion_to_float16_rounds(seed: int, least: int) -> None:
    bits = np.random.default_rng(seed).integers(least, 0x3F800000, 999, np.uint32, endpoint=True)
    bits[::3] = bits[::3] & 0xFFFFE000 | 0x1000  # as near to two halves
    bits[::5] |= 1 << 31
    vectors = bits.reshape(27, 37).view(np.float32)
    expected = vectors.astype(np.float16).astype(np.float32)
    assert rounded(vectors).tobytes() == expected.tobytes()


def written(parts: list[int], most: int) -> tuple[int, int]:
    """Rows that merges write while parts come, and how many segments there are in the end."""
    sizes, total = list[int](), 0
    for rows in parts:
        sizes = sorted([*sizes, rows])
        chosen = small_ones([(str(place), rows) for place, rows in enumerate(sizes)], most, BOUND)
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
    assert len(small_ones(sizes, 8, BOUND)) == 25
    assert len(small_ones([*sizes, ("seg-25", 1_000_000)], 8, BOUND)) == 25


@pytest.mark.parametrize(("part", "times"), [(1000, 2), (4096, 1), (4500, 1), (17_000, 1)])
def test_no_segment_that_is_merged_while_a_bulk_comes_learns_blocks(part: int, times: int) -> None:
    sizes, written = list[int](), 0
    for _ in range(250):
        sizes = sorted([*sizes, part])
        chosen = flat_ones([(str(place), rows) for place, rows in enumerate(sizes)], 8, BOUND)
        if chosen:
            merged = sum(sizes[: len(chosen)])
            assert len(chosen) > 1 and merged < BOUND
            sizes, written = sorted([*sizes[len(chosen) :], merged]), written + merged
    assert written <= times * 250 * part and len(sizes) <= 250 * part // 28_000 + 16


def test_segments_that_together_can_learn_blocks_are_merged_in_idle_time() -> None:
    listed = [("few", 4000), ("half", 17_500), ("one", 31_500), ("two", 31_500)]
    for learned, also in ((84_500, ["learned"]), (84_501, [])):
        chosen = small_ones([*listed, ("learned", learned)], 8, BOUND)
        assert chosen == [*(name for name, _ in listed), *also]
    assert small_ones([listed[0], *listed[2:]], 8, BOUND) == []
