"""The engine's values as JSON has them."""

from __future__ import annotations

import datetime
import math
from typing import Any

INTERNAL = ("_id", "_src", "_dst")
"""Keys of a node or relation that are the engine's own: places in its file."""


def as_json(value: Any) -> Any:
    """A value as JSON: nodes and relations as objects with their `label`, times as ISO 8601, bytes
    in hex, numbers that JSON does not have (NaN) as null."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return _object(value)
    if isinstance(value, (list, tuple, set)):
        return [as_json(item) for item in value]
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    return str(value)


def _object(value: dict[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in value.items():
        name = str(key)
        if name.lower() in INTERNAL and isinstance(item, dict):
            continue
        shown = {"_label": "label", "_nodes": "nodes", "_rels": "relations"}
        found[shown.get(name.lower(), name)] = as_json(item)
    return found
