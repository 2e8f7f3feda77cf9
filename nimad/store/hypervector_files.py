"""What the records know of converted hypervectors: the files that count, and the names of fillers.

The names stand here and nowhere else: a filler's name is often a memory's text, and no text is
written outside the records and the snapshots.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence

from nimad.dataclass import dataclass
from nimad.store.records import Records
from nimad.store.transaction import Transaction


@dataclass(slots=True, frozen=True)
class DenseFile:
    """A file that counts: `kind` is "basis", "items" (fillers and roles) or "rows" (memories)."""

    name: str
    source: int
    kind: str
    rows: int
    bytes: int
    digest: str
    dimension: int
    created: int


@dataclass(slots=True, frozen=True)
class Item:
    """A filler or role of a source's codebook; `number` is its id in the files of kind "items"."""

    number: int
    kind: str
    name: str


def files(records: Records) -> list[DenseFile]:
    """Every file that counts, by name."""
    columns = ", ".join(field.name for field in dataclasses.fields(DenseFile))
    return [DenseFile(*row) for row in records.rows(f"SELECT {columns} FROM dense ORDER BY name")]


def list_file(tx: Transaction, file: DenseFile) -> None:
    """Make a durable file count."""
    tx.insert("dense", **dataclasses.asdict(file))


def unlist(tx: Transaction, names: Iterable[str]) -> None:
    """Take files off the list; they may be deleted after the commit."""
    tx.many("DELETE FROM dense WHERE name = ?", [(name,) for name in names])


def remove(tx: Transaction, source: int, kind: str | None = None) -> list[str]:
    """Take a source's files (of a kind) off the list; their names."""
    sql = "SELECT name FROM dense WHERE source = ? AND kind = coalesce(?, kind)"
    names = [name for (name,) in tx.rows(sql, (source, kind))]
    unlist(tx, names)
    return names


def remove_items(tx: Transaction, source: int) -> list[str]:
    """Take a source's fillers and roles off the list; the names of their files."""
    tx.execute("DELETE FROM dense_items WHERE source = ?", (source,))
    return remove(tx, source, "items")


def remove_lone_bases(tx: Transaction, source: int) -> list[str]:
    """Take a source's basis off the list when it has no rows any more; the names of its files."""
    if tx.rows("SELECT 1 FROM dense WHERE source = ? AND kind = 'rows'", (source,)):
        return []
    return remove(tx, source, "basis")


def bytes_of(records: Records, source: int) -> int:
    """Disk that the files of a source take [bytes]."""
    found = records.value("SELECT sum(bytes) FROM dense WHERE source = ?", (source,))
    return int(found or 0)


# --- fillers and roles ----------------------------------------------------------------------------


def add_items(tx: Transaction, source: int, items: Iterable[Item]) -> None:
    """Name the rows of a file of kind "items"."""
    tx.many(
        "INSERT INTO dense_items (source, number, kind, name) VALUES (?, ?, ?, ?)",
        [(source, item.number, item.kind, item.name) for item in items],
    )


def items(records: Records, source: int) -> list[Item]:
    """The fillers and roles of a source, by number."""
    sql = "SELECT number, kind, name FROM dense_items WHERE source = ? ORDER BY number"
    return [Item(*row) for row in records.rows(sql, (source,))]


def drop_items(tx: Transaction, source: int, numbers: Iterable[int]) -> None:
    """Forget the names of fillers."""
    tx.many(
        "DELETE FROM dense_items WHERE source = ? AND number = ?",
        [(source, number) for number in numbers],
    )


def items_named_in(tx: Transaction, ids: Sequence[int]) -> list[tuple[int, int]]:
    """(source, number) of the fillers whose name stands in one of these memories."""
    found = tx.rows(
        "SELECT source, number, name FROM dense_items WHERE kind = 'filler' AND source IN"
        " (SELECT source FROM memories WHERE id IN (SELECT value FROM json_each(?)))",
        (json.dumps(list(ids)),),
    )
    return [(s, number) for s, number, name in found if name and _stands_in(tx, s, name, ids)]


def unused(tx: Transaction, candidates: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of these (source, number) those whose name stands in no memory of the source any more."""
    sql = "SELECT name FROM dense_items WHERE source = ? AND number = ?"
    return [
        (source, number)
        for source, number in candidates
        for (name,) in tx.rows(sql, (source, number))
        if not _stands_in(tx, source, name)
    ]


def _stands_in(tx: Transaction, source: int, name: str, ids: Sequence[int] | None = None) -> bool:
    """Whether a memory of the source (one of `ids`) has the name in a field of its own."""
    escaped = json.dumps(name, ensure_ascii=False)[1:-1]
    among = "" if ids is None else " AND id IN (SELECT value FROM json_each(?4))"
    found = tx.rows(
        "SELECT 1 FROM memories WHERE source = ?1 AND (instr(text, ?2) OR who = ?2"
        " OR place = (SELECT id FROM names WHERE name = ?2) OR instr(summary, ?2)"
        f" OR instr(extra, ?3) OR instr(affect, ?3) OR instr(tags, ?3)){among} LIMIT 1",
        (source, name, escaped) if ids is None else (source, name, escaped, json.dumps(list(ids))),
    )
    return bool(found)
