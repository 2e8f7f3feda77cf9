"""The memory server of the Model Context Protocol: a graph in a file of JSON Lines.

An observation of an entity is a memory that begins with the entity's name; an entity without one is
a memory of its own; a relation is both a memory ("Anna works at Acme") and a relation between the
first memories of the two.  The file has no times at all.

Source: src/memory/index.ts of modelcontextprotocol/servers; names of fields that variants use.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nimad.importers.files import Unfit, first_object, objects, opened
from nimad.importers.items import Event, Importer, Item, Linked, Part, Rejected, key_of
from nimad.model import Memory

PART = "graph"


def detect(path: Path) -> float:
    """A file whose first line is an entity or a relation."""
    if not path.is_file():
        return 0.0
    first = first_object(path)
    kind = first.get("type")
    return 0.95 if kind in ("entity", "relation") and (_name(first) or _ends(first)[0]) else 0.0


def read(path: Path) -> Iterator[Event]:
    """One part: the file is written whole each time."""
    yield Part(PART)
    with_memory: set[str] = set()
    relations: list[tuple[str, str, str]] = []
    try:
        with opened(path, found=False) as file:
            for told in objects(file, path.name):
                if isinstance(told, Rejected):
                    yield told
                    continue
                number, line = told
                if line.get("type") == "entity" and (name := _name(line)):
                    yield from _entity(name, line)
                    with_memory.add(name)
                elif line.get("type") == "relation" and all(found := _ends(line)):
                    relations.append(found)
                else:
                    why = "it is neither an entity nor a relation"
                    yield Rejected(f"{path.name}, line {number}", why)
    except Unfit as error:
        yield Rejected(path.name, str(error), True)
    for origin, relation, target in dict.fromkeys(relations):
        text = f"{origin} {relation.replace('_', ' ')} {target}"
        yield Item(
            "",
            Memory(text, timestamp=None, tags=("relation",)),
        )
        if {origin, target} <= with_memory:
            yield Linked(_first(origin), PART, _first(target), relation)


def _name(line: dict[str, Any]) -> str:
    found = line.get("name") or line.get("entityName")
    return found if isinstance(found, str) else ""


def _ends(line: dict[str, Any]) -> tuple[str, str, str]:
    found = (
        line.get("from") or line.get("from_id"),
        line.get("relationType") or line.get("relation_type"),
        line.get("to") or line.get("to_id"),
    )
    first, relation, last = (one if isinstance(one, str) else "" for one in found)
    return first, relation, last


def _first(name: str) -> str:
    """The key of an entity's own memory."""
    return f"entity {key_of(name)}"


def _entity(name: str, line: dict[str, Any]) -> Iterator[Event]:
    kind = line.get("entityType")
    kind = kind if isinstance(kind, str) else ""
    extra: dict[str, Any] = {"entity": name}
    yield Item(
        _first(name),
        Memory(f"{name} ({kind})" if kind else name, timestamp=None, tags=("entity",), extra=extra),
    )
    said = line.get("observations")
    for one in said if isinstance(said, list) else []:
        if isinstance(one, str) and one.strip():
            text = one if one.startswith(name) else f"{name}: {one}"
            tags = (kind,) if kind else ()
            yield Item(
                "",
                Memory(text, timestamp=None, tags=tags, extra=extra),
            )


SERVER_MEMORY = Importer("server-memory", "the MCP memory server's graph", detect, read, links=True)
