"""What one transaction on the records can do: add and delete memories, turns, relations, vectors.

Every method works inside `Records.write()`; nothing is visible or durable before its COMMIT.
Changes of the graph's subjects are logged as id ranges, so that a batch of 1,000 costs one row.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.model import TURN_ROLES, Memory, Relation, Turn
from nimad.store import rows
from nimad.store.rows import Row
from nimad.store.schema import last_number

ROLE_BITS = {role: 1 << place for place, role in enumerate(TURN_ROLES)}
"""What `turns.gone` is the sum of: the roles whose memories were forgotten."""
CHUNK = 500
"""Names in one IN (...) list."""
MANY = 64
"""Rows of one statement between two calls of `give_way`: 0.5 ms."""

NAMED = {
    "memories": rows.INTERNED_COLUMNS,
    "turns": ("namespace", "conversation", "session"),
    "relations": ("relation",),
    "departed": ("namespace",),
}
"""Columns that hold ids of `names`, by table."""

OF_MEMORIES = (
    *(("hot", "id"), ("blobs", "memory"), ("unset_clock", "memory"), ("phi", "memory")),
    *(("goals", "memory"), ("broadcasts", "memory")),
    *(("suggestions", "first"), ("suggestions", "second"), ("stamps", "memory")),
)
"""Tables whose rows go with the memory in a column."""

SHARED = "shared"
"""The key in `meta` of the namespaces that a fleet was ever given, as JSON."""
_DEPART = f"""
INSERT OR IGNORE INTO departed (namespace, board, number)
SELECT namespace, min(ifnull(source, 0), 0), iif(source < 0, source_key, id) FROM memories
WHERE id IN (SELECT id FROM doomed) AND namespace IN (SELECT id FROM names WHERE name
  IN (SELECT value FROM json_each((SELECT value FROM meta WHERE key = '{SHARED}'))))
"""

_LOG = f"""
INSERT INTO changes (seq, op, kind, first, last, checksum)
SELECT seq, ?1, ?2, ?3, ?4, row_checksum(seq, ?1, ?2, ?3, ?4)
FROM (SELECT {last_number("changes")} + 1 AS seq)
"""

TurnKey = tuple[str | None, *tuple[int, ...]]
"""A turn's name, and the `names` ids of its namespace, conversation and session (0: none)."""


@dataclass(slots=True)
class _StoredTurn:
    """A turn of a source; `scope` are the `names` ids of its namespace, conversation, session."""

    id: int
    listed: bool
    key: str | int | None
    scope: list[int]


class Transaction:
    """The open transaction; `Records.write()` makes it and commits it.

    Attributes:
        joins: others have written in it already, whom nothing here may disturb.
        changed: it changes memories, turns or relations.
        error: what kept it from being committed, or `after_commit` from being done.
        pause: is called between statements where there are many, unless others wait to write.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        names: rows.Names,
        joins: bool = False,
        awaited: Callable[[], object] = lambda: False,
    ) -> None:
        """`awaited` tells whether others wait to write."""
        self.connection, self.joins, self._awaited = connection, joins, awaited
        self.error: BaseException | None = None
        self.changed = False
        self.pause: Callable[[], object] = lambda: None
        self._names = names
        self._after: list[Callable[[], None]] = []

    def after_commit(self, work: Callable[[], None]) -> None:
        """Let this be done once it is committed and durable, before anybody else writes."""
        self._after.append(work)

    def end(self, error: BaseException | None) -> None:
        """It is committed, or (an error) it is not; never raises."""
        self.error = error
        try:
            for work in self._after if error is None else ():
                work()
        except BaseException as failed:
            self.error = failed

    def give_way(self) -> None:
        """Pause, unless others wait to write: each pause here would be theirs, too."""
        if not self._awaited():
            self.pause()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a statement, seen from inside the transaction."""
        return self.connection.execute(sql, parameters).fetchall()

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run a statement; the number of rows it changed."""
        return self.connection.execute(sql, parameters).rowcount

    def many(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        """Run a statement for each row of parameters, an INSERT for several (`rows.TOGETHER`)."""
        every = iter(parameters)
        into, _, marks = sql.partition(" VALUES ")
        while part := [*islice(every, MANY)]:
            while marks and part:
                size = next(size for size in rows.TOGETHER if size <= len(part))
                values = chain.from_iterable(part[:size])
                self.execute(f"{into} VALUES {', '.join([marks] * size)}", [*values])
                part = part[size:]
            self.connection.executemany(sql, part)
            self.give_way()

    def last_change(self) -> int:
        """The number of the last change so far."""
        return int(self.rows(f"SELECT {last_number('changes')}")[0][0])

    def insert(self, table: str, **values: Any) -> int:
        """Add a row with these columns; its rowid."""
        sql = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})"
        return int(self.connection.execute(sql, tuple(values.values())).lastrowid or 0)

    def gone(self, ids: NDArray[np.int64]) -> list[int]:
        """Those of these ids that are no memories, in their order: without the interpreter's lock,
        however many they are."""
        sql = "SELECT value FROM json_each(?) WHERE NOT EXISTS"
        sql += " (SELECT 1 FROM memories WHERE id = value)"
        return [number for (number,) in self.rows(sql, (json.dumps(ids.tolist()),))]

    def forget_hot(self, ids: NDArray[np.int64]) -> None:
        """Drop the hot vectors of some memories; as `gone`."""
        sql = "DELETE FROM hot WHERE id IN (SELECT value FROM json_each(?))"
        self.execute(sql, (json.dumps(ids.tolist()),))

    def alive(self, ids: Iterable[int]) -> list[int]:
        """Those of these ids that are memories, sorted."""
        sql = "SELECT id FROM memories WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"
        return [number for (number,) in self.rows(sql, (json.dumps([int(i) for i in ids]),))]

    def set_meta(self, key: str, value: Any) -> None:
        """Store a single value."""
        sql = "INSERT OR REPLACE INTO meta (key, value, checksum) VALUES (?, ?, ?)"
        self.execute(sql, (key, value, rows.row_checksum(key, value)))

    # --- adding -------------------------------------------------------------------------------

    def add_memories(
        self,
        memories: Sequence[Memory],
        source: int | None = None,
        *,
        seat: bool = False,
        board: int | None = None,
    ) -> list[int]:
        """Store memories; gives each its id (also set on the object).

        `source` is the row id of a source, whose turns are its own; without one, or with `seat`, a
        memory that names a turn takes its place there by its layer.  A turn's name counts within
        the memory's namespace, conversation and session.  `board` is the row id of the store of a
        fleet that they came from: their turns are those of this store.
        """
        seat = seat or source is None
        first = self._next_id("memories")
        members: list[tuple[int, Memory]] = []
        turns = self._turn_ids(memories, source or 0)
        for number, (memory, turn) in enumerate(zip(memories, turns, strict=True), first):
            memory.id = number
            if turn is not None and seat and memory.layer in TURN_ROLES:
                members.append((turn, memory))
        owners = zip(memories, turns, strict=True)
        self._insert(rows.to_row(m, self._names, turn, source or board) for m, turn in owners)
        blobs = [(m.id, name, data) for m in memories for name, data in m.blobs.items()]
        for blob in blobs:  # one at a time: SQLite copies it
            self.execute("INSERT INTO blobs (memory, name, data) VALUES (?, ?, ?)", blob)
        ids = [memory.id for memory in memories]
        self._changed("add", "memory", ids)
        if members:
            self._seat(members)
        return ids

    def _seat(self, members: Sequence[tuple[int, Memory]]) -> None:
        """Give memories their place in turns; who came first keeps it."""
        seats: dict[int, dict[str, int]] = {}
        times: dict[int, int] = {}
        for turn, memory in members:
            seats.setdefault(turn, {}).setdefault(memory.layer, memory.id)
            if memory.timestamp:
                times.setdefault(turn, memory.timestamp)
        given = [
            (turn, *map(roles.get, TURN_ROLES), times.get(turn)) for turn, roles in seats.items()
        ]
        taken = [
            f"{role} = coalesce({role}, value ->> {n})" for n, role in enumerate(TURN_ROLES, 1)
        ]
        self.execute(
            f"UPDATE turns SET {', '.join(taken)}, listed = 1,"
            f" timestamp = coalesce(timestamp, value ->> {len(TURN_ROLES) + 1})"
            " FROM json_each(?) WHERE turns.id = value ->> 0",
            (json.dumps(given),),
        )
        self._changed("add", "turn", [*seats])

    def _insert(self, made: Iterator[Row]) -> None:
        while part := [*islice(made, rows.TOGETHER[0])]:
            while part:
                self.give_way()
                size = next(size for size in rows.TOGETHER if size <= len(part))
                self.execute(*rows.insert(part[:size]))
                part = part[size:]

    def name_id(self, name: str | None) -> int:
        """The id of an interned name, made when it is new; 0 for None."""
        return self._names.id(name) or 0

    def _next_id(self, table: str) -> int:
        return int(self.rows(f"SELECT {last_number(table)}")[0][0]) + 1

    def _turn_ids(self, memories: Sequence[Memory], source: int) -> list[int | None]:
        """The id of the turn that each memory names, made where it is new."""
        keys: list[TurnKey | None] = []
        for place, m in enumerate(memories):
            if not place % MANY:
                self.give_way()
            ids_of = map(self.name_id, (m.namespace, m.conversation, m.session))
            keys.append(None if m.turn is None else (m.turn, *ids_of))
        wanted = dict.fromkeys(key for key in keys if key is not None)
        names = list(dict.fromkeys(key[0] for key in wanted))
        ids: dict[TurnKey, int] = {}
        for start in range(0, len(names), CHUNK):
            part = names[start : start + CHUNK]
            marks = ",".join("?" * len(part))
            sql = "SELECT id, name, namespace, conversation, session FROM turns"
            sql += f" WHERE source = ? AND name IN ({marks})"
            for number, name, *scope in self.rows(sql, (source, *part)):
                ids[(name, *scope)] = number
        if new := [key for key in wanted if key not in ids]:
            made = list(enumerate(new, self._next_id("turns")))
            columns = "id, source, name, namespace, conversation, session"
            sql = f"INSERT INTO turns ({columns}) VALUES (?, ?, ?, ?, ?, ?)"
            self.many(sql, [(number, source, *key) for number, key in made])
            ids |= {key: number for number, key in made}
        return [None if key is None else ids[key] for key in keys]

    def _add_turn(self, **columns: Any) -> int:
        return self.insert("turns", id=self._next_id("turns"), **columns)

    def set_turn(self, number: int | None, key: tuple[Any, ...], **values: Any) -> None:
        """Give a turn these columns; None: a new one of this source, name, namespace, conversation
        and session (ids)."""
        if number is None:
            names = ("source", "name", "namespace", "conversation", "session")
            number = self._add_turn(**dict(zip(names, key, strict=True)))
        settings = ", ".join(f"{name} = ?" for name in values)
        self.execute(f"UPDATE turns SET {settings} WHERE id = ?", (*values.values(), number))
        self._changed("add", "turn", [number])

    def keep_affect(self, memory: int, affect: str) -> None:
        """Give the turn of a memory an affect, where it has none."""
        sql = "UPDATE turns SET affect = coalesce(affect, ?) WHERE id ="
        self.execute(f"{sql} (SELECT turn FROM memories WHERE id = ?)", (affect, memory))

    def add_turns(
        self, turns: Sequence[tuple[Turn, str | int, dict[str, Any] | None]], source: int
    ) -> list[int]:
        """Store the turns of a source: (turn with memory ids, its key there, extra).

        One that is here already, by its key or because memories named it, is brought up to date.
        """
        known = self._turns_named({turn.name for turn, _, _ in turns}, source)
        self.give_way()
        firsts = [next(filter(None, turn.members), 0) for turn, _, _ in turns]
        sql = "SELECT id, namespace, coalesce(conversation, 0), coalesce(session, 0)"
        sql += " FROM memories WHERE id IN (SELECT value FROM json_each(?))"
        scopes = {number: scope for number, *scope in self.rows(sql, (json.dumps(firsts),))}
        self.give_way()
        ids: list[int] = []
        made: list[rows.Row] = []
        for (turn, key, extra), first in zip(turns, firsts, strict=True):
            self.give_way()
            here = known.setdefault(turn.name, [])
            number = self._turn_of_source(turn.name, key, source, scopes.get(first), here)
            packed = json.dumps(extra, ensure_ascii=False) if extra else None
            made.append((key, *turn.members, turn.timestamp, turn.affect, packed, number))
            ids.append(number)
        self.many(
            "UPDATE turns SET source_key = ?, listed = 1, input = ?, contemplation = ?,"
            " output = ?, timestamp = ?, affect = ?, extra = ? WHERE id = ?",
            made,
        )
        self._changed("add", "turn", ids)
        return ids

    def _turns_named(self, names: Iterable[str], source: int) -> dict[str, list[_StoredTurn]]:
        """The turns of a source by their names, in the order of ids."""
        known: dict[str, list[_StoredTurn]] = {}
        sql = "SELECT name, id, listed, source_key, namespace, conversation, session FROM turns"
        sql += " WHERE source = ? AND name IN (SELECT value FROM json_each(?)) ORDER BY id"
        for name, number, listed, key, *scope in self.rows(sql, (source, json.dumps([*names]))):
            known.setdefault(name, []).append(_StoredTurn(number, bool(listed), key, scope))
        return known

    def _turn_of_source(
        self,
        name: str,
        key: str | int,
        source: int,
        scope: list[int] | None,
        here: list[_StoredTurn],
    ) -> int:
        """The id of a source's turn: of those with its name that are `here` the one with its key,
        or the one that its members name, whose namespace, conversation and session are `scope`.

        A turn without a member (None) takes any row of its name that has no key; a new one where
        there is none.
        """
        found = next((one for one in here if one.listed and one.key == key), None)
        fits = (one for one in here if not one.listed and scope in (None, one.scope))
        named = next(fits, None)
        if found and named and scope:  # its members came after it: one turn of both rows
            self.execute(
                "UPDATE memories SET turn = ?1, checksum = checksum + ?1 - turn WHERE turn = ?2",
                (found.id, named.id),
            )
            self.execute("DELETE FROM turns WHERE id = ?", (named.id,))
            here.remove(named)
            settings = "namespace = ?, conversation = ?, session = ?"
            self.execute(f"UPDATE turns SET {settings} WHERE id = ?", (*scope, found.id))
            found.scope = scope
        chosen = found or named
        if chosen is None:
            scope = scope or [0, 0, 0]
            columns = dict(zip(("namespace", "conversation", "session"), scope, strict=True))
            number = self._add_turn(source=source, name=name, **columns)
            here.append(chosen := _StoredTurn(number, True, key, scope))
        chosen.listed, chosen.key = True, key
        return chosen.id

    def add_relations(
        self,
        relations: Sequence[tuple[Relation, str | int | None, dict[str, Any] | None]],
        source: int | None = None,
    ) -> list[int]:
        """Store relations: (relation with memory ids, its key in the source, extra)."""
        first = self._next_id("relations")
        made = [
            (
                *(number, relation.source, relation.target, self._names.id(relation.relation)),
                *(relation.weight, source, key),
                json.dumps(extra, ensure_ascii=False) if extra else None,
            )
            for number, (relation, key, extra) in enumerate(relations, first)
        ]
        self.many(
            "INSERT INTO relations (id, origin, target, relation, weight, source, source_key,"
            " extra) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            made,
        )
        ids = [first + i for i in range(len(made))]
        self._changed("add", "relation", ids)
        return ids

    # --- deleting -----------------------------------------------------------------------------

    def delete_memories(self, ids: Sequence[int]) -> dict[str, int]:
        """Delete memories with blobs, hot vectors, relations and their place in turns.

        Ids that a listed segment may hold become tombstones.  Returns what went: memories,
        relations, turns (those left without a member).  `ids` must exist.
        """
        self.execute("CREATE TEMP TABLE IF NOT EXISTS doomed (id INTEGER PRIMARY KEY)")
        self.execute("DELETE FROM doomed")
        doomed = json.dumps([int(number) for number in ids])
        self.execute("INSERT OR IGNORE INTO doomed SELECT value FROM json_each(?)", (doomed,))
        relations = self.rows(
            "SELECT id FROM relations WHERE origin IN (SELECT id FROM doomed) UNION"
            " SELECT id FROM relations WHERE target IN (SELECT id FROM doomed) ORDER BY 1"
        )
        self.delete_relations([number for (number,) in relations])
        turns = self._leave_turns()
        self.execute(
            "INSERT OR IGNORE INTO tombstones (id) SELECT id FROM doomed"
            " WHERE id NOT IN (SELECT id FROM hot)"
            " AND EXISTS (SELECT 1 FROM segments WHERE doomed.id BETWEEN first_id AND last_id)"
        )
        for table, column in OF_MEMORIES:
            self.execute(f"DELETE FROM {table} WHERE {column} IN (SELECT id FROM doomed)")
        self.execute("UPDATE goals SET by = NULL WHERE by IN (SELECT id FROM doomed)")
        self.execute(_DEPART)
        memories = self.execute("DELETE FROM memories WHERE id IN (SELECT id FROM doomed)")
        self._changed("delete", "memory", sorted(ids))
        self.execute("DELETE FROM doomed")
        return {"memories": memories, "relations": len(relations), "turns": turns}

    def delete_relations(self, ids: Sequence[int]) -> None:
        """Delete relations, which must exist."""
        sql = "DELETE FROM relations WHERE id IN (SELECT value FROM json_each(?))"
        self.execute(sql, (json.dumps(list(ids)),))
        self._changed("delete", "relation", ids)

    def _leave_turns(self) -> int:
        """Clear the members of turns; a turn without any member is not listed any more.

        Its row stays for memories that name it and have no place in it, a second input say: to
        find them would cost a look at every memory.  A purge drops rows that nothing names.

        An "add" change of a turn that the graph knows already means that it changed.
        """
        doomed = "IN (SELECT id FROM doomed)"
        found = self.rows(
            f"SELECT id FROM turns WHERE input {doomed} OR contemplation {doomed}"
            f" OR output {doomed} ORDER BY id"
        )
        for role in TURN_ROLES:
            forget = f"UPDATE turns SET {role} = NULL, gone = gone | ? WHERE {role} {doomed}"
            self.execute(forget, (ROLE_BITS[role],))
        empty = self.rows(
            "UPDATE turns SET listed = 0, timestamp = NULL, affect = NULL, extra = NULL"
            " WHERE id IN (SELECT value FROM json_each(?))"
            " AND coalesce(input, contemplation, output) IS NULL RETURNING id",
            (json.dumps([turn for (turn,) in found]),),
        )
        gone = {turn for (turn,) in empty}
        self._changed("delete", "turn", sorted(gone))
        self._changed("add", "turn", [turn for (turn,) in found if turn not in gone])
        return len(gone)

    def drop_unused(self) -> None:
        """Delete interned strings and turns that nothing names any more (a purge leaves none)."""
        self.execute(
            "DELETE FROM turns WHERE NOT listed"
            " AND id NOT IN (SELECT turn FROM memories WHERE turn IS NOT NULL)"
        )
        used = [
            f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL"
            for table, columns in NAMED.items()
            for column in columns
        ]
        self.execute(f"DELETE FROM names WHERE id NOT IN ({' UNION '.join(used)})")
        self._names.forget()

    # --- vectors and segments -----------------------------------------------------------------

    def add_hot(self, vectors: Iterable[tuple[int, bytes]]) -> None:
        """Keep vectors (float16 bytes) until a segment holds them."""
        sql = "INSERT OR REPLACE INTO hot (id, vector, checksum) VALUES (?, ?, ?)"
        self.many(sql, ((*row, rows.hot_checksum(*row)) for row in vectors))

    def list_segment(self, info: Any, created: int) -> None:
        """Make a durable segment file count; its rows leave `hot`."""
        self.insert("segments", **segment_row(info), created=created)

    def unlist_segments(self, names: Iterable[str]) -> None:
        """Take segments off the list; their files may be deleted after the commit."""
        self.many("DELETE FROM segments WHERE name = ?", [(name,) for name in names])

    # --- the change log -----------------------------------------------------------------------

    def _changed(self, op: str, kind: str, ids: Sequence[int]) -> None:
        self.note_spans(op, kind, rows.ranges(sorted(ids)))

    def note_spans(self, op: str, kind: str, spans: Sequence[tuple[int, int]]) -> None:
        """Log that memories, turns or relations came, changed or went, in ranges of ids."""
        self.changed = True
        self.many(_LOG, [(op, kind, first, last) for first, last in spans])

    def prune_changes(self, upto: int) -> None:
        """Forget changes that every projection has applied."""
        self.execute("DELETE FROM changes WHERE seq <= ?", (upto,))
        self.set_meta("pruned_to", upto)


def segment_row(info: Any) -> dict[str, Any]:
    """What is listed of a segment file (an `index.SegmentInfo`), by column."""
    columns = ("name", "rows", "bytes", "digest", "first_id", "last_id")
    return {column: getattr(info, column) for column in columns}
