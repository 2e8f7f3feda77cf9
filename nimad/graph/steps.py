"""Applying a stretch of the change log to the graph, in one transaction with the position.

A stretch is folded: first everything that it deletes goes, then everything that it adds and that
still exists comes, as it is now.  That is the same as one change after the other, because ids are
never reused, rows are read as they are now, and a memory's "add" is in the log before the relations
and turns that need it.  An edge whose end is not there yet is left out; if its turn changed later,
the log says so again.

Crash prose: the rows and the position (`watermark`, `upto`) commit together, so a crash leaves the
stretch applied or not begun.  Applying it again would change nothing either: what is there is
skipped, what is gone is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from nimad.disk.durable import crash_point
from nimad.graph.engine import Engine
from nimad.graph.feed import ChangeFeed
from nimad.graph.tables import (
    MEMBER,
    MEMORY,
    RELATION,
    TURN,
    Meta,
    load,
    member_lines,
    memory_line,
    relation_line,
    turn_line,
    write_meta,
)
from nimad.model import Change, Turn

KINDS = ("memory", "turn", "relation")
CHANGES = 1000
"""Changes looked at for one stretch."""
RANGES = 64
"""Ranges in one statement: a long condition makes the engine's parser slow."""

Range = tuple[int, int]


@dataclass(slots=True)
class Stretch:
    """A part of the log: id ranges by kind, and the position after it."""

    added: dict[str, list[Range]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    deleted: dict[str, list[Range]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    rows: int = 0
    watermark: int = 0
    upto: int = 0


def plan(changes: Iterable[Change], meta: Meta, most: int) -> Stretch:
    """The next stretch after the position in `meta`, of at most `most` ids; 0 rows: nothing left.

    A change of more ids than that is cut; `upto` remembers where.
    """
    stretch = Stretch(watermark=meta.watermark, upto=meta.upto)
    for change in changes:
        first = max(change.first, stretch.upto + 1) if stretch.upto else change.first
        last = min(change.last, first + most - stretch.rows - 1)
        if last >= first:
            side = stretch.added if change.op == "add" else stretch.deleted
            side[change.kind].append((first, last))
            stretch.rows += last - first + 1
        if last < change.last:
            stretch.upto = last
            break
        stretch.watermark, stretch.upto = change.seq, 0
        if stretch.rows >= most:
            break
    return stretch


def apply(engine: Engine, feed: ChangeFeed, stretch: Stretch, meta: Meta) -> Meta:
    """Apply a stretch; the new position, which is in the graph too when this returns.

    Raises GraphFailed or DiskFull; then nothing has changed.
    """
    after = replace(
        meta,
        watermark=stretch.watermark,
        upto=stretch.upto,
        changed=meta.changed + stretch.rows,
    )
    with engine.transaction():
        _delete(engine, stretch.deleted)
        _add_memories(engine, feed, stretch.added["memory"])
        _add_turns(engine, feed, stretch.added["turn"])
        _add_relations(engine, feed, stretch.added["relation"])
        after = write_meta(engine, after)
        crash_point("graph.before_commit")
    crash_point("graph.committed")
    return after


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The same ids in as few ranges as possible, sorted."""
    joined: list[Range] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def _conditions(name: str, ranges: Iterable[Range]) -> Iterator[str]:
    """Cypher conditions that together cover the ranges of `name`.id."""
    joined = merged(ranges)
    for start in range(0, len(joined), RANGES):
        yield " OR ".join(
            f"({name}.id >= {first} AND {name}.id <= {last})"
            for first, last in joined[start : start + RANGES]
        )


def _delete(engine: Engine, deleted: dict[str, list[Range]]) -> None:
    """Relations go before their memories: where both ends go, kuzu's DETACH leaves half an edge."""
    for where in _conditions("r", deleted["relation"]):
        engine.write(f"MATCH (:Memory)-[r:Relation]->(:Memory) WHERE {where} DELETE r")
    for kind, table in (("turn", "Turn"), ("memory", "Memory")):
        for where in _conditions("n", deleted[kind]):
            if kind == "memory":
                engine.write(f"MATCH (n:Memory)-[r:Relation]->(:Memory) WHERE {where} DELETE r")
                engine.write(f"MATCH (n:Memory)<-[r:Relation]-(:Memory) WHERE {where} DELETE r")
            engine.write(f"MATCH (n:{table}) WHERE {where} DETACH DELETE n")


def _present(engine: Engine, pattern: str, name: str, ranges: list[Range]) -> set[int]:
    """The ids of the ranges that the graph, the open transaction included, has already."""
    found: set[int] = set()
    for where in _conditions(name, ranges):
        found.update(
            row[0] for row in engine.write(f"MATCH {pattern} WHERE {where} RETURN {name}.id")
        )
    return found


def _add_memories(engine: Engine, feed: ChangeFeed, ranges: list[Range]) -> None:
    there = _present(engine, "(n:Memory)", "n", ranges)
    keys = (key for first, last in merged(ranges) for key in feed.memory_keys(first, last))
    load(engine, MEMORY, (memory_line(key) for key in keys if key[0] not in there))


def _add_turns(engine: Engine, feed: ChangeFeed, ranges: list[Range]) -> None:
    """A turn that is there already has changed: its members are told anew."""
    there = _present(engine, "(n:Turn)", "n", ranges)
    turns: list[Turn] = []
    for first, last in merged(ranges):
        turns.extend(feed.turn_rows(first, last))
    for where in _conditions("t", ((number, number) for number in there)):
        engine.write(f"MATCH (t:Turn)-[m:Member]->(:Memory) WHERE {where} DELETE m")
    load(engine, TURN, (turn_line(turn) for turn in turns if turn.id not in there))
    load(engine, MEMBER, (line for turn in turns for line in member_lines(turn)))


def _add_relations(engine: Engine, feed: ChangeFeed, ranges: list[Range]) -> None:
    there = _present(engine, "(:Memory)-[r:Relation]->(:Memory)", "r", ranges)
    rows = (row for first, last in merged(ranges) for row in feed.relation_rows(first, last))
    load(engine, RELATION, (relation_line(row) for row in rows if row.id not in there))
