"""What is acknowledged is on the disk, under its name, whatever became of the files meanwhile."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from nimad.check import check
from nimad.config import Config
from nimad.core import maintenance
from nimad.core.store import MemoryStore
from nimad.errors import Busy, DiskFailed, DiskReadOnly, NimadError, StateUnusable
from nimad.model import Memory
from nimad.store import checksums
from nimad.store import records as records_module
from nimad.store.database_files import WAL_BYTES, DatabaseFiles
from nimad.store.frozen import frozen
from nimad.store.records import Records
from tests.threads import PATIENCE, Background, in_thread, setting


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with closing(Records.open(tmp_path / "state" / "records.sqlite")) as opened:
        for number in range(50):
            add(opened, f"memory {number}")
        yield opened


@pytest.fixture(autouse=True)
def state(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


def add(records: Records, text: str) -> int:
    with records.write() as tx:
        return tx.add_memories([Memory(text=text, timestamp=1, created=1)])[0]


def after_a_power_cut(records: Records, place: Path) -> list[str]:
    """What the next start finds of the files as they stand under their names."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(records.path.parent, place)
    with closing(Records.open(place / records.path.name)) as found:
        return [text for _, text in found.texts(0, 1000)]


def delete(path: Path) -> None:
    path.unlink()


def rename(path: Path) -> None:
    path.rename(path.with_name("moved"))


def replace(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.write_bytes(b"")


HARMS = [
    pytest.param(ends, harm, id=f"{harm.__name__}{''.join(ends)}")
    for ends in (["-wal"], ["-shm"], ["-wal", "-shm"])
    for harm in (delete, rename, replace)
]


@pytest.mark.parametrize(("ends", "harm"), HARMS)
def test_files_taken_away_under_it_lose_nothing(
    records: Records, tmp_path: Path, ends: list[str], harm: Callable[[Path], None]
) -> None:
    """Threads that have read before go on, and what is committed afterwards stands where it is."""
    asked, harmed = threading.Event(), threading.Event()
    counted: list[int] = []

    def read() -> None:
        counted.append(len(records.ids()))
        asked.set()
        harmed.wait()
        counted.append(len(records.ids()))

    with Background(read), setting(harmed):
        assert asked.wait(PATIENCE)
        for end in ends:
            harm(records.path.with_name(records.path.name + end))
        add(records, "after it")
        wanted = [*(f"memory {number}" for number in range(50)), "after it"]
        assert after_a_power_cut(records, tmp_path / "copy") == wanted
    assert counted == [50, 51]
    assert checksums.integrity_problems(records) == []
    assert records.checkpoint()
    assert [text for _, text in records.texts(0, 1000)] == wanted


@pytest.mark.parametrize(("ends", "harm"), HARMS)
def test_whoever_opens_a_connection_finds_what_was_taken_away(
    records: Records, ends: list[str], harm: Callable[[Path], None]
) -> None:
    """The doctor told of a dying disk, between that and the next memory."""
    for look in (checksums.integrity_problems, _missing_in_a_backup):
        for end in ends:
            harm(records.path.with_name(records.path.name + end))
        assert look(records) == []
        assert records.files.intact()


def _missing_in_a_backup(records: Records) -> list[int]:
    with frozen(records) as found:
        ((count,),) = found.connection.execute("SELECT count(*) FROM memories")
    return [*range(count, 50)]


def test_commits_overwrite_the_wal(records: Records, tmp_path: Path) -> None:
    """It gets no longer, and folds itself: a commit costs the file system a flush, no more."""
    wal, found = records.path.with_name("records.sqlite-wal"), set()
    for number in range(50, 400):
        add(records, f"memory {number}")
        found.add((wal.stat().st_size, wal.stat().st_blocks))
    assert {size for size, _ in found} == {WAL_BYTES} and len(found) == 1
    assert len(after_a_power_cut(records, tmp_path / "copy")) == 400


def test_a_wal_of_any_length_is_lengthened(records: Records, tmp_path: Path) -> None:
    """As of another version, or of a disk that had no room: what it holds is there, and stays."""
    place, before = tmp_path / "copy", 50
    for length in (0, 1, 31, 32, 4151, 50_000, WAL_BYTES - 1, WAL_BYTES + 10_000):
        after_a_power_cut(records, place)
        shutil.copytree(records.path.parent, place, dirs_exist_ok=True)
        wal = place / "records.sqlite-wal"
        os.truncate(wal, length)
        with closing(Records.open(place / records.path.name)) as found:
            count = len(found.ids())
            assert count <= before and (length < WAL_BYTES - 1 or count == before)
            add(found, "one more")
            assert wal.stat().st_size == max(length, WAL_BYTES)
            assert len(after_a_power_cut(found, tmp_path / "again")) == count + 1


@pytest.mark.parametrize(("ends", "harm"), HARMS)
def test_an_end_without_a_write_loses_nothing(
    records: Records, tmp_path: Path, ends: list[str], harm: Callable[[Path], None]
) -> None:
    for end in ends:
        harm(records.path.with_name(records.path.name + end))
    records.close()
    assert len(after_a_power_cut(records, tmp_path / "copy")) == 50


def test_a_new_reader_and_a_fold_find_what_was_deleted(records: Records) -> None:
    records.path.with_name("records.sqlite-wal").unlink()
    counted: list[int] = []
    in_thread(lambda: counted.append(len(records.ids())))
    assert counted == [50]
    records.path.with_name("records.sqlite-wal").unlink()
    assert records.checkpoint()
    assert len(records.ids()) == 50


def test_a_long_question_holds_it_up_and_loses_nothing(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records_module, "READER_SECONDS", 0.01)
    inside, done = threading.Event(), threading.Event()

    def ask() -> None:
        with records.reading() as reader:
            assert reader.execute("SELECT count(*) FROM memories").fetchone() == (50,)
            inside.set()
            done.wait()

    with Background(ask), setting(done):
        assert inside.wait(PATIENCE)
        records.path.with_name("records.sqlite-wal").unlink()
        with pytest.raises(Busy):
            add(records, "too early")
        assert len(after_a_power_cut(records, tmp_path / "copy")) == 50
    assert add(records, "later") == 51
    assert len(after_a_power_cut(records, tmp_path / "copy")) == 51


@pytest.mark.parametrize("harm", [delete, rename, replace])
def test_another_file_in_the_place_of_the_records_is_not_written(
    records: Records, harm: Callable[[Path], None]
) -> None:
    assert len(records.ids()) == 50
    harm(records.path)
    with pytest.raises(StateUnusable, match=r"records\.sqlite was moved, deleted or replaced"):
        add(records, "nowhere")
    assert len(records.ids()) == 50  # who has read before goes on
    in_thread(pytest.raises, StateUnusable, records.ids)
    assert not records.path.exists() or records.path.read_bytes() == b""


def test_a_state_directory_that_was_moved_is_told_and_put_back(records: Records) -> None:
    state = records.path.parent
    state.rename(state.with_name("moved"))
    with pytest.raises(StateUnusable, match="state was moved or deleted while nimad ran"):
        add(records, "nowhere")
    state.with_name("moved").rename(state)
    assert add(records, "found again") == 51


def test_a_new_file_has_its_tables_before_the_first_memory(tmp_path: Path) -> None:
    with closing(Records.open(tmp_path / "records.sqlite")) as opened:
        shutil.copy(opened.path, tmp_path / "copy.sqlite")
    with closing(Records.open(tmp_path / "copy.sqlite")) as copy:
        assert copy.counts()["memories"] == 0


class Disk:
    """A disk that the system makes read-only, and writable again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looks, self.read_only_from = 0, 1 << 30
        monkeypatch.setattr(os, "statvfs", self.statvfs)

    def statvfs(self, _: object) -> SimpleNamespace:
        self.looks += 1
        flags = os.ST_RDONLY if self.looks >= self.read_only_from else 0
        room = 1 << 30
        return SimpleNamespace(
            f_flag=flags, f_frsize=4096, f_blocks=room, f_bfree=room, f_bavail=room
        )

    def turn_read_only(self, after: int = 0) -> None:
        """From the next look on, or after so many more."""
        self.read_only_from = self.looks + after + 1

    def turn_writable(self) -> None:
        self.read_only_from = 1 << 30


def test_a_disk_that_turns_read_only_while_it_commits(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsync reports success then; it is not acknowledged, and no later one stands behind a hole."""
    disk = Disk(monkeypatch)
    told: list[NimadError | None] = []
    records.on_trouble = told.append
    rewritten: list[DatabaseFiles] = []
    plain = DatabaseFiles.rewrite_wal

    def rewrite(files: DatabaseFiles) -> None:
        rewritten.append(files)
        plain(files)

    monkeypatch.setattr(DatabaseFiles, "rewrite_wal", rewrite)
    disk.turn_read_only(after=1)
    with pytest.raises(DiskReadOnly):
        add(records, "not acknowledged")
    with pytest.raises(DiskReadOnly):
        add(records, "refused")
    assert [type(error) for error in told] == [DiskReadOnly, DiskReadOnly] and not rewritten
    assert len(records.texts(0, 100)) == 51  # read all the same
    disk.turn_writable()
    assert add(records, "acknowledged") == 52
    assert told[-1] is None and rewritten
    add(records, "and on")
    assert len(told) == 3


def test_a_store_on_a_read_only_disk_answers_and_recovers_by_itself(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(MemoryStore.open(state / "s", Config())) as store:
        first = store.remember(Memory("Maya planted basil on the balcony"))
        disk = Disk(monkeypatch)
        disk.turn_read_only(after=1)
        with pytest.raises(DiskReadOnly):
            store.remember(Memory("Jonas repaired the bicycle"))  # committed, not acknowledged
        for refused in (
            lambda: store.remember(Memory("x")),
            lambda: store.forget([first]),
            lambda: store.forget([first], purge=True),
        ):
            with pytest.raises(DiskReadOnly):
                refused()
        answer = store.query("Where is the basil?")
        assert [hit.memory.id for hit in answer.hits] == [first] and answer.degraded == ["disk"]
        assert store.get(first).text.startswith("Maya")
        assert "read-only" in store.degraded()["disk"]
        disk.turn_writable()
        third = store.remember(Memory("Grandmother bakes plum cake"))
        assert store.degraded() == {} and third == first + 2
        assert store.semantic.missing_vectors() == [first + 1]
        maintenance.finish(store)
        assert check(store) == []


def test_a_failing_disk_is_degraded_until_it_takes_a_transaction(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(MemoryStore.open(state / "s", Config())) as store:

        def fail(_: Path) -> None:
            raise DiskFailed(detail="Input/output error")

        monkeypatch.setattr(records_module, "check_writable", fail)
        with pytest.raises(DiskFailed):
            store.remember(Memory("x"))
        assert "dmesg" in store.degraded()["disk"]
        monkeypatch.undo()
        store.remember(Memory("y"))
        assert store.degraded() == {}
