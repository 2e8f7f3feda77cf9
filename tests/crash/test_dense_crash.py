"""kill -9 anywhere in converting or forgetting hypervectors: begun again, all is whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nimad.check import check
from nimad.config import Config
from nimad.core import maintenance
from nimad.core.store import MemoryStore
from nimad.store import hypervector_files
from tests import forked
from tests.hypervectors import episodes, neighbours
from tests.legacy import stores

COUNT, DIMENSION = 120, 2000
SECRET = "qxzvworm under the plank"
SCRIPT = f"""
import sys
from pathlib import Path
from nimad.legacy.sqlite import LegacyGraph
from nimad.migrate import hypervector_stage
from tests.hypervectors import Rows, episodes
from tests.legacy.moving import attach, opened
told = episodes({COUNT}, {DIMENSION})
names = [("role", name, row) for name, row in told.roles.items()]
names += [("filler", name, row) for name, row in list(told.codebook.items())[:40]]
names.append(("filler", {SECRET!r}, told.vectors[0]))
rows = Rows(told.vectors, names)
LegacyGraph.dense = lambda _: rows
hypervector_stage.FILE_BYTES = 30_000
hypervector_stage.STEP_VALUES = 8 * {DIMENSION}
with opened(Path(sys.argv[1]), embedder="hash", graph__engine="none") as (store, manager):
    known = {{source["name"]: source["stage"] for source in manager.status()["sources"]}}
    what = sys.argv[3]
    if what == "rollback":
        if known["graph"] not in ("rolling_back", "rolled_back"):
            manager.rollback("graph")
    elif what == "purge":
        store.forget([5, 6, 7], purge=True)
    elif "graph" not in known:
        attach(manager, Path(sys.argv[2]))
    manager.finish()
"""

CONVERTING = [
    "dense.before_fsync",
    "dense.before_rename",
    "dense.after_rename",
    "dense.after_rename:2",
    "dense.written",
    "dense.written:2",
    "dense.listed",
    "dense.listed:3",
    "migrate.converted",
    "migrate.converted:2",
    "migrate.codebook",
]
PURGING = [
    "forget.committed",
    "dense.before_rename",
    "dense.rewritten",
    "dense.relisted",
    "dense.rewritten:2",
    "dense.relisted:2",
]


def run(state: Path, source: Path, what: str, crash_at: str = "") -> int:
    environment = {**os.environ, "NIMAD_CRASH_AT": crash_at}
    done = forked.run(
        [sys.executable, "-c", SCRIPT, str(state), str(source), what],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = stores.small_store(tmp_path_factory.mktemp("agent") / "graph.sqlite", count=COUNT)
    stores.execute(path, f"UPDATE memory_nodes SET text = '{SECRET}' WHERE id = 5")
    return path


@pytest.fixture(scope="module")
def migrated(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("migrated") / "state"
    assert run(state, source, "migrate") == 0
    return state


def check_whole(state: Path, memories: int, items: int = 48) -> None:
    store = MemoryStore.open(state, Config().replace(embedder="hash", graph__engine="none"))
    maintenance.finish(store)
    assert [problem.what for problem in check(store)] == []
    ids = store.dense.files.ids()
    assert len(ids) == len(np.unique(ids)) == memories
    assert sum(len(each.file) for each in store.dense.files.items()) == items
    names = {file.name for file in hypervector_files.files(store.records)}
    assert {path.stem for path in (state / "dense").iterdir()} == names
    if memories:
        truth = neighbours(episodes(COUNT, DIMENSION).vectors)
        places = {number: place for place, number in enumerate(range(1, COUNT + 1))}
        found = [hit.memory.id for hit in store.similar(40, 10, dense=True).hits]
        assert len({places[number] for number in found} & {*truth[39].tolist()}) >= 6
        assert store.dense.unbind(40, "WHO")
    store.close()


@pytest.mark.parametrize("point", CONVERTING)
def test_a_conversion_goes_on(source: Path, tmp_path: Path, point: str) -> None:
    state = tmp_path / "state"
    assert run(state, source, "migrate", point) == -signal.SIGKILL, "the point was not reached"
    assert run(state, source, "migrate") == 0
    check_whole(state, COUNT)


@pytest.mark.parametrize("point", PURGING)
def test_a_purge_goes_on(source: Path, migrated: Path, tmp_path: Path, point: str) -> None:
    state = tmp_path / "state"
    subprocess.run(["cp", "-a", str(migrated), str(state)], check=True)
    assert run(state, source, "purge", point) == -signal.SIGKILL, "the point was not reached"
    check_whole(state, COUNT - 3, 47)
    for path in state.rglob("*"):
        assert not path.is_file() or b"qxzvworm" not in path.read_bytes(), path


def test_a_rollback_goes_on(source: Path, migrated: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    subprocess.run(["cp", "-a", str(migrated), str(state)], check=True)
    assert run(state, source, "rollback", "rollback.emptied") == -signal.SIGKILL
    assert run(state, source, "rollback") == 0
    check_whole(state, 0, 0)
