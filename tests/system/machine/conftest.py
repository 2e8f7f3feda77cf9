"""The emulated machine of `make test-vm`, which sets NIMAD_VM_DEB and NIMAD_VM_ROOT."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.legacy import stores
from tests.system.machine.emulated import Emulated

MEMORY_MAX = "256M"
NODES = 20_000
TOLD = """
garden kettle winter river Maya planted radishes behind the old shed and the train was late again so
Pilar walked home along the lake with a borrowed umbrella while Tomas mended the gate
"""
WORDS = TOLD.split()
Ask = Callable[..., Any]


def sentence(key: int) -> str:
    """20 to 500 words that are the same each time: what agents keep, in length and variety."""
    chance = random.Random(key)
    length = chance.choice((20, 40, 60, 120, 500))
    return f"{key}: " + " ".join(chance.choice(WORDS) for _ in range(length))


def large_store(path: Path) -> Path:
    """A legacy store of NODES memories in turns of three, each turn a chain."""
    stores.small_store(path, count=3)
    nodes = [stores.node(key, sentence(key)) for key in range(4, NODES + 1)]
    stores.insert(path, "memory_nodes", nodes)
    edges = [
        {"source_id": key, "target_id": key + 1, "relation": "triggered", "weight": 1.0}
        for key in range(4, NODES)
        if key % 3
    ]
    stores.insert(path, "memory_edges", edges)
    return path


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    """The machine, booted: nimad with MEMORY_MAX, and a store to be migrated."""
    made = Emulated(tmp_path_factory.mktemp("board"))
    store = large_store(tmp_path_factory.mktemp("store") / "graph.sqlite")
    limit = f"[Service]\nMemoryMax={MEMORY_MAX}\n"
    made.build(
        Path(os.environ["NIMAD_VM_ROOT"]),
        Path(os.environ["NIMAD_VM_DEB"]),
        {
            "/etc/systemd/system/nimad.service.d/limit.conf": limit,
            "/home/maya/graph.sqlite": store,
        },
    )
    try:
        made.boot()
        made.run("chown -R maya: /home/maya")
        yield made
    finally:
        made.remove()


@pytest.fixture
def ask(board: Emulated) -> Ask:
    """Calls nimactl --json as maya and returns what it says."""

    def call(arguments: str, timeout: float = 300.0) -> Any:
        return json.loads(board.run(f"nimactl --json {arguments}", user="maya", timeout=timeout))

    return call
