"""The sample store is a true legacy store, and the same every time."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from nimad.legacy.detect import detect
from nimad.legacy.sqlite import LegacyGraph

SCRIPT = Path(__file__).parents[2] / "packaging" / "make_sample.py"


def test_the_sample_is_a_legacy_store(tmp_path: Path) -> None:
    made = [tmp_path / "one.sqlite", tmp_path / "two.sqlite"]
    for path in made:
        done = subprocess.run(
            [sys.executable, "-I", str(SCRIPT), str(path)], capture_output=True, text=True
        )
        assert done.returncode == 0 and str(path) in done.stdout, done.stderr
    assert made[0].read_bytes() == made[1].read_bytes()
    assert detect(made[0]).schema == 1
    with LegacyGraph.open(made[0]) as graph:
        totals = graph.survey()
        nodes = graph.nodes(graph.mapper("sample"), None, 1000)
    assert 450 <= totals.nodes <= 550 and totals.unreadable == 0
    assert set(totals.by_layer) == {"input", "contemplation", "output", "legacy_vsa"}
    assert f"{totals.nodes} memories, {totals.edges} edges, {totals.turns} turns" in done.stdout
    texts = [node.memory.text for node in nodes]  # type: ignore[union-attr]
    assert len(set(texts)) == len(texts)
    with closing(sqlite3.connect(made[0])) as connection:
        ask = connection.execute
        assert ask("SELECT count(*) FROM memory_nodes WHERE who IS NULL").fetchone() == (1,)
        missing = "target_id NOT IN (SELECT id FROM memory_nodes)"
        assert ask(f"SELECT count(*) FROM memory_edges WHERE {missing}").fetchone() == (1,)
        found = ask(
            "SELECT who FROM memory_nodes WHERE id IN"
            " (SELECT rowid FROM memory_fts WHERE memory_fts MATCH 'planted AND balcony')"
            " AND layer = 'input'"
        ).fetchall()
        assert found == [("Maya",)]
