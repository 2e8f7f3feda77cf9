"""The graph's tables; docs/graph.md explains them to who asks.

| table | what | columns |
|---|---|---|
| Memory | node | id (key), layer, who, place, timestamp [epoch ms], importance, namespace, |
|        |      | conversation, session, source |
| Turn | node | id (key), name, namespace, conversation, session, timestamp [epoch ms] |
| Relation | Memory to Memory | id, relation, weight |
| Member | Turn to Memory | role: input, contemplation, output |

No text of a memory is ever in the graph, and labels are cut (see store/graph_rows).  ladybug keeps
no hash index of the keys unless nodes came in parts: the index takes 2 MB per table however small
the table is, and a scan of 100,000 ids takes 1 ms.  kuzu cannot do without (its file starts at
7.5 MB), and reads "" as NULL.

Rows come as CSV in a file that is only in memory: nothing is written to the card for it, and
nothing is left after a crash.
"""

from __future__ import annotations

from nimad.graph.engine import Engine

TABLES = {
    "Memory": "NODE TABLE Memory(id INT64 PRIMARY KEY, layer STRING, who STRING, place STRING,"
    " timestamp INT64, importance DOUBLE, namespace STRING, conversation STRING, session STRING,"
    " source STRING)",
    "Turn": "NODE TABLE Turn(id INT64 PRIMARY KEY, name STRING, namespace STRING,"
    " conversation STRING, session STRING, timestamp INT64)",
    "Relation": "REL TABLE Relation(FROM Memory TO Memory, id INT64, relation STRING,"
    " weight DOUBLE)",
    "Member": "REL TABLE Member(FROM Turn TO Memory, role STRING)",
}
"""Name → definition, in the order in which they are filled: nodes before what connects them."""

COUNTS = {
    "Memory": "MATCH (n:Memory) RETURN count(*)",
    "Turn": "MATCH (n:Turn) RETURN count(*)",
    "Relation": "MATCH (:Memory)-[r:Relation]->(:Memory) RETURN count(*)",
    "Member": "MATCH (:Turn)-[r:Member]->(:Memory) RETURN count(*)",
}


def create_tables(engine: Engine, *, in_parts: bool) -> None:
    """Make the tables.  ladybug needs a hash index of the keys to take nodes `in_parts`."""
    if engine.name == "ladybug" and not in_parts:
        engine.run("CALL enable_default_hash_index=false")
    for definition in TABLES.values():
        engine.run(f"CREATE {definition}")


def copy(engine: Engine, table: str, descriptor: int) -> None:
    """Add the rows of an open CSV file to a table; both ends of an edge must exist.

    Raises GraphFailed, GraphMemory, DiskFull.
    """
    engine.run(
        f"COPY {table} FROM '/proc/self/fd/{descriptor}'"
        " (FILE_FORMAT='csv', HEADER=false, PARALLEL=false, AUTO_DETECT=false)"
    )


def counts(engine: Engine) -> dict[str, int]:
    """Table → number of its rows."""
    return {table: int(engine.run(count)[0][0]) for table, count in COUNTS.items()}
