"""The verb metrics: figures of the daemon for Prometheus, of which none comes from a memory.

Labels are names of verbs, codes of errors, parts, stages and embedders: never a namespace, a person
or the name of a source.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from nimad import __version__
from nimad.core import status
from nimad.core.integrity import PART
from nimad.core.store import DISK, MemoryStore
from nimad.errors import DiskFailed, RecordsDamaged
from nimad.probe.memory import resident_memory
from nimad.serve.request_counts import Family
from nimad.serve.service_verbs import Traffic
from nimad.serve.verbs import Call, Verb
from nimad.store import backups, sources

OUT = "Whether a part is out of service."
PROBLEMS = "Parts out of service, and work that failed and waits."


def metrics_verb(store: MemoryStore, traffic: Traffic) -> Verb:
    """The verb, not for users who are bound to namespaces: it counts everything."""

    def metrics(call: Call) -> dict[str, Any]:
        """Every family."""
        made = [*_families(store, traffic), *traffic.counts().families()]
        return {"families": [asdict(family) for family in made]}

    return Verb("metrics", "read", metrics, {}, watching=True)


def _families(store: MemoryStore, traffic: Traffic) -> Iterator[Family]:
    yield _one("up", "Whether nimad answers.", 1)
    try:
        told = status.describe(store)
    except (DiskFailed, RecordsDamaged):
        yield _many("degraded", OUT, "part", {PART: 1})
        yield _one("problems", PROBLEMS, 1)
        return
    embedder, disk = told["embedder"], dict(told["disk"])
    build = {
        "version": __version__,
        "embedder": embedder["name"],
        "graph": told["graph"]["engine"],
    }
    yield _one("build_info", "The version, the embedder and the graph engine in use.", 1, **build)
    started = round(time.time() - told["uptime_seconds"])
    yield _one("start_time_seconds", "When nimad started, since 1970.", started)
    for name in ("memories", "turns", "relations"):
        yield _one(name, f"Number of {name}.", told[name])
    yield _one("clients", "Connections now.", traffic.clients())
    silent = store.writer.accesses.silent
    yield _one("queries_silent_total", "Queries that were answered with nothing.", silent)
    yield _one("disk_free_bytes", "Free on the file system of the state.", disk.pop("free"))
    del disk["total"]
    yield _many("disk_bytes", "Size of each part on the disk.", "part", disk)
    yield _one("resident_memory_bytes", "Memory of the process.", resident_memory())
    if told["written_bytes"] is not None:
        about = "Bytes that the process had written to the disk."
        yield _one("written_bytes_total", about, told["written_bytes"])
    backlog = {
        "encode": told["blocks"]["backlog"],
        "encode_again": max(0, embedder["total"] - embedder["done"]),
    }
    yield _many("backlog_memories", "Memories that wait to be encoded.", "kind", backlog)
    parts = [*(projection.name for projection in store.projections), DISK, "embedder"]
    out = {part: int(part in told["degraded"]) for part in parts}
    yield _many("degraded", OUT, "part", out)
    rows = dict.fromkeys(("total", "copied", "encoded", "linked", "verified"), 0)
    for source in sources.all_sources(store.records):
        for stage in rows:
            rows[stage] += getattr(source, stage)
    yield _many("migration_rows", "Rows of all sources, by what was done.", "stage", rows)
    made = [each["made"] for each in backups.known(store.records) if each["sequence"] is not None]
    about = "When the last backup was made, since 1970; 0: none is known."
    yield _one("last_backup_timestamp_seconds", about, round(max(made, default=0) / 1000))
    problems = len(told["degraded"]) + len(told["waiting"])
    yield _one("problems", PROBLEMS, problems)


def _one(name: str, about: str, value: float, **labels: str) -> Family:
    kind = "counter" if name.endswith("_total") else "gauge"
    return Family(f"nimad_{name}", kind, about, [("", labels, value)])


def _many(name: str, about: str, label: str, values: dict[str, int]) -> Family:
    samples: list[tuple[str, dict[str, str], float]] = [
        ("", {label: key}, value) for key, value in values.items()
    ]
    return Family(f"nimad_{name}", "gauge", about, samples)
