"""What the records keep of measurements of Φ: numbers only, so no text of a memory.

A row goes with its memory, in the same transaction (`Transaction.delete_memories`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from nimad.namespaces import Namespaces
from nimad.store.records import Records
from nimad.store.transaction import Transaction


class PhiRow(NamedTuple):
    """One measurement; `phi` is None where it could not be measured."""

    memory: int
    phi: float | None
    uncertainty: float
    quality: float


def keep(tx: Transaction, rows: Iterable[PhiRow], method: int) -> None:
    """Keep measurements of memories that are still there."""
    tx.many(
        "INSERT OR REPLACE INTO phi (memory, method, phi, uncertainty, quality)"
        " SELECT ?1, ?5, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM memories WHERE id = ?1)",
        ((*row, method) for row in rows),
    )


def drop(tx: Transaction, memories: Iterable[int]) -> None:
    """Forget the measurements of memories: they got another hypervector."""
    tx.many("DELETE FROM phi WHERE memory = ?", ((int(number),) for number in memories))


def highest(
    records: Records, method: int, limit: int, within: Namespaces | None = None
) -> list[PhiRow]:
    """The memories (in some namespaces) with the highest Φ, equal ones by id."""
    among = "1"
    if within is not None:
        spaces = ",".join(map(str, records.names_within(within)))
        among = f"memory IN (SELECT id FROM memories WHERE namespace IN ({spaces}))"
    sql = (
        "SELECT memory, phi, uncertainty, quality FROM phi WHERE method = ? AND phi IS NOT NULL"
        f" AND {among} ORDER BY phi DESC, memory LIMIT ?"
    )
    return [PhiRow(*row) for row in records.rows(sql, (method, limit))]


def counts(records: Records, method: int) -> tuple[int, int, int]:
    """How many were measured, could not be measured, and are left."""
    sql = "SELECT count(phi), count(*) - count(phi) FROM phi WHERE method = ?"
    ((measured, refused),) = records.rows(sql, (method,))
    every = int(records.value("SELECT count(*) FROM memories"))
    return int(measured), int(refused), every - int(measured) - int(refused)


def unmeasured(records: Records, method: int, limit: int) -> list[int]:
    """The newest memories without a measurement."""
    sql = (
        "SELECT id FROM memories WHERE id NOT IN (SELECT memory FROM phi WHERE method = ?)"
        " ORDER BY id DESC LIMIT ?"
    )
    return [number for (number,) in records.rows(sql, (method, limit))]


def measured_among(records: Records, method: int, ids: Iterable[int]) -> set[int]:
    """Those of these memories that have a measurement."""
    sql = f"SELECT memory FROM phi WHERE method = {int(method)} AND memory IN"
    return {number for (number,) in records.rows_in(sql, list(ids))}
