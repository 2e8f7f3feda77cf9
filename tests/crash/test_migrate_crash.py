"""kill -9 anywhere in a migration or a rollback: begun again, it ends as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import forked
from tests.legacy import stores
from tests.legacy.moving import attach, opened, status

MIGRATE = """
import sys
from pathlib import Path
from nimad.migrate import encode_stage
from tests.legacy.moving import attach, opened
encode_stage.SEGMENT_ROWS = 100
with opened(Path(sys.argv[1]), embedder="hash", graph__engine=sys.argv[4]) as (store, manager):
    known = {source["name"]: source["stage"] for source in manager.status()["sources"]}
    if sys.argv[3] == "rollback":
        if known["graph"] not in ("rolling_back", "rolled_back"):
            manager.rollback("graph")
    elif sys.argv[3] == "retry":
        if known["graph"] == "verified":
            manager.retry_quarantined("graph")
    elif "graph" not in known or sys.argv[3] == "again":
        lazy = sys.argv[3].startswith("lazy")
        attach(manager, Path(sys.argv[2]), batch_size=64, strategy="lazy" if lazy else "full")
    if sys.argv[3] == "lazy find":
        manager.finish()
        store.get(250)
    print("ready", flush=True)
    manager.finish()
"""
POINTS = [
    "migrate.kept",
    "migrate.attached",
    "migrate.copied",
    "migrate.copied:3",
    "seal.written",
    "seal.written:2",
    "seal.listed",
    "migrate.encoded:2",
    "migrate.turns",
    "migrate.relations:2",
    "migrate.graph",
]
ROLLBACK = ["rollback.begun", "rollback.batch", "rollback.emptied", "merge.written", "merge.listed"]


def command(state: Path, source: Path, what: str, engine: str) -> list[str]:
    return [sys.executable, "-c", MIGRATE, str(state), str(source), what, engine]


def run(
    state: Path, source: Path, what: str = "migrate", crash_at: str = "", engine: str = "none"
) -> int:
    """Migrate (or roll back) in a process of its own; its exit code."""
    environment = {**os.environ, "NIMAD_CRASH_AT": crash_at}
    done = forked.run(
        command(state, source, what, engine),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = stores.small_store(tmp_path_factory.mktemp("agent") / "graph.sqlite", count=300)
    stores.execute(
        path, "INSERT INTO memory_edges(source_id, target_id, relation) VALUES (1, 999, 'lost')"
    )
    return path


@pytest.fixture(scope="module")
def migrated(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("migrated") / "state"
    assert run(state, source) == 0
    return state


def check_whole(state: Path, memories: int = 300, engine: str = "none") -> None:
    """Exact counts, every row identical, every invariant (`opened` walks them)."""
    with opened(state, embedder="hash", graph__engine=engine) as (store, manager):
        told = status(manager, "graph")
        assert (told["state"], told["copied"], told["quarantined"]) == ("verified", memories, 1)
        assert store.records.counts() == {"memories": memories, "turns": 100, "relations": 200}
        if engine != "none":  # it is made when it is asked, where a crash came before
            assert store.graph.query("MATCH (m:Memory) RETURN count(*)").rows == [[memories]]
            assert store.graph.counts() == store.records.counts()
        found = manager.verify("graph")
        assert found["ok"] and found["memories"]["identical"] == memories
        assert len(list((state / "snapshots").iterdir())) == 1


@pytest.mark.parametrize("point", POINTS)
def test_a_migration_goes_on(source: Path, tmp_path: Path, point: str) -> None:
    state = tmp_path / "state"
    engine = "ladybug" if point == "migrate.graph" else "none"
    killed = run(state, source, crash_at=point, engine=engine)
    assert killed == -signal.SIGKILL, "the point was not reached"
    assert run(state, source, engine=engine) == 0
    check_whole(state, engine=engine)


@pytest.mark.parametrize("point", ["migrate.kept", "migrate.turned", "migrate.copied:2"])
def test_a_second_snapshot_goes_on(
    source: Path, migrated: Path, tmp_path: Path, point: str
) -> None:
    state, later = tmp_path / "state", tmp_path / "graph.sqlite"
    subprocess.run(["cp", "-a", str(migrated), str(state)], check=True)
    subprocess.run(["cp", "-a", str(source), str(later)], check=True)
    stores.insert(later, "memory_nodes", [stores.node(key, turn_id="") for key in range(301, 311)])
    assert run(state, later, "again", crash_at=point) == -signal.SIGKILL
    assert run(state, later, "again") == 0
    check_whole(state, 310)


@pytest.mark.parametrize("point", ROLLBACK)
def test_a_rollback_goes_on(source: Path, migrated: Path, tmp_path: Path, point: str) -> None:
    state = tmp_path / "state"
    subprocess.run(["cp", "-a", str(migrated), str(state)], check=True)
    killed = run(state, source, "rollback", crash_at=point)
    assert killed == -signal.SIGKILL, "the point was not reached"
    assert run(state, source, "rollback") == 0
    with opened(state) as (store, manager):
        assert store.records.counts() == {"memories": 0, "turns": 0, "relations": 0}
        assert status(manager, "graph")["state"] == "rolled_back"
        assert not list((state / "snapshots").iterdir())
        attach(manager, source)
        manager.finish()
        assert status(manager, "graph")["verified"] == 300


def test_what_a_query_found_is_encoded_once(source: Path, tmp_path: Path) -> None:
    """Killed behind the commit of the hot vector; then all the rest is encoded."""
    state = tmp_path / "state"
    assert run(state, source, "lazy find", crash_at="migrate.urgent") == -signal.SIGKILL
    with opened(state, embedder="hash") as (store, manager):
        assert store.blocks.ids().tolist() == [250]
        told = status(manager, "graph")
        assert (told["state"], told["encoded"]) == ("lazy", 1)
        attach(manager, source)
        manager.finish()
        assert len(store.blocks.ids()) == 300
    check_whole(state)


APPEND = """
import hashlib, os, sys
from pathlib import Path
from nimad.legacy import source_changes
from tests.legacy.moving import opened
with opened(Path(sys.argv[1])) as (store, manager):
    seen = source_changes.look(Path(sys.argv[2]), None).seen
    data = source_changes.look(Path(sys.argv[3]), seen).delivery()
    fd = os.memfd_create("delivery")
    os.write(fd, data)
    manager.append(fd, name="graph", sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    manager.finish()
"""


@pytest.mark.parametrize("point", ["migrate.appended", "migrate.copied", "seal.listed", ""])
def test_a_delivery_goes_on(source: Path, migrated: Path, tmp_path: Path, point: str) -> None:
    """Killed anywhere behind its one transaction, and sent again because nobody confirmed it."""
    state, later = tmp_path / "state", tmp_path / "graph.sqlite"
    subprocess.run(["cp", "-a", str(migrated), str(state)], check=True)
    subprocess.run(["cp", "-a", str(source), str(later)], check=True)
    stores.insert(later, "memory_nodes", [stores.node(key, turn_id="") for key in range(301, 311)])
    for crash_at in (point, ""):
        environment = {**os.environ, "NIMAD_CRASH_AT": crash_at}
        command = [sys.executable, "-c", APPEND, str(state), str(source), str(later)]
        done = forked.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == (-signal.SIGKILL if crash_at else 0), done.stderr
    check_whole(state, 310)


@pytest.mark.slow
def test_killed_at_random(source: Path, tmp_path: Path) -> None:
    """Ten kills at any moment, the store opened anew each time."""
    state = tmp_path / "state"
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    environment = {**os.environ}
    environment.pop("NIMAD_CRASH_AT", None)
    for _ in range(10):
        process = forked.Popen(
            command(state, source, "migrate", "ladybug"), env=environment, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        ready = process.stdout.readline()
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        assert process.wait() in (0, -signal.SIGKILL) and ready == b"ready\n", seed
        process.stdout.close()
    assert run(state, source, engine="ladybug") == 0
    check_whole(state, engine="ladybug")


@pytest.mark.parametrize("point", ["migrate.retried", "migrate.turns", "migrate.relations"])
def test_a_retry_of_the_quarantine_goes_on(
    source: Path, migrated: Path, tmp_path: Path, point: str
) -> None:
    state = tmp_path / "state"
    subprocess.run(["cp", "-a", str(migrated), str(state)], check=True)
    assert run(state, source, "retry", crash_at=point) == -signal.SIGKILL
    assert run(state, source) == 0
    check_whole(state)
