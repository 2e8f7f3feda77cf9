"""Rows out of a file that may be changed, grow and be given back; the file stays as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nimad.disk.private_map import give_back, map_rows


@pytest.mark.parametrize("offset", [0, 64, 4096, 5000 * 8 + 64])
@pytest.mark.parametrize("kind", [np.int64, np.uint8])
def test_it_is_an_array_of_its_own(tmp_path: Path, offset: int, kind: type) -> None:
    path = tmp_path / "rows"
    values = np.arange(20_000).astype(kind)
    written = b"\7" * offset + values.tobytes() + b"\7" * 100
    path.write_bytes(written)
    rows = map_rows(path, offset, kind, len(values), len(values) + 30_000)
    assert len(rows) == len(values) + 30_000
    rows[len(values) :] = 5
    give_back(rows[: len(values)])
    assert np.array_equal(rows[: len(values)], values)
    assert (rows[len(values) :] == 5).all(), "what was written behind them stays"
    rows[3] = 9
    path.unlink()
    assert rows[3] == 9 and rows[4] == values[4]
    path.write_bytes(written)
    assert path.read_bytes() == written


def test_nothing_may_be_mapped(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    rows = map_rows(tmp_path / "empty", 0, np.int32, 0, 10)
    rows[:] = 3
    give_back(rows[:0])
    assert rows.tolist() == [3] * 10
    assert len(map_rows(tmp_path / "empty", 0, np.int32, 0, 0)) == 0
    with pytest.raises(OSError, match="missing"):
        map_rows(tmp_path / "missing", 0, np.int32, 1, 1)
