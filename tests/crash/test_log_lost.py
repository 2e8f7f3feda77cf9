"""kill -9 for real, and the WAL gone before the next start: what was acknowledged is not forgotten
without a word, and no alarm is raised where nothing is lost."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from nimad.backup.restoring import restore
from nimad.backup.writing import write_backup
from nimad.check import check
from nimad.config import Config
from nimad.core import maintenance, status
from nimad.core.clock import RELEASED
from nimad.core.store import MemoryStore
from nimad.errors import DiskReadOnly, RecordsDamaged
from nimad.model import Memory
from tests import forked
from tests.threads import PATIENCE

CONFIG = Config().replace(embedder="hash", graph__engine="none")
WORK = """
import os, signal, sys
from pathlib import Path
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.model import Memory
store = MemoryStore.open(Path(sys.argv[1]), Config().replace(embedder="hash", graph__engine="none"))
if sys.argv[2] == "remember":
    for number in range(3):
        store.remember(Memory(text=f"kettle {number}"))
if sys.argv[3] == "close":
    store.close()
os.kill(os.getpid(), signal.SIGKILL)
"""
ROOT = Path(__file__).resolve().parents[2]
DAY = 24 * 3600 * 1000
LOST = (["-wal"], ["-wal", "-shm"])


def killed(state: Path, work: str = "remember", end: str = "", point: str = "") -> Path:
    """A process works on the store, and is killed: at a crash point, or at the end."""
    environment = {**os.environ, "NIMAD_CRASH_AT": point}
    run = [sys.executable, "-c", WORK, str(state), work, end]
    done = forked.run(run, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return state


def lose(state: Path, ends: list[str]) -> dict[Path, bytes]:
    """The content of what is deleted."""
    paths = [state / f"records.sqlite{end}" for end in ends]
    content = {path: path.read_bytes() for path in paths}
    for path in paths:
        path.unlink()
    return content


def put_back(content: dict[Path, bytes]) -> None:
    for path, data in content.items():
        path.write_bytes(data)


def texts(state: Path) -> list[str]:
    """What a start finds, that has nothing to tell."""
    with contextlib.closing(MemoryStore.open(state, CONFIG)) as store:
        assert store.degraded() == {} and check(store) == []
        return [text for _, text in store.records.texts(0, 100)]


def filled(state: Path, *given: str) -> Path:
    with contextlib.closing(MemoryStore.open(state, CONFIG)) as store:
        for text in given:
            store.remember(Memory(text=text))
    return state


@pytest.mark.parametrize("ends", LOST)
def test_a_young_store_without_its_log_is_no_new_one(tmp_path: Path, ends: list[str]) -> None:
    state = killed(tmp_path / "state")
    content = lose(state, ends)
    for _ in range(2):  # what is refused changes nothing
        with pytest.raises(RecordsDamaged, match=r"wal is gone.*put it back") as told:
            MemoryStore.open(state, CONFIG)
        assert told.value.code == "records_damaged"
        with pytest.raises(RecordsDamaged, match="wal is gone"):
            MemoryStore.open(state, CONFIG, refusal=DiskReadOnly(detail="a test"))
        assert not set(content) & set(state.iterdir())
    put_back(content)
    assert texts(state) == ["kettle 0", "kettle 1", "kettle 2"]
    assert texts(state) == ["kettle 0", "kettle 1", "kettle 2"]  # a clean end has nothing to tell


@pytest.mark.parametrize("ends", LOST)
def test_a_user_may_go_on_without_it(tmp_path: Path, ends: list[str]) -> None:
    state = killed(tmp_path / "state")
    lose(state, ends)
    (state / "records.sqlite-unfolded").unlink()  # as the error says
    assert texts(state) == []


def test_an_old_store_whose_log_was_taken_is_refused(tmp_path: Path) -> None:
    """SQLite deletes the shared memory first, so it was not SQLite."""
    state = killed(filled(tmp_path / "state", "an old one"))
    content = lose(state, ["-wal"])
    with pytest.raises(RecordsDamaged, match="wal is gone"):
        MemoryStore.open(state, CONFIG)
    put_back(content)
    assert texts(state) == ["an old one", "kettle 0", "kettle 1", "kettle 2"]


def test_where_sqlite_may_have_folded_it_it_is_told(tmp_path: Path) -> None:
    """Also after another kill, until a week has passed."""
    state = killed(filled(tmp_path / "state", "an old one"))
    lose(state, ["-wal", "-shm"])
    refusal = DiskReadOnly(detail="a test")
    with contextlib.closing(MemoryStore.open(state, CONFIG, refusal=refusal)) as store:
        assert "was gone" in store.degraded()["records"]
    for _ in range(2):
        with contextlib.closing(MemoryStore.open(state, CONFIG)) as store:
            assert "records.sqlite-wal was gone" in store.degraded()["records"]
            assert "records" in status.describe(store)["degraded"]
            (told,) = check(store)
            assert "what was remembered last" in told.what and "backup" in told.fix
            assert store.query("an old one").degraded == ["records"]
            while store.integrity.follow():
                pass
            assert "records" in store.degraded()
        killed(state, work="none")
    with contextlib.closing(MemoryStore.open(state, CONFIG)) as store:
        store.integrity._log_missed -= 8 * DAY
        assert check(store) == [] and store.degraded() == {}


def test_it_is_told_for_a_week_from_when_the_clock_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boards that lose their power are boards whose clock is not set at the start."""
    state = killed(filled(tmp_path / "state", "an old one"))
    lose(state, ["-wal", "-shm"])
    for shown, is_told in ((60_000, True), (RELEASED, True), (RELEASED + 8 * DAY, False)):
        monkeypatch.setattr("nimad.model.time.time_ns", lambda shown=shown: shown * 1_000_000)
        with contextlib.closing(MemoryStore.open(state, CONFIG)) as store:
            assert ("records" in store.degraded()) == is_told, shown
            assert ("records" in {problem.part for problem in check(store)}) == is_told, shown
            maintenance.finish(store)


def test_what_sqlite_folded_is_there(tmp_path: Path) -> None:
    state = killed(tmp_path / "state")
    with contextlib.closing(sqlite3.connect(state / "records.sqlite")) as other:
        assert other.execute("SELECT count(*) FROM memories").fetchone() == (3,)
    assert not (state / "records.sqlite-wal").exists()
    with contextlib.closing(MemoryStore.open(state, CONFIG)) as store:
        assert len(store.records.ids()) == 3 and "records" in store.degraded()


@pytest.mark.parametrize("ends", LOST)
def test_where_nothing_was_acknowledged_nothing_is_told(tmp_path: Path, ends: list[str]) -> None:
    for name, work, point in (("idle", "none", ""), ("first", "remember", "unfolded.committed")):
        state = killed(tmp_path / name, work=work, point=point)
        lose(state, ends)
        assert texts(state) == []


@pytest.mark.parametrize(
    ("point", "end", "known"),
    [("unfolded.committed", "", 1), ("unfolded.noted", "", 1), ("unfolded.forgotten", "close", 3)],
)
@pytest.mark.parametrize("before", [(), ("an old one",)])
def test_no_crash_leaves_an_alarm(
    tmp_path: Path, before: tuple[str, ...], point: str, end: str, known: int
) -> None:
    state = killed(filled(tmp_path / "state", *before), end=end, point=point)
    assert (state / "records.sqlite-unfolded").exists() is (point == "unfolded.noted")
    assert texts(state) == [*before, *(f"kettle {number}" for number in range(known))]
    assert not (state / "records.sqlite-unfolded").exists()


def test_a_store_that_nobody_closed_has_nothing_to_tell(tmp_path: Path) -> None:
    """A program that ends without closing it: SQLite folds the WAL when its connections go."""
    work = WORK.replace("os.kill(os.getpid(), signal.SIGKILL)", "sys.exit(0)")
    run = [sys.executable, "-c", work, str(tmp_path / "state"), "remember", ""]
    subprocess.run(run, check=True, timeout=PATIENCE, cwd=ROOT)
    assert texts(tmp_path / "state") == ["kettle 0", "kettle 1", "kettle 2"]


def test_a_child_that_was_forked_leaves_the_mark(tmp_path: Path) -> None:
    child = "if os.fork() == 0: sys.exit(0)\nos.wait()\n"
    work = WORK.replace("if sys.argv[3]", f"{child}if sys.argv[3]")
    run = [sys.executable, "-c", work, str(tmp_path / "state"), "remember", ""]
    subprocess.run(run, check=False, timeout=PATIENCE, cwd=ROOT)
    assert (tmp_path / "state" / "records.sqlite-unfolded").exists()


@pytest.mark.parametrize("purge", [False, True])
def test_a_store_that_was_emptied_is_empty(tmp_path: Path, purge: bool) -> None:
    state = filled(tmp_path / "state", "one", "two")
    with contextlib.closing(MemoryStore.open(state, CONFIG)) as store:
        store.forget([1, 2], purge=purge)
        shutil.copytree(state, tmp_path / "cut off")
    assert texts(state) == texts(tmp_path / "cut off") == []


def test_a_restore_knows_nothing_of_a_log_that_was_there(tmp_path: Path) -> None:
    backup = tmp_path / "empty.tar.gz"
    empty = contextlib.closing(MemoryStore.open(tmp_path / "empty", CONFIG))
    with empty as store, backup.open("w+b") as file:
        write_backup(store, file.fileno(), str(backup))
    state = killed(tmp_path / "state")
    lose(state, ["", "-wal"])
    with pytest.raises(RecordsDamaged, match="-unfolded says that there were some"):
        MemoryStore.open(state, CONFIG)
    with backup.open("rb") as file:
        restore(file, str(backup), state, lambda *_: None)
    assert texts(state) == []


def test_memories_are_kept_where_the_mark_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk without room for a name; it is made as soon as there is."""
    state = tmp_path / "state"

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    with contextlib.closing(MemoryStore.open(state, CONFIG)) as store:
        monkeypatch.setattr(Path, "touch", refuse)
        store.remember(Memory(text="kept"))
        monkeypatch.undo()
        store.remember(Memory(text="kept, too"))
        assert (state / "records.sqlite-unfolded").read_bytes() == b""
        shutil.copytree(state, tmp_path / "copy")
    assert texts(state) == texts(tmp_path / "copy") == ["kept", "kept, too"]
