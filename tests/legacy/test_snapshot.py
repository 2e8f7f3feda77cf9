"""A snapshot is consistent, takes the log along, and leaves nothing beside the source."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from nimad.errors import (
    DiskFull,
    ScratchUnusable,
    SourceChanged,
    SourceCorrupt,
    SourceMissing,
    SourceNotRecognised,
)
from nimad.legacy import snapshot as module
from nimad.legacy.snapshot import Snapshot, take_snapshot
from tests import forked
from tests.legacy import stores
from tests.threads import after

WAL = "connection.execute('PRAGMA journal_mode=wal')\n"


def insert(first: int, last: int) -> str:
    """What a writer runs to add memories, each in its own transaction."""
    return f"for key in range({first}, {last + 1}): add(key)\n"


def state(directory: Path) -> dict[str, tuple[Any, ...]]:
    """Every file: its content, size, inode, owner and times of change."""
    found = {}
    for path in sorted(path for path in directory.iterdir() if path.is_file()):
        status = path.stat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if status.st_size < 1 << 24 else ""
        # Root's SQLite gives a log the owner it has already, which moves ctime.
        times = (status.st_mtime_ns, status.st_ctime_ns if os.geteuid() else 0)
        found[path.name] = (digest, status.st_size, status.st_ino, status.st_uid, *times)
    return found


def rows(snapshot: Snapshot, tmp_path: Path) -> list[tuple[int, str]]:
    """The memories in a snapshot, which must be a sound single file without a log."""
    copy = tmp_path / "opened.sqlite"
    copy.write_bytes(os.pread(snapshot.fd, snapshot.size_bytes, 0))
    assert hashlib.sha256(copy.read_bytes()).hexdigest() == snapshot.digest
    assert copy.read_bytes()[18:20] == b"\1\1"
    with closing(sqlite3.connect(f"file:{copy}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = connection.execute("SELECT id, text FROM memory_nodes ORDER BY id").fetchall()
    copy.unlink()
    return found


@contextmanager
def untouched(path: Path) -> Iterator[None]:
    before = state(path.parent)
    yield
    assert state(path.parent) == before


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "agent"
    directory.mkdir()
    return directory / "graph.sqlite"


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "scratch"
    directory.mkdir()
    yield directory
    assert not list(directory.iterdir())


def check(source: Path, scratch: Path, expected: int) -> None:
    with untouched(source), take_snapshot(source, scratch) as taken:
        found = rows(taken, source.parents[1])
        assert len(found) == expected
        assert taken.origin == str(source.resolve())
        assert os.fstat(taken.fd).st_nlink == 0
        with pytest.raises(OSError):
            os.write(taken.fd, b"x")


@pytest.mark.parametrize("mode", ["wal", "delete", "truncate", "persist"])
def test_a_store_at_rest(source: Path, scratch: Path, mode: str) -> None:
    stores.small_store(source, mode=mode)
    check(source, scratch, 30)


def test_a_live_writer_and_rows_only_in_its_log(source: Path, scratch: Path) -> None:
    stores.small_store(source)
    with stores.writer(source, WAL + insert(31, 40)):
        assert (source.parent / "graph.sqlite-shm").exists()
        check(source, scratch, 40)


def test_a_writer_within_a_transaction_does_not_show(source: Path, scratch: Path) -> None:
    stores.small_store(source)
    with stores.writer(source, WAL + "connection.execute('BEGIN IMMEDIATE')\n" + insert(31, 40)):
        check(source, scratch, 30)


@pytest.mark.parametrize("left", ["-wal -shm", "-wal"])
def test_what_a_killed_writer_left(source: Path, scratch: Path, left: str) -> None:
    stores.small_store(source)
    with stores.writer(source, WAL + insert(31, 40)) as process:
        process.kill()
        process.wait()
    for path in source.parent.iterdir():
        if path != source and path.name.removeprefix(source.name) not in left.split():
            path.unlink()
    check(source, scratch, 40)


def test_a_log_of_which_only_the_shared_memory_is_left(source: Path, scratch: Path) -> None:
    stores.small_store(source)
    source.with_name("graph.sqlite-shm").write_bytes(b"\0" * 32768)
    check(source, scratch, 30)


@pytest.mark.parametrize("mode", ["delete", "persist", "truncate"])
def test_an_unfinished_commit_is_undone_in_the_copy(source: Path, scratch: Path, mode: str) -> None:
    stores.small_store(source, mode=mode)
    # A tiny cache spills pages into the database before the commit: the journal is then hot.
    before = (
        f"connection.execute('PRAGMA journal_mode={mode}')\n"
        "connection.execute('PRAGMA cache_size=2')\nconnection.execute('PRAGMA cache_spill=1')\n"
        "connection.execute('BEGIN')\n" + insert(31, 3000)
    )
    with stores.writer(source, before) as process:
        process.kill()
        process.wait()
    assert source.with_name("graph.sqlite-journal").stat().st_size > 512
    check(source, scratch, 30)


def test_a_rollback_writer_in_the_middle_of_a_transaction(source: Path, scratch: Path) -> None:
    stores.small_store(source, mode="delete")
    with stores.writer(source, "connection.execute('BEGIN IMMEDIATE')\n" + insert(31, 40)):
        assert source.with_name("graph.sqlite-journal").exists()
        check(source, scratch, 30)


def test_a_writer_that_keeps_the_file_locked(
    source: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.1)
    stores.small_store(source)
    lock = "connection.execute('PRAGMA locking_mode=EXCLUSIVE')\n"
    with stores.writer(source, lock + WAL + insert(31, 40)):
        assert not source.with_name("graph.sqlite-shm").exists()
        check(source, scratch, 40)


def test_snapshots_of_a_busy_writer_are_consistent(source: Path, scratch: Path) -> None:
    """Pairs of rows commit together, checkpoints run in between: no snapshot has half a pair."""
    stores.small_store(source)
    busy = (
        "connection.execute('PRAGMA wal_autocheckpoint=5')\n"
        "key = 1000\n"
        "while True:\n"
        " connection.execute('BEGIN')\n"
        " for _ in range(2):\n"
        "  key += 1\n"
        "  add(key, 'x' * 3000)\n"
        " connection.execute('COMMIT')\n"
        " time.sleep(0.001)\n"
    )
    counts = []
    with stores.writer(source, WAL, busy):
        time.sleep(0.2)
        for _ in range(12):
            with take_snapshot(source, scratch) as taken:
                counts.append(len(rows(taken, source.parents[1])))
    assert all(count % 2 == 0 for count in counts)
    assert counts == sorted(counts) and counts[-1] > counts[0]


def test_a_writer_that_leaves_while_it_is_copied(source: Path, scratch: Path) -> None:
    """The last one to leave deletes the log; nothing may come into being in its place."""
    for _ in range(8):
        stores.create(source) if not source.exists() else None
        with stores.writer(source, WAL + "add(None)") as process:
            assert process.stdin
            with after(0.01, process.stdin.close), take_snapshot(source, scratch):
                pass
            process.wait()
        left = {path.name for path in source.parent.iterdir()}
        # A writer that could not clear up because it was being read leaves its log: that is its
        # own file.  An empty log would be ours.
        for name in left - {source.name}:
            assert name.endswith("-shm") or source.with_name(name).stat().st_size > 0


def test_a_file_that_changes_all_the_time(
    source: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores.small_store(source)
    monkeypatch.setattr(module, "TRIES", 2)
    real = module._copy_file

    def copy_and_write(origin: Path, target: Path, required: bool) -> None:
        real(origin, target, required)
        os.utime(origin) if required else None

    monkeypatch.setattr(module, "_copy_file", copy_and_write)
    with pytest.raises(SourceChanged):
        take_snapshot(source, scratch)


def test_a_read_only_directory(source: Path, scratch: Path, legacy_dir: Path) -> None:
    """The real store has a log, no shared memory, and lies in a directory without write access."""
    real = legacy_dir / "graph.sqlite"
    with untouched(real), take_snapshot(real, scratch) as taken:
        found = rows(taken, source.parents[1])
    assert len(found) == 4112


def test_a_link_is_followed_to_the_log(source: Path, scratch: Path, tmp_path: Path) -> None:
    stores.small_store(source)
    link = tmp_path / "link.sqlite"
    link.symlink_to(source)
    with stores.writer(source, WAL + insert(31, 40)), take_snapshot(link, scratch) as taken:
        assert len(rows(taken, tmp_path)) == 40
        assert taken.origin == str(source)


def test_names_with_odd_characters(source: Path, scratch: Path) -> None:
    odd = source.with_name("a b?mode=rw#%41é.sqlite")
    stores.small_store(odd)
    with stores.writer(odd, WAL + insert(31, 40)):
        check(odd, scratch, 40)


def test_refusals(source: Path, scratch: Path) -> None:
    with pytest.raises(SourceMissing):
        take_snapshot(source, scratch)
    source.write_bytes(b"not a database")
    with pytest.raises(SourceNotRecognised):
        take_snapshot(source, scratch)
    source.unlink()
    stores.execute(source, "CREATE TABLE cats(name)")
    with untouched(source), pytest.raises(SourceNotRecognised):
        take_snapshot(source, scratch)


def test_a_damaged_source(source: Path, scratch: Path, legacy_dir: Path) -> None:
    shutil.copy(legacy_dir / "bad" / "corrupt.sqlite", source)
    with untouched(source), pytest.raises(SourceCorrupt):
        take_snapshot(source, scratch)


def test_no_space_is_said_before_anything_is_copied(
    source: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores.small_store(source)
    full = os.statvfs_result((4096, 4096, 1000, 10, 10, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    with pytest.raises(DiskFull, match="needs 8 MiB"):
        take_snapshot(source, scratch)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_the_space_goes_while_it_is_copied(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores.small_store(source, count=9000)
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        monkeypatch.setattr(module, "check_space", lambda needed, source, into: None)
        with pytest.raises(DiskFull):
            take_snapshot(source, disk)
        with stores.writer(source, WAL + insert(9001, 9001)), pytest.raises(DiskFull):
            take_snapshot(source, disk)
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_scratch_directory_that_is_not_there(source: Path, tmp_path: Path) -> None:
    stores.small_store(source)
    with pytest.raises(ScratchUnusable):
        take_snapshot(source, tmp_path / "nowhere")


def test_a_killed_snapshot_is_cleared_away_by_the_next(source: Path, tmp_path: Path) -> None:
    stores.small_store(source)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    code = (
        "import os, sys; from pathlib import Path; from nimad.legacy import snapshot\n"
        "def die(*_): os.kill(os.getpid(), 9)\n"
        "snapshot.open_copy = die\n"
        "snapshot.take_snapshot(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    killed = forked.run([sys.executable, "-c", code, str(source), str(scratch)])
    assert killed.returncode == -9
    (left,) = scratch.iterdir()
    assert left.stat().st_mode & 0o777 == 0o700
    os.utime(left, (time.time() - 60,) * 2)
    foreign = scratch / "nimad-snapshot-link"
    foreign.symlink_to(source.parent)
    take_snapshot(source, scratch).close()
    assert list(scratch.iterdir()) == [foreign] and source.exists()


def test_the_snapshot_of_an_unchanged_source_is_the_same(source: Path, scratch: Path) -> None:
    stores.small_store(source)
    with take_snapshot(source, scratch) as one, take_snapshot(source, scratch) as two:
        assert one.digest == two.digest
