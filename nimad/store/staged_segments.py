"""Segments of an index that is being made anew: durable and noted, but not in use yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nimad.store.records import Records
from nimad.store.transaction import Transaction, segment_row


def names(records: Records, signature: str | None = None) -> list[str]:
    """The noted segments, oldest first; those of one embedder, or all."""
    sql = "SELECT name FROM pending WHERE signature = coalesce(?, signature) ORDER BY created, name"
    return [row[0] for row in records.rows(sql, (signature,))]


def note(tx: Transaction, info: Any, signature: str, created: int) -> None:
    """Note a durable segment file of an embedder."""
    tx.insert("pending", **segment_row(info), signature=signature, created=created)


def forget(tx: Transaction, gone: Iterable[str]) -> None:
    """Take segments off the note; their files may be deleted after the commit."""
    tx.many("DELETE FROM pending WHERE name = ?", [(name,) for name in gone])


def forget_others(tx: Transaction, signature: str | None) -> int:
    """Forget what was meant for any other embedder; None forgets all.  How many went."""
    return tx.execute("DELETE FROM pending WHERE ?1 IS NULL OR signature != ?1", (signature,))


def adopt(tx: Transaction, signature: str) -> None:
    """Make the noted segments of an embedder the ones that count, and forget every note."""
    tx.execute(
        "INSERT INTO segments (name, rows, bytes, digest, first_id, last_id, created)"
        " SELECT name, rows, bytes, digest, first_id, last_id, created FROM pending"
        " WHERE signature = ?",
        (signature,),
    )
    tx.execute("DELETE FROM pending")
