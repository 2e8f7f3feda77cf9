"""The graph's tables, and how rows get into them.

| table | what | columns |
|---|---|---|
| Memory | node | id (key), layer, who, timestamp [epoch ms] |
| Turn | node | id (key) |
| Relation | Memory to Memory | id, relation, weight |
| Member | Turn to Memory | role: input, contemplation, output |
| Meta | node | id (key), version, engine, watermark, upto, built, changed |

The last row of Meta counts: a new row takes 100 bytes of memory until the next checkpoint, setting
the values of an old one 40 KB.  `watermark` is the last change that is wholly in the graph; of the
change after it, the rows up to id `upto` are (0: none).  `built` rows were there when the file was
made, `changed` rows came or went since.

No text of a memory is ever in the graph, and labels are cut at 200 characters.  ladybug keeps no
hash index of the keys: the index takes 2 MB per table however small the table is, and a scan of
100,000 ids takes 1 ms.  kuzu cannot do without (its file starts at 7.5 MB), and reads "" as NULL.

Rows go in as CSV through an unnamed file in memory: nothing is written to the card for it, nothing
is left after a crash, and the engine parses them without the interpreter's lock.  Measured per
1,000 rows: COPY of memories 0.6 ms, of relations 1.5 ms; LOAD of memories 4 ms, of relations 4 ms
(UNWIND of parameters with MATCH is planned as a cross product: 500 ms).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace

from nimad.graph.engine import Engine
from nimad.model import TURN_ROLES, Relation, Turn

VERSION = 1
"""Of the tables; a file of another version is made anew."""
LABEL = 200  # [characters]

MemoryKey = tuple[int, str, str | None, int]


@dataclass(frozen=True)
class Table:
    """A table: how it is made, the columns of its CSV, and the statement that adds such rows."""

    name: str
    ddl: str
    columns: str
    create: str


_ENDS = "MATCH (a:{0}) WHERE a.id = source WITH * MATCH (b:Memory) WHERE b.id = target CREATE "

MEMORY = Table(
    "Memory",
    "NODE TABLE Memory(id INT64 PRIMARY KEY, layer STRING, who STRING, timestamp INT64)",
    "id INT64, layer STRING, who STRING, time INT64",
    "CREATE (:Memory {id: id, layer: layer, who: who, timestamp: time})",
)
TURN = Table("Turn", "NODE TABLE Turn(id INT64 PRIMARY KEY)", "id INT64", "CREATE (:Turn {id: id})")
RELATION = Table(
    "Relation",
    "REL TABLE Relation(FROM Memory TO Memory, id INT64, relation STRING, weight DOUBLE)",
    "source INT64, target INT64, id INT64, name STRING, weight DOUBLE",
    _ENDS.format("Memory") + "(a)-[:Relation {id: id, relation: name, weight: weight}]->(b)",
)
MEMBER = Table(
    "Member",
    "REL TABLE Member(FROM Turn TO Memory, role STRING)",
    "source INT64, target INT64, role STRING",
    _ENDS.format("Turn") + "(a)-[:Member {role: role}]->(b)",
)
META = (
    "NODE TABLE Meta(id INT64 PRIMARY KEY, version INT64, engine STRING, watermark INT64,"
    " upto INT64, built INT64, changed INT64)"
)


@dataclass(slots=True, frozen=True)
class Meta:
    """A row of the table Meta; `id` counts the transactions."""

    id: int = 0
    version: int = VERSION
    engine: str = ""
    watermark: int = 0
    upto: int = 0
    built: int = 0
    changed: int = 0


def create_tables(engine: Engine) -> None:
    """Make the tables, in one transaction."""
    if engine.name == "ladybug":
        engine.write("CALL enable_default_hash_index=false")
    with engine.transaction():
        for ddl in (META, *(table.ddl for table in (MEMORY, TURN, RELATION, MEMBER))):
            engine.write(f"CREATE {ddl}")


def read_meta(engine: Engine) -> Meta | None:
    """The row of Meta that counts, or None when there is none. Raises GraphFailed."""
    columns = ", ".join(f"m.{field.name}" for field in fields(Meta))
    found = engine.read(f"MATCH (m:Meta) RETURN {columns} ORDER BY m.id DESC LIMIT 1")
    return Meta(*found[0]) if found else None


def write_meta(engine: Engine, meta: Meta) -> Meta:
    """Store the position and the counters, inside the open transaction; the row that counts now."""
    row = replace(meta, id=meta.id + 1, version=VERSION, engine=engine.name)
    values = ", ".join(f"{name}: {value!r}" for name, value in asdict(row).items())
    engine.write(f"CREATE (:Meta {{{values}}})")
    return row


def drop_old_meta(engine: Engine, meta: Meta) -> None:
    """Forget the rows of Meta that do not count any more."""
    engine.write(f"MATCH (m:Meta) WHERE m.id < {meta.id} DELETE m")


# --- rows as CSV ------------------------------------------------------------------------------


def memory_line(key: MemoryKey) -> str:
    """A memory's line for the table Memory."""
    number, layer, who, timestamp = key
    return f"{number},{_label(layer)},{_label(who)},{timestamp}\n"


def turn_line(turn: Turn) -> str:
    """A turn's line for the table Turn."""
    return f"{turn.id}\n"


def relation_line(relation: Relation) -> str:
    """A relation's line for the table Relation; a weight that is no finite number is NULL."""
    weight = relation.weight
    shown = repr(float(weight)) if weight is not None and math.isfinite(weight) else ""
    label = _label(relation.relation)
    return f"{relation.source},{relation.target},{relation.id},{label},{shown}\n"


def member_lines(turn: Turn, known: Callable[[int], bool] = lambda _: True) -> Iterator[str]:
    """A turn's lines for the table Member: one for each member that is `known`."""
    for role in TURN_ROLES:
        member = getattr(turn, role)
        if member is not None and known(member):
            yield f'{turn.id},{member},"{role}"\n'


def _label(text: str | None) -> str:
    return "" if text is None else '"' + text[:LABEL].replace('"', '""') + '"'


def copy(engine: Engine, table: Table, lines: Iterable[str]) -> None:
    """Bulk-load an empty table; both ends of an edge must exist. Raises GraphFailed, DiskFull."""
    with _in_memory(lines) as source:
        if source:
            engine.write(f"COPY {table.name} FROM {source}")


def load(engine: Engine, table: Table, lines: Iterable[str]) -> None:
    """Add rows to a table; an edge is left out when one of its ends is not there.

    Raises GraphFailed (a node's id exists already), DiskFull.
    """
    with _in_memory(lines) as source:
        if source:
            engine.write(f"LOAD WITH HEADERS ({table.columns}) FROM {source} {table.create}")


@contextmanager
def _in_memory(lines: Iterable[str]) -> Iterator[str]:
    """The lines in a file that is only in memory, as a Cypher source; "" when there are none."""
    descriptor = os.memfd_create("nimad-graph", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace", newline="") as file:
        file.writelines(lines)
        file.flush()
        if not file.tell():
            yield ""
            return
        yield (
            f"'/proc/self/fd/{descriptor}'"
            " (FILE_FORMAT='csv', HEADER=false, PARALLEL=false, AUTO_DETECT=false)"
        )
