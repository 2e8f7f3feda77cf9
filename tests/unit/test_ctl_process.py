"""nimactl as a process: what it loads, how fast it starts, pipes, signals, locales, terminals."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fake_daemon import FakeDaemon, memory, source
from tests.threads import PATIENCE

NIMACTL = [sys.executable, "-m", "nimad.ctl.start"]
HEAVY = {"numpy", "numba", "llvmlite", "tenacity", "sqlite3", "yaml", "psutil", "asyncio"}
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    found = {"results": [memory(score=0.5)], "took_ms": 1.0, "degraded": []}
    with FakeDaemon(tmp_path / "s", query=found) as daemon:
        yield daemon


@pytest.fixture
def environment(daemon: FakeDaemon) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "TERM")}
    return {**plain, "NIMAD_SOCKET": str(daemon.path), "PYTHONPATH": str(ROOT), "TERM": "xterm"}


def nimactl(
    environment: dict[str, str], *args: str, **more: Any
) -> subprocess.CompletedProcess[Any]:
    return subprocess.run(
        [*NIMACTL, *args], env=environment, capture_output=True, timeout=PATIENCE, **more
    )


# --- what is loaded -------------------------------------------------------------------------------

LOADED = """
import sys
from nimad.ctl.start import main
code = main(sys.argv[1:])
print("LOADED", *sorted({name.split(".")[0] for name in sys.modules}))
sys.exit(code)
"""


PLAIN = (
    """
import sys
sys.path.insert(0, sys.argv.pop(1))
"""
    + LOADED
)


@pytest.mark.parametrize("args", [["--help"], ["query", "x", "--explain"], ["migrate", "--status"]])
def test_only_the_light_part_is_loaded(
    daemon: FakeDaemon, environment: dict[str, str], args: list[str]
) -> None:
    daemon.answers["migrate.status"] = {"sources": [source()], "idle": True}
    ran = subprocess.run(
        [sys.executable, "-c", LOADED, *args], env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    loaded = set(ran.stdout.splitlines()[-1].split()[1:])
    assert "argparse" in loaded
    assert not HEAVY & loaded


@pytest.mark.parametrize(
    "args",
    [
        ["query", "x"],
        ["--json", "query", "x"],
        ["--timeout", "9", "query", "x"],
        ["remember", "a", "b"],
    ],
)
def test_plain_commands_load_next_to_nothing(
    daemon: FakeDaemon, environment: dict[str, str], args: list[str]
) -> None:
    daemon.answers["remember"] = {"id": 1}
    ran = subprocess.run(
        [sys.executable, "-IS", "-c", PLAIN, str(ROOT), *args],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    loaded = set(ran.stdout.splitlines()[-1].split()[1:])
    assert "nimad" in loaded
    assert not loaded & {"argparse", "re", "json", "socket", "typing", "collections", "pathlib"}


def test_help_takes_little_of_a_processor(environment: dict[str, str]) -> None:
    """Times of the clock would tell what else the machine does: an import is the measure."""

    def least(command: list[str]) -> float:
        """The processor time that the quickest of five runs takes [s]."""
        taken = []
        for _ in range(5):
            with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
                _, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0
            taken.append(used.ru_utime + used.ru_stime)
        return min(taken)

    assert least([*NIMACTL, "--help"]) < 2 * least([sys.executable, "-c", "import numpy"])


# --- pipes and signals ----------------------------------------------------------------------------


def test_a_reader_that_leaves_is_no_error(daemon: FakeDaemon, environment: dict[str, str]) -> None:
    page = {"memories": [memory(text="x" * 10_000)] * 80, "next": 5}
    daemon.answers["export"] = page  # without end: only the closed pipe stops it
    process = subprocess.Popen(
        [*NIMACTL, "export"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(100)
    process.stdout.close()
    assert process.wait(PATIENCE) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


def test_a_full_disk_behind_the_output_is_an_error(environment: dict[str, str]) -> None:
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(
            [*NIMACTL, "query", "x"], env=environment, stdout=full, stderr=subprocess.PIPE
        )
    assert ran.returncode == 73
    assert b"standard output cannot be written: No space left" in ran.stderr


def test_closed_outputs_do_no_harm(environment: dict[str, str]) -> None:
    command = " ".join(NIMACTL)
    for closing, code in ((">&-", 0), ("2>&-", 0)):
        ran = subprocess.run(f"{command} query x {closing}", shell=True, env=environment)
        assert ran.returncode == code


def test_ctrl_c_is_told_in_one_line(daemon: FakeDaemon, environment: dict[str, str]) -> None:
    entered = threading.Event()

    def wait(params: dict[str, Any]) -> Any:
        entered.set()
        return FakeDaemon.HANG

    daemon.answers["query"] = wait
    process = subprocess.Popen(
        [*NIMACTL, "query", "x"], env=environment, stderr=subprocess.PIPE, text=True
    )
    assert entered.wait(PATIENCE)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert said.startswith("nimactl: Stopped by the user.") and said.count("\n") == 1


# --- locales --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C.UTF-8"},
    ],
)
def test_every_locale_can_show_and_ask_everything(
    daemon: FakeDaemon, environment: dict[str, str], locale: dict[str, str]
) -> None:
    asked: list[str] = []

    def query(params: dict[str, Any]) -> Any:
        asked.append(params["text"])
        return {"results": [memory(text="Zürich 東京 🌱", score=1)], "took_ms": 1, "degraded": []}

    daemon.answers["query"] = query
    ran = nimactl({**environment, **locale}, "query", "Zürich?")
    assert ran.returncode == 0, ran.stderr
    assert b"rich" in ran.stdout
    shown = json.loads(nimactl({**environment, **locale}, "query", "Zürich?", "--json").stdout)
    assert shown["results"][0]["text"] == "Zürich 東京 🌱"
    assert asked == ["Zürich?", "Zürich?"]


def test_an_argument_that_is_no_text(environment: dict[str, str]) -> None:
    ran = subprocess.run(
        [*NIMACTL, "query", b"\xff\xfe"], env=environment, capture_output=True, timeout=PATIENCE
    )
    assert ran.returncode == 64
    assert b"not valid UTF-8" in ran.stderr


def test_text_from_standard_input(daemon: FakeDaemon, environment: dict[str, str]) -> None:
    daemon.answers["remember"] = {"id": 1}
    ran = nimactl(environment, "remember", "-", input="long ä\nsecond\n".encode())
    assert ran.stdout == b"remembered as 1\n"
    assert daemon.sent("remember") == [{"text": "long ä\nsecond"}]
    assert nimactl(environment, "remember", "-", input=b"\xff").returncode == 66
    assert nimactl(environment, "remember", "-", input=b" \n").returncode == 64


# --- terminals ------------------------------------------------------------------------------------


def on_a_terminal(environment: dict[str, str], *args: str, typed: bytes = b"") -> tuple[int, str]:
    """Run nimactl on a terminal of its own; the exit code and everything it showed."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*NIMACTL, *args], env=environment, stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    os.write(leader, typed)
    shown = b""
    try:
        while select.select([leader], [], [], PATIENCE)[0]:
            shown += os.read(leader, 1 << 16)
    except OSError:  # the terminal is closed when its last user ends
        pass
    os.close(leader)
    return process.wait(PATIENCE), shown.decode().replace("\r\n", "\n")


def test_colours_only_where_they_are_wanted(environment: dict[str, str]) -> None:
    assert "\x1b[1m17\x1b[0m" in on_a_terminal(environment, "query", "x")[1]
    for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in on_a_terminal({**environment, **variables}, "query", "x")[1]
    assert b"\x1b" not in nimactl(environment, "query", "x").stdout


def test_long_texts_are_cut_on_a_terminal_only(
    daemon: FakeDaemon, environment: dict[str, str]
) -> None:
    found = {"results": [memory(text="word " * 500, score=1)], "took_ms": 1, "degraded": []}
    daemon.answers["query"] = found
    shown = on_a_terminal(environment, "query", "x")[1]
    assert "more lines: nimactl get 17" in shown and shown.count("\n") == 10
    assert nimactl(environment, "query", "x").stdout.count(b"word") == 500


def test_a_memory_cannot_speak_to_the_terminal(
    daemon: FakeDaemon, environment: dict[str, str]
) -> None:
    evil = memory(text="\x1b]0;owned\x07 \x9b5n \u202e", score=1)
    daemon.answers["query"] = {"results": [evil], "took_ms": 1, "degraded": []}
    daemon.answers["export"] = {"memories": [evil], "next": None}
    plain = {**environment, "NO_COLOR": "1"}
    for args in (["query", "x"], ["query", "x", "--json"], ["export"]):
        shown = on_a_terminal(plain, *args)[1]
        assert "owned" in shown and not set("\x1b\x07\x9b\u202e") & set(shown)


def test_watching_draws_in_place(daemon: FakeDaemon, environment: dict[str, str]) -> None:
    left = [source(state="copying", copied=5), source()]
    daemon.answers["migrate.status"] = lambda params: {"sources": [left.pop(0)], "idle": True}
    code, shown = on_a_terminal(environment, "migrate", "--status", "--watch")
    assert code == 0
    assert "copying" in shown and "\x1b[5A\x1b[J" in shown and "verified" in shown


def test_rolling_back_asks_the_terminal(daemon: FakeDaemon, environment: dict[str, str]) -> None:
    daemon.answers["migrate.status"] = {"sources": [source()], "idle": True}
    removed = {"memories": 4112, "relations": 4038, "turns": 1346}
    daemon.answers["migrate.rollback"] = {"name": "graph", "removed": removed}
    assert on_a_terminal(environment, "migrate", "--rollback", "graph", typed=b"n\n")[0] == 1
    assert daemon.sent("migrate.rollback") == []
    code, shown = on_a_terminal(environment, "migrate", "--rollback", "graph", typed=b"y\n")
    assert code == 0 and "rolled back graph" in shown
