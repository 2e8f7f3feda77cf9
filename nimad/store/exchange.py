"""What a whole export has beside the memories: rows of other tables, names in place of numbers.

Ids of memories stay as they are in an export, and are those of this store when rows come in; so the
caller translates them (`MEMORIES_OF`).  Each row is taken in once: what is here already stays.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from nimad.disk.failures import translated
from nimad.model import Relation, Stage
from nimad.store import sources
from nimad.store.identity import Identity, identity
from nimad.store.records import Records
from nimad.store.transaction import Transaction

Row = dict[str, Any]

LEDGER = (
    *("name", "kind", "path", "fingerprint", "format", "sha256", "bytes", "strategy", "batch_size"),
    *("total", "total_edges", "total_turns", "node_cursor", "edge_cursor", "turn_cursor"),
    *("relations", "turns", "attached", "started", "finished", "follow", "report"),
)
"""Columns of `sources` that mean something without its snapshot."""
OF_GOAL = 'UPDATE goals SET "by" = ? WHERE memory = ? AND "by" IS NULL'
COUNTED = ("copied", "encoded", "linked", "verified")
"""Columns that count the memories that are here."""
ENCODED = 2**63 - 1
"""Cursor of a source whose memories come with their vectors."""

SELECT = {
    "source": f"SELECT {', '.join(LEDGER)} FROM sources WHERE stage != 'rolled_back' ORDER BY id",
    "note": (
        "SELECT s.name AS source, q.kind, q.key, q.reason FROM quarantine q"
        " JOIN sources s ON s.id = q.source ORDER BY q.source, q.kind, q.key"
    ),
    "board": "SELECT store, name FROM boards ORDER BY id DESC",
    "turn": (
        "SELECT t.name, n.name AS namespace, c.name AS conversation, e.name AS session,"
        " s.name AS source, t.source_key, t.listed, t.input, t.contemplation, t.output,"
        " t.timestamp, t.affect, t.extra, t.gone FROM turns t LEFT JOIN names n ON n.id ="
        " t.namespace LEFT JOIN names c ON c.id = t.conversation LEFT JOIN names e ON e.id ="
        " t.session LEFT JOIN sources s ON s.id = t.source ORDER BY t.id"
    ),
    "relation": (
        "SELECT r.origin, r.target, n.name AS relation, r.weight,"
        " coalesce(s.name, b.name) AS source, r.source_key, r.extra FROM relations r"
        " JOIN names n ON n.id = r.relation LEFT JOIN sources s ON s.id = r.source"
        " LEFT JOIN boards b ON b.id = r.source ORDER BY r.origin, r.id"
    ),
    "goal": 'SELECT memory, "by" FROM goals WHERE "by" IS NOT NULL ORDER BY memory',
    "suggestion": (
        "SELECT kind, first, second, score, created, rejected FROM suggestions ORDER BY id"
    ),
    "broadcast": "SELECT memory, at, affect, score FROM broadcasts ORDER BY id",
}
"""By kind, in the order of an export (memories stand behind the notes): its rows."""
MEMORIES_OF: dict[str, tuple[str, ...]] = {
    "turn": ("input", "contemplation", "output"),
    "relation": ("origin", "target"),
    "goal": ("memory", "by"),
    "suggestion": ("first", "second"),
    "broadcast": ("memory",),
}
"""By kind: the columns that hold ids of memories."""


def rows_of(records: Records, kind: str) -> Iterator[Row]:
    """The rows of a kind; numbers that JSON has no word for as text."""
    with translated(records.path), records.reading() as reader:
        found = reader.execute(SELECT[kind])
        names = [name for name, *_ in found.description]
        for row in found:
            yield {
                name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
                for name, value in zip(names, row, strict=True)
            }


class Taker:
    """Takes rows of other kinds into the records.

    Attributes:
        sources: name of a source, or a board of a fleet, in the export → its row id (0: this board,
            below 0: another one) and its name here.
        rows: name of one here → its row id.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self.sources: dict[str, tuple[int, str]] = {}
        self.rows: dict[str, int] = {}
        self._identity: Identity | None = None
        self._own: dict[str, str] = {}
        self._first_turn = records.value("SELECT ifnull(max(id), 0) + 1 FROM turns")
        self._alike: tuple[int, dict[tuple[Any, ...], int]] = 0, {}
        """The origin of the last relations, and how many of each there were in the export."""

    def take(self, kind: str, rows: list[Row]) -> int:
        """Take rows of a kind in, in one transaction; how many were new.

        Raises ValueError, LookupError or TypeError for rows that are none: a value that does not
        fit, a column that is missing, a source that was not told before.
        """
        each: dict[str, Callable[[Transaction, Row], bool]] = {
            "source": self._source,
            "note": self._note,
            "board": self._board,
            "turn": self._turn,
            "relation": self._relation,
            "goal": lambda tx, row: tx.execute(OF_GOAL, (row["by"], row["memory"])) > 0,
            "suggestion": self._suggestion,
            "broadcast": self._broadcast,
        }
        if kind == "board" and self._identity is None:
            self._identity = identity(self._records)
        whole = MEMORIES_OF.get(kind, ()) if kind != "turn" else ()
        with self._records.write() as tx:
            here = [row for row in rows if all(row[name] is not None for name in whole)]
            try:
                return sum(each[kind](tx, row) for row in here)
            except (sqlite3.IntegrityError, sqlite3.ProgrammingError, OverflowError) as error:
                raise ValueError(str(error)) from error

    def is_stranger(self, name: str, number: Any) -> bool:
        """Whether a memory is of a store that this one was a copy of, made after the two parted."""
        own = self._own.get(name)
        return own is not None and not (
            isinstance(number, int) and self._identity and self._identity.is_own(own, number)
        )

    def _source(self, tx: Transaction, row: Row) -> bool:
        """As a source whose snapshot was given up; under another name where its own is taken."""
        known = "SELECT id, name FROM sources WHERE fingerprint = ? AND stage != 'rolled_back'"
        if found := tx.rows(known, (row["fingerprint"],)):
            self.sources[row["name"]] = found[0][0], found[0][1]
            self.rows[found[0][1]] = found[0][0]
            return False
        taken = {name for (name,) in tx.rows("SELECT name FROM sources")}
        names = [row["name"], *(f"{row['name']}.{n}" for n in range(2, len(taken) + 3))]
        fields = {name: row[name] for name in LEDGER}
        name = next(name for name in names if name not in taken)
        fields |= {"name": name, "stage": Stage.VERIFIED, "encode_cursor": ENCODED}
        self.rows[name] = tx.insert("sources", **fields)
        self.sources[row["name"]] = self.rows[name], name
        return True

    def _note(self, tx: Transaction, row: Row) -> bool:
        source = self.sources[row["source"]][0]
        known = (source, row["kind"], row["key"])
        if tx.rows("SELECT 1 FROM quarantine WHERE (source, kind, key) = (?, ?, ?)", known):
            return False
        sources.quarantine(tx, source, [(row["kind"], row["key"], row["reason"])])
        if row["kind"] == "forgotten":  # it was taken over, and counts
            sources.advance(tx, source, **dict.fromkeys(COUNTED, 1))
        return True

    def _board(self, tx: Transaction, row: Row) -> bool:
        """Another store of a fleet, or this one."""
        if self._identity and row["store"] in {store for store, _ in self._identity.parts}:
            self.sources[row["name"]], self.rows[row["name"]] = (0, row["name"]), 0
            self._own[row["name"]] = row["store"]
            return False
        new = "SELECT min(0, ifnull(min(id), 0)) - 1, ?, ? FROM boards"
        values = (row["store"], row["name"])
        made = tx.execute(f"INSERT OR IGNORE INTO boards (id, store, name) {new}", values) > 0
        known = tx.rows("SELECT id, name FROM boards WHERE store = ?", (row["store"],))
        self.sources[row["name"]] = known[0][0], known[0][1]
        self.rows[known[0][1]] = known[0][0]
        return made

    def _turn(self, tx: Transaction, row: Row) -> bool:
        """A turn that its memories made just now is as it was told; one that was here before gets
        the members that it lacks."""
        scope = [tx.name_id(row[name]) for name in ("namespace", "conversation", "session")]
        key = (self.sources[row["source"]][0] if row["source"] else 0, row["name"], *scope)
        identity = "(source, name, namespace, conversation, session)"
        found = tx.rows(f"SELECT id FROM turns WHERE {identity} = (?, ?, ?, ?, ?)", key)
        members = {name: row[name] for name in ("input", "contemplation", "output", "timestamp")}
        if found and found[0][0] < self._first_turn:
            settings = ", ".join(f"{name} = coalesce({name}, ?)" for name in members)
            sql = f"UPDATE turns SET {settings}, listed = max(listed, ?) WHERE id = ?"
            tx.execute(sql, (*members.values(), row["listed"], found[0][0]))
            return False
        values = {**members, **{n: row[n] for n in ("source_key", "listed", "affect", "extra")}}
        tx.set_turn(found[0][0] if found else None, key, **values, gone=row["gone"])
        return True

    def _relation(self, tx: Transaction, row: Row) -> bool:
        """As many of the same between two memories as the export has."""
        weight = None if row["weight"] is None else float(row["weight"])
        source = self.sources[row["source"]][0] or None if row["source"] else None
        key, extra = row["source_key"], row["extra"]
        ends = (row["origin"], row["target"])
        same = (*ends, tx.name_id(row["relation"]), weight, source, key, extra)
        if self._alike[0] != row["origin"]:
            self._alike = row["origin"], {}
        nth = self._alike[1][same] = self._alike[1].get(same, 0) + 1
        sql = (
            "SELECT count(*) FROM relations WHERE origin = ? AND target = ? AND relation = ?"
            " AND weight IS ? AND source IS ? AND source_key IS ? AND extra IS ?"
        )
        if tx.rows(sql, same)[0][0] >= nth:
            return False
        made = Relation(row["origin"], row["target"], row["relation"], weight)
        tx.add_relations([(made, key, json.loads(extra or "null"))], source)
        return True

    def _suggestion(self, tx: Transaction, row: Row) -> bool:
        columns = ("kind", "first", "second", "score", "created", "rejected")
        sql = f"INSERT OR IGNORE INTO suggestions ({', '.join(columns)}) VALUES (?, ?, ?, ?, ?, ?)"
        return tx.execute(sql, [row[name] for name in columns]) > 0

    def _broadcast(self, tx: Transaction, row: Row) -> bool:
        columns = ("memory", "at", "affect", "score")
        values = [row[name] for name in columns]
        if tx.rows(
            "SELECT 1 FROM broadcasts WHERE (memory, at, affect, score) = (?, ?, ?, ?)", values
        ):
            return False
        tx.insert("broadcasts", **dict(zip(columns, values, strict=True)))
        return True
