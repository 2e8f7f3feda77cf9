"""nimactl migrate: what is copied and sent, following to the end, steering, comparing, undoing."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from nimad.ctl import wait
from nimad.ctl.client import Client
from nimad.ctl.main import main
from nimad.errors import NotFound
from nimad.zone_name import local_name
from tests.fake_daemon import FakeDaemon, source
from tests.threads import Background


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    answer = {"name": "graph", "new": True, "total": 2, "report": {}}
    with FakeDaemon(tmp_path / "s", **{"migrate.attach": answer}) as daemon:
        yield daemon


@pytest.fixture
def run(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    monkeypatch.setenv("NIMAD_SOCKET", str(daemon.path))
    monkeypatch.setattr(wait, "QUICK", 0.01)
    monkeypatch.setattr(wait, "SLOW", 0.02)

    def run(*args: object) -> Ran:
        code = main([str(arg) for arg in args])
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small store in the true shape, and scratch space beside it."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    path = tmp_path / "graph.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "CREATE TABLE memory_nodes (id INTEGER PRIMARY KEY, timestamp INTEGER, layer TEXT,"
            " text TEXT, summary TEXT, who TEXT);"
            "CREATE TABLE memory_edges (id INTEGER PRIMARY KEY, source_id INTEGER,"
            " target_id INTEGER, relation TEXT, weight REAL);"
            "CREATE TABLE memory_turns (id INTEGER PRIMARY KEY, turn_id TEXT);"
            "INSERT INTO memory_nodes VALUES (1, 1, 'input', 'a', '', 'M'),"
            " (2, 2, 'output', 'b', '', 'M');"
        )
    connection.close()
    return path


def listing(*sources: dict[str, Any], idle: bool = True) -> dict[str, Any]:
    return {"sources": list(sources), "idle": idle, "free_memory_bytes": 1}


def steps(*results: Any) -> Callable[[dict[str, Any]], Any]:
    """One result after the other; the last one stays."""
    left = list(results)
    return lambda params: left.pop(0) if len(left) > 1 else left[0]


# --- taking over ----------------------------------------------------------------------------------


def test_the_copy_is_handed_over_with_what_it_is(
    run: Run, daemon: FakeDaemon, graph: Path, tmp_path: Path
) -> None:
    options = ("--strategy", "full", "--batch-size", "7", "--start-offset", "1", "--name", "old")
    ran = run("migrate", graph, *options)
    assert ran.code == 0
    assert "nimad takes over 2 memories as graph." in ran.out
    (sent,) = daemon.sent("migrate.attach")
    (copy,) = daemon.files
    assert copy.startswith(b"SQLite format 3\0")
    assert sent == {
        "path": str(graph),
        "kind": "nima-sqlite",
        "sha256": hashlib.sha256(copy).hexdigest(),
        "size": len(copy),
        "strategy": "full",
        "batch_size": 7,
        "start_offset": 1,
        "name": "old",
        "time_zone": local_name(),
    }
    assert list((tmp_path / "scratch").iterdir()) == [], "no copy stays behind"


def test_what_is_no_store_is_refused_before_anyone_is_asked(
    run: Run, daemon: FakeDaemon, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("hello")
    for path, code in ((tmp_path / "text", 65), (tmp_path / "none", 66), (tmp_path, 65)):
        ran = run("migrate", path, "--wait")
        assert ran.code == code and ran.err.count("\n") == 1
    assert daemon.calls == []


def test_nothing_is_copied_for_a_daemon_that_is_not_there(
    run: Run, graph: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("nimad.ctl.handover.take_snapshot", None)
    assert run("--socket", tmp_path / "no", "migrate", graph).code == 69


def test_a_known_source_is_said_to_be_known(run: Run, daemon: FakeDaemon, graph: Path) -> None:
    daemon.answers["migrate.attach"] = {"name": "graph", "new": False, "total": 2, "report": {}}
    assert "graph is known already (2 memories)." in run("migrate", graph).out


def test_a_dry_run_tells_what_there_is(run: Run, daemon: FakeDaemon, graph: Path) -> None:
    report = {
        "schema": 1,
        "memories": 4112,
        "relations": 4038,
        "turns": 1346,
        "layers": {"input": 1417, "output": 2695},
        "already": 5,
        "unreadable": 0,
        "dangling": 1,
        "text_bytes": 1_200_000,
        "batch_size": 1000,
        "batches": 5,
        "estimate_seconds": 2.6,
        "backup_bytes": 3_100_000,
        "estimate_bytes": 6_100_000,
        "free_bytes": 80_000_000_000,
        "free_memory_bytes": 1,
        "refusals": [{"kind": "edge", "key": 9, "reason": "memory 7 does not exist"}],
    }
    answer = {"name": "graph", "new": True, "total": 4112, "report": report}
    daemon.answers["migrate.attach"] = answer
    out = run("migrate", graph, "--dry-run", "--wait").out
    assert daemon.sent("migrate.attach")[0]["dry_run"] is True
    for part in (
        "graph (new, schema 1); nothing was written",
        "4,112 (1,417 input, 2,695 output)",
        "4,038 (1 more lead nowhere)",
        "5 of 1,000",
        "about 3 s",
        "about 6.1 MB, 3.1 MB of it the backup; 80 GB are free",
        "edge 9: memory 7 does not exist",
    ):
        assert part in out
    assert json.loads(run("migrate", graph, "--dry-run", "--json").out) == answer


# --- waiting --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "code", "message"),
    [
        ("verified", 0, ""),
        ("paused", 75, "The migration of graph is paused. `nimactl migrate --resume graph`"),
        ("failed", 65, "The migration of graph stopped: the disk is full."),
        ("rolled_back", 65, "it was rolled back meanwhile"),
    ],
)
def test_waiting_ends_with_the_outcome(
    run: Run, daemon: FakeDaemon, graph: Path, end: str, code: int, message: str
) -> None:
    error = "the disk is full" if end == "failed" else None
    daemon.answers["migrate.status"] = steps(
        listing(source(state="copying", copied=100, encoded=0, linked=0, verified=0)),
        listing(source(state="encoding", encoded=100, linked=0, verified=0, eta_seconds=7)),
        listing(source(state=end, error=error)),
    )
    ran = run("migrate", graph, "--wait")
    assert ran.code == code
    assert message in ran.err
    assert "copied 4,112" in ran.out or end == "rolled_back"
    lines = [line for line in ran.err.splitlines() if "[INFO]" in line]
    assert "graph: copying (0.6% complete, ETA: 0s)" in lines[0]
    assert "graph: encoding (25.6% complete, ETA: 7s)" in lines[1]


def test_waiting_as_json_prints_the_last_status_alone(
    run: Run, daemon: FakeDaemon, graph: Path
) -> None:
    daemon.answers["migrate.status"] = steps(listing(source(state="copying")), listing(source()))
    ran = run("migrate", graph, "--wait", "--json")
    assert json.loads(ran.out) == listing(source())
    assert (ran.code, ran.err) == (0, "")


def test_waiting_survives_a_restart_of_the_daemon(
    run: Run, daemon: FakeDaemon, graph: Path
) -> None:
    """The daemon goes away in the middle of an answer and is back half a second later."""

    def restart(params: dict[str, Any]) -> Any:
        daemon.answers["migrate.status"] = listing(source())
        coming.start()
        while daemon.path.exists():
            time.sleep(0.001)
        return FakeDaemon.DROP

    def come_again() -> None:
        daemon.stop()
        time.sleep(0.5)
        daemon.start()

    coming = Background(come_again)
    daemon.answers["migrate.status"] = restart
    ran = run("migrate", graph, "--wait")
    coming.finish()
    assert (ran.code, "verified" in ran.out) == (0, True)


def test_waiting_gives_up_on_a_daemon_that_stays_away(
    run: Run, daemon: FakeDaemon, graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wait, "RESTART", 0.3)
    daemon.answers["migrate.status"] = FakeDaemon.DROP
    assert run("migrate", graph, "--wait").code == 69


def test_interrupting_the_handover_tells_that_it_may_go_on(
    run: Run, daemon: FakeDaemon, graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Client.call

    def call(client: Client, verb: str, fd: int | None = None, **params: Any) -> dict[str, Any]:
        if verb == "migrate.attach":
            raise KeyboardInterrupt
        return original(client, verb, fd, **params)

    monkeypatch.setattr(Client, "call", call)
    ran = run("migrate", graph, "--wait")
    assert ran.code == 130
    assert "nimad may take the copy over all the same" in ran.err


def test_interrupting_leaves_the_migration_be(
    run: Run, daemon: FakeDaemon, graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    daemon.answers["migrate.status"] = listing(source(state="copying"))
    monkeypatch.setattr(wait, "time", SimpleNamespace(sleep=interrupt))
    ran = run("migrate", graph, "--wait")
    assert ran.code == 130
    assert "Stopped by the user. It goes on in nimad: `nimactl migrate --status" in ran.err


# --- status, watch --------------------------------------------------------------------------------


def test_status_shows_each_source(run: Run, daemon: FakeDaemon) -> None:
    row = {"kind": "edge", "key": 9, "reason": "its target does not exist"}
    daemon.answers["migrate.status"] = listing(
        source(quarantined=1, quarantine=[row]),
        source(
            "other", "encoding", encoded=1000, linked=0, verified=0, eta_seconds=65, path="/\x1b/x"
        ),
        source("third", "failed", error="it broke"),
    )
    out = run("migrate", "--status").out
    assert "graph  verified  [########################] 100 %" in out
    assert "4,112 memories: copied 4,112, encoded 4,112, linked 4,112, verified 4,112" in out
    assert "1 row quarantined" in out and "edge 9: its target does not exist" in out
    assert "batches of 1,000, 1:05 left" in out
    assert "stopped: it broke" in out and "nimactl migrate --resume third goes on" in out
    assert "\x1b" not in out
    shown = json.loads(run("migrate", "--status", "graph", "--json").out)
    assert shown["sources"][0]["quarantine"] == [row]
    assert daemon.sent("migrate.status") == [{}, {"name": "graph"}]


def test_status_of_nothing(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers["migrate.status"] = listing()
    assert "Nothing was migrated yet" in run("migrate", "--status").out


def test_watch_ends_when_nothing_is_under_way(run: Run, daemon: FakeDaemon) -> None:
    moving = listing(source(state="linking", linked=5, verified=0))
    daemon.answers["migrate.status"] = steps(moving, moving, listing(source()))
    ran = run("migrate", "--status", "--watch")
    assert ran.code == 0
    assert ran.out.count("graph  linking") == 1, "what has not changed is not printed again"
    assert ran.out.count("graph  verified") == 1
    daemon.answers["migrate.status"] = steps(moving, listing(source()))
    lines = run("migrate", "--status", "--watch", "--json").out.splitlines()
    assert [json.loads(line)["sources"][0]["state"] for line in lines] == ["linking", "verified"]


# --- steering and undoing -------------------------------------------------------------------------


def test_pause_and_resume(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers["migrate.pause"] = {"sources": ["graph"]}
    daemon.answers["migrate.resume"] = {"sources": []}
    assert run("migrate", "--pause").out == "graph: paused\n"
    assert run("migrate", "--resume", "graph").out == "No migration is under way.\n"
    assert daemon.sent("migrate.pause") == [{}]
    assert daemon.sent("migrate.resume") == [{"name": "graph"}]


def test_now_names_what_goes_on(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers["migrate.now"] = {"sources": ["graph"]}
    assert run("migrate", "--now").out == "graph: goes on now, idle or not\n"
    assert run("migrate", "--now", "graph", "--json").code == 0
    assert daemon.sent("migrate.now") == [{}, {"name": "graph"}]


def test_the_status_says_what_it_waits_for_and_why_batches_are_so_large(
    run: Run, daemon: FakeDaemon
) -> None:
    why = "halved: memory pressure 12 %"
    moving = source(state="copying", strategy="incremental", batch_size=500, batch_reason=why)
    told = {"idle": False, "because": "load 1.20 over 0.70 per processor"}
    daemon.answers["migrate.status"] = {**listing(moving), **told, "free_memory_bytes": 150 << 20}
    out = run("migrate", "--status").out
    assert f"batches of 500 ({why})" in out
    assert "not idle: load 1.20 over 0.70 per processor\n" in out
    assert "nimactl migrate --now graph does not wait" in out
    assert "of memory free" in out
    daemon.answers["migrate.status"] = {**listing({**moving, "now": True}), **told}
    assert "not idle" not in run("migrate", "--status").out, "it does not wait for that"


def compared(ok: bool) -> dict[str, Any]:
    same = {"expected": 5, "found": 5, "identical": 5, "differing": 0, "missing": 0, "added": 0}
    memories = same if ok else {**same, "identical": 3, "differing": 1, "missing": 1}
    found = {"kind": "memory", "id": 3, "field": "text", "detail": "it differs"}
    return {
        "name": "graph",
        "ok": ok,
        "memories": memories,
        "relations": same,
        "turns": same,
        "vectors_missing": 0 if ok else 4,
        "quarantined": 1,
        "forgotten": 3,
        "changed": 1,
        "removed": 1,
        "differences": [] if ok else [found],
        "took_ms": 1200.0,
    }


def test_verify_says_that_all_is_alike(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers["migrate.verify"] = compared(True)
    ran = run("migrate", "--verify", "graph")
    assert ran.code == 0
    assert "3 memories forgotten here on request" in ran.out
    assert "2 rows changed or deleted in the source since" in ran.out
    assert (
        "identical with its source: 5 memories, 5 relations, 5 turns; compared in 1.2 s" in ran.out
    )


def test_verify_lists_what_differs(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers["migrate.verify"] = compared(False)
    ran = run("migrate", "--verify", "graph")
    assert ran.code == 65
    assert "memory 3: text: it differs" in ran.out
    assert "4 memories without a vector: nimactl rebuild blocks" in ran.out
    assert "graph: 6 rows differ from the source." in ran.err


def test_rollback_asks_on_a_terminal(
    run: Run, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = {"memories": 4112, "relations": 4038, "turns": 1346}
    daemon.answers["migrate.rollback"] = {"name": "graph", "removed": removed}
    daemon.answers["migrate.status"] = listing(source())

    class Terminal:
        def __init__(self, answer: str) -> None:
            self.answer = answer

        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return self.answer

    monkeypatch.setattr(sys, "stdin", Terminal("\n"))
    ran = run("migrate", "--rollback", "graph")
    assert (ran.code, ran.out) == (1, "")
    assert "Remove 4,112 memories that came from graph? [y/N]" in ran.err
    assert daemon.sent("migrate.rollback") == []
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    ran = run("migrate", "--rollback", "graph")
    assert ran.out == "rolled back graph: 4,112 memories, 4,038 relations, 1,346 turns removed\n"
    monkeypatch.setattr(sys, "stdin", Terminal(""))
    assert run("migrate", "--rollback", "graph", "--yes").code == 0


def test_forgetting_a_backup(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers["migrate.forget_backup"] = {"name": "graph", "freed_bytes": 3_100_000}
    assert "3.1 MB freed" in run("migrate", "--forget-backup", "graph").out


def test_a_source_nobody_knows(run: Run, daemon: FakeDaemon) -> None:
    def verify(params: dict[str, Any]) -> Any:
        raise NotFound(kind="source", id=params["name"])

    daemon.answers["migrate.verify"] = verify
    ran = run("migrate", "--verify", "nothing")
    assert ran.code == 1 and "There is no source nothing." in ran.err
