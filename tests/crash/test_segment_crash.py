"""kill -9 at every point of writing, merging and publishing a segment; then start again.

A small file stands for the records: it names the segments, and replacing it is the commit.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from nimad.disk.durable import sweep_temporary
from nimad.index.blocks import BlockIndex
from tests import forked
from tests.vectors import clustered

DIMS = 16
VECTORS = clustered(300, DIMS, seed=5)
ROOT = Path(__file__).resolve().parents[2]

WORK = """
import json, sys
from pathlib import Path
import numpy as np
from nimad.disk.durable import write_durable
from nimad.index.blocks import BlockIndex
from tests.vectors import clustered

directory = Path(sys.argv[1])
vectors = clustered(300, 16, seed=5)
index = BlockIndex(directory, 16)
index.open(["a", "b"])

def commit(names):
    write_durable(directory / "listed", [json.dumps(names).encode()], "records")

index.write_segment("c", np.arange(200, 300), vectors[200:])
commit(["a", "b", "c"])
index.publish(["c"])
index.merge_segments(["a", "b"], "d")
commit(["c", "d"])
index.publish(["d"], ["a", "b"])
print("done")
"""

POINTS = [
    *("segment.before_fsync", "segment.before_rename", "segment.after_rename"),
    *("records.before_fsync", "records.before_rename", "records.after_rename"),
    "index.before_drop",
]


def listed(directory: Path) -> list[str]:
    names: list[str] = json.loads((directory / "listed").read_text())
    return names


def crash(directory: Path, point: str) -> int:
    index = BlockIndex(directory, DIMS)
    index.write_segment("a", np.arange(0, 100), VECTORS[:100])
    index.write_segment("b", np.arange(100, 200), VECTORS[100:200])
    (directory / "listed").write_text(json.dumps(["a", "b"]))
    environment = {**os.environ, "NIMAD_CRASH_AT": point}
    done = forked.run([sys.executable, "-c", WORK, str(directory)], env=environment, check=False)
    return done.returncode


@pytest.mark.parametrize("passage", [1, 2])
@pytest.mark.parametrize("point", POINTS)
def test_nothing_listed_is_lost_and_nothing_else_stays(
    tmp_path: Path, point: str, passage: int
) -> None:
    assert crash(tmp_path, f"{point}:{passage}") == -signal.SIGKILL
    swept = sweep_temporary(tmp_path)
    assert bool(swept) == point.endswith((".before_fsync", ".before_rename"))
    names = listed(tmp_path)
    index = BlockIndex(tmp_path, DIMS)
    assert index.open(names) == []
    rows = 300 if "c" in names else 200
    assert index.ids().tolist() == list(range(rows))
    for row in range(0, rows, 37):
        assert index.search(VECTORS[row], 1)[0].tolist() == [row]
    for garbage in index.unlisted():
        garbage.unlink()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [*(f"{name}.nsb" for name in names), "listed"]


def test_without_a_crash_everything_is_there(tmp_path: Path) -> None:
    assert crash(tmp_path, "nowhere") == 0
    assert listed(tmp_path) == ["c", "d"]
    index = BlockIndex(tmp_path, DIMS)
    assert index.open(["c", "d"]) == []
    assert index.unlisted() == []
    assert index.ids().tolist() == list(range(300))
