"""kill -9 at every named point of the core's multi-step writes; then reopen, finish, and check."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from nimad.check import check
from nimad.config import Config
from nimad.core import maintenance, status
from nimad.core.store import MemoryStore
from tests import forked
from tests.threads import PATIENCE

SECRET = "qxzvworm under the plank"

PRELUDE = """
import sys
from pathlib import Path
from nimad.config import Config
from nimad.core import maintenance
from nimad.core.store import MemoryStore
from nimad.model import Memory
from nimad.recall import columns_cache
store = MemoryStore.open(Path(sys.argv[1]), Config())
"""


def run(state: Path, work: str, crash_at: str | None = None) -> int:
    environment = {**os.environ}
    environment.pop("NIMAD_CRASH_AT", None)
    if crash_at:
        environment["NIMAD_CRASH_AT"] = crash_at
    script = PRELUDE + textwrap.dedent(work)
    done = forked.run(
        [sys.executable, "-c", script, str(state)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


FILL = f"""
for n in range(3):
    store.remember_many([Memory(text=f"note {{n}} {{m}} about the garden") for m in range(40)])
    store.semantic.flush()
store.remember(Memory(text={SECRET!r}))
store.words.rebuild()
store.graph.rebuild()
store.close()
"""

WORK = {
    "seal": "store.semantic.flush()",
    "merge": "store.semantic.merge(store.records.segment_names())",
    "rebuild": "maintenance.rebuild(store, 'blocks')",
    "purge": "store.forget([121, 5], purge=True)",
    "graph": "maintenance.rebuild(store, 'graph')",
    "words": "maintenance.rebuild(store, 'words')",
    "former": """
    with store.records.write() as tx:  # as nimad before schema 9 left it
        tx.execute("CREATE VIRTUAL TABLE words USING fts5 (text, content = '')")
        tx.execute("INSERT INTO words (rowid, text) SELECT id, text FROM memories")
    maintenance.finish(store)
    """,
    "columns": "columns_cache.KEEP_ROWS = 20; store.recall.keep()",
}

POINTS = [
    ("seal", "seal.written"),
    ("seal", "seal.listed"),
    ("merge", "merge.written"),
    ("merge", "merge.listed"),
    ("rebuild", "rebuild.written"),
    ("rebuild", "rebuild.listed"),
    ("purge", "forget.committed"),
    ("purge", "purge.vectors"),
    ("purge", "purge.snapshots"),
    ("purge", "purge.cut_off"),
    ("words", "words.before_fsync"),
    ("words", "words.before_rename"),
    ("words", "words.after_rename"),
    ("words", "words.written"),
    ("purge", "words.written"),
    ("purge", "words.listed"),
    ("former", "words.dropped"),
    ("columns", "columns.written"),
]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("filled") / "state"
    assert run(state, FILL) == 0
    return state


@pytest.mark.parametrize(("work", "point"), POINTS)
def test_a_crash_is_recovered(filled: Path, tmp_path: Path, work: str, point: str) -> None:
    state = tmp_path / "state"
    subprocess.run(["cp", "-a", filled, state], check=True)
    assert run(state, WORK[work], crash_at=point) == -signal.SIGKILL, "the point was not reached"
    store = MemoryStore.open(state, Config())
    maintenance.finish(store)
    assert [p.what for p in check(store)] == []
    expected = 119 if work == "purge" else 121
    assert store.records.counts()["memories"] == len(store.blocks.ids()) == expected
    found = [hit.memory.text for hit in store.query(SECRET).hits]
    assert (SECRET in found) is (work != "purge")
    if work == "purge":
        for path in state.rglob("*"):
            assert not path.is_file() or b"qxzvworm" not in path.read_bytes(), path
    store.close()


SWITCH = """
from nimad.core import reencoding
reencoding.SEAL_ROWS = 30
store.close()
store = MemoryStore.open(Path(sys.argv[1]), Config().replace(embedder="hash"))
store.semantic.begin_reencoding()._size = 20
store.remember(Memory(text="written between two embedders"))
maintenance.finish(store)
store.close()
"""


@pytest.mark.parametrize("point", ["rebuild.written", "rebuild.noted", "rebuild.listed"])
@pytest.mark.parametrize("back", [False, True], ids=["goes on", "is called off"])
def test_a_crash_between_two_embedders_loses_nothing(
    filled: Path, tmp_path: Path, point: str, back: bool
) -> None:
    state = tmp_path / "state"
    subprocess.run(["cp", "-a", filled, state], check=True)
    assert run(state, SWITCH, crash_at=point) == -signal.SIGKILL, "the point was not reached"
    store = MemoryStore.open(state, Config().replace(embedder="static" if back else "hash"))
    progress = status.describe(store)["embedder"]
    assert progress["total"] == 122
    if point == "rebuild.noted" and not back:  # what was noted is not done again
        assert progress["done"] >= 30 and progress["name"] == "static"
    found = [hit.memory.text for hit in store.query(SECRET).hits]
    assert SECRET in found
    maintenance.finish(store)
    assert [p.what for p in check(store)] == []
    assert store.embedder.name == ("static" if back else "hash")
    assert len(store.blocks.ids()) == 122
    maintenance.rest(store)  # lets go of the files that the question read
    assert {path.stem for path in (state / "blocks").iterdir()} == set(
        store.records.segment_names()
    )
    assert store.records.value("SELECT count(*) FROM pending") == 0
    store.close()


def test_every_acknowledged_memory_survives_kills(tmp_path: Path) -> None:
    """A writer is killed at random; what it had printed as done must be there afterwards."""
    state = tmp_path / "state"
    script = PRELUDE + textwrap.dedent("""
        n = store.records.counts()["memories"]
        while True:
            print(store.remember(Memory(text=f"kept number {n}")), flush=True)
            n += 1
    """)
    acknowledged: list[int] = []
    for delay in (0.05, 0.15, 0.3):
        process = forked.Popen(
            [sys.executable, "-c", script, str(state)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        acknowledged.append(int(process.stdout.readline()))
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
        process.wait()
        acknowledged += [int(line) for line in rest.splitlines(keepends=True) if line[-1] == "\n"]
    store = MemoryStore.open(state, Config())
    there = store.records.ids().tolist()
    assert set(acknowledged) <= set(there)
    assert len(there) - len(acknowledged) <= 3, "at most one unacknowledged write a kill"
    assert there == store.blocks.ids().tolist()
    assert [p.what for p in check(store)] == []
    store.close()
