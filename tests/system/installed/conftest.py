"""The installed package: one machine for the whole run, and the files happen to it in order.

`make test-deb` sets NIMAD_DEB (the package) and NIMAD_ROOT (the tar file of the machine).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.installed.machine import Machine

CHECKOUT = Path(__file__).parents[3]
CONFIG = "/etc/nimad/nimad.yaml"
AT_REST = "".join(
    f"migration.{key}: 0\n"
    for key in ("max_pressure", "max_load", "max_temperature", "min_battery")
)
"""However busy the machine is that the tests run on: to the daemon it is at rest."""
Ask = Callable[..., Any]


@pytest.fixture(scope="session")
def package() -> Path:
    return Path(os.environ["NIMAD_DEB"]).resolve()


@pytest.fixture(scope="session")
def sample_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A legacy store made by our own script."""
    place = tmp_path_factory.mktemp("sample") / "graph.sqlite"
    subprocess.run([sys.executable, CHECKOUT / "packaging/make_sample.py", place], check=True)
    return place


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted machine without nimad, with two users: maya, who will be let in, and eve."""
    made = Machine(tmp_path_factory.mktemp("machine"))
    made.unpack(Path(os.environ["NIMAD_ROOT"]))
    try:
        made.boot()
        made.run("useradd --create-home maya && useradd --create-home eve")
        yield made
    finally:
        made.remove()


@pytest.fixture
def ask(machine: Machine) -> Ask:
    """Calls nimactl --json as maya and returns what it says."""

    def call(arguments: str, user: str = "maya", timeout: float = 120.0) -> Any:
        return json.loads(
            machine.run(f"nimactl --json {arguments}", user=user, timeout=timeout).stdout
        )

    return call
