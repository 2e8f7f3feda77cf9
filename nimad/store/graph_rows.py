"""The records as lines of CSV for a graph (see nimad/graph/tables), all of one moment.

No text of a memory is among them, and labels are cut at LABEL characters.  Cost: 5 microseconds a
memory, 2 a relation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from nimad.model import TURN_ROLES
from nimad.store.records import Records
from nimad.store.relations import LABEL
from nimad.store.schema import last_number

PAGE = 200
"""Lines handed over at a time, between which queries go first: 0.5 ms [rows]."""
KINDS = {"memory": "memories", "turn": "turns", "relation": "relations"}

MEMORIES = (
    "SELECT id, layer, who, place, timestamp, importance, namespace, conversation, session, source"
    " FROM memories ORDER BY id"
)
TURNS = (
    "SELECT id, name, namespace, conversation, session, timestamp FROM turns"
    " WHERE listed ORDER BY id"
)
RELATIONS = "SELECT origin, target, id, relation, weight FROM relations ORDER BY id"
MEMBERS = "SELECT id, input, contemplation, output FROM turns WHERE listed ORDER BY id"


class Labels(dict[Any, str]):
    """A text → how it stands in CSV; None → nothing."""

    def __missing__(self, text: str | None) -> str:
        if text is None:
            return ""
        if len(self) > 100_000:
            self.clear()
        self[text] = shown = '"' + text[:LABEL].replace('"', '""') + '"'
        return shown


def lines(records: Records, give_way: Callable[[], None]) -> Iterator[tuple[str, list[str]]]:
    """Pages of all rows: (table, lines), nodes before what connects them.

    `give_way` is called before each page.  To be used within `Records.moment`.
    """
    label = Labels()
    name = {number: label[text] for number, text in records.rows("SELECT id, name FROM names")}
    name |= {None: "", 0: ""}
    source = {n: label[text] for n, text in records.rows("SELECT id, name FROM sources")}
    source[None] = ""
    for page in _pages(records, MEMORIES, give_way):
        yield (
            "Memory",
            [
                f"{number},{name[layer]},{label[who]},{name[place]},{at or ''},"
                f"{_number(importance)},{name[space]},{name[talk]},{name[session]},"
                f"{source[origin]}\n"
                for number, layer, who, place, at, importance, space, talk, session, origin in page
            ],
        )
    for page in _pages(records, TURNS, give_way):
        yield (
            "Turn",
            [
                f"{number},{label[turn]},{name[namespace]},{name[conversation]},{name[session]},"
                f"{_number(at)}\n"
                for number, turn, namespace, conversation, session, at in page
            ],
        )
    for page in _pages(records, RELATIONS, give_way):
        yield (
            "Relation",
            [
                f"{origin},{target},{number},{name[relation]},{_number(weight)}\n"
                for origin, target, number, relation, weight in page
            ],
        )
    for page in _pages(records, MEMBERS, give_way):
        yield (
            "Member",
            [
                f'{turn},{member},"{role}"\n'
                for turn, *members in page
                for member, role in zip(members, TURN_ROLES, strict=True)
                if member is not None
            ],
        )


def _pages(records: Records, sql: str, give_way: Callable[[], None]) -> Iterator[list[Any]]:
    with records.reading() as reader:
        cursor = reader.execute(sql)
        while page := cursor.fetchmany(PAGE):
            give_way()
            yield page


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else repr(value)


def last_ids(records: Records) -> dict[str, int]:
    """Kind → the highest id that was ever given."""
    every = ", ".join(map(last_number, KINDS.values()))
    return dict(zip(KINDS, records.rows(f"SELECT {every}")[0], strict=True))
