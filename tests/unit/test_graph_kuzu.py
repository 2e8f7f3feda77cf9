"""Every test of the graph once more, with kuzu, in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.engines import KUZU_RUNS

SHARED_MEMORY = Path("/dev/shm")
TESTS = Path(__file__).parents[1]
FILES = ("unit/test_graph.py", "model/test_graph_model.py", "crash/test_graph_crash.py")


@pytest.mark.slow
@pytest.mark.skipif(not KUZU_RUNS, reason="kuzu works with memory pages of 4 KiB only")
def test_all_of_it_with_kuzu(tmp_path: Path) -> None:
    """In memory where there is room: an empty file of kuzu's takes 7.5 MB."""
    in_memory = SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free > 1 << 28
    place = Path(tempfile.mkdtemp(dir=SHARED_MEMORY)) if in_memory else tmp_path
    options = ["-p", "no:cacheprovider", "--basetemp", place / "kuzu"]
    options += ["-o", "tmp_path_retention_policy=none"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *(TESTS / file for file in FILES)],
        env={**os.environ, "NIMAD_TEST_ENGINE": "kuzu"},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if in_memory:
        shutil.rmtree(place)
    assert done.returncode == 0, done.stdout[-8000:]
