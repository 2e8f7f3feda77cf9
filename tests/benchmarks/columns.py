"""Bytes that the columns of the ranking take of a memory, column by column.

    python -m tests.benchmarks.columns [--sizes 10000 100000 1000000]

Of made-up memories as many stores have them: talk of about 20 turns in eight sessions at a time,
32 speakers, some of whom only the text names, five namespaces, four layers, a twentieth without a
date and a tenth without a session; over eight years.  A tenth of them has been forgotten, so ids
have gaps.  `length` is in memory only.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nimad.disk.container import Container
from nimad.recall import columns_cache, session_neighbours
from nimad.recall.columns import CODES, KIND, Columns
from nimad.recall.columns_cache import Saved
from nimad.recall.columns_follower import _fields_of as fields_of
from nimad.store.records import Records

_PAGE, _YEARS = 5000, 8
_YEAR = 31_556_952_000


def pages(size: int) -> Iterator[list[tuple[Any, ...]]]:
    """Rows as the follower reads them, without what was forgotten."""
    rng = np.random.default_rng(1)
    ids = np.flatnonzero(rng.random(size + size // 9) > 0.1)[:size] + 1
    place = np.arange(len(ids))
    session = place // 160 * 8 + rng.integers(0, 8, len(ids))
    times = (
        1_500_000_000_000 + place * (_YEARS * _YEAR // len(ids)) + rng.integers(0, 999, len(ids))
    )
    times[rng.random(len(ids)) < 0.05] = 0
    who, loose, kind = rng.integers(0, 32, len(ids)), rng.random(len(ids)), rng.random(len(ids))
    weight = np.where(kind < 0.3, np.round(rng.random(len(ids)), 2), 0.5)
    for first in range(0, len(ids), _PAGE):
        yield [
            (
                *(int(ids[n]), int(times[n]), 1 + int(session[n]) % 5, 10 + int(kind[n] * 4)),
                *(None, None if loose[n] < 0.1 else 100 + int(session[n])),
                *(None if loose[n] > 0.95 else f"Speaker {who[n]}", float(weight[n])),
                f"Speaker{who[n]}: what came {n} times" + "?" * int(n % 7 == 0),
                *[None] * len(CODES),
            )
            for n in range(first, min(first + _PAGE, len(ids)))
        ]


def measure(size: int) -> dict[str, float]:
    """Bytes of a memory by region of the file; what is small together."""
    columns = Columns()
    words = np.random.default_rng(2).integers(1, 300, _PAGE)
    for page in pages(size):
        columns.append(fields_of(page, words[: len(page)], columns.subjects, columns.sessions))
    session_neighbours.link_all_rows(columns)
    with tempfile.TemporaryDirectory(prefix="nimad-columns-") as folder:
        file = Path(folder) / "columns.nrc"
        records = Records.open(Path(folder) / "records.sqlite")
        columns_cache.save(file, records, Saved.of(columns))
        records.close()
        regions = Container.open(file, columns_cache.FORMAT, 0, columns_cache.VERSION).regions
        found = {name: region.length / columns.count for name, region in regions.items()}
        found["file"] = file.stat().st_size / columns.count
    small = {name for name in found if name in (KIND.names or ()) or "." in name}
    small |= {"state", "subjects", "sessions"}
    found["tables"] = sum(found.pop(name) for name in small)
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    for size in parser.parse_args().sizes:
        found = measure(size)
        total = found.pop("file")
        print(f"{size:,} memories: {total:.1f} bytes each in the file, {total + 4:.1f} with length")
        print("  " + ", ".join(f"{name} {each:.1f}" for name, each in found.items()))


if __name__ == "__main__":
    sys.exit(main())
