"""What `nimactl status` shows of a store: counts, the share of each part on the disk, memory.

A part that is damaged must not hide the rest: what cannot be read is shown as unknown.
"""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

from nimad.core.integrity import PART
from nimad.core.state_directory import PARTS
from nimad.disk.durable import size_of
from nimad.errors import NimadError
from nimad.model import Stage
from nimad.namespaces import Namespaces
from nimad.probe import memory, writes
from nimad.store import backups

if TYPE_CHECKING:
    from nimad.core.store import MemoryStore

log = logging.getLogger(__name__)


def describe(store: MemoryStore) -> dict[str, Any]:
    """The store's share of the reply that docs/protocol.md describes."""
    records, semantic = store.records, store.semantic
    counts, blocks = records.counts(), semantic.index.stats()
    embedder, wanted, done = semantic.embedder, semantic.wanted_embedder, counts["memories"]
    if semantic.reencoding is not None:
        done = semantic.reencoding.done
    elif semantic.due:
        done = int(records.value("SELECT coalesce(sum(rows), 0) FROM pending"))
    trouble = wanted.trouble or embedder.trouble
    return {
        **_of_process(store),
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
            "wanted": wanted.name,
            "done": min(done, counts["memories"]),
            "total": counts["memories"],
            **({"trouble": trouble} if trouble else {}),
        },
        "blocks": {
            **blocks,
            "backlog": max(0, counts["memories"] - blocks["rows"]),
            "kernels": semantic.index.kernels,
        },
        "graph": store.graph.status(),
        "disk": disk(store),
        "clock": store.clock.describe(),
        "degraded": store.degraded(),
        "waiting": waiting(store),
        "backup": backups.latest(records),
        "sources": records.value(
            "SELECT count(*) FROM sources WHERE stage != ?", (Stage.ROLLED_BACK.value,)
        ),
    }


def describe_unread(store: MemoryStore, error: NimadError) -> dict[str, Any]:
    """The same where the records cannot be read: what is known without them, and why."""
    return {
        **_of_process(store),
        "degraded": {**store.degraded(), PART: error.message},
        "waiting": store.setbacks.reasons(),
        "unread": True,
    }


def _of_process(store: MemoryStore) -> dict[str, Any]:
    """What needs no records."""
    return {
        "uptime_seconds": round(time.monotonic() - store.started, 1),
        "state_dir": str(store.state),
        "memory": {"pss_bytes": memory.own_memory(), "available_bytes": memory.available_memory()},
        "written_bytes": writes.own_writes(),
    }


def describe_bound(store: MemoryStore, within: Namespaces) -> dict[str, Any]:
    """The same for a user that is bound to namespaces: counts of these, and nothing that tells how
    much else there is."""
    records = store.records
    inside = "IN (SELECT value FROM json_each(:spaces))"
    spaces = {"spaces": json.dumps(records.names_within(within))}
    counts = records.rows(
        f"SELECT (SELECT count(*) FROM memories WHERE namespace {inside}),"
        f" (SELECT count(*) FROM turns WHERE listed AND namespace {inside}),"
        " (SELECT count(*) FROM relations r JOIN memories a ON a.id = r.origin"
        f" JOIN memories b ON b.id = r.target WHERE a.namespace {inside}"
        f" AND b.namespace {inside})",
        spaces,
    )[0]
    return {
        "uptime_seconds": round(time.monotonic() - store.started, 1),
        **dict(zip(("memories", "turns", "relations"), counts, strict=True)),
        "namespaces": dict(
            records.rows(
                "SELECT n.name, count(*) FROM memories m JOIN names n ON n.id = m.namespace"
                f" WHERE m.namespace {inside} GROUP BY m.namespace ORDER BY 2 DESC, 1 LIMIT 50",
                spaces,
            )
        ),
        "degraded": dict.fromkeys(store.degraded(), "out of service"),
        "bound": True,
    }


def waiting(store: MemoryStore) -> dict[str, str]:
    """Work that is unfinished or failed → why: an unfinished purge, what maintenance set aside."""
    found = store.setbacks.reasons()
    # one that is under way is not waiting
    if store.purge.due and (note := store.purge.unfinished()) is not None:
        found.setdefault(
            "purge", f"traces of {len(set(note.ids))} memories are still to be removed"
        )
    return found


def disk(store: MemoryStore) -> dict[str, int]:
    """Bytes of each part, and `total` of all."""
    state = store.state
    records = sum(size_of(state / f"records.sqlite{end}") for end in ("", "-wal", "-shm"))
    parts = {"records": records}
    for projection in store.projections:
        try:
            parts[projection.name] = projection.size()
        except (NimadError, OSError) as error:
            log.warning("a size cannot be told: %s", error)
            parts[projection.name] = 0
    others = {"snapshots": "snapshots", "aside": "aside", "log": "migration.log"}
    parts |= {name: size_of(state / place) for name, place in others.items()}
    import shutil

    linked = [state / place for place in PARTS if (state / place).is_symlink()]
    total = size_of(state) + sum(map(size_of, linked))
    return {**parts, "total": total, "free": shutil.disk_usage(state).free}
