"""Walks every invariant of a store and names what is wrong, with its fix: behind `nimactl doctor`.

It changes nothing, except that the graph first catches up with the records (otherwise every recent
memory would look missing), and that a damaged segment of the blocks is set aside.  Cost: reads
every file whole once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from nimad.core.hypercheck import problems
from nimad.core.recovery import missing_vectors, retire_damaged
from nimad.core.status import disk
from nimad.core.store import MemoryStore
from nimad.errors import NimadError
from nimad.model import Stage
from nimad.store import sources, words

LOW_DISK = 200 << 20
"""Free space below which a warning is due [bytes]."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it must be: "error" costs answers, "warning" may, "note" is news."""

    part: str
    what: str
    fix: str
    severity: str = "error"


def check(store: MemoryStore) -> list[Problem]:
    """Every problem there is; an empty list means that all invariants hold."""
    found: list[Problem] = []
    with store.maintenance:
        for examine in CHECKS:
            try:
                found.extend(examine(store))
            except NimadError as error:
                found.append(Problem("check", error.message, error.next_step))
    return found


# --- records ----------------------------------------------------------------------------------


def _records(store: MemoryStore) -> Iterator[Problem]:
    for (line,) in store.records.rows("PRAGMA integrity_check(20)"):
        if line != "ok":
            yield Problem(
                "records", f"SQLite reports: {line}", "restore a backup of records.sqlite"
            )


_STRANGER = (
    "SELECT count(*) FROM {table} t WHERE t.{column} IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM {other} o WHERE o.id = t.{column})"
)
REFERENCES = (
    ("relations", "origin", "memories"),
    ("relations", "target", "memories"),
    ("turns", "input", "memories"),
    ("turns", "contemplation", "memories"),
    ("turns", "output", "memories"),
    ("memories", "turn", "turns"),
    ("memories", "layer", "names"),
    ("memories", "namespace", "names"),
    ("memories", "place", "names"),
    ("memories", "session", "names"),
    ("memories", "conversation", "names"),
    ("memories", "source", "sources"),
    ("hot", "id", "memories"),
    ("blobs", "memory", "memories"),
)
OTHERS = {
    "tombstone(s) lie on living memories": (
        "SELECT count(*) FROM tombstones WHERE id IN (SELECT id FROM memories)"
    ),
    "memories stand twice for one row of a source": (
        "SELECT count(*) - count(DISTINCT source || '/' || source_key) FROM memories"
        " WHERE source IS NOT NULL"
    ),
}


def _references(store: MemoryStore) -> Iterator[Problem]:
    bug = "please report this: it is a bug"
    for table, column, other in REFERENCES:
        sql = _STRANGER.format(table=table, column=column, other=other)
        if number := store.records.value(sql):
            what = f"{number} {column} of {table} point to {other} that do not exist"
            yield Problem("records", what, bug)
    for what, sql in OTHERS.items():
        if number := store.records.value(sql):
            yield Problem("records", f"{number} {what}", bug)


def _words(store: MemoryStore) -> Iterator[Problem]:
    if problem := words.problem(store.records):
        yield Problem("words", problem, "nimactl rebuild words")


# --- blocks -----------------------------------------------------------------------------------


def _blocks(store: MemoryStore) -> Iterator[Problem]:
    fix = "nimactl rebuild blocks"
    for damage in retire_damaged(store):
        anew = "nothing: it was set aside and is made anew in idle time (or now: " + fix + ")"
        yield Problem("blocks", damage.error.message, anew)
    if store.embedder_due:
        yield Problem(
            "blocks",
            f"the vectors are to be made anew with the embedder {store.wanted_embedder.name}",
            "nothing: it happens in idle time (or now: nimactl rebuild blocks)",
            "note",
        )
        return
    indexed = store.blocks.ids()
    strangers = np.setdiff1d(indexed, store.records.ids(), assume_unique=False)
    if len(strangers):
        yield Problem("blocks", f"{len(strangers)} vector(s) belong to no memory", fix)
    twice = len(indexed) - len(np.unique(indexed))
    rows = store.blocks.stats()["rows"]
    if twice or rows != len(indexed):
        yield Problem("blocks", f"{twice or rows - len(indexed)} memories have two vectors", fix)
    if lost := missing_vectors(store):
        yield Problem("blocks", f"{len(lost)} memories have no vector", fix)
    listed = set(store.records.segment_names())
    for path in store.blocks.unlisted():
        if path.stem not in listed:
            yield Problem("blocks", f"{path.name} is not listed", "restart nimad", "note")


# --- hypervectors -------------------------------------------------------------------------------


def _dense(store: MemoryStore) -> Iterator[Problem]:
    for problem in problems(store):
        yield Problem("dense", *problem)


# --- graph ------------------------------------------------------------------------------------


def _graph(store: MemoryStore) -> Iterator[Problem]:
    if store.graph is None:
        return
    while not store.catch_up_graph():
        pass
    truth, shown = store.records.counts(), store.graph.counts()
    for kind, number in truth.items():
        if shown[kind] != number:
            yield Problem(
                "graph",
                f"it has {shown[kind]} {kind}, the records {number}",
                "nimactl rebuild graph",
            )


# --- sources and the rest -----------------------------------------------------------------------


def _sources(store: MemoryStore) -> Iterator[Problem]:
    for source in sources.all_sources(store.records):
        if source.stage == Stage.ROLLED_BACK:
            continue
        if source.error:
            yield Problem(
                "migration",
                f"{source.name}: {source.error}",
                f"nimactl migrate --resume {source.name}",
            )
        held = store.records.value("SELECT count(*) FROM memories WHERE source = ?", (source.id,))
        forgotten = store.records.value(
            "SELECT count(*) FROM quarantine WHERE source = ? AND kind = 'forgotten'", (source.id,)
        )
        if held + forgotten != source.copied:
            yield Problem(
                "migration",
                f"{source.name}: {held} memories (and {forgotten} forgotten),"
                f" but {source.copied} were copied",
                f"nimactl migrate --verify {source.name}",
            )
        yield from _snapshot(store, source)


def _snapshot(store: MemoryStore, source: sources.Source) -> Iterator[Problem]:
    if source.snapshot is None:
        return
    path = store.state / "snapshots" / source.snapshot
    if not path.exists():
        yield Problem("snapshots", f"the backup {path.name} is missing", "none", "warning")
        return
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != source.sha256:
        yield Problem(
            "snapshots",
            f"the backup {path.name} is damaged",
            f"nimactl migrate --forget-backup {source.name}, and migrate the source again",
        )


def _rest(store: MemoryStore) -> Iterator[Problem]:
    for part, reason in store.degraded().items():
        fix = "see above; it goes on by itself" if part == "embedder" else f"nimactl rebuild {part}"
        yield Problem(part, reason, fix, "warning")
    if left := sorted(path.name for path in (store.state / "aside").iterdir()):
        yield Problem(
            "aside",
            f"damaged files were set aside: {', '.join(left[:5])}",
            f"delete them from {store.state / 'aside'} when nobody wants to look at them",
            "note",
        )
    if (free := disk(store)["free"]) < LOW_DISK:
        yield Problem("disk", f"only {free >> 20} MiB are free", "free some space", "warning")


CHECKS: tuple[Callable[[MemoryStore], Iterator[Problem]], ...] = (
    _records,
    _references,
    _words,
    _blocks,
    _dense,
    _graph,
    _sources,
    _rest,
)
