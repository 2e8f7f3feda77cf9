"""The third stage: turns and relations.  When all is verified the graph is made anew.

Crash prose: each batch of turns, and each of relations, is one transaction with its cursor.  The
graph is made in a file of its own (see graph/files): after a crash it is made when it is asked.

A relation that leads to a memory which is not there is quarantined with the reason, and tried again
with the next snapshot.  A turn is taken over as the source has it now: one that was still under way
in the first snapshot is completed by the next.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from nimad.disk.durable import crash_point
from nimad.errors import NimadError
from nimad.legacy.hostile_reader import in_steps
from nimad.legacy.source import LegacyEdge, LegacyTurn, Unreadable
from nimad.migrate.run import Run, cursor
from nimad.model import TURN_ROLES, Relation, Stage, Turn
from nimad.store import sources
from nimad.store.records import Records
from nimad.store.sources import Source

NO_SCOPE = [0, 0, 0]
"""Namespace, conversation and session of a turn of which no member is here."""
SAME_NAME = "its name is that of turn"
YIELD_EVERY = 32
"""Relations sorted out between two looks at whether a query waits: 0.2 ms."""

Note = tuple[str, str | int, str]
"""A row of the quarantine: kind, key in the source, reason."""
NewTurn = tuple[Turn, str | int, dict[str, Any] | None]
Identity = tuple[str, *tuple[int, ...]]
"""What tells turns apart: name, namespace, conversation, session."""
NewRelation = tuple[Relation, str | int | None, dict[str, Any] | None]


def link(run: Run) -> Iterator[None]:
    """Take over turns and relations behind their cursors."""
    yield from _turns(run)
    yield from _relations(run)
    sources.change(run.store.records, run.source_id, stage=Stage.LINKED, linked=run.source().total)


def make_graph(run: Run) -> None:
    """Make the graph anew, which no question but one in Cypher waits for."""
    source, graph = run.source(), run.store.graph
    try:  # one build at the end; of what a followed source got since, only when it is much
        if source.note("rerun"):
            graph.build_if_far_behind()
        else:
            graph.rebuild()
    except NimadError as error:  # that holds nothing up
        run.log.warn(f"{source.name}: {error.message} It is made anew when it is asked.")
    crash_point("migrate.graph")


def row_note(row: Unreadable) -> Note:
    """What is noted of a row that nothing can be made of."""
    return row.kind, row.key, row.reason


def _recount(run: Run, table: str) -> None:
    """Set the counter of a source's turns or relations to what is here; batches add to it."""
    records, source = run.store.records, run.source()
    listed = " AND listed" if table == "turns" else ""
    number = records.value(f"SELECT count(*) FROM {table} WHERE source = ?{listed}", (source.id,))
    if number != getattr(source, table):
        sources.change(records, source.id, **{table: number})


# --- turns --------------------------------------------------------------------------------------


def _turns(run: Run) -> Iterator[None]:
    _recount(run, "turns")
    source, graph = run.source(), run.graph()
    while page := graph.turns(cursor(source.turn_cursor), run.batcher.next_size()):
        with run.batch(len(page), Stage.LINKED):
            turns, new, quarantine = _sort_turns(run, source, page)
            run.give_way()
            with run.adding() as tx:
                tx.add_turns(turns, source.id)
                if source.note("rerun"):
                    keys = [row.key for row in page]
                    sources.release_from_quarantine(tx, source.id, "turn", keys)
                sources.quarantine(tx, source.id, quarantine)
                sources.update(tx, source.id, turn_cursor=page[-1].key)
                sources.advance(tx, source.id, turns=new)
        crash_point("migrate.turns")
        yield
        source = run.source()


def _sort_turns(
    run: Run, source: Source, page: Sequence[LegacyTurn | Unreadable]
) -> tuple[list[NewTurn], int, list[Note]]:
    """What of a page is to be added or changed, how many of that are new, and what to be noted."""
    records = run.store.records
    readable = [turn for turn in page if isinstance(turn, LegacyTurn)]
    quarantine = [row_note(row) for row in page if isinstance(row, Unreadable)]
    members = [key for turn in readable for key in member_keys(turn)]
    run.give_way()
    ids = sources.memory_ids(records, source.id, members)
    run.give_way()
    stored = stored_turns(records, source.id, [turn.name for turn in readable])
    run.give_way()
    forgotten = sources.quarantined_keys(records, source.id, "forgotten")
    taken = {identity: key for key, (identity, _) in stored.items()}
    scopes: dict[int, list[int]] = {  # `names` ids, 0: none
        number: scope
        for number, *scope in records.rows_in(
            "SELECT id, namespace, coalesce(conversation, 0), coalesce(session, 0) FROM memories"
            " WHERE id IN",
            list(set(ids.values())),
        )
    }
    turns: list[NewTurn] = []
    for legacy in in_steps(readable, run.give_way):
        turn, extra = make_turn(legacy, ids)
        first = next(filter(None, turn.members), 0)
        identity: Identity = (legacy.name, *scopes.get(first, NO_SCOPE))
        if taken.setdefault(identity, legacy.key) != legacy.key:
            reason = f"{SAME_NAME} {taken[identity]} already"
            quarantine.append(("turn", legacy.key, reason))
            continue
        lost = [(role, extra[column]) for role, column in _lost(legacy, ids)]
        if missing := [f"{role} memory {key}" for role, key in lost if key not in forgotten]:
            reason = f"its {' and '.join(missing)} cannot be found; the rest is kept"
            quarantine.append(("turn", legacy.key, reason))
        if legacy.key not in stored or stored[legacy.key][1] != turn_values(turn, extra):
            turns.append((turn, legacy.key, extra or None))
    return turns, sum(key not in stored for _, key, _ in turns), quarantine


def member_keys(turn: LegacyTurn) -> list[int]:
    """The keys of a turn's memories."""
    return [key for key in turn.members if key is not None]


def _lost(turn: LegacyTurn, ids: dict[int, int]) -> list[tuple[str, str]]:
    """(role, column) of the members that are not here."""
    return [
        (role, f"{role}_node_id")
        for role, key in zip(TURN_ROLES, turn.members, strict=True)
        if key is not None and key not in ids
    ]


def make_turn(legacy: LegacyTurn, ids: dict[int, int]) -> tuple[Turn, dict[str, Any]]:
    """A turn with memory ids, and its extra, which keeps the members that are not here."""
    extra = dict(legacy.extra or {})
    for role, column in _lost(legacy, ids):
        extra[column] = getattr(legacy, role)
    first, second, third = (None if key is None else ids.get(key) for key in legacy.members)
    return Turn(legacy.name, first, second, third, legacy.timestamp, legacy.affect), extra


def turn_values(turn: Turn, extra: dict[str, Any]) -> tuple[Any, ...]:
    """A turn as `stored_turns` shows it."""
    return (*turn.members, turn.timestamp, turn.affect, extra or None)


def stored_turns(
    records: Records, source: int, names: Sequence[str]
) -> dict[int, tuple[Identity, tuple[Any, ...]]]:
    """Key -> identity and `turn_values` of a source's listed turns with these names."""
    rows = records.rows(
        "SELECT source_key, name, namespace, conversation, session, input, contemplation, output,"
        " timestamp, affect, extra FROM turns"
        " WHERE source = ? AND listed AND name IN (SELECT value FROM json_each(?))",
        (source, json.dumps(names)),
    )
    return {
        row[0]: (row[1:5], (*row[5:10], json.loads(row[10]) if row[10] else None)) for row in rows
    }


# --- relations ----------------------------------------------------------------------------------


def _relations(run: Run) -> Iterator[None]:
    _recount(run, "relations")
    source, graph = run.source(), run.graph()
    rerun = bool(source.note("rerun"))
    here = sources.relation_keys(run.store.records, source.id) if rerun else set()
    while page := graph.edges(cursor(source.edge_cursor), run.batcher.next_size()):
        with run.batch(len(page), Stage.LINKED):
            edges = [edge for edge in page if isinstance(edge, LegacyEdge) and edge.key not in here]
            quarantine = [row_note(row) for row in page if isinstance(row, Unreadable)]
            ends = [key for edge in edges for key in (edge.source, edge.target)]
            run.give_way()
            ids = sources.memory_ids(run.store.records, source.id, ends)
            relations: list[NewRelation] = []
            for edge in in_steps(edges, run.give_way, YIELD_EVERY):
                if reason := dangling(edge, ids):
                    quarantine.append(("edge", edge.key, reason))
                    continue
                made = Relation(ids[edge.source], ids[edge.target], edge.relation, edge.weight)
                relations.append((made, edge.key, edge.extra))
            run.give_way()
            with run.adding() as tx:
                tx.add_relations(relations, source.id)
                if rerun:
                    came_in = [int(key) for _, key, _ in relations if key is not None]
                    sources.release_from_quarantine(tx, source.id, "edge", came_in)
                sources.quarantine(tx, source.id, quarantine)
                sources.update(tx, source.id, edge_cursor=page[-1].key)
                sources.advance(tx, source.id, relations=len(relations))
        crash_point("migrate.relations")
        yield
        source = run.source()


def dangling(edge: LegacyEdge, ids: dict[int, int]) -> str | None:
    """Why an edge cannot be a relation; None when both its ends are here."""
    if edge.source in ids and edge.target in ids:
        return None
    ends = (("source", edge.source), ("target", edge.target))
    missing = [f"{end} memory {key}" for end, key in ends if key not in ids]
    return f"{' and '.join(missing)} {'does' if len(missing) == 1 else 'do'} not exist"
