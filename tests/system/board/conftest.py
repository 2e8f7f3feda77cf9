"""The look-alike of `make test-pi`, which sets NIMAD_PI_...: booted, without nimad."""

from __future__ import annotations

import json
import os
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
STORES = ROUNDS // 2 + 1
"""Legacy stores that are migrated while the power goes."""
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


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    folder = tmp_path_factory.mktemp("board")
    made = Emulated(folder, int(os.environ["NIMAD_PI_MEMORY"]), PI, card=True)
    store = store_of(MEMORIES, folder / "graph.sqlite")
    files: dict[str, Path | str] = {
        GUEST: Path(__file__).with_name("guest.py"),
        "/home/maya/graph.sqlite": store,
    }
    for number in range(STORES):
        files[f"/home/maya/more{number}.sqlite"] = store_of(1500, folder / f"more{number}.sqlite")
    made.build(
        Path(os.environ["NIMAD_PI_ROOT"]), Path(os.environ["NIMAD_PI_DEB"]), files, install=False
    )
    try:
        made.boot()
        made.run("chown -R maya: /home/maya")
        yield made
    finally:
        made.remove()


@pytest.fixture
def ask(board: Emulated) -> Ask:
    """Calls nimactl --json and returns what it says, whatever it exits with."""

    def call(arguments: str, timeout: float = 900.0) -> Any:
        return json.loads(board.run(f"nimactl --json {arguments}", check=False, timeout=timeout))

    return call


@pytest.fixture
def guest(board: Emulated) -> Guest:
    """Runs a verb of guest.py inside, and returns what it says."""

    def call(verb: str, *arguments: int, timeout: float = 900.0) -> Any:
        words = " ".join(map(str, arguments))
        return json.loads(board.run(f"python3 {GUEST} {verb} {words}", timeout=timeout))

    return call
