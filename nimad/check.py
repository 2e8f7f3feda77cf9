"""Walks every invariant of a store and names what is wrong, with its fix: behind `nimactl doctor`.

It only reads.  What a projection finds damaged it tells to Health, and maintenance mends it in idle
time.  Cost: reads every file whole once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from nimad.core import integrity, maintenance, status
from nimad.core.projection import Problem
from nimad.core.purge import SET_ASIDE, strangers
from nimad.core.store import MemoryStore
from nimad.disk.durable import own_files
from nimad.errors import NimadError
from nimad.migrate.snapshots import digest_of
from nimad.model import TURN_ROLES, Stage
from nimad.store import rows, sources
from nimad.store.transaction import OF_MEMORIES

LOW_DISK = 200 << 20
"""Free space below which a warning is due [bytes]."""


def check(store: MemoryStore) -> list[Problem]:
    """Every problem there is; an empty list means that all invariants hold."""
    found: list[Problem] = []
    examinations: list[Callable[[], Iterable[Problem]]] = [
        store.integrity.check,
        partial(_records, store),
        *(projection.check for projection in store.projections),
        partial(_sources, store),
        store.clock.check,
        partial(_rest, store),
    ]
    total, waiting = len(examinations), examinations[::-1]
    with store.under_way.tell("doctor", lambda: 1 - len(waiting) / total):
        while waiting:
            try:
                with integrity.told_as_damage(store.records):
                    found.extend(waiting[-1]())
            except (NimadError, OSError) as error:
                what, fix = f"it cannot be read: {error}", "look at the disk: `dmesg` may tell more"
                if isinstance(error, NimadError):
                    what, fix = error.message, error.next_step
                found.append(Problem("check", what, fix))
            waiting.pop()
    return found


# --- records ----------------------------------------------------------------------------------


_STRANGER = (
    "SELECT count(*) FROM {table} t WHERE t.{column} IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM {other} o WHERE o.id = t.{column})"
)
REFERENCES = (
    *(("relations", end, "memories") for end in ("origin", "target")),
    *(("turns", role, "memories") for role in TURN_ROLES),
    *(("memories", column, "names") for column in rows.INTERNED_COLUMNS),
    ("memories", "turn", "turns"),
    ("memories", "source", "(SELECT id FROM sources UNION SELECT id FROM boards)"),
    *((table, column, "memories") for table, column in OF_MEMORIES),
    ("goals", "by", "memories"),
)
"""Table, column, and the table whose ids stand there."""
OTHERS = {
    "tombstone(s) lie on living memories": (
        "SELECT count(*) FROM tombstones WHERE id IN (SELECT id FROM memories)"
    ),
    "memories stand twice for one row of a source": (
        "SELECT count(*) - count(DISTINCT source || '/' || source_key) FROM memories"
        " WHERE source IS NOT NULL"
    ),
}


def _records(store: MemoryStore) -> Iterator[Problem]:
    bug = f"{integrity.RESTORE}; unless the disk lost what it had confirmed, report this as a bug"
    for table, column, other in REFERENCES:
        sql = _STRANGER.format(table=table, column=column, other=other)
        if number := store.records.value(sql):
            what = f"{number} {column} of {table} point to {other} that do not exist"
            yield Problem("records", what, bug)
    for what, sql in OTHERS.items():
        if number := store.records.value(sql):
            yield Problem("records", f"{number} {what}", bug)


# --- sources and the rest -----------------------------------------------------------------------


def _sources(store: MemoryStore) -> Iterator[Problem]:
    sql = "SELECT count(*) FROM memories WHERE source = ?"
    with store.records.moment():  # nothing is copied or forgotten in between
        known = [
            (
                each,
                store.records.value(sql, (each.id,)),
                sources.count_notes(store.records, each.id),
            )
            for each in sources.all_sources(store.records)
        ]
    for source, held, notes in known:
        if source.stage == Stage.ROLLED_BACK:
            continue
        if source.error:
            fix = f"nimactl migrate --resume {source.name}"
            yield Problem("migration", f"{source.name}: {source.error}", fix)
        forgotten = notes["forgotten"]
        if held + forgotten != source.copied:
            found = f"{held} memories (and {forgotten} forgotten), but {source.copied} were copied"
            fix = f"nimactl migrate --verify {source.name}"
            yield Problem("migration", f"{source.name}: {found}", fix)
        if source.snapshot is None:
            continue
        path = store.state / "snapshots" / source.snapshot
        if not path.is_file():  # a pipe in its place would never end
            yield Problem("snapshots", f"the backup {path.name} is missing", "none", "warning")
            continue
        fix = f"nimactl migrate --forget-backup {source.name}, and migrate the source again"
        try:
            if digest_of(path) != source.sha256:
                yield Problem("snapshots", f"the backup {path.name} is damaged", fix)
        except OSError as error:
            what = f"the backup {path.name} cannot be read: {error.strerror}"
            yield Problem("snapshots", what, fix)


def _rest(store: MemoryStore) -> Iterator[Problem]:
    for part, reason in store.degraded().items():
        if part == integrity.PART:  # told one by one
            continue
        fix = "nothing: it goes on by itself"
        if part in maintenance.PARTS:
            fix += f" in idle time (or now: nimactl rebuild {part})"
        yield Problem(part, reason, fix, "warning")
    for work, why in status.waiting(store).items():
        fix = "nothing: it is tried again by itself"
        yield Problem("maintenance", f"{work} is not finished: {why}", fix, "warning")
    aside = store.state / "aside"
    own = {path.name for path in own_files(aside, SET_ASIDE.pattern)}
    if own:
        what = f"damaged files were set aside: {', '.join(sorted(own)[:5])}"
        fix = f"delete them from {aside} once they are not needed to find the cause"
        yield Problem("aside", what, fix, "note")
    for part, severity in (("snapshots", "warning"), ("aside", "note")):
        if foreign := strangers(store.state, store.records, part):
            what = f"these are not nimad's, and no purge reaches them: {', '.join(foreign[:5])}"
            fix = f"move them out of {store.state / part}, or delete them"
            yield Problem(part, what, fix, severity)
    if (free := status.disk(store)["free"]) < LOW_DISK:
        yield Problem("disk", f"only {free >> 20} MiB are free", "free some space", "warning")
