"""Fixtures that more than one part of the tests needs."""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, settings

from nimad.probe import priority
from tests import threads
from tests.process import DaemonProcess

if "PYTEST_XDIST_WORKER" in os.environ:  # the processors are taken by the other workers
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# How long examples take says more about the machine's other work than about ours.  In CI they are
# the same ones each time: whether a change passes is not for chance to tell.
settings.register_profile(
    "nimad",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("nimad")

# Tests of priorities start from the usual one, also when all of it runs as idle or batch work.
with suppress(PermissionError):
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))

# Nor is `nimactl doctor` told of the OpenClaw of the person who runs the tests.
os.environ["OPENCLAW_CONFIG_PATH"] = "/nowhere/openclaw.json"

# A shell starts what runs in the background with Ctrl-C ignored, and a process passes that on: what
# the tests start would not heed it either.
signal.signal(signal.SIGINT, signal.default_int_handler)


# A test starts many processes: none compiles nimad anew, whatever the variable says here.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


EXAMPLES = int(os.environ.get("NIMAD_EXAMPLES", "1"))
"""How many times more examples than usual each property is tried with."""
GIVEN = "_hypothesis_internal_use_settings"
"""The attribute of a property in which Hypothesis keeps its settings."""


DISK = tempfile.gettempdir()
MEMORY, ROOM = Path("/dev/shm"), 4 << 30
"""A disk in memory, and what it and the machine must have free for the tests [bytes]."""


def pytest_configure() -> None:
    """`make test` asks for its files in memory, where there is room: on a disk half of the time
    goes into waiting until it has written what only a power cut would take."""
    if "NIMAD_TESTS_IN_MEMORY" not in os.environ or not os.access(MEMORY, os.W_OK):
        return
    disk = os.statvfs(MEMORY)
    free = min(disk.f_bavail * disk.f_frsize, psutil.virtual_memory().available)
    if free >= ROOM and not disk.f_flag & os.ST_NOEXEC:
        tempfile.tempdir = str(MEMORY)


@pytest.fixture
def tmp_path(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """pytest's own; a test marked `disk` has it on a disk, always."""
    if request.node.get_closest_marker("disk") is None:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=DISK) as place:
        yield Path(place)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Takes NIMAD_EXAMPLES times the examples of each property, and none that others had.

    What was collected stays: walking it all takes the garbage collector 0.7 s each time.
    """
    functions = {getattr(item.obj, "__func__", item.obj) for item in session.items}
    machines = {getattr(item, "cls", None) for item in session.items} - {None}
    for test, name in [(f, GIVEN) for f in functions] + [(m, "settings") for m in machines]:
        usual = getattr(test, name, None)
        if EXAMPLES > 1 and isinstance(usual, settings):
            more = usual.max_examples * EXAMPLES
            setattr(test, name, settings(usual, max_examples=more, derandomize=False))
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def threads_are_joined() -> Iterator[None]:
    """A test finishes the threads that it starts, so that none of them fails in another one."""
    with threads.all_finished():
        yield


@pytest.fixture
def at_usual_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle work gets its turn on a busy machine, too: at SCHED_IDLE it would hardly get one."""
    monkeypatch.setattr(priority, "lowest", lambda: os.SCHED_BATCH)


@pytest.fixture(scope="session")
def legacy_dir() -> Path:
    """Real legacy stores: $NIMAD_LEGACY, or shared/legacy beside the checkout; read them only.

    Nothing may be written there, not even by SQLite: copy what an engine would write beside.
    """
    given = os.environ.get("NIMAD_LEGACY")
    root = (Path(given) if given else Path(__file__).parents[2] / "shared" / "legacy").resolve()
    if not (root / "expected.json").is_file():
        pytest.skip(f"no real legacy stores in {root} (NIMAD_LEGACY names another place)")
    return root


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[Callable[..., DaemonProcess]]:
    """Makes daemons that are not started yet (see DaemonProcess); all are ended afterwards."""
    made: list[DaemonProcess] = []

    def make(place: str = "", fork: bool = True, **options: Any) -> DaemonProcess:
        directory = tmp_path / place
        directory.mkdir(exist_ok=True)
        made.append(DaemonProcess(directory, fork=fork, **options))
        return made[-1]

    yield make
    for daemon in made:
        daemon.finish()


@pytest.fixture
def daemon(make_daemon: Callable[..., DaemonProcess]) -> DaemonProcess:
    """A running nimad with an empty state directory."""
    return make_daemon().start()
