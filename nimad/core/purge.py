"""Forgetting memories, and purging: no trace of a purged memory stays in the state directory.

Crash prose of a purge:

1. one transaction deletes the memories everywhere in the records and notes, under the key
   `purge`, what is still to be scrubbed: from here on they are forgotten, whatever happens;
2. the words are merged into one b-tree, segments that held the vectors are rewritten, the
   snapshots of the sources lose the rows, the file of the columns goes, the graph is made anew,
   what was set aside as damaged is deleted, free pages are cut off;
3. the note is deleted.  A crash before that leaves the note; the next start's upkeep does all of
   step 2 again (each part may be repeated).
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nimad.core import segments
from nimad.disk.durable import crash_point, fsync_dir
from nimad.errors import NimadError
from nimad.legacy.redact_database import scrub_snapshot
from nimad.store import hyper, source_delta, sources, words
from nimad.store.sources import Source
from nimad.store.transaction import Transaction

if TYPE_CHECKING:
    from nimad.core.store import MemoryStore


log = logging.getLogger(__name__)


@dataclass(slots=True)
class Receipt:
    """What a `forget` did: ids, and rows removed from each part."""

    forgotten: list[int]
    missing: list[int]
    purged: bool
    dry_run: bool
    removed: dict[str, int] = field(default_factory=dict)


def forget(store: MemoryStore, ids: Sequence[int], *, purge: bool, dry_run: bool) -> Receipt:
    """Delete memories; those that do not exist are named in the receipt, not an error."""
    wanted = sorted(set(ids))
    found = sorted(store.records.get(wanted))
    receipt = Receipt(found, sorted(set(wanted) - set(found)), purge and not dry_run, dry_run)
    if dry_run:
        receipt.removed = _would_remove(store, found)
        return receipt
    if not found:
        return receipt
    with store.records.exclusive():
        with store.records.write() as tx:
            found = [i for (i,) in _existing(tx, found)]
            note = _note_purge(tx, found) if purge else None
            store.dense.stale = True
            _remember_keys(tx, found)
            removed = tx.delete_memories(found)
        store.blocks.remove(np.array(found, np.int64))
    receipt.forgotten = found
    receipt.removed = {
        "records": removed["memories"],
        "words": removed["memories"],
        "blocks": len(found),
        "relations": removed["relations"],
        "turns": removed["turns"],
        "snapshots": 0,
    }
    crash_point("forget.committed")
    if note is not None:
        receipt.removed["snapshots"] = finish_purge(store)
    store.on_change()
    return receipt


def _existing(tx: Transaction, ids: Sequence[int]) -> list[tuple[int]]:
    marks = json.dumps(list(ids))
    return tx.rows(
        "SELECT id FROM memories WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id", (marks,)
    )


def _would_remove(store: MemoryStore, ids: Sequence[int]) -> dict[str, int]:
    marks = json.dumps(list(ids))
    relations = store.records.value(
        "SELECT count(*) FROM relations WHERE origin IN (SELECT value FROM json_each(?1))"
        " OR target IN (SELECT value FROM json_each(?1))",
        (marks,),
    )
    turns = store.records.value(
        "WITH doomed AS (SELECT value FROM json_each(?1)) SELECT count(*) FROM turns WHERE listed"
        " AND coalesce(input, contemplation, output) IS NOT NULL"
        " AND (input IS NULL OR input IN doomed) AND (output IS NULL OR output IN doomed)"
        " AND (contemplation IS NULL OR contemplation IN doomed)",
        (marks,),
    )
    snapshots = store.records.value(
        "SELECT count(*) FROM memories m JOIN sources s ON s.id = m.source"
        " WHERE s.snapshot IS NOT NULL AND m.id IN (SELECT value FROM json_each(?1))",
        (marks,),
    )
    count = len(ids)
    return {
        "records": count,
        "words": count,
        "blocks": count,
        "relations": int(relations),
        "turns": int(turns),
        "snapshots": int(snapshots),
    }


def _remember_keys(tx: Transaction, ids: Sequence[int]) -> None:
    """Note forgotten rows of a source, so that verification does not miss them."""
    tx.many(
        "INSERT OR REPLACE INTO quarantine (source, kind, key, reason)"
        " SELECT source, 'forgotten', source_key, 'forgotten on request' FROM memories"
        " WHERE id = ? AND source IS NOT NULL",
        [(i,) for i in ids],
    )


def _note_purge(tx: Transaction, ids: Sequence[int]) -> dict[str, Any]:
    """Write down, in the deleting transaction, what is to be scrubbed after it."""
    marks = json.dumps(list(ids))
    picked = "FROM memories WHERE id IN (SELECT value FROM json_each(?))"
    keys: dict[str, list[Any]] = {}
    for source, key in tx.rows(f"SELECT source, source_key {picked}", (marks,)):
        if source is not None:
            keys.setdefault(str(source), []).append(key)
    for source, mine in keys.items():
        source_delta.forget(tx, int(source), mine)
    names: set[int] = set()
    for row in tx.rows(f"SELECT place, namespace, conversation, session {picked}", (marks,)):
        names.update(number for number in row if number is not None)
    earlier = tx.rows("SELECT value FROM meta WHERE key = 'purge'")
    items = [list(item) for item in hyper.items_named_in(tx, ids)]
    note: dict[str, Any] = {
        "ids": list(ids),
        "keys": keys,
        "names": sorted(names),
        "items": items,
    }
    if earlier:
        old = json.loads(earlier[0][0])
        note["ids"] += old["ids"]
        note["items"] += old.get("items", [])
        note["names"] = sorted({*names, *old["names"]})
        for source, more in old["keys"].items():
            keys.setdefault(source, []).extend(more)
    tx.set_meta("purge", json.dumps(note))
    return note


def finish_purge(store: MemoryStore) -> int:
    """Scrub what the note tells; the number of rows taken out of snapshots. May be repeated."""
    with store.maintenance:
        written = store.records.meta("purge")
        if written is None:
            return 0
        note = json.loads(written)
        with store.records.write() as tx:
            tx.drop_names(note["names"])
        words.optimise(store.records)
        store.recall.keeper.discard()
        _rewrite_segments(store, note["ids"])
        store.dense.stale = True
        store.dense.drop_forgotten()
        store.dense.drop_items(note.get("items", []))
        crash_point("purge.vectors")
        scrubbed = _scrub_snapshots(store, note["keys"])
        crash_point("purge.snapshots")
        if store.graph is not None and store.health.reason("graph") is None:
            store.graph.rebuild(store.records)
        _clear_aside(store)
        with store.records.write() as tx:
            tx.execute("DELETE FROM meta WHERE key = 'purge'")
        _cut_off(store)
        return scrubbed


def _rewrite_segments(store: MemoryStore, ids: Sequence[int]) -> None:
    doomed = np.array(sorted(ids), np.int64)
    for name in store.records.segment_names():
        if len(np.intersect1d(store.blocks.segment_ids([name]), doomed)):
            segments.merge(store, [name])
    if store.embedder_due:
        store.begin_reencoding().discard(doomed)


def _scrub_snapshots(store: MemoryStore, keys: dict[str, list[Any]]) -> int:
    scrubbed = 0
    for source in sources.all_sources(store.records):
        doomed = keys.get(str(source.id))
        if not doomed or source.snapshot is None:
            continue
        path = store.state / "snapshots" / source.snapshot
        if not path.exists():
            continue
        try:
            done = scrub_snapshot(path, doomed, source.kind)
        except (ValueError, NimadError) as error:
            log.warning("a purge deletes the backup of %s, because %s", source.name, error)
            _drop_snapshot(store, source)
            scrubbed += len(doomed)
            continue
        scrubbed += done.rows
        with store.records.write() as tx:
            sources.update(tx, source.id, sha256=done.sha256, bytes=done.bytes)
    return scrubbed


def _drop_snapshot(store: MemoryStore, source: Source) -> None:
    """Delete a backup that what is purged cannot be taken out of: first the name, then the file."""
    assert source.snapshot is not None
    with store.records.write() as tx:
        sources.update(tx, source.id, snapshot=None)
    path = store.state / "snapshots" / source.snapshot
    path.unlink(missing_ok=True)
    fsync_dir(path.parent)


def _clear_aside(store: MemoryStore) -> None:
    """Damaged projections that were set aside may hold names or vectors of what is purged."""
    for path in sorted((store.state / "aside").iterdir()):
        log.warning("a purge deletes %s, which was set aside as damaged", path.name)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _cut_off(store: MemoryStore) -> None:
    """Free pages leave the file, the WAL shrinks to nothing; a reader may delay that a moment."""
    wal = store.records.path.with_name(store.records.path.name + "-wal")
    for _ in range(50):
        store.records.release_space()
        if not wal.exists() or wal.stat().st_size == 0:
            return
        time.sleep(0.02)
