"""mcp-memory-service: its SQLite database, or its export in JSON.

A row that was deleted there (`deleted_at`) or that another one has replaced (`superseded_by`) is
left out; what the graph connects is connected.  The table of vectors needs an extension and is
never touched.

Source: storage/mixins/migrations.py and sync/exporter.py of mcp-memory-service 12.4.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nimad.errors import NimadError
from nimad.importers.databases import (
    has_tables,
    listed,
    open_database,
    plain_values,
    rows,
    text,
    unpacked,
)
from nimad.importers.items import Event, Importer, Item, Linked, Part, Rejected, moment
from nimad.importers.json_stream import memories_of
from nimad.model import Memory

NAME, PART = "sqlite_vec.db", "memories"
BEGIN = 4096
"""Begin of a file that tells what it is [bytes]."""
_COLUMNS = (
    *("content_hash", "content", "tags", "memory_type", "metadata", "created_at", "deleted_at"),
    *("superseded_by", "store"),
)
_GRAPH = ("source_hash", "target_hash", "similarity", "connection_types", "relationship_type")


def detect(path: Path) -> float:
    """The database, its directory, or an export."""
    if has_tables(path, NAME, "memories"):
        return 0.9
    if path.suffix == ".json" and path.is_file():
        with path.open("rb") as file:
            return 0.9 * (b'"export_metadata"' in file.read(BEGIN))
    return 0.0


def read(path: Path) -> Iterator[Event]:
    """One part.  An export may be of some tags alone, so nothing counts as gone from it."""
    if path.suffix == ".json":
        yield Part(PART, whole=False)
        for _, value in memories_of(path, "memories"):
            if isinstance(value, Rejected):
                yield value
            else:
                tags = value.get("tags")
                tags = listed(tags) or text(tags).split(",")
                yield from _item(value, value.get("metadata"), tags)
        return
    yield Part(PART)
    refused: list[Rejected] = []
    try:
        with open_database(path, NAME) as tables:
            for key, row in rows(tables, "memories", _COLUMNS, refused):
                if not isinstance(row["content"], str):
                    yield Rejected(f"memories, row {key}", "its content is no text")
                elif row["deleted_at"] is None and not text(row["superseded_by"]):
                    about = unpacked(row["metadata"])
                    yield from _item(row, about, text(row["tags"]).split(","))
            if tables.columns("memory_graph"):  # older versions have none
                for _, row in rows(tables, "memory_graph", _GRAPH, refused):
                    kinds = [text(row["relationship_type"])]
                    kinds += listed(unpacked(row["connection_types"]))
                    relation = next((kind for kind in kinds if kind), "related")
                    weight = row["similarity"] if isinstance(row["similarity"], float) else None
                    ends = text(row["source_hash"]) or "?", text(row["target_hash"]) or "?"
                    yield Linked(ends[0], PART, ends[1], relation, weight)
    except NimadError as error:
        yield Rejected(NAME, error.message, True)
    yield from refused


def _item(row: dict[str, Any], metadata: Any, tags: list[str]) -> Iterator[Item]:
    said = text(row.get("content"))
    extra = plain_values(metadata)
    if not said or extra.get("superseded_by"):
        return
    score = extra.get("importance_score")
    session = extra.pop("conversation_id", None)
    kind = text(row.get("memory_type"))
    at = moment(row.get("created_at") or row.get("created_at_iso"), extra)
    yield Item(
        text(row.get("content_hash")),
        Memory(
            said,
            timestamp=at,
            importance=score if isinstance(score, (int, float)) else None,
            session=session if isinstance(session, str) else None,
            tags=tuple(tag.strip() for tag in [*tags, kind] if tag.strip()),
            extra=extra,
        ),
    )


MCP_MEMORY_SERVICE = Importer(
    "mcp-memory-service", "mcp-memory-service's database", detect, read, links=True
)
