"""Real checkpoints through a real daemon: `similar --dense` finds what the dense vectors say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.legacy.snapshot_kinds import open_snapshot
from nimad.store import hypervector_files, sources
from tests.hypervectors import neighbours
from tests.legacy.test_expected import migrated, nimactl
from tests.process import DaemonProcess

SOURCES = {
    # path below shared/legacy: (memories, least recall, least times smaller than float32)
    "sessions": (160, 0.93, 8),
    "sessions_50k": (24, 0.9, 8),
    "sessions_bf16": (30, 0.93, 8),
    "sparse_memories": (40, 0.9, 30),
}


def dense_rows(state: Path) -> tuple[Any, dict[Any, int]]:
    """The snapshot's vectors by key, and the memory of each key."""
    store = MemoryStore.open(state, Config().replace(graph__engine="none"))
    try:
        (source,) = sources.all_sources(store.records)
        assert source.snapshot is not None
        with open_snapshot(source.kind, state / "snapshots" / source.snapshot) as files:
            dense = files.dense()
            assert dense is not None
            keys = dense.keys()
            found = dense.rows(keys)
        ids = sources.memory_ids(store.records, source.id, keys.tolist())
        items = len(hypervector_files.items(store.records, source.id))
        size = hypervector_files.bytes_of(store.records, source.id)
    finally:
        store.close()
    return (found, (len(keys) + items) * 4 * found.shape[1] / size), ids


@pytest.mark.parametrize("name", SOURCES)
def test_neighbours_of_a_real_store(daemon: DaemonProcess, legacy_dir: Path, name: str) -> None:
    memories, least, smaller = SOURCES[name]
    shown = migrated(daemon, legacy_dir / name)
    assert (shown["converted"], shown["total_dense"]) == (memories, memories)
    assert (
        daemon.call("migrate.verify", name=shown["name"])["hypervectors"]["identical"] == memories
    )
    answers = {
        number: daemon.call("similar", {"id": number, "k": 10, "dense": True})["results"]
        for number in range(1, memories + 1)
    }
    code, told = nimactl(daemon, "similar", 1, "--dense", "-k", 10)
    assert code == 0
    assert [each["id"] for each in told["results"]] == [each["id"] for each in answers[1]]
    daemon.stop()
    (vectors, ratio), ids = dense_rows(daemon.state)
    assert ratio >= smaller
    numbers = list(ids.values())
    hits = 0
    for place, near in enumerate(neighbours(vectors)):
        found = {result["id"] for result in answers[numbers[place]]}
        hits += len(found & {numbers[int(other)] for other in near})
    assert hits / (10 * memories) >= least


def test_a_memory_without_one(daemon: DaemonProcess, legacy_dir: Path) -> None:
    migrated(daemon, legacy_dir / "metadata_only")
    code, told = nimactl(daemon, "similar", 1, "--dense")
    assert code == 1 and told["error"]["code"] == "no_hypervector"


def test_roles_of_a_real_checkpoint(daemon: DaemonProcess, legacy_dir: Path) -> None:
    migrated(daemon, legacy_dir / "sessions")
    daemon.stop()
    store = MemoryStore.open(daemon.state, Config().replace(graph__engine="none"))
    right = asked = 0
    names = {
        item.name for item in hypervector_files.items(store.records, 1) if item.kind == "filler"
    }
    for number in range(1, 161):
        memory = store.get(number)
        for role, said in (("WHO", memory.who), ("WHERE", memory.where)):
            if said in names:
                best, score = store.dense.unbind(number, role, 1)[0]
                right, asked = right + (best == said), asked + 1
                assert best != said or score > 0.3
    store.close()
    assert asked > 200 and right == asked
