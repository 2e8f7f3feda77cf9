"""kill -9 while a graph is made: the old one or the new one is there, whole, and nothing else."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.keys import ENGINES
from nimad.model import Memory, Relation
from tests import forked
from tests.threads import PATIENCE
from tests.unit.test_graph import COUNT, KUZU_RUNS

POINTS = ("graph.built", "graph.swap", "graph.swapped")
SETTINGS = {"embedder": "hash"}
WORK = """
import sys
from pathlib import Path
from nimad.config import Config
from nimad.core.store import MemoryStore
settings = Config().replace(embedder="hash", graph__engine=sys.argv[2])
store = MemoryStore.open(Path(sys.argv[1]), settings)
print("ready", flush=True)
for _ in range(int(sys.argv[3])):
    store.graph.rebuild()
"""


def open_store(state: Path, engine: str) -> MemoryStore:
    return MemoryStore.open(state, Config().replace(**SETTINGS, graph__engine=engine))


def prepare(state: Path, engine: str) -> None:
    """A graph of 100 memories, and 50 more that it does not know."""
    store = open_store(state, engine)
    store.remember_many([Memory(text=str(number)) for number in range(100)])
    store.graph.rebuild()
    store.remember_many([Memory(text=str(number)) for number in range(50)])
    with store.records.write() as tx:
        tx.add_relations([(Relation(n, n + 1, "next", 1.0), None, None) for n in range(1, 150)])
    store.close()


def check_whole(state: Path, engine: str) -> int:
    """How many memories the graph has after a crash: those of the old one, or of the new one."""
    store = open_store(state, engine)
    try:
        names = {path.name for path in (state / "graph").iterdir()}
        assert names == {f"{engine}.db", f"{engine}.db.seal"}
        answer = store.graph.query(COUNT)
        (memories,) = answer.rows[0]
        assert store.graph.counts()["memories"] == memories
        assert (memories, answer.behind > 0) in ((100, True), (150, False))
        relations = store.graph.query("MATCH ()-[r:Relation]->() RETURN count(*)").rows
        assert relations == [[0 if memories == 100 else 149]]
        assert list((state / "aside").iterdir()) == []
        assert store.graph.query(COUNT, fresh=True).rows == [[150]]
        return int(memories)
    finally:
        store.close()


@pytest.mark.parametrize(
    "engine", [ENGINES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in ENGINES[1:])]
)
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_a_named_point(tmp_path: Path, point: str, engine: str) -> None:
    if engine == "kuzu" and not KUZU_RUNS:
        pytest.skip("kuzu works with memory pages of 4 KiB only")
    state = tmp_path / "state"
    prepare(state, engine)
    done = forked.run(
        [sys.executable, "-c", WORK, state, engine, "1"],
        env={**os.environ, "NIMAD_CRASH_AT": point},
        capture_output=True,
        timeout=PATIENCE,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert check_whole(state, engine) == (150 if point == "graph.swapped" else 100)


@pytest.mark.slow
def test_crashes_at_random_moments(tmp_path: Path) -> None:
    state, chance = tmp_path / "state", random.Random(11)
    prepare(state, "ladybug")
    for _ in range(6):
        work = [sys.executable, "-c", WORK, state, "ladybug", "20"]
        # The engine's process ends with it: at once when the power goes, soon after a kill.
        with forked.Popen(work, stdout=subprocess.PIPE, start_new_session=True) as process:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            time.sleep(chance.uniform(0, 0.6))
            os.killpg(process.pid, signal.SIGKILL)
        check_whole(state, "ladybug")


def test_an_engine_does_not_outlive_its_daemon(tmp_path: Path) -> None:
    state = tmp_path / "state"
    prepare(state, "ladybug")
    script = WORK + "store.graph.query('RETURN 1')\nprint(store.graph.pid, flush=True)\ninput()\n"
    work = [sys.executable, "-c", script, state, "ladybug", "0"]
    with forked.Popen(work, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        pid = int(process.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        process.kill()
    until = time.monotonic() + PATIENCE
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
