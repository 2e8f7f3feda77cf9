"""What the disk refuses is told as what it is: full, failing, read-only, damaged, or locked."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from nimad.disk import failures
from nimad.disk.durable import write_durable
from nimad.disk.failures import translated
from nimad.errors import (
    Busy,
    DiskFailed,
    DiskFull,
    DiskReadOnly,
    NimadError,
    RecordsDamaged,
    StateUnusable,
    WordsDamaged,
)
from nimad.model import Memory
from nimad.store.records import Records
from tests.threads import Background


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with closing(Records.open(tmp_path / "records.sqlite")) as opened:
        with opened.write() as tx:
            tx.add_memories([Memory(text=f"bread number {n}") for n in range(50)])
        yield opened


def sqlite_error(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = name  # type: ignore[attr-defined]
    return error


@pytest.fixture
def disk_says(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """What the system answers to a page written beside the database: errno, 0 for no complaint."""
    answer = [0]
    plain = os.fsync

    def fsync(descriptor: int) -> None:
        if answer[0]:
            raise OSError(answer[0], os.strerror(answer[0]))
        plain(descriptor)

    monkeypatch.setattr(failures.os, "fsync", fsync)
    yield answer


@pytest.mark.parametrize(
    ("name", "says", "wanted"),
    [
        ("SQLITE_FULL", 0, DiskFull),
        ("SQLITE_IOERR_READ", 0, DiskFailed),
        ("SQLITE_IOERR_READ", errno.EIO, DiskFailed),
        ("SQLITE_IOERR_FSYNC", errno.EIO, DiskFailed),
        ("SQLITE_IOERR_CORRUPTFS", 0, DiskFailed),
        ("SQLITE_IOERR_SHMSIZE", errno.ENOSPC, DiskFull),
        ("SQLITE_IOERR_WRITE", errno.EDQUOT, DiskFull),
        ("SQLITE_IOERR_WRITE", errno.EROFS, DiskReadOnly),
        ("SQLITE_READONLY", 0, DiskReadOnly),
        ("SQLITE_READONLY_DIRECTORY", 0, DiskReadOnly),
        ("SQLITE_CANTOPEN", 0, StateUnusable),
        ("SQLITE_CANTOPEN", errno.ENOSPC, DiskFull),
        ("SQLITE_CANTOPEN", errno.EROFS, DiskReadOnly),
        ("SQLITE_CANTOPEN_ISDIR", errno.EIO, DiskFailed),
        ("SQLITE_CORRUPT", 0, RecordsDamaged),
        ("SQLITE_CORRUPT_INDEX", 0, RecordsDamaged),
        ("SQLITE_NOTADB", 0, RecordsDamaged),
        ("SQLITE_CORRUPT_VTAB", 0, WordsDamaged),
        ("SQLITE_BUSY", 0, Busy),
        ("SQLITE_LOCKED_SHAREDCACHE", 0, Busy),
        ("SQLITE_IOERR_NOMEM", 0, MemoryError),
        ("SQLITE_ERROR", 0, sqlite3.OperationalError),
    ],
)
def test_each_code_of_sqlite(
    tmp_path: Path, disk_says: list[int], name: str, says: int, wanted: type[Exception]
) -> None:
    disk_says[0] = says
    with pytest.raises(Exception) as told, translated(tmp_path / "records.sqlite"):
        raise sqlite_error(name)
    assert type(told.value) is wanted
    assert list(tmp_path.iterdir()) == []


def test_only_damage_is_told_as_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a start: an I/O error and a file that cannot be opened are none."""
    path = tmp_path / "records.sqlite"
    path.mkdir()
    with pytest.raises(StateUnusable):
        Records.open(path)
    path.rmdir()
    path.write_bytes(b"something else" * 1000)
    with pytest.raises(RecordsDamaged) as damaged:
        Records.open(path)
    assert "doctor" not in damaged.value.next_step  # the daemon that it asks is down
    assert str(path) in damaged.value.next_step
    path.unlink()
    for name, wanted in (("SQLITE_IOERR_SHMSIZE", DiskFailed), ("SQLITE_FULL", DiskFull)):

        def prepare(*_: object, name: str = name) -> None:
            raise sqlite_error(name)

        monkeypatch.setattr("nimad.store.schema.prepare", prepare)
        with pytest.raises(wanted):
            Records.open(path)


def test_what_cannot_be_read_is_not_told_as_damage(tmp_path: Path) -> None:
    """SQLite says "malformed" for a sector that cannot be read."""
    path = tmp_path / "records.sqlite"
    path.symlink_to("/proc/self/mem")  # EIO at its begin
    with pytest.raises(DiskFailed) as told, translated(path):
        raise sqlite_error("SQLITE_CORRUPT")
    assert "Input/output error" in told.value.message and "backup" in told.value.next_step


def test_a_size_limit_is_a_full_disk(records: Records) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(DiskFull), records.write() as tx:
            tx.add_memories([Memory(text="x" * 50_000) for _ in range(20)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with records.write() as tx:
        assert len(tx.add_memories([Memory(text="after it")])) == 1


def test_a_disk_made_read_only_acknowledges_nothing(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ext4 reports success to fsync then, so what it took would be gone after a power cut."""
    monkeypatch.setattr(failures.os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    with pytest.raises(DiskReadOnly), records.write() as tx:
        tx.add_memories([Memory(text="lost")])
    assert records.counts()["memories"] == 50


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EIO, DiskFailed),
        (errno.EROFS, DiskReadOnly),
        (errno.EACCES, OSError),
    ],
)
def test_files_of_ours_tell_the_same(
    tmp_path: Path, disk_says: list[int], code: int, wanted: type[Exception]
) -> None:
    disk_says[0] = code
    with pytest.raises(wanted) as told:
        write_durable(tmp_path / "file", [b"data"])
    assert isinstance(told.value, NimadError) == (wanted is not OSError)
    assert list(tmp_path.iterdir()) == []


def test_the_new_errors_have_an_exit_code_of_their_own() -> None:
    assert DiskFailed.exit == DiskReadOnly.exit == 71
    assert DiskFull.exit == 74


def test_a_reader_outside_blocks_neither_a_checkpoint_nor_a_writer(records: Records) -> None:
    """Such as root's `sqlite3 records.sqlite`; `remember` once waited 30 seconds for it."""
    with closing(sqlite3.connect(records.path)) as outside:
        outside.execute("BEGIN")
        outside.execute("SELECT count(*) FROM memories").fetchone()
        with records.write() as tx:
            tx.add_memories([Memory(text="written meanwhile")])
        began = time.perf_counter()
        assert not records.checkpoint()
        with Background(records.release_space), records.write() as tx:
            tx.add_memories([Memory(text="and during it")])
        assert time.perf_counter() - began < 20
    assert records.checkpoint()
    assert not records.path.with_name("records.sqlite-wal").stat().st_size
