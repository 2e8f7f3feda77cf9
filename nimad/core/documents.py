"""Keyed documents: JSON values under a namespace and a key, put, replaced, filtered and searched.

A document is a memory with a key (`nimad.model`): its value is in `extra`, what it is searched by
in `text`.  So a query finds it, an export has it and a purge reaches it as any other memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import ge, gt, le, lt
from typing import Any

from nimad.core.store import MemoryStore
from nimad.core.writer import DocumentName
from nimad.limits import MAX_RESULTS
from nimad.model import MAX_TEXT, Filter, Memory
from nimad.recall.query_context import Stopwatch
from nimad.store.bounded import FEW
from nimad.store.records import CHUNK

Found = list[tuple[int, float | None]]
"""Ids of documents, and the score of each where a text was asked."""

_COMPARED: dict[str, Callable[[Any, Any], bool]] = {"$gt": gt, "$gte": ge, "$lt": lt, "$lte": le}
OPERATORS = ("$eq", "$ne", *_COMPARED)
"""What a filter may ask of a field, as LangGraph has it."""


def text_of(value: Mapping[str, Any]) -> str:
    """What a value is searched by when nobody says: its texts, in their order, a line each."""
    return "\n".join(_texts(value))[:MAX_TEXT]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def matches(value: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether each named field of a value is what is wanted: equal, or as its operators say.  A
    name with dots is a way through objects, unless a field has it."""
    for name, asked in wanted.items():
        held: Any = value
        for step in [name] if name in value else name.split("."):
            held = held.get(step) if isinstance(held, dict) else None
        if not (isinstance(asked, dict) and asked and all(n.startswith("$") for n in asked)):
            asked = {"$eq": asked}
        for operator, operand in asked.items():
            try:
                if operator in ("$eq", "$ne"):
                    fits = (held == operand) == (operator == "$eq")
                else:
                    fits = _COMPARED[operator](held, operand)
            except TypeError:  # of two kinds: neither is more than the other
                fits = False
            if not fits:
                return False
    return True


class Documents:
    """The documents of one store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._records = store.records

    def put(self, documents: Sequence[Memory], gone: Sequence[DocumentName]) -> None:
        """Store documents, in place of those with their keys, and forget others: one transaction.

        Raises UsageError, as `remember_many`.
        """
        if documents:
            self._store.remember_many(documents, gone=gone)
        elif gone:
            with self._records.exclusive():
                self._store.forget([number for name in gone for number in self._named(*name)])

    def get(self, namespace: str, keys: Sequence[str]) -> Found:
        """The documents of a namespace with these keys, in their order; others are left out."""
        return [(number, None) for key in keys for number in self._named(namespace, key)]

    def _named(self, namespace: str, key: str) -> list[int]:
        sql = "SELECT id FROM memories WHERE key = ?"
        sql += " AND namespace = (SELECT id FROM names WHERE name = ?)"
        return [number for (number,) in self._records.rows(sql, (key, namespace))]

    def find(self, where: Filter, wanted: Mapping[str, Any], most: int) -> Found:
        """The newest `most` documents that pass a filter and whose values have what is wanted."""
        return [(number, None) for number in self._newest(where, wanted, most)]

    def _newest(
        self, where: Filter, wanted: Mapping[str, Any], most: int, more: str = "1"
    ) -> list[int]:
        """The ids of the newest `most` that pass; `more` is a condition in SQL."""
        condition, parameters = self._records.condition(where)
        sql = f"SELECT m.id FROM memories m WHERE {condition} AND {more}"
        sql += " ORDER BY m.timestamp DESC, m.id DESC"
        ids = [number for (number,) in self._records.rows(sql, parameters)]
        if not wanted:
            return ids[:most]
        found: list[int] = []
        for start in range(0, len(ids), CHUNK):
            part = ids[start : start + CHUNK]
            fitting = set(self._having(wanted, part))
            found += [number for number in part if number in fitting]
            if len(found) >= most:
                break
        return found[:most]

    def search(self, text: str, where: Filter, wanted: Mapping[str, Any], most: int) -> Found:
        """The best `most` for a text, of the best 1,000 that pass the filter.  Behind those that
        have anything of it come the others, the newest first, but for those without a text."""
        store = self._store
        watch = Stopwatch(store.config["recall.seconds"])
        with store.query_priority:
            hits = store.recall.query(
                text, MAX_RESULTS, "hybrid", where, watch=watch, strictness=0.0
            )
        scores = {number: hit.score for hit in hits for number in (hit.memory.id, *hit.copies)}
        fitting = set(self._having(wanted, list(scores)))
        best = sorted(fitting, key=lambda number: (-scores[number], number))
        if len(best) < most:
            rest = self._newest(where, wanted, most + len(scores), "m.text != ''")
            best += [number for number in rest if number not in scores]
        least = min([0.0, *scores.values()])
        return [(number, scores.get(number, least)) for number in best[:most]]

    def _having(self, wanted: Mapping[str, Any], ids: Sequence[int]) -> Sequence[int]:
        """Those of some documents whose values have what is wanted."""
        if not wanted:
            return ids
        found: list[int] = []
        sql = "SELECT id, extra FROM memories WHERE id IN"
        for number, extra in self._records.rows_in(sql, ids):
            with suppress(ValueError, TypeError):  # a bit flipped: doctor tells of it
                if matches(json.loads(extra or "{}"), wanted):
                    found.append(number)
        return found

    def read(self, found: Found) -> Iterator[tuple[Memory, float | None]]:
        """What was found, whole, a few at a time: values may be large."""
        for start in range(0, len(found), FEW):
            some = found[start : start + FEW]
            memories = self._records.get([number for number, _ in some])
            yield from ((memories[n], score) for n, score in some if n in memories)

    def namespaces(self, where: Filter) -> list[str]:
        """The namespaces that have documents which pass a filter, by name."""
        condition, parameters = self._records.condition(where)
        sql = "SELECT DISTINCT n.name FROM memories m JOIN names n ON n.id = m.namespace"
        found = self._records.rows(f"{sql} WHERE {condition}", parameters)
        return sorted(name for (name,) in found)
