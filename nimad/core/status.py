"""What `nimactl status` shows of a store: counts, the share of each part on the disk, memory."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nimad.model import Stage
from nimad.probe import memory
from nimad.store import words

if TYPE_CHECKING:
    from nimad.core.store import MemoryStore


def status(store: MemoryStore) -> dict[str, Any]:
    """The store's share of the reply that docs/protocol.md describes."""
    counts = store.records.counts()
    blocks = store.blocks.stats()
    return {
        "uptime_seconds": round(time.monotonic() - store.started, 1),
        "state_dir": str(store.state),
        **counts,
        "namespaces": dict(
            store.records.rows(
                "SELECT n.name, count(*) FROM memories m JOIN names n ON n.id = m.namespace"
                " GROUP BY m.namespace ORDER BY 2 DESC, 1 LIMIT 50"
            )
        ),
        "sequence": store.records.head(),
        "embedder": {
            "name": store.embedder.name,
            "revision": store.embedder.revision,
            "dims": store.embedder.dims,
            **_encoding(store, counts["memories"]),
        },
        "blocks": {
            **blocks,
            "backlog": max(0, counts["memories"] - blocks["rows"]),
            "kernels": store.blocks.kernels,
        },
        "graph": _graph(store),
        "disk": disk(store),
        "memory": {
            "pss_bytes": memory.own_memory(),
            "available_bytes": memory.available_memory(),
        },
        "degraded": store.degraded(),
        "sources": store.records.value(
            "SELECT count(*) FROM sources WHERE stage != ?", (Stage.ROLLED_BACK.value,)
        ),
    }


def _encoding(store: MemoryStore, memories: int) -> dict[str, Any]:
    """Which embedder is wanted, and how many memories have its vectors already."""
    done = memories
    if store.reencoding is not None:
        done = store.reencoding.done
    elif store.embedder_due:
        done = int(store.records.value("SELECT coalesce(sum(rows), 0) FROM pending"))
    shown = {"wanted": store.wanted_embedder.name, "done": min(done, memories), "total": memories}
    trouble = store.wanted_embedder.trouble or store.embedder.trouble
    return {**shown, "trouble": trouble} if trouble else shown


def _graph(store: MemoryStore) -> dict[str, Any]:
    engine = store.config["graph.engine"]
    if store.graph is None:
        return {"engine": engine, "watermark": 0, "behind": 0}
    watermark = store.graph.watermark
    behind = max(0, store.records.head() - watermark)
    return {"engine": engine, "watermark": watermark, "behind": behind, **store.graph.counts()}


def disk(store: MemoryStore) -> dict[str, int]:
    """Bytes of each part; `words` is a part of `records`, and `total` counts it once."""
    state = store.state
    parts = {
        "records": sum(size(state / f"records.sqlite{end}") for end in ("", "-wal", "-shm")),
        "blocks": size(state / "blocks"),
        "dense": size(state / "dense"),
        "graph": size(state / "graph"),
        "snapshots": size(state / "snapshots"),
        "aside": size(state / "aside"),
        "log": size(state / "migration.log"),
        "columns": size(state / "columns.nrc"),
    }
    total = sum(parts.values())
    return {
        **parts,
        "words": words.size_bytes(store.records),
        "total": total,
        "free": shutil.disk_usage(state).free,
    }


def size(path: Path) -> int:
    """Bytes of a file, or of the files below a directory; 0 where there is nothing."""
    if path.is_dir():
        return sum(size(Path(entry)) for entry in os.scandir(path))
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
