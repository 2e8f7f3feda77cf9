"""kill -9 at every named point of a backup and of a restore: nothing, or all of it."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import closing
from pathlib import Path

import pytest

from nimad.check import check
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.model import Memory
from nimad.store import backups
from tests import forked
from tests.threads import PATIENCE

QUICK = Config().replace(embedder="hash", graph__engine="none")
BACKUP = """
import sys
from pathlib import Path
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.backup.writing import write_backup
store = MemoryStore.open(Path(sys.argv[1]), Config().replace(embedder="hash", graph__engine="none"))
with open(sys.argv[2], "wb") as file:
    write_backup(store, file.fileno(), sys.argv[2])
store.close()
"""
RESTORE = "import sys; from nimad.backup.restoring import main; sys.exit(main(sys.argv[1]))"


def run(script: str, *arguments: str, crash_at: str = "", given: Path | None = None) -> int:
    environment = {**os.environ, "NIMAD_CRASH_AT": crash_at}
    with (given or Path(os.devnull)).open("rb") as stdin:
        done = forked.run(
            [sys.executable, "-c", script, *arguments],
            env=environment,
            stdin=stdin,
            capture_output=True,
            timeout=PATIENCE,
        )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("backup") / "state"
    with closing(MemoryStore.open(place, QUICK)) as store:
        store.remember_many([Memory(text=f"note {n} about the garden") for n in range(40)])
    return place


@pytest.mark.slow
@pytest.mark.parametrize("point", ["backup.noted", "backup.written"])
def test_a_backup_that_was_killed_costs_nothing(state: Path, tmp_path: Path, point: str) -> None:
    assert run(BACKUP, str(state), str(tmp_path / "b"), crash_at=point) == -signal.SIGKILL
    with closing(MemoryStore.open(state, QUICK)) as store:
        assert check(store) == []
        # a purge rather names one too many
        assert str(tmp_path / "b") in [each["path"] for each in backups.known(store.records)]
    assert run(BACKUP, str(state), str(tmp_path / "c")) == 0


@pytest.fixture(scope="module")
def backup(state: Path) -> Path:
    assert run(BACKUP, str(state), str(state.parent / "b")) == 0
    return state.parent / "b"


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("restore.before_fsync", marks=pytest.mark.slow),
        "restore.before_rename",
        "restore.after_rename",
    ],
)
def test_a_restore_that_was_killed_left_nothing_or_all(
    backup: Path, tmp_path: Path, point: str
) -> None:
    (tmp_path / "c.yaml").write_text("embedder: hash\ngraph.engine: none\n")
    state = tmp_path / "new"
    asked = {"path": "b", "state": str(state), "config": str(tmp_path / "c.yaml")}
    assert run(RESTORE, json.dumps(asked), crash_at=point, given=backup) == -signal.SIGKILL
    whole = point == "restore.after_rename"
    assert (state / "records.sqlite").exists() == whole
    if not whole:  # the next one finds no obstacle
        assert run(RESTORE, json.dumps(asked), given=backup) == 0
    with closing(MemoryStore.open(state, QUICK)) as store:
        assert store.records.counts()["memories"] == 40
        assert store.query("note 7 about the garden").hits
        assert check(store) == []
    assert list(state.glob("**/*.tmp")) == []
