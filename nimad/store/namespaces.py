"""Which namespaces a bound user may reach: ids of names, and a condition in SQL."""

from __future__ import annotations

from nimad.namespaces import Namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nimad.store.records import Records


def names_within(records: Records, within: Namespaces) -> list[int]:
    """The ids of those names that are among some namespaces: every filter by them asks here."""
    found: list[int] = []
    for name in within.names:
        begin = name.removesuffix("*")
        same = "name = ?2" if begin == name else "substr(name, 1, ?1) = ?2"
        sql = f"SELECT id FROM names WHERE ?1 = length(?2) AND {same}"
        found += [number for (number,) in records.rows(sql, (len(begin), begin))]
    return found


def memories_within(records: Records, within: Namespaces | None) -> str:
    """SQL that holds for a memory m in some namespaces; None: for each."""
    if within is None:
        return "1"
    return f"m.namespace IN ({','.join(map(str, names_within(records, within)))})"
