"""Documents by their names: each has a key, which counts within its namespace."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, islice

from nimad.store.transaction import CHUNK, Transaction


def documents(
    tx: Transaction, names: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], tuple[int, int]]:
    """The documents of these namespaces and keys: (id, when it was created)."""
    every, found = iter(names), dict[tuple[str, str], tuple[int, int]]()
    while part := [*islice(every, CHUNK)]:
        sql = f"""WITH wanted (name, key) AS (VALUES {", ".join(["(?, ?)"] * len(part))})
        SELECT w.name, m.key, m.id, m.created FROM wanted w CROSS JOIN memories m
        ON m.key = w.key AND m.namespace = (SELECT id FROM names WHERE name = w.name)"""
        for name, key, number, created in tx.rows(sql, [*chain.from_iterable(part)]):
            found[name, key] = number, created
        tx.give_way()
    return found
