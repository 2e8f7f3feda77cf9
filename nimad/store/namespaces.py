"""Which namespaces a bound user may reach, as a condition in SQL."""

from __future__ import annotations

from collections.abc import Sequence

from nimad.namespaces import Namespaces
from nimad.store.records import Records


def memories_within(records: Records, within: Namespaces | None) -> str:
    """SQL that holds for a memory m in some namespaces; None: for each."""
    if within is None:
        return "1"
    return f"m.namespace IN ({','.join(map(str, records.names_within(within)))})"


def seen(records: Records, ids: Sequence[int], within: Namespaces | None) -> set[int]:
    """Which of these memories there are in some namespaces (None: in any).  Nothing else of them
    is read: 10,000 may be named, of 200,000 characters each."""
    sql = f"SELECT m.id FROM memories m WHERE {memories_within(records, within)} AND m.id IN"
    return {number for (number,) in records.rows_in(sql, ids)}
