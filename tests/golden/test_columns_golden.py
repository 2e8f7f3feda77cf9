"""The bytes of the columns' file: the newest version is written like this, and read.

`columns-v8.nrc` has ids without gaps and narrow times, `columns-v8-wide.nrc` the widest types.
They were written when version 8 was the newest, and are never written anew: a change that alters
the bytes needs a new version and new files.  Older files are not read: the memories are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nimad.disk.container import Container
from nimad.recall import columns_cache
from nimad.recall.columns import Columns
from nimad.recall.columns_cache import Saved
from nimad.store.records import Records

HERE = Path(__file__).parent
COUNT = 600
FIRST = 1_700_000_000_000


def fields(name: str) -> dict[str, Any]:
    place = np.arange(COUNT)
    narrow = {
        "id": place + 11,
        "time": np.where(place % 7 == 0, 0, FIRST + place * 86_400_001),
        "session": place // 20 - 1,
        "who": place % 3 - 1,
        "words": place % 100,
    }
    wide = {
        "id": place * 10_000_000 + 1,
        "time": np.where(place % 2 == 0, -60_000_000_000_000, 253_000_000_000_000) + place,
        "session": place * 1000 - 5,
        "who": place * 2 - 60_000,
        "words": place * 100,
        "importance": (place / COUNT).astype(np.float32),
    }
    return {
        **(wide if name.endswith("wide") else narrow),
        "namespace": 1 + place % 2,
        "layer": 3 + place % 4,
        "asks": place % 5 == 0,
        "origin": place % 3,
        "print": place**5 - 77,
        "alive": place % 50 > 0,
    }


def columns_of(name: str) -> Columns:
    columns = Columns()
    columns.append(fields(name))
    columns.seen, columns.dead = 4711, COUNT // 50
    assert columns.sessions.setdefault((1, None, 9), 0) == 0
    assert columns.sessions.setdefault((2, 8, None), 1) == 1
    columns.before[1:] = np.arange(COUNT - 1)
    columns.after[:-1] = np.arange(1, COUNT)
    return columns


@pytest.mark.parametrize("name", ["columns-v8", "columns-v8-wide"])
def test_it_is_written_and_read_like_this(name: str, tmp_path: Path) -> None:
    path, records = tmp_path / f"{name}.nrc", Records.open(tmp_path / "records.sqlite")
    columns = columns_of(name)
    columns_cache.save(path, records, Saved.of(columns))
    records.close()
    assert path.read_bytes() == (HERE / path.name).read_bytes()
    read = Columns()
    read.adopt(columns_cache.map_columns(Container.open(HERE / path.name, "columns", 8, 8)))
    for column, values in fields(name).items():
        wanted = np.where(fields(name)["alive"], values, 0) if column == "print" else values
        assert np.array_equal(getattr(read, column)[:], wanted), column
    assert (read.before[:3].tolist(), read.after[-2:].tolist()) == ([-1, 0, 1], [COUNT - 1, -1])
    assert read.sessions == columns.sessions
