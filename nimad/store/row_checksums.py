"""Whether relations and turns are what was written: a checksum of each row, made in idle time.

Memories get theirs when they are stored (checksums.py).  These rows get one by the first look that
finds them, so that it costs nothing to remember; a trigger takes it away when the row is changed
(schema.py), and the next look gives it another.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from nimad.store.records import Records

SELECT = {
    "relations": (
        "SELECT r.id, r.checksum, r.origin, r.target, n.name, r.weight, r.source, r.source_key,"
        " r.extra FROM relations r LEFT JOIN names n ON n.id = r.relation WHERE r.id > ?"
    ),
    "turns": (
        "SELECT t.id, t.checksum, t.input, t.contemplation, t.output, t.name, t.source,"
        " t.source_key, t.listed, t.timestamp, t.affect, t.extra, t.gone, n.name, c.name, s.name"
        " FROM turns t LEFT JOIN names n ON n.id = t.namespace LEFT JOIN names c ON c.id ="
        " t.conversation LEFT JOIN names s ON s.id = t.session WHERE t.id > ?"
    ),
}
"""By table: its rows as they are compared, with names in place of their ids; in front the id, the
checksum, and the memories by which a row is named."""
PAGE = 200
"""Rows of a step [rows]."""


def damaged(records: Records, *, complete: bool) -> Iterator[list[str]]:
    """What is not as it was written, a step at a time: "relation 7 of the memories 3, 4".

    With `complete`, rows without a checksum are given one.  Cost: 2 microseconds a row, 6 for one
    that is given it.
    """
    for (table, sql), count in zip(SELECT.items(), (2, 3), strict=True):
        page = f"{sql} ORDER BY 1 LIMIT {PAGE}"
        after = 0
        while found := records.rows(page, (after,)):
            if complete and any(row[1] is None for row in found):
                with records.write() as tx:  # they may have changed since
                    lacking = [row for row in tx.rows(page, (after,)) if row[1] is None]
                    made = [(_checksum(row), row[0]) for row in lacking]
                    tx.many(f"UPDATE {table} SET checksum = ? WHERE id = ?", made)
            wrong = [row for row in found if row[1] not in (None, _checksum(row))]
            members = [[str(each) for each in row[2 : 2 + count] if each] for row in wrong]
            yield [
                f"{table.removesuffix('s')} {row[0]} of the memories {', '.join(each) or '(none)'}"
                for row, each in zip(wrong, members, strict=True)
            ]
            after = found[-1][0]


def _checksum(row: tuple[Any, ...]) -> int:
    return zlib.crc32(ascii((row[0], *row[2:])).encode())
