"""Memories as JSON and back: the one place that knows what a memory looks like on the wire."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from nimad.core.store import RelatedMemory
from nimad.core.validate import MAX_NAME, MAX_TAGS
from nimad.errors import UsageError
from nimad.model import DEFAULT_NAMESPACE, LAYERS, MAX_TEXT, CutMemory, Hit, Memory
from nimad.serve import params
from nimad.serve.params import Param

_NAME = params.text(MAX_NAME, empty=True)


def _extra(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    return value


def _source(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != {"name", "id"}:
        raise ValueError('must be {"name", "id"}')
    return value


def _blobs(value: Any) -> dict[str, bytes]:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise ValueError("must hold base64 texts")
    try:
        return {name: base64.b64decode(data, validate=True) for name, data in value.items()}
    except (binascii.Error, ValueError):
        raise ValueError("must hold base64 texts") from None


REMEMBER = {
    "text": Param(params.text(MAX_TEXT)),
    "who": Param(_NAME, None),
    "where": Param(_NAME, None),
    "timestamp": Param(params.moment, 0),
    "layer": Param(params.choice(*LAYERS), "note"),
    "importance": Param(params.number(0, 1), None),
    "tags": Param(params.texts(MAX_TAGS, MAX_NAME), ()),
    "namespace": Param(params.text(MAX_NAME), DEFAULT_NAMESPACE),
    "conversation": Param(_NAME, None),
    "session": Param(_NAME, None),
    "turn": Param(_NAME, None),
    "affect": Param(params.text(MAX_TEXT, empty=True), None),
    "summary": Param(params.text(MAX_TEXT, empty=True), None),
    "extra": Param(_extra, None),
}
"""What `remember` takes: a memory's fields that a user sets; no timestamp means now."""

IMPORT = {
    **REMEMBER,
    "text": Param(params.text(MAX_TEXT, empty=True)),
    "id": Param(params.integer(1, 2**63 - 1), None),
    "created": Param(params.moment, 0),
    "last_accessed": Param(params.moment, None),
    "access_count": Param(params.integer(0, 2**53), 0),
    "source": Param(_source, None),
    "blobs": Param(_blobs, None),
}
"""What a line of `import` takes: everything that `export` writes."""


def remembered(fields: Mapping[str, Any]) -> Memory:
    """The memory that `remember` was given; UsageError names the field that is wrong."""
    return Memory(**params.read("remember", REMEMBER, fields))


def imported(fields: Any, namespace: str) -> Memory:
    """The memory of an imported line; UsageError names the field that is wrong.

    The old `id` is not kept, because ids are never reused; a `source`, which means nothing in
    another store, is kept in `extra`.  `namespace` is for lines that name none.
    """
    if not isinstance(fields, dict):
        raise UsageError(detail="a memory must be an object")
    values = params.read("a memory", IMPORT, fields)
    if fields.get("namespace") is None:
        values["namespace"] = namespace
    del values["id"]
    values["blobs"] = values["blobs"] or {}
    if (source := values.pop("source")) is not None:
        values["extra"] = {"source": source, **(values["extra"] or {})}
    return Memory(**values)


def memory_json(memory: Memory, *, blobs: bool = False) -> dict[str, Any]:
    """A memory as docs/protocol.md has it; `blobs` adds its binary columns when there are any."""
    found: dict[str, Any] = {
        "id": memory.id,
        "text": memory.text,
        "who": memory.who,
        "where": memory.where,
        "timestamp": memory.timestamp,
        "layer": memory.layer,
        "importance": memory.importance,
        "tags": list(memory.tags),
        "namespace": memory.namespace,
        "conversation": memory.conversation,
        "session": memory.session,
        "turn": memory.turn,
        "affect": memory.affect,
        "summary": memory.summary,
        "created": memory.created,
        "last_accessed": memory.last_accessed,
        "access_count": memory.access_count,
        "source": None,
        "extra": memory.extra,
    }
    if memory.source is not None:
        found["source"] = {"name": memory.source[0], "id": memory.source[1]}
    if isinstance(memory, CutMemory):
        found["cut"] = True
    if blobs and memory.blobs:
        found["blobs"] = {n: base64.b64encode(b).decode() for n, b in memory.blobs.items()}
    return found


def hit_json(hit: Hit, *, explain: bool) -> dict[str, Any]:
    """A query's result: the memory and its score, with the score's parts when asked for."""
    found = {**memory_json(hit.memory), "score": hit.score}
    if explain:
        found["parts"] = hit.parts
    return found


def related_json(related: RelatedMemory) -> dict[str, Any]:
    """A memory that the graph reached, and how."""
    return {
        **memory_json(related.memory),
        "relation": related.relation,
        "direction": related.direction,
        "weight": related.weight,
        "distance": related.distance,
    }
