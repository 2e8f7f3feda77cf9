"""Durable writes: whole or not at all, and nothing left behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nimad.disk.durable import make_directory, replacing, set_aside, sweep_temporary, write_durable
from nimad.errors import DiskFull


def test_chunks_are_written_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert write_durable(path, [b"one", bytearray(b"two"), memoryview(b"three")]) == 11
    assert path.read_bytes() == b"onetwothree"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_replacing_leaves_the_old_file_to_those_who_have_it_open(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durable(path, [b"old"])
    with path.open("rb") as reader:
        write_durable(path, [b"new and longer"])
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new and longer"


def test_a_failing_source_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durable(path, [b"old"])

    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("the source failed")

    with pytest.raises(RuntimeError, match="the source failed"):
        write_durable(path, chunks())
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_full_medium_is_said_so_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(DiskFull, match=str(path)):
            write_durable(path, [bytes(1 << 15)] * 4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "file.tmp").symlink_to(victim)
    with pytest.raises(OSError, match=r"file\.tmp"), replacing(tmp_path / "file") as file:
        file.write(b"x")
    assert victim.read_bytes() == b"precious"


def test_what_another_put_in_its_place_is_not_written_to(tmp_path: Path) -> None:
    """Whoever made NAME.tmp, readable for all, could read what is written into it."""
    planted = tmp_path / "file.tmp"
    planted.write_bytes(b"")
    planted.chmod(0o666)
    with planted.open("rb") as theirs:
        write_durable(tmp_path / "file", [b"secret"])
        assert theirs.read() == b""
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_a_new_directory_is_durable_with_its_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr(os, "fsync", fsync)
    make_directory(tmp_path / "a" / "b")
    assert sorted(synced) == [tmp_path, tmp_path / "a"]
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    make_directory(tmp_path / "a" / "b")
    assert len(synced) == 2


def test_sweeping_removes_temporary_files_only(tmp_path: Path) -> None:
    for name in ("b.tmp", "a.tmp", "kept", "tmp"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.tmp").mkdir()
    assert sweep_temporary(tmp_path) == ["a.tmp", "b.tmp"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder.tmp", "kept", "tmp"]


def test_setting_aside_never_overwrites(tmp_path: Path) -> None:
    aside = tmp_path / "state" / "aside"
    places = []
    for number in range(3):
        path = tmp_path / "damaged"
        path.write_bytes(bytes([number]))
        places.append(set_aside(path, aside))
        assert not path.exists()
    assert [place.name for place in places] == ["damaged", "damaged.1", "damaged.2"]
    assert [place.read_bytes() for place in places] == [b"\0", b"\1", b"\2"]
    folder = tmp_path / "graph"
    (folder / "inner").mkdir(parents=True)
    assert (set_aside(folder, aside) / "inner").is_dir()


PASSAGES = """
import sys
from nimad.disk.durable import crash_point
for number in range(1, 5):
    print(number, flush=True)
    crash_point("here")
    crash_point("elsewhere")
"""


@pytest.mark.parametrize(
    ("armed", "reached", "killed"),
    [("here", 1, True), ("here:3", 3, True), ("here:9", 4, False), ("nowhere", 4, False)],
)
def test_an_armed_crash_point_kills(armed: str, reached: int, killed: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PASSAGES],
        env={"NIMAD_CRASH_AT": armed, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (-signal.SIGKILL if killed else 0)
    assert done.stdout.split() == [str(number) for number in range(1, reached + 1)]
