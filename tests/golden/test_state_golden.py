"""State directories of an older version open, and answer what they answered then."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.golden import old_state
from tests.process import DaemonProcess

Start = Callable[[str], DaemonProcess]


@pytest.fixture
def start(make_daemon: Callable[..., DaemonProcess]) -> Start:
    """Starts today's daemon on a copy of one of the directories."""

    def on(name: str) -> DaemonProcess:
        daemon = make_daemon(config=old_state.CONFIG)
        old_state.unpack("v1", name, daemon.state)
        return daemon.start()

    return on


def at_work(daemon: DaemonProcess) -> bool:
    """Is any source still under way?"""
    states = {source["state"] for source in daemon.call("migrate.status")["sources"]}
    return not states <= {"verified"}


def wait_while(busy: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 150  # what failed once is tried again after a minute
    while busy():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def told_of(version: str) -> dict[str, Any]:
    path = old_state.HERE / f"state-{version}.json"
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return told


@pytest.mark.parametrize("part", sorted(told_of("v1").keys() - {"queries"}))
def test_it_answers_what_it_answered(answers: dict[str, Any], part: str) -> None:
    told = told_of("v1")[part]
    if part == "export":  # fields that came later hold nothing, but for what a source tells
        now = answers[part]
        assert [{name: m[name] for name in old} for m, old in zip(now, told, strict=True)] == told
        assert {(m["source"] is None, m["origin"], m["agent"]) for m in now} == {
            (True, None, None),
            (False, "imported", None),
        }
        return
    assert answers[part] == told


def test_it_finds_what_it_found(answers: dict[str, Any]) -> None:
    """The order may get better; what came first then is still among the answers."""
    for question, hits in told_of("v1")["queries"].items():
        found = {number for number, _ in answers["queries"][question]}
        assert not hits or hits[0][0] in found | set(answers["copies"][question]), question


def test_it_answers_like_a_new_store(
    answers: dict[str, Any], tmp_path: Path, make_daemon: Callable[..., DaemonProcess]
) -> None:
    """Each question finds what it finds, as well, in a store made today of the same memories."""
    lines = [json.dumps(memory) for memory in answers["export"]]
    (tmp_path / "all.jsonl").write_text("\n".join(lines) + "\n")
    fresh = make_daemon(config=old_state.CONFIG).start()
    old_state.nimactl(fresh, "import", tmp_path / "all.jsonl")
    now = old_state.answers(fresh.call)
    number = {m["id"]: n["id"] for m, n in zip(answers["export"], now["export"], strict=True)}
    for question, hits in answers["queries"].items():
        found = [(number[old], score) for old, score in hits]
        assert found == now["queries"][question], question
    assert sum(map(len, answers["queries"].values())) > 50


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What today's daemon answers on the directory `whole`, which is clean all the time."""
    daemon = DaemonProcess(tmp_path_factory.mktemp("whole"), config=old_state.CONFIG, fork=True)
    try:
        old_state.unpack("v1", "whole", daemon.state)
        told: dict[str, Any] = json.loads(json.dumps(old_state.answers(daemon.start().call)))
        assert daemon.call("doctor")["problems"] == []
        assert daemon.call("status")["degraded"] == {}
        assert daemon.stop() == 0
        assert daemon.start().call("doctor")["problems"] == []
        return told
    finally:
        daemon.finish()


def test_its_backups_still_hold_every_row(start: Start) -> None:
    daemon = start("whole")
    for name in ("graph", "sessions", "sparse_memory"):
        assert daemon.call("migrate.verify", name=name)["ok"], name


def test_what_was_remembered_then_can_be_changed_now(start: Start) -> None:
    daemon = start("whole")
    before = daemon.call("status")["memories"]
    made = daemon.call("remember", text="a heron stood on the pier")["id"]
    (hit,) = daemon.call("query", text="heron on the pier", k=1)["results"]
    assert hit["id"] == made
    assert daemon.call("forget", ids=[1, made], purge=True)["forgotten"] == [1, made]
    daemon.call("migrate.rollback", name="sessions")
    wait_while(lambda: daemon.call("status")["memories"] != before - 1 - 12)
    daemon.call("rebuild", part="all")
    assert daemon.call("doctor")["problems"] == []


def test_a_migration_that_was_cut_off_goes_on(start: Start) -> None:
    daemon = start("halfway")
    wait_while(lambda: at_work(daemon))
    told = daemon.call("migrate.status", name="later")["sources"][0]
    assert (told["total"], told["copied"], told["encoded"]) == (60, 60, 60)
    assert daemon.call("migrate.verify", name="later")["memories"]["identical"] == 60
    assert daemon.call("doctor")["problems"] == []


def test_a_purge_that_was_cut_off_is_finished(make_daemon: Callable[..., DaemonProcess]) -> None:
    daemon = make_daemon(config=old_state.CONFIG)
    secret = old_state.SECRET.encode()

    def left() -> list[Path]:
        found = []
        for path in daemon.state.rglob("*"):
            with suppress(FileNotFoundError, IsADirectoryError):  # it is written and renamed
                if secret in path.read_bytes():
                    found.append(path)
        return found

    old_state.unpack("v1", "purging", daemon.state)
    assert left()
    daemon.start()
    # the note that a purge is unfinished goes last, after the last trace
    wait_while(lambda: left() or "purge" in daemon.call("status")["waiting"])
    ids = [memory["id"] for memory in daemon.call("export", limit=500)["memories"]]
    assert ids and old_state.PURGED not in ids
    assert daemon.call("doctor")["problems"] == []
