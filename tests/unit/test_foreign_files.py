"""What is not nimad's in its state directory is neither fatal nor deleted."""

from __future__ import annotations

import errno
import os
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
from nimad.migrate.manager import MigrationManager
from nimad.model import Memory

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
