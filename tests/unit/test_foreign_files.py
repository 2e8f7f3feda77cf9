"""What is not nimad's in its state directory is neither fatal nor deleted."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nimad.background.worker import Worker
from nimad.check import check
from nimad.config import Config
from nimad.core import maintenance, status
from nimad.core.state_directory import PARTS
from nimad.core.store import MemoryStore
from nimad.disk.durable import TEMPORARY
from nimad.errors import RecordsDamaged, StateUnusable
from nimad.migrate.manager import MigrationManager
from nimad.model import Memory
from nimad.recall import columns_cache

CONFIG = Config().replace(**{"graph.engine": "none"})
NAMES = (
    "my-notes.txt",
    "report.tmp",
    "photos.db",
    "other.nsb",
    "other.nsd",
    "records.sqlite.old",
    "seg-1.nsb.bak",
    "\udcff",
)


def work(state: Path) -> None:
    """A start, a write, idle time, a purge, a look, an end."""
    with closing(MemoryStore.open(state, CONFIG)) as store:
        MigrationManager(store, Worker(lambda: CONFIG))
        (number,) = store.remember_many([Memory("Maya planted basil")])
        maintenance.finish(store)
        store.forget([number], purge=True)
        maintenance.finish(store)
        check(store)
        assert status.describe(store)["disk"]["total"] > 0


@pytest.mark.parametrize("part", ["", *PARTS])
def test_foreign_files_stay(tmp_path: Path, part: str) -> None:
    state = tmp_path / "state"
    work(state)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("kept")
    place = state / part
    made = [place / name for name in NAMES]
    for path in made:
        path.write_text("mine")
    (place / "lost+found").mkdir()
    (place / "lost+found" / "found").write_text("mine")
    own_names = {"blocks": "seg-00000099.nsb", "dense": "dns-00000099.nsd"}
    named_like_ours = [place / own_names.get(part, "graph.sqlite")]
    named_like_ours.append(place / (named_like_ours[0].name + TEMPORARY))
    for path in named_like_ours:
        path.symlink_to(elsewhere)
    directory = place / ("3" + named_like_ours[0].name.lstrip("s"))
    directory.mkdir()
    (place / "itself").symlink_to("itself")
    (place / "around").symlink_to(".")
    (place / "round-again").symlink_to(state)
    os.mkfifo(place / "pipe.tmp")
    work(state)
    work(state)
    assert [path.name for path in made if path.read_text() != "mine"] == []
    assert (place / "lost+found" / "found").read_text() == "mine" and directory.is_dir()
    assert all(path.is_symlink() for path in named_like_ours) and elsewhere.read_text() == "kept"


def test_what_a_crash_left_of_ours_goes(tmp_path: Path) -> None:
    state = tmp_path / "state"
    work(state)
    left = [
        state / "columns.nrc.tmp",
        state / "blocks" / "seg-00000099.nsb",
        state / "blocks" / "seg-00000099.nsb.tmp",
        state / "dense" / "dns-00000099.nsd",
        state / "snapshots" / "incoming-abc_1.tmp",
        state / "snapshots" / "graph.sqlite.scrub.tmp",
        state / "snapshots" / "graph.sqlite",
        state / "snapshots" / "sessions.2.tar",
    ]
    for path in left:
        path.write_bytes(b"half")
    work(state)
    assert [str(path) for path in left if path.exists()] == []


def test_a_link_in_place_of_the_snapshots_deletes_nothing(tmp_path: Path) -> None:
    state, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    work(state)
    elsewhere.mkdir()
    (elsewhere / "precious.sqlite").write_text("mine")
    (state / "snapshots").rmdir()
    (state / "snapshots").symlink_to(elsewhere)
    work(state)
    assert (elsewhere / "precious.sqlite").read_text() == "mine"


def test_what_may_not_be_read_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state directory that is a disk of its own has a lost+found that only root may read."""
    look = os.scandir

    def refuse(place: Path) -> Any:
        if Path(place).name == "lost+found":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
        return look(place)

    monkeypatch.setattr(os, "scandir", refuse)
    with closing(MemoryStore.open(tmp_path, CONFIG)) as store:
        for part in PARTS:
            (tmp_path / part / "lost+found").mkdir()
        store.remember_many([Memory("Maya planted basil")])
        assert status.disk(store)["total"] > 0
        assert [each for each in check(store) if each.severity != "note"] == []


def bind(path: Path) -> None:
    """A socket; its address may have 107 bytes, so it is told from its directory."""
    with socket.socket(socket.AF_UNIX) as one, contextlib.chdir(path.parent):
        one.bind(path.name)


IN_PLACE: dict[str, Callable[[Path], object]] = {
    "a directory": Path.mkdir,
    "a pipe": os.mkfifo,
    "a socket": bind,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
}
PROJECTED = [
    "words/wds-00000001.nsw",
    "blocks/seg-00000001.nsb",
    "columns.nrc",
    *("graph/ladybug.db", "graph/ladybug.db.seal", "graph/ladybug-new.db.seal"),
]
GRAPH = Config()


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with a file of each projection, after a clean end."""
    state = tmp_path_factory.mktemp("used") / "state"
    with pytest.MonkeyPatch.context() as patch, closing(MemoryStore.open(state, GRAPH)) as store:
        patch.setattr(columns_cache, "KEEP_ROWS", 20)
        store.remember_many([Memory(f"Maya planted basil, row {n}") for n in range(40)])
        maintenance.rebuild(store, "all")
        maintenance.finish(store)
    (state / PROJECTED[-1]).touch()
    assert [name for name in PROJECTED if not (state / name).is_file()] == []
    return state


@pytest.mark.parametrize("kind", IN_PLACE)
@pytest.mark.parametrize("name", PROJECTED)
def test_what_is_no_file_in_the_place_of_a_projections_is_not_fatal(
    used: Path, tmp_path: Path, name: str, kind: str
) -> None:
    state = tmp_path / "state"
    shutil.copytree(used, state)
    (state / name).unlink()
    IN_PLACE[kind](state / name)
    with closing(MemoryStore.open(state, GRAPH)) as store:
        assert status.describe(store)["memories"] == 40
        check(store)
        maintenance.finish(store)
        assert store.query("basil in row 17").hits
        assert store.forget([18], purge=True).purged


RECORDS = [f"records.sqlite{end}" for end in ("", "-wal", "-shm", "-journal")]


@pytest.mark.parametrize("kind", ["a directory", "a pipe", "a socket", "a link to a device"])
@pytest.mark.parametrize("name", [*RECORDS, "nimad.lock"])
def test_what_is_no_file_in_the_place_of_the_records_is_refused(
    used: Path, tmp_path: Path, name: str, kind: str
) -> None:
    state = tmp_path / "state"
    shutil.copytree(used, state)
    path = state / name
    path.unlink(missing_ok=True)
    IN_PLACE[kind](path)
    told = f"{name} is no file" if name in RECORDS or kind[:6] != "a link" else f"{name}: "
    with pytest.raises(StateUnusable, match=re.escape(told)):
        MemoryStore.open(state, GRAPH)


@pytest.mark.parametrize("name", [*RECORDS, "nimad.lock"])
def test_a_link_to_itself_is_no_bug(used: Path, tmp_path: Path, name: str) -> None:
    state = tmp_path / "state"
    shutil.copytree(used, state)
    (state / name).unlink(missing_ok=True)
    (state / name).symlink_to(name)
    with pytest.raises(StateUnusable, match=re.escape(f"{name}: ")):
        MemoryStore.open(state, GRAPH)


def test_a_hole_of_terabytes_is_told_as_damage_at_once(used: Path, tmp_path: Path) -> None:
    """Damage is looked for on the whole disk; nothing can keep a hole from being read."""
    state = tmp_path / "state"
    shutil.copytree(used, state)
    (state / "records.sqlite").unlink()
    with (state / "records.sqlite").open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 39)
        file.write(b"x")
    with pytest.raises(RecordsDamaged):
        MemoryStore.open(state, GRAPH)


@pytest.mark.parametrize("content", [None, b"", b"S", b"SQLite format 3\0"])
@pytest.mark.parametrize("left", ["words", "blocks", "log"])
def test_records_that_are_empty_or_gone_are_no_new_store(
    used: Path, tmp_path: Path, content: bytes | None, left: str
) -> None:
    """Also where only their log is left: SQLite deletes the log of an empty database."""
    state = tmp_path / "state"
    shutil.copytree(used, state)
    records, log = state / "records.sqlite", state / "records.sqlite-wal"
    records.unlink()
    if content is not None:
        records.write_bytes(content)
    for part in {"words", "blocks"} - {left}:
        shutil.rmtree(state / part)
    if left == "log":
        log.write_bytes(b"pages")
    with pytest.raises(RecordsDamaged, match="missing" if content is None else "empty"):
        MemoryStore.open(state, GRAPH)
    assert left != "log" or log.read_bytes() == b"pages"
    shutil.rmtree(state)
    state.mkdir()
    records.write_bytes(b"")  # a first start that a power cut ended
    work(state)
