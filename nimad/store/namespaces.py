"""Which namespaces a bound user may reach, as a condition in SQL."""

from __future__ import annotations

from nimad.namespaces import Namespaces
from nimad.store.records import Records


def memories_within(records: Records, within: Namespaces | None) -> str:
    """SQL that holds for a memory m in some namespaces; None: for each."""
    if within is None:
        return "1"
    return f"m.namespace IN ({','.join(map(str, records.names_within(within)))})"
