"""The bytes of segments of words: the newest version is written like this.

`words-v1.nsw` and `words-v1-gaps.nsw` were written when version 1 was the newest.  They are never
written anew: a change that alters the bytes needs a new version and new files.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from nimad.store.analysis import Analysis
from nimad.words import writer
from nimad.words.segment import Segment

HERE = Path(__file__).parent
TEXTS = [
    "The heron stands in the brook, and the brook runs",
    "Running water: 京都の駅, Café, 🦊",
    "",
    "brook " * 300,
]
FILES = {"words-v1": [7, 8, 9, 10], "words-v1-gaps": [7, 9, 400, 5_000_000_000]}


def analysed() -> list[tuple[list[str], int]]:
    with closing(Analysis()) as analysis:
        return list(analysis.of_texts(TEXTS))


@pytest.mark.parametrize("name", FILES)
def test_they_are_written_like_this(name: str, tmp_path: Path) -> None:
    terms, lengths = zip(*analysed(), strict=True)
    path = tmp_path / f"{name}.nsw"
    writer.write_file(path, writer.of_texts(FILES[name], terms, lengths))
    assert path.read_bytes() == (HERE / path.name).read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_they_are_read_like_this(name: str) -> None:
    segment = Segment.open(HERE / f"{name}.nsw")
    assert segment.ids.tolist() == FILES[name]
    assert segment.lengths.tolist() == [length for _, length in analysed()]
    held = {}
    for number in range(len(segment)):
        rows, counts = segment.rows_of_term(number, segment.places_in(segment.ids))
        ids = segment.ids[rows]
        held[segment.term(number).decode()] = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    expected: dict[str, dict[int, float]] = {}
    for number, (terms, _) in zip(FILES[name], analysed(), strict=True):
        for term, count in Counter(terms).items():
            expected.setdefault(term, {})[number] = count
    assert held == expected

    assert writer.content([segment], np.array(FILES[name]))[0] == segment.postings
