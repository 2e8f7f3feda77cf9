"""Sources of other makers: what nimactl reads of them as their owner comes in, item by item.

A source is a row of the same ledger as a legacy store; it has no snapshot and no stages: what one
`put` hands over is searchable, with its vectors, when it returns.  An item has a key, `PART#NAME`,
and is a memory.  The client asks for the fingerprints of what is stored and sends only what is new
or another text now; an item that is replaced keeps its relations.

Crash prose: a `put` is one transaction: memories, relations, notes and counters.  What was not
acknowledged may be sent again: an item that is stored as it comes stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from nimad.core.capture import captured_parts, is_captured
from nimad.core.store import MemoryStore
from nimad.core.validate import check_memory
from nimad.dataclass import dataclass
from nimad.errors import Busy, UsageError
from nimad.fingerprint import fingerprint
from nimad.model import Memory, Relation, Stage, now_ms
from nimad.store import forgotten, sources
from nimad.store.bounded import one_by_one
from nimad.store.sources import Source
from nimad.store.transaction import Transaction

ITEM = "item"
"""The kind of what the quarantine holds of such a source."""
ENCODED = 2**63 - 1
"""Cursor of a source whose memories come with their vectors."""
_ALIKE = ("copied", "encoded", "linked", "verified", "total")
"""Counters that are the same for a source without stages."""
END = "\U0010ffff"
"""A character that is above all others in a key."""
_SPAN = "source = ? AND {0} > ? AND {0} >= ? AND {0} < ?"
_STORED = f"""
SELECT source_key, id FROM memories WHERE {_SPAN.format("source_key")} ORDER BY source_key LIMIT ?
"""
_FORGOTTEN = f"""
SELECT key FROM quarantine WHERE {_SPAN.format("key")} AND kind = 'forgotten' AND instr(key, '#')
ORDER BY key LIMIT ?
"""
_IDS = """
SELECT source_key, id FROM memories
WHERE source = ? AND source_key IN (SELECT value FROM json_each(?))
"""
_FIRST_ID = "SELECT min(id) FROM memories WHERE source = ? AND source_key >= ? AND source_key < ?"
_BARRED = """
SELECT key FROM quarantine
WHERE source = ? AND kind = 'forgotten' AND key IN (SELECT value FROM json_each(?))
"""
_RELATIONS = """
SELECT r.source, r.origin, r.target, n.name, r.weight, r.source_key, r.extra
FROM relations r JOIN names n ON n.id = r.relation
WHERE r.origin IN (SELECT value FROM json_each(?1)) OR r.target IN (SELECT value FROM json_each(?1))
"""
_LINKS = """
SELECT id FROM relations WHERE source = ? AND source_key IN (SELECT value FROM json_each(?))
"""
_LINKED = "SELECT 1 FROM relations WHERE origin = ? AND source = ? AND source_key = ?"


@dataclass(frozen=True)
class Origin:
    """Which source is meant: known again by its `name`, or without one by kind and `identity`."""

    kind: str
    path: str
    identity: str
    name: str | None = None


@dataclass(frozen=True)
class Link:
    """A relation between two items; a `target` that ends in # is the first item of that part."""

    key: str
    origin: str
    target: str
    relation: str
    weight: float | None


@dataclass(frozen=True)
class Delivery:
    """What one `put` brings: items by key, keys of what is gone, and what was refused, with why."""

    items: dict[str, Memory] = field(default_factory=dict)
    gone: Sequence[str] = ()
    links: Sequence[Link] = ()
    links_gone: Sequence[str] = ()
    refused: Sequence[tuple[str, str]] = ()
    first: bool = False


class Imports:
    """The sources of other makers in one store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store, self._records = store, store.records

    def find(self, origin: Origin) -> Source | None:
        """The source, when it is known.  Raises UsageError: its name is another kind's."""
        for source in sources.all_sources(self._records):
            if origin.name is None and source.fingerprint == _mark(origin):
                return source
            if source.name == origin.name:
                if source.kind != origin.kind:
                    raise UsageError(detail=f"{source.name} is of the kind {source.kind}")
                return source
        return None

    def known(self, source: Source, prefix: str, after: str, limit: int) -> dict[str, Any]:
        """A page of what is stored below a prefix, by key: fingerprints (None: it was forgotten on
        request, and stays so), and the keys of relations that begin there."""
        span = (source.id, after, prefix, prefix + END, limit)
        found = dict(self._records.rows(_STORED, span))
        noted = self._records.rows(_FORGOTTEN, span)
        marks: dict[str, str | None] = dict.fromkeys(key for (key,) in noted)
        ids = list(found.values())
        for _, memory in one_by_one(self._records, ids):
            if memory.source:
                marks[str(memory.source[1])] = fingerprint(memory)
        keys = sorted(marks)[:limit]
        of_links = f"SELECT source_key FROM relations WHERE source = {source.id} AND origin IN"
        links = self._records.rows_in(of_links, ids)
        return {
            "name": source.name,
            "items": [[key, marks[key]] for key in keys],
            "links": sorted(key for (key,) in links if key is not None),
            "next": keys[-1] if len(keys) == limit else None,
        }

    def captured(self, namespace: str, session: str, after: str, limit: int) -> dict[str, Any]:
        """A page of what an agent captured of a session, which no transcript of it brings again."""
        found = captured_parts(self._records.rows, namespace, session, after, limit)
        full = len({name for name, *_ in found}) == limit
        return {"captured": found, "next": found[-1][0] if full else None}

    def put(self, origin: Origin, delivery: Delivery) -> dict[str, Any]:
        """Take a delivery over; the reply of docs/protocol.md, import.put.

        Raises UsageError, Busy (it is being rolled back), DiskFull.
        """
        for place, (key, memory) in enumerate(delivery.items.items()):
            check_memory(memory, place)
            memory.source = (origin.kind, key)  # its name is that of the ledger
        source = self._begin(origin)
        work = _Work(self._store, source, delivery)
        self._store.dense.stale = True
        self._store.writer.store(list(work.wanted.values()), work.add, work.removed)
        return {"name": source.name, **work.counts}

    def _begin(self, origin: Origin) -> Source:
        """The source of a delivery, made when it is new."""
        fresh = {"stage": Stage.VERIFIED, "encode_cursor": ENCODED, "started": now_ms()}
        with self._records.exclusive():
            source = self.find(origin)
            if source is None:
                name = origin.name
                if not name:  # KIND-NAME of the path
                    said = re.sub(r"[^\w.@+-]+", "-", Path(origin.path).stem).strip(".-")[:60]
                    plain = not said or origin.kind in said
                    base = origin.kind if plain else f"{origin.kind}-{said}"
                    name = sources.free_name(self._records, base)
                more = {"kind": origin.kind, "path": origin.path, "fingerprint": _mark(origin)}
                more |= {"name": name, "strategy": "full", "sha256": ""}
                with self._records.write() as tx:
                    sources.insert(tx, format=1, bytes=0, attached=now_ms(), **fresh, **more)
                return sources.by_name(self._records, name)
            if source.stage is Stage.ROLLED_BACK:
                sources.change(self._records, source.id, total=0, **fresh)
            elif source.stage is not Stage.VERIFIED:
                raise Busy(detail=f"{source.name} is {source.state}; try again when it is done")
            return source


class _Work:
    """One delivery on its way into the records."""

    def __init__(self, store: MemoryStore, source: Source, delivery: Delivery) -> None:
        self._source, self._delivery = source, delivery
        self._stored = _stored(store, source, list(delivery.items))
        self.wanted = {
            key: memory
            for key, memory in delivery.items.items()
            if key not in self._stored or self._stored[key] != fingerprint(memory)
        }
        self.removed: list[int] = []
        self.counts: dict[str, int] = {}

    def add(self, tx: Transaction) -> list[Memory]:
        """What is new comes in, what is gone goes, what changed is replaced."""
        source, delivery = self._source.id, self._delivery
        if tx.rows("SELECT stage FROM sources WHERE id = ?", (source,)) != [(Stage.VERIFIED,)]:
            raise Busy(detail=f"{self._source.name} is being rolled back")
        known_as = {forgotten.digest_of(key): key for key in self.wanted}  # after a purge
        noted = tx.rows(_BARRED, (source, json.dumps([*self.wanted, *known_as])))
        barred = {known_as.get(key, key) for (key,) in noted}
        stay_away = len(barred)
        new = self.wanted.keys() - self._stored.keys()
        barred |= {key for key in new if is_captured(tx.rows, self.wanted[key])}
        added = {key: memory for key, memory in self.wanted.items() if key not in barred}
        old = self._ids(tx, [*added, *delivery.gone])
        self.removed += old.values()
        replaced = [old[key] for key in added if key in old]
        kept = tx.rows(_RELATIONS, (json.dumps(replaced),)) if replaced else []
        forgotten.remember(tx, self.removed)  # for a purge; but they may come again
        keys = [(source, key) for key in old]
        tx.many("DELETE FROM quarantine WHERE source = ? AND kind = 'forgotten' AND key = ?", keys)
        tx.delete_memories(self.removed)
        tx.add_memories(list(added.values()), source, seat=True)
        moved = {old[key]: memory.id for key, memory in added.items() if key in old}
        forgotten.replace(tx, moved)
        gone = set(self.removed)
        for origin_source, *ends, name, weight, link, extra in kept:
            # relations of what was replaced are those of what took its place
            origin, target = (moved.get(end, end) for end in ends)
            if not gone & {origin, target}:
                made = (Relation(origin, target, name, weight), link, json.loads(extra or "null"))
                tx.add_relations([made], origin_source)
        linked = self._link(tx)
        if delivery.first:
            tx.execute("DELETE FROM quarantine WHERE source = ? AND kind = ?", (source, ITEM))
        sources.quarantine(tx, source, [(ITEM, key, why) for key, why in delivery.refused])
        more = dict.fromkeys(_ALIKE, len(added) - len(old))
        sources.advance(tx, source, relations=linked, **more)
        sources.update(tx, source, finished=now_ms(), error=None)
        counts = {"added": len(added) - len(moved), "changed": len(moved)}
        self.counts = {**counts, "gone": len(old) - len(moved), "forgotten": stay_away}
        return list(added.values())

    def _ids(self, tx: Transaction, keys: Sequence[str]) -> dict[str, int]:
        return dict(tx.rows(_IDS, (self._source.id, json.dumps(list(keys)))))

    def _link(self, tx: Transaction) -> int:
        """Add relations that are not here yet, take out those that are gone; how many more."""
        source, links = self._source.id, self._delivery.links
        leaving = list(self._delivery.links_gone)
        doomed = [number for (number,) in tx.rows(_LINKS, (source, json.dumps(leaving)))]
        tx.delete_relations(doomed)
        ends = self._ids(tx, [end for link in links for end in (link.origin, link.target)])
        for part in {link.target for link in links if link.target.endswith("#")}:
            if number := tx.rows(_FIRST_ID, (source, part, part + END))[0][0]:
                ends[part] = number
        made: list[tuple[Relation, str, None]] = []
        for link in links:
            origin, target = ends.get(link.origin), ends.get(link.target)
            if origin and target and not tx.rows(_LINKED, (origin, source, link.key)):
                made.append((Relation(origin, target, link.relation, link.weight), link.key, None))
        tx.add_relations(made, source)
        return len(made) - len(doomed)


def _stored(store: MemoryStore, source: Source, keys: Sequence[str]) -> dict[str, str]:
    """The fingerprints of what is stored of some items, by key."""
    ids = dict(store.records.rows(_IDS, (source.id, json.dumps(list(keys)))))
    marks = {n: fingerprint(memory) for n, memory in one_by_one(store.records, list(ids.values()))}
    return {key: marks[number] for key, number in ids.items() if number in marks}


def _mark(origin: Origin) -> str:
    return f"{origin.kind}:{origin.identity}"
