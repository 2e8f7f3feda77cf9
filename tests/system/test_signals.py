"""A signal that comes a moment before its process waits, or while it waits in the C library."""

from __future__ import annotations

import signal
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

import pytest

from tests.threads import PATIENCE

LATE = """
import ctypes, functools, operator, os, runpy, signal, sys, time
from types import SimpleNamespace
kill = functools.partial(ctypes.CDLL(None).kill, os.getpid(), signal.{name})
def late(*wait):
    # one call after the other without an instruction of Python's between them
    print("waits", flush=True)
    return list(map(operator.call, [kill, functools.partial(*wait)]))
def stuck():
    print("waits", flush=True)
    return ctypes.CDLL(None).system(b"kill -{name} $PPID; read line")
"""
ENDPOINT = """
from nimad.endpoint import main as program
def listen(place):
    listener = program.listen_at(place).sock
    return SimpleNamespace(accept={accept})
program.listen = listen
"""
ACCEPT = {"late": "lambda: late(listener._accept)", "stuck": "stuck"}
SYNC = """
from nimad.sync import main as program
program.Helper.round = lambda self: {wait}
"""
ROUND = {"late": "late(time.sleep, 600)", "stuck": "stuck()"}
NIMACTL = """
from nimad.ctl import main as program
"""
FOLLOW = """
from nimad.ctl import handover
store = SimpleNamespace(kind=handover.GRAPH, path="graph.sqlite")
handover.stores_at = lambda *_: SimpleNamespace(stores=[store])
handover._Tracker._whole = lambda self: None
handover.time = SimpleNamespace(sleep=lambda _: late(time.sleep, 600))
"""
MCP = """
from nimad.ctl import mcp_server
mcp_server.Server.serve = lambda *_: late(os.read, 0, 1)
"""
WEB = """
import select
from nimad.web import server
server.select = SimpleNamespace(select=lambda *given: late(select.select, *given))
"""
BENCH = """
from nimad.ctl import bench
bench.board = lambda _: late(time.sleep, 600)
"""
DAEMON = """
from nimad import daemon as program, lifecycle
lifecycle.LAST_COMMIT = 0.1
lifecycle.auto_migrate = lambda *_: late(time.sleep, 600)
"""


def ended(program: str, *arguments: object, number: signal.Signals = signal.SIGTERM) -> int:
    """The exit code of a program that ends itself by a signal when it waits."""
    code = LATE.format(name=number.name) + program + "sys.exit(program.main(sys.argv[1:]))"
    code = code.replace("kill -SIG", "kill -")
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            found = process.wait(PATIENCE)
        finally:
            process.kill()
            out, errors = process.communicate()
    assert b"waits" in out, errors
    return found


NEEDS_LIBPQ = pytest.mark.skipif(not find_library("pq"), reason="libpq5 is not installed")
HELPERS = [pytest.param(ENDPOINT, ACCEPT), pytest.param(SYNC, ROUND, marks=NEEDS_LIBPQ)]


@pytest.mark.parametrize("how", ["late", "stuck"])
@pytest.mark.parametrize(("program", "wait"), HELPERS, ids=["endpoint", "sync"])
def test_term_ends_the_helpers(
    tmp_path: Path, program: str, wait: dict[str, str], how: str
) -> None:
    place = tmp_path / "nimad.yaml"
    place.write_text(
        '{"http": {"url": "http://127.0.0.1:9/", "socket": "%s"},'
        ' "sync": {"url": "postgresql:///nimad", "namespaces": {"family": "both"}}}'
        % (tmp_path / "socket")
    )
    once = ["--once"] if program is SYNC else []
    code = program.format(accept=wait[how], wait=wait[how])
    assert ended(code, "--config", place, *once) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_end_what_follows_a_store(number: signal.Signals) -> None:
    assert ended(NIMACTL + FOLLOW, "migrate", "graph.sqlite", "--follow", number=number) == 0


@pytest.mark.parametrize(
    ("program", "arguments", "code"),
    [(MCP, ["mcp"], 130), (WEB, ["web", "--port", "0"], 0), (BENCH, ["bench", "--in"], 130)],
    ids=["mcp", "web", "bench"],
)
def test_ctrl_c_ends_the_others(
    tmp_path: Path, program: str, arguments: list[str], code: int
) -> None:
    given = [*arguments, str(tmp_path)] if arguments[-1] == "--in" else arguments
    assert ended(NIMACTL + program, *given, number=signal.SIGINT) == code
    assert not list(tmp_path.iterdir())


def test_term_ends_a_daemon_that_takes_over_a_store(tmp_path: Path) -> None:
    given = ["--state", tmp_path / "state", "--socket", tmp_path / "socket"]
    assert ended(DAEMON, *given) == 0
    assert not (tmp_path / "socket").exists()
