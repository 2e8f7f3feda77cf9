"""What a source will take: measured, refused when it does not fit, waited for in the middle."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nimad.core import maintenance
from nimad.disk.durable import size_of
from nimad.errors import DiskFull
from nimad.legacy.sqlite import LegacyGraph
from nimad.migrate.report import spread
from tests import forked
from tests.legacy import stores
from tests.legacy.moving import attach, migrate, opened
from tests.process import DaemonProcess
from tests.threads import PATIENCE

WORDS = [
    "amber",
    "basket",
    "cedar",
    "drum",
    "ember",
    "fable",
    "grove",
    "harbour",
    "ivory",
    "jumper",
    "kettle",
    "lantern",
]


def text(number: int, words: int) -> str:
    return " ".join(WORDS[(number * 7 + at * at) % 12] + str(number % 97) for at in range(words))


def fill(path: Path, count: int, words: int, **more: Any) -> Path:
    stores.create(path, schema=3 if more else 1)
    rows = [stores.node(n, text(n, words), **more) for n in range(1, count + 1)]
    stores.insert(path, "memory_nodes", rows)
    return path


def taken(state: Path) -> int:
    return sum(size_of(state / part) for part in ("records.sqlite", "blocks", "snapshots"))


@pytest.mark.parametrize(
    ("words", "more"),
    [(5, {}), (150, {}), (20, {"embedding": stores.embedding(0.5), "strength": 0.5})],
    ids=["short", "long", "embeddings"],
)
def test_the_estimate_is_near_what_it_takes(
    tmp_path: Path, words: int, more: dict[str, Any]
) -> None:
    source = fill(tmp_path / "graph.sqlite", 2500, words, **more)
    with opened(tmp_path / "state") as (store, manager):
        store.records.checkpoint()
        before = taken(store.state)
        report = attach(manager, source, dry_run=True)["report"]
        assert taken(store.state) == before  # nothing was written
        migrate(manager, source)
        maintenance.finish(store)
        store.records.checkpoint()
        real = taken(store.state) - before
    assert report["sample"] == 250 and report["fits"]
    assert real * 0.8 < report["estimate_bytes"] < real * 1.25


def test_the_sample_is_spread_over_the_source(tmp_path: Path) -> None:
    path = tmp_path / "graph.sqlite"
    stores.create(path)
    keys = [*range(1, 300), *range(100_000, 100_300), *range(1 << 40, (1 << 40) + 300)]
    stores.insert(path, "memory_nodes", [stores.node(key, "x") for key in keys])
    stores.execute(path, "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode=DELETE;")
    with LegacyGraph.open(path) as graph:
        found = {row.key for row in spread(graph, graph.survey(), 200)}
    assert found <= set(keys) and 20 <= len(found) <= 200
    assert {1, 1 << 40} <= found
    even = tmp_path / "even.sqlite"
    stores.create(even)
    stores.insert(even, "memory_nodes", [stores.node(key, "x") for key in range(1, 1001)])
    stores.execute(even, "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode=DELETE;")
    with LegacyGraph.open(even) as graph:
        found = {row.key for row in spread(graph, graph.survey(), 200)}
    assert len(found) == 200
    assert [sum(key > edge for key in found) for edge in (500, 900)] == [100, 20]


def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = fill(tmp_path / "graph.sqlite", 500, 20)
    with opened(tmp_path / "state") as (store, manager):
        real = shutil.disk_usage(store.state)
        scarce = type(real)(real.total, real.used, source.stat().st_size + (16 << 20) + 1000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: scarce)
        told = attach(manager, source, dry_run=True)["report"]
        assert not told["fits"] and told["free_bytes"] < told["estimate_bytes"] + (16 << 20)
        with pytest.raises(DiskFull, match="MiB are free"):
            attach(manager, source)
        assert manager.status()["sources"] == []
        assert list((store.state / "snapshots").iterdir()) == []
        monkeypatch.undo()  # doctor looks at the disk, too


# --- a disk that fills up on the way --------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB of our own."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "nimad-test", str(place)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root, where mounting is allowed, can make a small disk")
    yield place
    # a child of a daemon that was killed a moment ago may still have a file open
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def until(look: Callable[[], bool], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


def test_a_full_disk_pauses_and_nothing_is_lost(
    small_disk: Path, tmp_path: Path, make_daemon: Callable[..., DaemonProcess]
) -> None:
    source = fill(tmp_path / "graph.sqlite", 4000, 60)
    daemon = make_daemon("home")
    daemon.state = small_disk / "state"
    daemon.start()
    ballast = small_disk / "ballast"
    command = [sys.executable, "-m", "nimad.ctl.main", "--socket", str(daemon.socket), "migrate"]
    wishes = [str(source), "--strategy", "full", "--batch-size", "20", "--name", "graph"]
    forked.run([*command, *wishes], check=True, capture_output=True)
    until(lambda: daemon.call("migrate.status")["sources"][0]["copied"] > 0)
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:  # somebody else fills the card
            file.write(bytes(1 << 16))
    until(lambda: "disk" in daemon.log().lower())
    (source_now,) = daemon.call("migrate.status")["sources"]
    assert source_now["state"] != "verified"
    ballast.unlink()
    daemon.call("migrate.resume", {"name": "graph"})
    until(lambda: daemon.call("migrate.status")["sources"][0]["state"] == "verified")
    assert daemon.call("migrate.verify", {"name": "graph"})["ok"]
    problems = daemon.call("doctor")["problems"]
    assert [problem["part"] for problem in problems] == ["disk"]  # it is small, that is all
