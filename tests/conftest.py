"""Fixtures that more than one part of the tests needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def legacy_dir() -> Path:
    """Real legacy stores: $NIMAD_LEGACY, or shared/legacy beside the checkout; read them only.

    Nothing may be written there, not even by SQLite: copy what an engine would write beside.
    """
    given = os.environ.get("NIMAD_LEGACY")
    root = Path(given) if given else Path(__file__).parents[2] / "shared" / "legacy"
    if not (root / "expected.json").is_file():
        pytest.skip(f"no real legacy stores in {root} (NIMAD_LEGACY names another place)")
    return root
