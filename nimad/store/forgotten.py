"""What the files may still hold of forgotten memories, and the note of an unfinished purge.

A plain `forget` leaves vectors in segments, rows in the sources' backups and words in free pages;
nothing of it can be found.  A row of `forgotten` keeps what a purge of such a memory needs later.
It goes when a purge has removed the last trace.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

from nimad.dataclass import dataclass
from nimad.store import hypervector_files, source_delta, sources
from nimad.store.records import Records
from nimad.store.transaction import Transaction

NOTE = "purge"
"""The key in `meta` of the note of a purge."""


@dataclass(frozen=True, slots=True)
class PurgeNote:
    """What a purge takes out of the files, after the records have forgotten it.

    Attributes:
        ids: of the memories.
        keys: by source (its id as text): the keys that these memories had there.
        items: (source, number) of fillers and roles that these memories named.
        left: the names of the steps that are left; None: all.
    """

    ids: list[int]
    keys: dict[str, list[Any]] = field(default_factory=dict)
    items: list[tuple[int, int]] = field(default_factory=list)
    left: list[str] | None = None


def remember(tx: Transaction, ids: Sequence[int]) -> None:
    """Keep what a purge of these memories needs; before they are deleted.

    Rows of a source are noted as forgotten, so that verification does not miss them.
    """
    marks = json.dumps(list(ids))
    picked = "FROM memories WHERE id IN (SELECT value FROM json_each(?1))"
    items: dict[int, list[tuple[int, int]]] = {}
    if tx.rows("SELECT 1 FROM dense_items LIMIT 1"):
        items = {number: hypervector_files.items_named_in(tx, [number]) for number in ids}
    tx.execute(
        "INSERT OR REPLACE INTO forgotten (id, source, source_key, items)"
        f" SELECT id, source, source_key, ifnull(?2 -> ('$.' || id), '[]') {picked}",
        (marks, json.dumps(items)),
    )
    tx.execute(
        "INSERT OR REPLACE INTO quarantine (source, kind, key, reason)"
        f" SELECT source, 'forgotten', source_key, 'forgotten on request' {picked}"
        " AND source IS NOT NULL",
        (marks,),
    )


def replace(tx: Transaction, moved: Mapping[int, int]) -> None:
    """Documents or items were replaced: a purge of a new memory is one of all that came before
    it.  `moved`: the id of what took the place of each."""
    pairs = json.dumps([*moved.items()])
    for column in ("id", "successor"):
        tx.execute(
            "UPDATE forgotten SET successor = pair.value ->> 1 FROM json_each(?) AS pair"
            f" WHERE forgotten.{column} = pair.value ->> 0",
            (pairs,),
        )


def known(records: Records, ids: Sequence[int] | None = None) -> list[int]:
    """The ids, sorted, of forgotten memories that may have left traces: all, or of these ids and
    of what they replaced."""
    some = "IN (SELECT value FROM json_each(?1))"
    sql = f"SELECT id FROM forgotten WHERE ?1 IS NULL OR id {some} OR successor {some}"
    marks = None if ids is None else json.dumps(list(ids))
    return [number for (number,) in records.rows(f"{sql} ORDER BY id", (marks,))]


def sources_of(records: Records, ids: Sequence[int]) -> list[int]:
    """The sources that memories, or forgotten ones, came from."""
    some = "source IS NOT NULL AND id IN (SELECT value FROM json_each(?1))"
    sql = (
        f"SELECT source FROM memories WHERE {some} UNION SELECT source FROM forgotten WHERE {some}"
    )
    return [number for (number,) in records.rows(sql, (json.dumps(list(ids)),))]


def digest_of(key: str) -> str:
    """What a purge leaves of an item's key, such as the name of a file, so that the item is known
    again and stays away: 32 hexadecimal digits, which are no key, for those have a #."""
    return hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=16).hexdigest()


def _keep_digests(tx: Transaction, found: Iterable[tuple[int, Any]]) -> None:
    """Put digests in the place of keys that name something, in what is kept of forgotten memories.
    Now, not at the end of the purge: what is deleted then stands in the file for a while."""
    texts = [(source, key) for source, key in found if isinstance(key, str) and "#" in key]
    named = [(digest_of(key), source, key) for source, key in texts]
    sql = "UPDATE OR REPLACE quarantine SET key = ? WHERE (source, kind, key) = (?, 'forgotten', ?)"
    tx.many(sql, named)
    tx.many("UPDATE forgotten SET source_key = ? WHERE (source, source_key) = (?, ?)", named)


def begin_purge(tx: Transaction, ids: Sequence[int], all_forgotten: bool = False) -> None:
    """Write down, in the deleting transaction, whose traces are to go; drop what the records
    themselves keep of a source's rows.

    An earlier purge that is not finished is joined: all steps are due for all memories.  With
    `all_forgotten`, also rows of sources that nimad forgot before it had the table `forgotten`.
    """
    sql = (
        "SELECT source, source_key FROM forgotten WHERE source IS NOT NULL"
        " AND id IN (SELECT value FROM json_each(?))"
    )
    of_source: dict[int, list[Any]] = {}
    for source, key in tx.rows(sql, (json.dumps(list(ids)),)):
        of_source.setdefault(source, []).append(key)
    for source, mine in of_source.items():  # rows that came after its snapshot, and remarks
        source_delta.forget_memories(tx, source, mine)
        sources.clear_remarks(tx, source, mine)
        _keep_digests(tx, ((source, key) for key in mine))
    earlier = tx.rows("SELECT value FROM meta WHERE key = ?", (NOTE,))
    note = json.loads(earlier[0][0]) if earlier else {"ids": []}
    note |= {"ids": sorted({*ids, *note["ids"]}), "left": None}
    if all_forgotten:
        noted = "SELECT source, key FROM quarantine WHERE kind = 'forgotten'"
        keys = note.setdefault("keys", {})
        found = tx.rows(noted)
        for source, key in found:
            if isinstance(key, int):
                keys.setdefault(str(source), []).append(key)
        _keep_digests(tx, found)
    tx.set_meta(NOTE, json.dumps(note))


def unfinished_purge(records: Records) -> PurgeNote | None:
    """What is still to be scrubbed; None when nothing is."""
    written = records.meta(NOTE)
    if written is None:
        return None
    note = json.loads(written)  # one of nimad before schema 4 holds keys and items itself
    keys: dict[str, list[Any]] = note.get("keys", {})
    items = [(int(source), int(number)) for source, number in note.get("items", [])]
    sql = "SELECT source, source_key, items FROM forgotten WHERE id IN"
    for source, key, named in records.rows_in(sql, note["ids"]):
        if source is not None:
            keys.setdefault(str(source), []).append(key)
        items += [(source, number) for source, number in json.loads(named)]
    return PurgeNote(note["ids"], keys, items, note.get("left"))


def keep_steps(tx: Transaction, left: Sequence[str]) -> None:
    """Note which steps of a purge are to be done again."""
    ((written,),) = tx.rows("SELECT value FROM meta WHERE key = ?", (NOTE,))
    tx.set_meta(NOTE, json.dumps({**json.loads(written), "left": list(left)}))


def end_purge(tx: Transaction) -> None:
    """Nothing is left of the memories of the note, which goes."""
    tx.execute(
        "DELETE FROM forgotten WHERE id IN (SELECT ids.value FROM meta,"
        " json_each(meta.value, '$.ids') AS ids WHERE meta.key = ?)",
        (NOTE,),
    )
    tx.execute("DELETE FROM meta WHERE key = ?", (NOTE,))


def would_remove(records: Records, ids: Sequence[int]) -> dict[str, int]:
    """Part → rows that go when these memories are forgotten."""
    marks = json.dumps(list(ids))
    relations = records.value(
        "SELECT count(*) FROM relations WHERE origin IN (SELECT value FROM json_each(?1))"
        " OR target IN (SELECT value FROM json_each(?1))",
        (marks,),
    )
    turns = records.value(
        "WITH doomed AS (SELECT value FROM json_each(?1)) SELECT count(*) FROM turns WHERE listed"
        " AND coalesce(input, contemplation, output) IS NOT NULL"
        " AND (input IS NULL OR input IN doomed) AND (output IS NULL OR output IN doomed)"
        " AND (contemplation IS NULL OR contemplation IN doomed)",
        (marks,),
    )
    snapshots = records.value(
        "SELECT count(*) FROM memories m JOIN sources s ON s.id = m.source"
        " WHERE s.snapshot IS NOT NULL AND m.id IN (SELECT value FROM json_each(?1))",
        (marks,),
    )
    counts = {"relations": int(relations), "turns": int(turns), "snapshots": int(snapshots)}
    return {**dict.fromkeys(("records", "words", "blocks"), len(ids)), **counts}
