"""Fixtures that more than one part of the tests needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.process import DaemonProcess

# How long an example takes says more about the machine's other work than about ours.
settings.register_profile("nimad", settings(), deadline=None)
settings.load_profile("nimad")


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

    def make(place: str = "", **options: Any) -> DaemonProcess:
        directory = tmp_path / place
        directory.mkdir(exist_ok=True)
        made.append(DaemonProcess(directory, **options))
        return made[-1]

    yield make
    for daemon in made:
        daemon.finish()


@pytest.fixture
def daemon(make_daemon: Callable[..., DaemonProcess]) -> DaemonProcess:
    """A running nimad with an empty state directory."""
    return make_daemon().start()
