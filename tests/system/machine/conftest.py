"""The emulated machine of `make test-vm`, which sets NIMAD_VM_DEB and NIMAD_VM_ROOT."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.legacy import stores
from tests.system.machine.emulated import Emulated

MEMORY_MAX = "256M"
NODES, FEWER, FEW = 20_000, 4000, 600
"""Memories of the stores: for little memory, for power cuts, for idle moments."""
TOLD = """
garden kettle winter river Maya planted radishes behind the old shed and the train was late again so
Pilar walked home along the lake with a borrowed umbrella while Tomas mended the gate
"""
WORDS = TOLD.split()
Ask = Callable[..., Any]


def sentence(whose: str, key: int) -> str:
    """20 to 500 words that are the same each time: what agents keep, in length and variety."""
    chance = random.Random(f"{whose} {key}")
    length = chance.choice((20, 40, 60, 120, 500))
    return f"{key}: " + " ".join(chance.choice(WORDS) for _ in range(length))


def store_of(count: int, path: Path) -> Path:
    """A legacy store of so many memories in turns of three, each turn a chain.

    Its first memory is that of no other: a store is known again by it.
    """
    stores.create(path)
    began = 1_700_000_000_000 + count
    nodes = [
        stores.node(key, sentence(path.stem, key), timestamp=began + 1000 * key)
        for key in range(1, count + 1)
    ]
    stores.insert(path, "memory_nodes", nodes)
    edges = [
        {"source_id": key, "target_id": key + 1, "relation": "triggered", "weight": 1.0}
        for key in range(1, count)
        if key % 3
    ]
    stores.insert(path, "memory_edges", edges)
    return path


def wait_until_done(ask: Ask, name: str, seconds: float) -> dict[str, Any]:
    """Look at a source now and then until nothing is due any more."""
    deadline = time.monotonic() + seconds
    while True:
        status = ask(f"migrate --status {name}")
        (source,) = status["sources"]
        if source["state"] in ("verified", "failed", "paused"):
            return dict(source)
        assert time.monotonic() < deadline, status
        time.sleep(5)


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    """The machine, booted: nimad with MEMORY_MAX, and a store to be migrated."""
    made = Emulated(tmp_path_factory.mktemp("board"))
    place = tmp_path_factory.mktemp("stores")
    sizes = {"graph": NODES, "fewer": FEWER, "few": FEW}
    made_stores = {name: store_of(sizes[name], place / f"{name}.sqlite") for name in sizes}
    limit = f"[Service]\nMemoryMax={MEMORY_MAX}\n"
    made.build(
        Path(os.environ["NIMAD_VM_ROOT"]),
        Path(os.environ["NIMAD_VM_DEB"]),
        {
            "/etc/systemd/system/nimad.service.d/limit.conf": limit,
            **{f"/home/maya/{name}.sqlite": path for name, path in made_stores.items()},
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
