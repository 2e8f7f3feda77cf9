"""Which graph engine the tests use: a process can load one, so kuzu's turn is one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ENGINE = os.environ.get("NIMAD_TEST_ENGINE", "ladybug")
OTHER = "kuzu" if ENGINE == "ladybug" else "ladybug"
KUZU_RUNS = os.sysconf("SC_PAGE_SIZE") == 4096

_MAKE = """
import sys
from pathlib import Path
from nimad.graph.projection import GraphLimits, GraphProjection
graph = GraphProjection(Path(sys.argv[1]), sys.argv[2], GraphLimits())
graph.open()
graph.close()
"""


def run(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a Python script in a process of its own, from the checkout."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=Path(__file__).parents[1],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def make_empty(directory: Path, engine: str) -> None:
    """Make an empty graph with any engine."""
    done = run(_MAKE, directory, engine)
    assert done.returncode == 0, done.stderr
