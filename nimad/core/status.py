"""What `nimactl status` shows of a store: counts, the share of each part on the disk, memory.

A part that is damaged must not hide the rest: what cannot be read is shown as unknown.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nimad.disk.durable import size_of
from nimad.errors import NimadError
from nimad.model import Stage
from nimad.probe import memory

if TYPE_CHECKING:
    from nimad.core.store import MemoryStore

log = logging.getLogger(__name__)


def describe(store: MemoryStore) -> dict[str, Any]:
    """The store's share of the reply that docs/protocol.md describes."""
    records, semantic = store.records, store.semantic
    counts, blocks = records.counts(), semantic.index.stats()
    embedder = semantic.embedder
    return {
        "uptime_seconds": round(time.monotonic() - store.started, 1),
        "state_dir": str(store.state),
        **counts,
        "namespaces": dict(
            records.rows(
                "SELECT n.name, count(*) FROM memories m JOIN names n ON n.id = m.namespace"
                " GROUP BY m.namespace ORDER BY 2 DESC, 1 LIMIT 50"
            )
        ),
        "sequence": records.head(),
        "embedder": {
            "name": embedder.name,
            "revision": embedder.revision,
            "dims": embedder.dims,
            **_encoding(store, counts["memories"]),
        },
        "blocks": {
            **blocks,
            "backlog": max(0, counts["memories"] - blocks["rows"]),
            "kernels": semantic.index.kernels,
        },
        "graph": store.graph.status(),
        "disk": disk(store),
        "memory": {
            "pss_bytes": memory.own_memory(),
            "available_bytes": memory.available_memory(),
        },
        "degraded": store.degraded(),
        "waiting": waiting(store),
        "sources": records.value(
            "SELECT count(*) FROM sources WHERE stage != ?", (Stage.ROLLED_BACK.value,)
        ),
    }


def _encoding(store: MemoryStore, memories: int) -> dict[str, Any]:
    """Which embedder is wanted, and how many memories have its vectors already."""
    semantic, done = store.semantic, memories
    if semantic.reencoding is not None:
        done = semantic.reencoding.done
    elif semantic.due:
        done = int(store.records.value("SELECT coalesce(sum(rows), 0) FROM pending"))
    shown = {"wanted": semantic.wanted_embedder.name, "done": min(done, memories)}
    trouble = semantic.wanted_embedder.trouble or semantic.embedder.trouble
    return {**shown, "total": memories, **({"trouble": trouble} if trouble else {})}


def waiting(store: MemoryStore) -> dict[str, str]:
    """Work that is unfinished or failed → why: an unfinished purge, what maintenance set aside."""
    found = store.setbacks.reasons()
    note = store.purge.unfinished()
    if note is not None:
        found.setdefault(
            "purge", f"traces of {len(set(note.ids))} memories are still to be removed"
        )
    return found


def disk(store: MemoryStore) -> dict[str, int]:
    """Bytes of each part; `words` is a part of `records`, and `total` counts it once."""
    state = store.state
    records = sum(size_of(state / f"records.sqlite{end}") for end in ("", "-wal", "-shm"))
    parts = {
        "records": records,
        **{projection.name: _or_none(projection.size) for projection in store.projections},
        "snapshots": size_of(state / "snapshots"),
        "aside": size_of(state / "aside"),
        "log": size_of(state / "migration.log"),
    }
    return {**parts, "total": size_of(state), "free": shutil.disk_usage(state).free}


def _or_none(read: Callable[[], int]) -> int:
    """A size; 0 where it cannot be read."""
    try:
        return read()
    except (NimadError, OSError) as error:
        log.warning("a size cannot be told: %s", error)
        return 0
