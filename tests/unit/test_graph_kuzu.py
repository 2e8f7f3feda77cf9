"""What depends on the engine once more, with kuzu, in a process of its own."""

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
GRAPH = (
    *("it_holds_what_the_feed_holds", "a_cut_change_goes_on_after_a_restart"),
    *("bulk_and_steps_give_the_same", "deleting_and_changing", "deleting_most_makes_a_new_file"),
    *("an_edge_without_an_end_is_left_out", "a_deleted_memory_takes_its_edges_along"),
    *("labels_come_through", "odd_values_do_not_stop_it", "it_follows_real_records"),
    *("rows_that_came_during_a_rebuild_are_not_doubled", "neighbours_come_nearest_first"),
    *("depth_is_followed_to_three", "a_hub_with_parallel_edges", "cypher_reads_and_does_not_write"),
    *(
        "damage_is_found",
        "damage_is_found_without_a_seal",
        "the_file_of_the_other_engine_is_refused",
    ),
    *("a_log_that_a_crash_cut_short_loses_only_its_end", "kuzu_needs_pages_of_4_kib"),
    *("any_address_space_will_do", "changing_the_engine_leaves_nothing_of_the_old_one"),
    *("the_old_graph_serves_while_a_new_one_is_made", "a_failing_step_changes_nothing"),
    *("a_rebuild_leaves_no_byte_of_what_was_forgotten", "a_failing_checkpoint_loses_nothing"),
    *("what_the_engine_quotes_of_a_row_is_not_repeated", "reading_beside_writing"),
    "a_commit_whose_checkpoint_failed_is_a_commit",
)
"""Of test_graph.py: what the engine's own answers, files and failures decide."""
CHOSEN = (
    *(f"unit/test_graph.py::test_{name}" for name in GRAPH),
    "model/test_graph_model.py::test_random_runs[0]",
    "crash/test_graph_crash.py::test_a_crash_at_a_named_point",
)


@pytest.mark.slow
@pytest.mark.skipif(not KUZU_RUNS, reason="kuzu works with memory pages of 4 KiB only")
def test_it_works_with_kuzu(tmp_path: Path) -> None:
    """In memory where there is room: an empty file of kuzu's takes 7.5 MB."""
    in_memory = SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free > 1 << 28
    place = Path(tempfile.mkdtemp(dir=SHARED_MEMORY)) if in_memory else tmp_path
    options = ["-p", "no:cacheprovider", "--basetemp", place / "kuzu"]
    options += ["-o", "tmp_path_retention_policy=none"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *(f"{TESTS}/{name}" for name in CHOSEN)],
        env={**os.environ, "NIMAD_TEST_ENGINE": "kuzu"},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if in_memory:
        shutil.rmtree(place)
    assert done.returncode == 0, done.stdout[-8000:]
