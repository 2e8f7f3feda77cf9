"""The look-alike of `make test-pi`, which sets NIMAD_PI_...: booted, without nimad."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.machine.conftest import store_of
from tests.system.machine.emulated import PI, Emulated

MEMORIES = int(os.environ.get("NIMAD_PI_MEMORIES", "10000"))
ROUNDS = int(os.environ.get("NIMAD_PI_ROUNDS", "4"))
REST = float(os.environ.get("NIMAD_PI_REST", "60"))
"""Time before its memory at rest is measured [seconds]."""
GUEST = "/usr/local/lib/guest.py"
Ask = Callable[..., Any]
Guest = Callable[..., Any]


@pytest.fixture(scope="session")
def report() -> Iterator[dict[str, Any]]:
    """What was measured, by name; a table and a file at the end."""
    found: dict[str, Any] = {}
    yield found
    print("\n" + "\n".join(f"{name:28} {value}" for name, value in found.items()))
    place = Path(os.environ["NIMAD_PI_REPORT"])
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(found, indent=2) + "\n")


def made_board(
    folder: Path, package: str, *, card: bool = False, more_stores: int = 0
) -> Iterator[Emulated]:
    """A machine with the package in /var/tmp and Maya's stores, booted; its end at the end."""
    made = Emulated(folder, int(os.environ["NIMAD_PI_MEMORY"]), PI, card=card)
    stores = {"graph": MEMORIES} | {f"more{number}": 1500 for number in range(more_stores)}
    made.build(
        Path(os.environ["NIMAD_PI_ROOT"]),
        Path(package),
        {GUEST: Path(__file__).with_name("guest.py")}
        | {
            f"/home/maya/{name}.sqlite": store_of(count, folder / f"{name}.sqlite")
            for name, count in stores.items()
        },
        install=False,
    )
    try:
        made.boot()
        made.run("chown -R maya: /home/maya")
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    package = os.environ["NIMAD_PI_DEB"]
    yield from made_board(
        tmp_path_factory.mktemp("board"), package, card=True, more_stores=ROUNDS // 2 + 1
    )


def ask_board(board: Emulated, arguments: str, timeout: float = 900.0) -> Any:
    """What nimactl --json says, whatever it exits with."""
    return json.loads(board.run(f"nimactl --json {arguments}", check=False, timeout=timeout))


def measure(board: Emulated, verb: str, *arguments: int, timeout: float = 900.0) -> Any:
    """Run a verb of guest.py inside, and return what it says."""
    words = " ".join(map(str, arguments))
    return json.loads(board.run(f"python3 {GUEST} {verb} {words}", timeout=timeout))


def ready(board: Emulated, seconds: float = 900.0) -> float:
    """Wait until nimad serves; the time from its process to that [seconds]."""
    deadline = time.monotonic() + seconds
    while board.run("systemctl is-active nimad", check=False).strip() != "active":
        assert time.monotonic() < deadline, board.run("journalctl -u nimad --no-pager | tail -20")
        time.sleep(1)
    shown = board.run(
        "systemctl show nimad -p ExecMainStartTimestampMonotonic -p ActiveEnterTimestampMonotonic"
    )
    times = dict(line.split("=") for line in shown.split())
    began, active = (
        int(times[f"{name}TimestampMonotonic"]) for name in ("ExecMainStart", "ActiveEnter")
    )
    return round((active - began) / 1e6, 1)


@pytest.fixture
def ask(board: Emulated) -> Ask:
    return functools.partial(ask_board, board)


@pytest.fixture
def guest(board: Emulated) -> Guest:
    return functools.partial(measure, board)
