"""The cards of `make test-card`, which sets NIMAD_CARD_...: what it needs, and what it prints."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.card.record import Record, record
from tests.system.tools import need

ROUNDS = int(os.environ.get("NIMAD_CARD_ROUNDS", "1"))
IMAGES = int(os.environ.get("NIMAD_CARD_IMAGES", "60"))
SEED = int(os.environ.get("NIMAD_CARD_SEED", "1"))
Report = dict[str, Counter[str]]
"""Counts by trouble: images, acknowledged, lost, ..."""


@pytest.fixture(scope="session", autouse=True)
def _able() -> None:
    need("mkfs.ext4", "e2fsprogs")
    if os.geteuid():
        pytest.skip("only root may mount a card: sudo make test-card")
    if not Path("/dev/fuse").exists():
        pytest.skip("this kernel has no FUSE (/dev/fuse), of which the card is made")
    free = subprocess.run(["losetup", "--find"], capture_output=True, text=True)
    if free.returncode:
        pytest.skip(f"no disk can be made of a file here: {free.stderr.strip()}")


@pytest.fixture(scope="session")
def report() -> Iterator[Report]:
    """What was counted; a table and a file at the end."""
    found: Report = {}
    yield found
    names = list(dict.fromkeys(name for counted in found.values() for name in counted))
    print("\n" + " ".join([f"{'':18}", *(f"{name:>12}" for name in names)]))
    for trouble, counted in found.items():
        print(" ".join([f"{trouble:18}", *(f"{counted[name]:12}" for name in names)]))
    place = Path(os.environ["NIMAD_CARD_REPORT"])
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(found, indent=2) + "\n")


@pytest.fixture(scope="session", params=range(SEED, SEED + ROUNDS))
def used(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A card that was used, one for each round."""
    return record(tmp_path_factory.mktemp("card"), request.param)
