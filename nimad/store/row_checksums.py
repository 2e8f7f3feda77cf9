"""Whether rows of any table but `memories` are what was written: a checksum of each, mostly made in
idle time.

Memories get theirs when they are stored (checksums.py), and so do the rows that are compared when
they are read: `hot` and `changes`, and single values (`meta`).  The other rows get one by the first
look that finds them, so that it costs nothing to write them: until then 0 stands there, by default,
and again when the row is changed, by a trigger (schema_versions.py).  An upgrade that adds a column
to a table sets its checksums to 0.  NULL is the row of an older version, or damage: once a look has
been at all rows, no row is without (`rows.ROWS_CHECKSUMMED`).

What a flipped bit does to a table that has no checksum of its own, or whose rows nobody looks at
here, is told in `ELSEWHERE`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nimad.dataclass import dataclass
from nimad.store.records import Records
from nimad.store.rows import ROW_CHECKSUM, ROWS_CHECKSUMMED, known_checksum, row_checksum
from nimad.store.schema_versions import NUMBERED
from nimad.text import common_form

ELSEWHERE = {
    "memories": "compared with its checksum whenever it is read, and in idle time (checksums.py)",
    "blobs": "counts for the checksum of its memory",
    "hot": "compared when a start reads it: what is damaged is encoded again from the text",
    "changes": "compared when it is followed: then the columns compare themselves with the records",
    "tombstones": "a start removes every vector without a memory, and drops those of memories",
    "sqlite_sequence": "the numbers of memories, turns, relations and changes stand there twice;"
    " those of the others only count on, and nothing refers to one that is gone",
}
"""By table that is not looked at here: how a flipped bit is noticed, or why it does no harm."""
NAMED = {
    "relations": (
        f"SELECT r.id, {known_checksum('r.checksum', ROWS_CHECKSUMMED)}, r.origin, r.target,"
        " n.name, r.weight, r.source, r.source_key, r.extra"
        " FROM relations r LEFT JOIN names n ON n.id = r.relation WHERE r.id > ?"
    ),
    "turns": (
        f"SELECT t.id, {known_checksum('t.checksum', ROWS_CHECKSUMMED)}, t.input, t.contemplation,"
        " t.output, t.name, t.source, t.source_key, t.listed, t.timestamp, t.affect, t.extra,"
        " t.gone, n.name, c.name, s.name"
        " FROM turns t LEFT JOIN names n ON n.id = t.namespace LEFT JOIN names c ON c.id ="
        " t.conversation LEFT JOIN names s ON s.id = t.session WHERE t.id > ?"
    ),
}
"""By table: its rows as they are compared, with names in place of their ids; in front the id, the
checksum, and the memories by which a row is named."""
MEMBERS = {"relations": 2, "turns": 3}
"""How many columns after the checksum are memories."""
OWN_KEYS = ("meta", "segments", "pending", "dense")
"""Tables whose keys are names of nimad's own, which may be shown."""
PAGE = 200
"""Rows of a step [rows]."""


@dataclass(frozen=True)
class _Table:
    """A table, and how its rows are read: the key first (`keys` columns), then the checksum."""

    name: str
    keys: int
    first: str
    later: str
    give: str

    def label(self, row: tuple[Any, ...]) -> str:
        """A row as a person is told of it: by number or by memory, never by a text from outside."""
        if self.name in NAMED:
            members = ", ".join(str(each) for each in row[2 : 2 + MEMBERS[self.name]] if each)
            return f"{self.name.removesuffix('s')} {row[0]} of the memories {members or '(none)'}"
        shown = [str(k) for k in row[: self.keys] if isinstance(k, int) or self.name in OWN_KEYS]
        return f"a row of {self.name} ({' '.join(shown)})" if shown else f"a row of {self.name}"


def _tables(records: Records) -> Iterator[_Table]:
    sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '% checksum INTEGER%'"
    for (name,) in records.rows(f"{sql} ORDER BY name"):
        if name in ELSEWHERE:
            continue
        columns = records.rows("SELECT name, pk FROM pragma_table_info(?) ORDER BY cid", (name,))
        keys = [column for column, pk in sorted(columns, key=lambda each: each[1]) if pk]
        rest = [column for column, pk in columns if not pk and column != "checksum"]
        every = ", ".join([*keys, ROW_CHECKSUM, *rest])
        key, marks = ", ".join(keys), ", ".join("?" * len(keys))
        end = f"ORDER BY {key} LIMIT {PAGE}"
        first = f"SELECT {every} FROM {name} {end}"
        later = f"SELECT {every} FROM {name} WHERE ({key}) > ({marks}) {end}"
        if name in NAMED:
            later = f"{NAMED[name]} {end.replace('BY id', 'BY 1')}"
            first = later.replace("> ?", "> 0")
        give = f"UPDATE {name} SET checksum = ? WHERE ({key}) = ({marks})"
        yield _Table(name, len(keys), first, later, give)


def damaged(records: Records, *, complete: bool) -> Iterator[list[str]]:
    """What is not as it was written, a step at a time: "relation 7 of the memories 3, 4".

    With `complete`, rows without a checksum are given one, and what is made of others is mended:
    common forms of names, and measurements, which are made again.  Cost: 2 microseconds a row, 6
    for one that is given it.
    """
    for table in _tables(records):
        keys = table.keys
        most = int(records.value(f"SELECT count(*) FROM {table.name}"))
        sql, after = table.first, ()
        for _ in range(0, most + 2 * PAGE, PAGE):  # however the rows are ordered
            if not (found := records.rows(sql, after)):
                break
            if complete and not all(row[keys] for row in found):
                with records.write() as tx:  # they may have changed since
                    lacking = [row for row in tx.rows(sql, after) if not row[keys]]
                    made = [(_checksum(row, keys), *row[:keys]) for row in lacking]
                    tx.many(table.give, made)
            wrong = [row for row in found if row[keys] and row[keys] != _checksum(row, keys)]
            if complete and wrong:
                wrong = _mend(records, table.name, wrong)
            yield [table.label(row) for row in wrong]
            sql, after = table.later, found[-1][:keys]
    if complete and not records.meta(ROWS_CHECKSUMMED):
        with records.write() as tx:
            tx.set_meta(ROWS_CHECKSUMMED, "1")


def _mend(records: Records, table: str, wrong: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Make anew what these rows have that can be; the others."""
    if table == "phi":
        with records.write() as tx:
            tx.many("DELETE FROM phi WHERE memory = ?", [(row[0],) for row in wrong])
        return []
    if table == "names":
        forms = {row[0]: common_form(str(row[2])) for row in wrong}
        right = [row for row in wrong if row_checksum(row[0], row[2], forms[row[0]]) == row[1]]
        with records.write() as tx:
            sql = "UPDATE names SET folded = ? WHERE id = ?"
            tx.many(sql, [(forms[row[0]], row[0]) for row in right])
        return [row for row in wrong if row not in right]
    return wrong


def _checksum(row: tuple[Any, ...], keys: int) -> int:
    return row_checksum(*row[:keys], *row[keys + 1 :])


def wrong_numbers(records: Records) -> list[str]:
    """Tables whose highest number that was deleted is not what was written."""
    sql = "SELECT name, seq FROM sqlite_sequence"
    last: dict[str, int] = dict(records.rows(sql))
    return [table for table in NUMBERED if last.get(table) != -last.get(f"-{table}", 1)]
